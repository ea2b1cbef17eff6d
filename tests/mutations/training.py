"""Mistakes in training and measuring."""

from tests.mutations.mutation import of

LEARNER = "tests/learning/test_learner.py"
INTERRUPTION = "tests/training/test_interruption.py"
MEASUREMENTS = "tests/training/test_measurements.py"

MUTATIONS = [
    *of(
        "urfb/data/datasets.py",
        "tests/data/test_datasets.py",
        ("        verify(info.name, directory)\n", ""),
        ('if raw / file.removesuffix(".gz") in faulty', "if True"),
        ('if _worst(faulty) == "unreadable":  # a', "if False:  # a"),
        ("except FileNotFoundError:", "except (FileNotFoundError, NotADirectoryError):"),
        ("        socket.setdefaulttimeout(before)\n", "        pass\n"),
        ("archives[number:])", "[archive])"),
        (
            "with atomic_write(archive.path) as partial, _stalls_end():",
            "partial = archive.path\n            with _stalls_end():",
        ),
    ),
    *of(
        "urfb/data/catalog.py",
        "tests/data/test_catalog.py::test_an_error_is_chance_within_three_standard_errors",
        ("test_error > chance - 3 * ", "test_error > chance + 0 * "),
        ("(chance * (1 - chance) / info.test)", "(chance * (1 - chance) / info.validation)"),
    ),
    *of(
        "urfb/training/trainer.py",
        MEASUREMENTS,
        ('= passes.evaluate("validation")', '= passes.evaluate("training")'),
        ('= passes.evaluate("validation")', '= passes.evaluate("test")'),
        ('= passes.evaluate("training")', '= passes.evaluate("validation")'),
        ('passes.evaluate("test")', 'passes.evaluate("validation")'),
        ('passes.evaluate("test")', 'passes.evaluate("training")'),
        ("for means in measured.values():", 'for means in (measured["steps"],):'),
        ("if not math.isfinite(test.loss):", "if False:"),
        ("is_alignment_epoch(spec.epoch_of_stage(epoch)) or last", "is_alignment_epoch(epoch) or last"),
        ("is_alignment_epoch(spec.epoch_of_stage(epoch)) or last", "is_alignment_epoch(spec.epoch_of_stage(epoch))"),
    ),
    *of(
        "urfb/training/passes.py",
        MEASUREMENTS,
        ("getattr(dataset, name)), learner", 'getattr(dataset, "training")), learner'),
        ("self._evaluate_batches[split](positions)", 'self._evaluate_batches["validation"](positions)'),
        (
            "images_of(self.spec, self.dataset, split, positions)",
            'images_of(self.spec.model_copy(update={"input_offset": 0.0}), self.dataset, split, positions)',
        ),
        ("self.learner.eval()\n        images", "images"),
    ),
    *of(
        "urfb/training/trainer.py",
        INTERRUPTION,
        ('for name, values in saved["measured"].items()}', "for name, values in {}.items()}"),
        ('for values in saved["points"]]', "for values in []]"),
        ('time.perf_counter() - saved["seconds"]', "time.perf_counter()"),
        ("self.passes.learner, self.epoch - 1, self.so_far", "self.passes.learner, self.epoch, self.so_far"),
        (
            "max(spec.epochs, epochs_done + 1)",
            "spec.epochs",
        ),
        ("(learner if within is None else drawn(1))", "learner"),
        ("and self.epoch > 1 and within is None:", "and self.epoch > 1:"),
    ),
    *of(
        "urfb/training/passes.py",
        INTERRUPTION,
        ('torch.tensor(position["totals"], dtype=torch.float64)', 'torch.tensor(position["totals"])'),
        ('stream.set_state(position["streams"][purpose])', "pass"),
        ("            torch.set_rng_state(on_cpu)\n", ""),
        ("if number < len(batches):", "if number < len(batches) - 1:"),
    ),
    *of(
        "urfb/training/checkpoint.py",
        INTERRUPTION,
        ("self._latest_epoch < epoch:", "self._latest_epoch <= epoch:"),
        ("learner = build(epoch if within is None else epoch + 1)", "learner = build(max(epoch, 1))"),
    ),
    *of(
        "urfb/training/passes.py",
        LEARNER,
        ("            self.learner.after()\n", ""),
    ),
    *of(
        "urfb/training/passes.py",
        "tests/training/test_stages.py::test_order_and_dropout_differ_by_epoch_and_seed",
        ("seed_of(seed, purpose, epoch)", "seed_of(seed, purpose)"),
    ),
    *of(
        "urfb/training/checkpoint.py",
        LEARNER,
        ('"learner": learner_state}', '"learner": {}}'),
        ('state.update(saved.get("learner", {}))', 'state.update(learner.state_dict() if "learner" in saved else {})'),
        ("learner.load_state_dict(state)  #", "learner.load_state_dict(state, strict=False)  #"),
    ),
    *of(
        "urfb/training/networks.py",
        MEASUREMENTS,
        ("        off_class_margin=spec.off_class_margin,\n", ""),
        ("        true_class_margin=spec.true_class_margin,\n", ""),
    ),
    *of(
        "urfb/learning/feedback.py",
        "tests/nn/test_reference.py",
        ("torch.autograd.grad(loss, self.learning)", "torch.autograd.grad(loss * len(labels) / 8, self.learning)"),
        ("torch._foreach_mul_(self.decaying, 1", "torch._foreach_mul_(self.learning, 1"),
    ),
    *of(
        "urfb/training/passes.py",
        "tests/nn/test_reference.py",
        ("            self.learner.decay()\n", ""),
    ),
    *of(
        "urfb/training/measurements.py",
        MEASUREMENTS,
        (
            "lambda: learner.loss_function(learner(x), labels)",
            "lambda: torch.nn.functional.cross_entropy(learner(x), labels)",
        ),
    ),
    *of(
        "urfb/nn/asymmetric.py",
        MEASUREMENTS,
        ("layer.back_propagates = True", "layer.back_propagates, layer.mask = True, None"),
    ),
    *of(
        "urfb/nn/asymmetric.py",
        "tests/training/test_stages.py",
        ("self.feedback.copy_(source.feedback)", "pass"),
        (
            "                self.feedback.mul_(self.feedback_mask)\n\n    @torch.no_grad()\n    def redraw",
            "                pass\n\n    @torch.no_grad()\n    def redraw",
        ),
    ),
    *of(
        "urfb/nn/activity.py",
        "tests/nn/test_modules.py",
        (
            '(size - 1) // 2 if padding == "centred" else 0',
            '(size - 1) // 2 if padding == "centred" else (size - 1) // 2',
        ),
        ("self.after = needed if late else 0", "self.after = 0"),
    ),
]
