"""Mistakes in which runs a grid has, what is said of them, and in what order they are trained."""

from tests.mutations.mutation import of

IDENTITY = "tests/grid/test_expand.py::test_every_setting_but_a_name_and_the_target_is_in_the_identity"
DECLARATIONS = "tests/grid/test_declarations.py"
SETTINGS = "tests/grid/test_settings.py"
SCHEDULER = "tests/engines/test_scheduler.py"

MUTATIONS = [
    *of(
        "urfb/grid/spec.py",
        IDENTITY,
        *(
            ('exclude={"network", "epochs"}', f'exclude={{"network", "epochs", "{name}"}}')
            for name in ("source", "feedback_connectivity", "decay", "pretraining_epochs", "untied_start")
        ),
    ),
    *of(
        "urfb/grid/spec.py",
        "tests/grid/test_expand.py::test_the_identity_is_of_what_the_numbers_depend_on",
        ('exclude={"network", "epochs"}', 'exclude={"epochs"}'),
    ),
    *of(
        "urfb/grid/settings.py",
        SETTINGS,
        ("NotNegative = Annotated[float, Field(ge=0,", "NotNegative = Annotated[float, Field(gt=0,"),
        ("NotNegativeInt = Annotated[int, Field(ge=0,", "NotNegativeInt = Annotated[int, Field(ge=1,"),
        ("usual=1000, ", "usual=100, "),
        (
            'true_class_margin: Annotated[Finite, Use(listed=False, compares="hinge")]',
            "true_class_margin: Annotated[Finite, Use(listed=False)]",
        ),
    ),
    *of(
        "urfb/grid/settings.py",
        "tests/test_plugins.py",
        ("    notation: bool = False\n", "    notation: bool = True\n"),
    ),
    *of(
        "urfb/grid/settings.py",
        DECLARATIONS,
        ('        if name == "activation_slope":\n', "        if False:\n"),
        ("return self.default if self.use.usual is None else self.use.usual", "return self.default"),
    ),
    *of(
        "urfb/grid/spec.py",
        SETTINGS,
        ("if epoch <= self.pretraining_epochs:", "if epoch < self.pretraining_epochs:"),
        (
            "return epoch if epoch <= self.pretraining_epochs else",
            "return epoch if epoch < self.pretraining_epochs else",
        ),
        ('self.frozen or "none"', 'self.frozen or "all"'),
        ("decay=rule.decay if self.decay is None else self.decay", "decay=rule.decay"),
    ),
    *of(
        "urfb/grid/settings.py",
        "tests/grid/test_schema.py",
        ("Decay = Annotated[float, Field(ge=0, lt=1)", "Decay = Annotated[float, Field(ge=0, le=1)"),
        ("lambda number: number + 0.0", "lambda number: number"),
        ("Density = Annotated[float, Field(gt=0, le=1)]", "Density = Annotated[float, Field(ge=0, le=1)]"),
        ("Count = Annotated[int, Field(ge=1,", "Count = Annotated[int, Field(ge=0,"),
    ),
    *of(
        "urfb/grid/expand.py",
        "tests/grid/test_expand.py",
        ("entry.items() <= original.items()", "entry.items() < original.items()"),
        (
            "entry.items() <= original.items()",
            "all(original.get(key, value) == value for key, value in entry.items())",
        ),
        (
            "for axes in matrix.exclude for entry in _product(_factors(axes))",
            "for axes in matrix.exclude for entry in axes.in_step()",
        ),
        (
            "        if not agreeing:\n",
            "        if not agreeing and not any(exclude.items() <= entry.items() for exclude in excluded):\n",
        ),
        (
            "all(original[key] == value for key, value in entry.items() if key in original)",
            "all(combination[key] == value for key, value in entry.items() if key in combination)",
        ),
        ("combination.update(entry)", "combination.update({**entry, **combination})"),
        ("yield from extended\n    yield from added", "yield from added\n    yield from extended"),
        ("spec if spec.epochs > run.spec.epochs else run.spec", "run.spec"),
    ),
    *of(
        "urfb/grid/expand.py",
        "tests/grid/test_files.py::test_files_form_a_grid_but_keep_own_defaults_and_networks",
        (
            "**file.defaults.values(), **experiment.defaults.values()",
            "**experiment.defaults.values(), **file.defaults.values()",
        ),
    ),
    *of(
        "urfb/grid/expand.py",
        SETTINGS,
        ('network_text(name, convention or "paper")', 'network_text(name, "paper")'),
        ("> dataset.training:", ">= dataset.training:"),
        ("parameter not in rule.required + rule.optional:", "parameter not in rule.required:"),
        ('for key in ("pretraining_rule", "frozen") if key in values', 'for key in ("frozen",) if key in values'),
        (
            'for key in ("pretraining_rule", "frozen") if key in values',
            'for key in ("pretraining_rule", "frozen") if values.get(key, "none") != "none"',
        ),
    ),
    *of(
        "urfb/grid/expand.py",
        "tests/grid/test_schema.py",
        ('shapes(values["layers"], dataset.shape, dataset', 'shapes(values["layers"], (3, 32, 32), dataset'),
    ),
    *of(
        "urfb/grid/settings.py",
        "tests/test_plugins.py::test_what_only_the_notation_says_is_refused_beside_a_users_model",
        ("pool_padding: Annotated[PoolPadding, Use(notation=True, ", "pool_padding: Annotated[PoolPadding, Use("),
        (
            "pretraining_epochs: Annotated[NotNegativeInt, Use(notation=True, ",
            "pretraining_epochs: Annotated[NotNegativeInt, Use(",
        ),
    ),
    *of(
        "urfb/grid/expand.py",
        "tests/test_plugins.py::test_an_edit_of_a_first_stages_rule_makes_new_runs",
        ('"dataset", "rule", "pretraining_rule"))', '"dataset", "rule"))'),
    ),
    *of(
        "urfb/grid/spec.py",
        "tests/test_plugins.py::test_an_edit_of_a_first_stages_rule_makes_new_runs",
        ("self.dataset, self.rule, self.pretraining_rule)", "self.dataset, self.rule)"),
    ),
    *of(
        "urfb/grid/expand.py",
        "tests/test_plugins.py::test_data_set_batch_size_overrides_a_larger_untied_default",
        (
            "min(dataset.batch_size, UNTIED_BATCH_SIZE if author_untied else dataset.batch_size)",
            "UNTIED_BATCH_SIZE if author_untied else dataset.batch_size",
        ),
    ),
    *of(
        "urfb/grid/schema.py",
        "tests/grid/test_schema.py",
        ("if name in NETWORKS and text != canonical(NETWORKS[name]):", "if name in NETWORKS:"),
        ("            taken |= set(axes) & IN_GRID_FILE.keys()\n", ""),
        ("if not 0 < len(seeds) <= MAX_RUNS:", "if len(seeds) > MAX_RUNS:"),
        ("    if not entry.model_fields_set:\n", "    if False:\n"),
        ("max(size, *(entry.size for entry in (*self.include, *self.exclude)), 0)", "size"),
    ),
    *of(
        "urfb/grid/source.py",
        "tests/grid/test_schema.py",
        ("{column + 1}", "{column}"),
        ("            if value is None:\n", "            if False:\n"),
        ("            elif name not in values:\n", "            else:\n"),
        ("            if key.value in lines:\n", "            if False:\n"),
        ("if isinstance(other, MappingNode) and other not in merging:", "if isinstance(other, MappingNode):"),
        ("            self._count(key)\n", ""),
        ("        if len(place) > MAX_DEPTH:\n", "        if False:\n"),
    ),
    *of(
        "urfb/grid/plan.py",
        "tests/grid/test_plan.py",
        ("        if name in filters:\n", "        if False:\n"),
        ("==?(?!=)", "==?"),
        ('if operator in ("=", "=="):', 'if operator == "=":'),
        ("_value(value.strip(), columns[name])", "_value(value, columns[name])"),
        ('return text.lower() == "true"', "return bool(text)"),
        ("if text.lower() not in", "if text not in"),
        ("abs(value) >= 2**63", "value >= 2**63"),
        ('if state == "done" and epochs_done < target:', 'if state == "done" and epochs_done != target:'),
        ('if state == "done" and epochs_done < target:', "if epochs_done < target:"),
        ('case "unfinished" if epochs_done < target:', 'case "unfinished" if epochs_done <= target:'),
        ('not in ("cancelled", "done")', 'not in ("cancelled", "done", "running")'),
    ),
    *of(
        "urfb/grid/settings.py",
        "tests/grid/test_schema.py",
        ("    if is_notation(value):\n", '    if ";" in value:\n'),
    ),
    *of(
        "urfb/errors.py",
        "tests/test_errors.py",
        ("if plain in others and name in choices", "if plain in others"),
        ('re.sub(r"[-_ ]", "", lower)', "lower"),
    ),
    *of(
        "urfb/engines/estimate.py",
        "tests/engines/test_estimate.py",
        ("for name in WORKLOAD_SETTINGS}", 'for name in WORKLOAD_SETTINGS if name != "source"}'),
        (
            '(values.pop("connectivity") < 1) + (values.pop("feedback_connectivity") < 1)',
            '(values.pop("connectivity") < 1) + 0 * values.pop("feedback_connectivity")',
        ),
        (
            '(values.pop("connectivity") < 1) + (values.pop("feedback_connectivity") < 1)',
            '(values.pop("connectivity") < 1) * 2 + 0 * values.pop("feedback_connectivity")',
        ),
        ("workload = workloads(spec)[1]", "workload = workloads(spec)[0]"),
        ("or BYTES_PER_EPOCH))", "or 0))"),
        (
            "any(workload not in timings for workload, _ in stages)",
            "all(workload not in timings for workload, _ in stages)",
        ),
        ("used[key] = timing", "used[workload] = timing"),
        ("is_training_error_epoch(epoch) or epoch == target", "is_training_error_epoch(epoch)"),
    ),
    *of(
        "urfb/grid/shown.py",
        "tests/grid/test_shown.py",
        ("spec.rule_of(spec.epochs)", "spec.rule_of(1)"),
    ),
    *of(
        "urfb/grid/shown.py",
        "tests/cli/test_network_commands.py::test_a_rule_with_parameters_is_shown_without_them",
        ('resolved({**settings, "rule": "urfb"}).model_copy(update={"rule": settings["rule"]})', "resolved(settings)"),
    ),
    *of(
        "urfb/engines/planner.py",
        "tests/engines/test_planner.py",
        ("for run in missing]", "for run in planned]"),
        ("jobs, len(missing), max(", "jobs, len(planned), max("),
        ("jobs, len(missing), max(", "jobs, len(missing), min("),
        ("stored.epoch_seconds(name, slots[0].threads)", "stored.epoch_seconds(name, 1)"),
        ("stored.reasons() if stored else {}", "{}"),
        ("slots=len(slots)", "slots=1"),
        ("refuse_precision(specs, has_tf32=has_tf32)", "pass"),
        ("bytes_per_epoch=stored.bytes_per_epoch() if stored else None", "bytes_per_epoch=None"),
    ),
    *of(
        "urfb/engines/processes.py",
        "tests/engines/test_measuring.py::test_a_killed_runner_leaves_no_measuring_process",
        ("    parent.join()\n    os._exit(1)\n", "    parent.join()\n"),
    ),
    *of(
        "urfb/engines/processes.py",
        "tests/engines/test_measuring.py::test_an_interrupt_while_pytorch_is_imported_is_not_lost",
        ("with ignored(signal.SIGINT, *HANG_UP):", "with ignored(*HANG_UP):"),
        ("        forkserver.ensure_running()\n", "        context.Process().start()\n"),
    ),
    *of(
        "urfb/engines/measuring.py",
        "tests/engines/test_measuring.py",
        ("{(_workload(stage), spec.gradient_batch)", "{(_workload(stage), None)"),
        ("max(size_of[key] for key", "min(size_of[key] for key"),
        ("with closing(measure(list(stages.values()))) as measured:", "if measured := measure(list(stages.values())):"),
        ("            watch(len(sizes), len(stages))\n", ""),
        ("process.exitcode == -signal.SIGKILL", "process.exitcode != 0"),
        ("free + 1 if _is_out_of_memory(error) else 0", "0"),
        ("max(count, sum(sizes)) if full_size", "count if full_size"),
        ("resource.setrlimit(resource.RLIMIT_DATA, (limit, most))", "pass"),
    ),
    *of(
        "urfb/grid/plan.py",
        "tests/grid/test_plan.py",
        ("            goes_on_after = 0\n", ""),
        ("and epochs_done and identity not in checkpoints", "and identity not in checkpoints"),
    ),
    *of(
        "urfb/cli/terminal.py",
        "tests/cli/test_streams.py",
        ("        os.set_inheritable(number, True)\n", "        pass\n"),
        ('stream.reconfigure(errors="backslashreplace")', "stream.reconfigure()"),
        ("        if self._error is None:\n", "        if True:\n"),
        ("        sys.stdout.goes_on = True\n", "        pass\n"),
    ),
    *of(
        "urfb/cli/progress.py",
        "tests/cli/test_progress.py",
        (
            "            case Stopped():\n                self._forget(spec)",
            "            case Stopped():\n                self._end(spec)",
        ),
        ("if not self._epochs or self._stopping:", "if not self._epochs:"),
        ("if task != self._total or self._ended < self._count:", "if task != self._total:"),
        ('re.split(r"(?<=[,;:]) ", text)', "[text]"),
    ),
    *of(
        "urfb/engines/scheduler.py",
        SCHEDULER,
        ("if not runner.is_stopping and (stop()", "if (stop()"),
        ('in self.elsewhere if states[spec.identity][0] != "running")', "in self.elsewhere)"),
        (
            'self.elsewhere = [spec for spec in self.elsewhere if states[spec.identity][0] == "running"]',
            "self.elsewhere = []",
        ),
        ("            self.elsewhere.append(spec)\n        elif", "            pass\n        elif"),
        ("            self.outcome.failed += 1\n", "            pass\n"),
        ("claim.epochs_done, claim.threads)", "claim.epochs_done)"),
        ("elif isinstance(event, EpochEnded):", "else:"),
        ("self.losses.pop(identity, None)", "pass"),
        ("                self._keep(spec, self.elsewhere)\n", ""),
        ("self.outcome.left = len(self.queue) + len(self.elsewhere)", "self.outcome.left = len(self.queue)"),
        ("            self.outcome.left += 1\n", "            pass\n"),
        ("            store.verify()\n", ""),
        (
            "if isinstance(event, Finished):\n                    self.discard",
            "if isinstance(event, END):\n                    self.discard",
        ),
        ("        self.elsewhere.clear()\n", ""),
        ("failures=self.failures.get(spec.identity, 0)", "failures=0"),
        ("        if self.is_stopping:\n", "        if False:\n"),
        ("if not isinstance(event, END):", "if True:"),
        ("self.engine.drop(identity)", "pass"),
        ("                store.renew_leases()", "                pass"),
    ),
]
