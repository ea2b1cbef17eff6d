"""Small mistakes in urfb's code, and the tests that have to fail for each of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """A mistake.

    Attributes:
        file: below the root.
        before: what stands there, once.
        after: the mistake that takes its place.
        tests: test files, or tests, that should fail.
    """

    file: str
    before: str
    after: str
    tests: tuple[str, ...]

    def __str__(self) -> str:
        before, after = (" ".join(text.split()) for text in (self.before, self.after))
        return f"{self.file}: {before} → {after or 'nothing'}"


def of(file: str, tests: str, *changes: tuple[str, str]) -> list[Mutation]:
    """Return the mutations of one file that the same tests should notice; `tests` are separated by spaces."""
    return [Mutation(file, before, after, tuple(tests.split())) for before, after in changes]


MEASUREMENTS = "tests/training/test_measurements.py"
MEASURES = "tests/report/claims/test_measures.py"

TRAINING = [
    *of(
        "urfb/training/trainer.py",
        MEASUREMENTS,
        ('validation = passes.evaluate("validation")', 'validation = passes.evaluate("training")'),
        ('validation = passes.evaluate("validation")', 'validation = passes.evaluate("test")'),
        ('training = passes.evaluate("training") if', 'training = passes.evaluate("validation") if'),
        ('test = passes.evaluate("test")', 'test = passes.evaluate("validation")'),
        ('test = passes.evaluate("test")', 'test = passes.evaluate("training")'),
        ("for measured in (running, training, validation):", "for measured in (running, training):"),
        ("if not math.isfinite(test.loss):", "if False:"),
        ("is_alignment_epoch(spec.epoch_of_stage(epoch)) or last", "is_alignment_epoch(epoch) or last"),
        ("is_alignment_epoch(spec.epoch_of_stage(epoch)) or last", "is_alignment_epoch(spec.epoch_of_stage(epoch))"),
    ),
    *of(
        "urfb/training/passes.py",
        MEASUREMENTS,
        ("getattr(dataset, name)), network", 'getattr(dataset, "training")), network'),
        ("self._looks[split](positions)", 'self._looks["validation"](positions)'),
        ("        off_class_margin=spec.off_class_margin,\n", ""),
        ("        true_class_margin=spec.true_class_margin,\n", ""),
        (
            "images_of(self.spec, self.dataset, split, positions)",
            'images_of(self.spec.model_copy(update={"input_offset": 0.0}), self.dataset, split, positions)',
        ),
        ("self.network.eval()\n        images", "images"),
    ),
    *of(
        "urfb/training/passes.py",
        "tests/nn/test_reference.py",
        (
            "gradients = torch.autograd.grad(loss, self.learning)",
            "gradients = torch.autograd.grad(loss * len(labels) / self.spec.batch_size, self.learning)",
        ),
        ("torch._foreach_mul_(self.decaying, 1 - self.decay)", "torch._foreach_mul_(self.learning, 1 - self.decay)"),
    ),
    *of(
        "urfb/training/measurements.py",
        MEASUREMENTS,
        (
            "loss_function = build_loss(self.spec)",
            "loss_function = torch.nn.functional.cross_entropy",
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
        ("self.feedback.copy_(other.feedback)", "pass"),
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

CLAIMS = [
    *of(
        "urfb/report/claims/measures.py",
        MEASURES,
        ("stats.spearmanr(layers.index", "stats.pearsonr(layers.index"),
        ("return min(ranks, default", "return max(ranks, default"),
        (
            'return float(run.epochs["validation_error"].mean(skipna=False))',
            'return float(run.epochs["training_error"].mean(skipna=False))',
        ),
        (
            "_at(run.layers(output=False), INITIAL_EPOCHS).max(skipna=False)",
            "_at(run.layers(output=False), INITIAL_EPOCHS).min(skipna=False)",
        ),
        ("_at(run.layers(output=False), INITIAL", "_at(run.layers(), INITIAL"),
        ('return _decrease(run, "training_error")', 'return _decrease(run, "validation_error")'),
        ("(numbers >= 2)", "(numbers >= 1)"),
        ("start.abs().argmax()", "start.argmax()"),
    ),
    *of(
        "urfb/report/claims/measures.py",
        "tests/report/claims/test_claims.py",
        ("seeds=(1, 2, 3, 4, 5),", "seeds=(0, 1, 2, 3, 4),"),
        ("final=last_validation_error(10)", "final=last_validation_error(3)"),
        ("    last_epoch=200,\n", "    last_epoch=250,\n"),
    ),
]

IDENTITY = "tests/grid/test_expand.py::test_every_setting_but_a_name_and_the_target_is_in_the_identity"
SETTINGS = "tests/grid/test_settings.py"
SCHEDULER = "tests/engines/test_scheduler.py"

GRID = [
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
        "urfb/grid/spec.py",
        SETTINGS,
        ("NotNegative = Annotated[float, Field(ge=0,", "NotNegative = Annotated[float, Field(gt=0,"),
        ("if epoch <= self.pretraining_epochs:", "if epoch < self.pretraining_epochs:"),
        (
            "return epoch if epoch <= self.pretraining_epochs else",
            "return epoch if epoch < self.pretraining_epochs else",
        ),
        ('self.frozen or "none"', 'self.frozen or "all"'),
        ("decay=rule.decay if self.decay is None else self.decay", "decay=rule.decay"),
    ),
    *of(
        "urfb/grid/spec.py",
        "tests/grid/test_schema.py",
        ("Decay = Annotated[float, Field(ge=0, lt=1)]", "Decay = Annotated[float, Field(ge=0, le=1)]"),
        ("Density = Annotated[float, Field(gt=0, le=1)]", "Density = Annotated[float, Field(ge=0, le=1)]"),
        ("Count = Annotated[int, Field(ge=1,", "Count = Annotated[int, Field(ge=0,"),
    ),
    *of(
        "urfb/grid/expand.py",
        "tests/grid/test_expand.py",
        ("entry.items() <= own.items()", "entry.items() < own.items()"),
        ("entry.items() <= own.items()", "all(own.get(key, value) == value for key, value in entry.items())"),
        (
            "for axes in matrix.exclude for entry in _product(_factors(axes))",
            "for axes in matrix.exclude for entry in axes.in_step()",
        ),
        (
            "        if not agreeing:\n",
            "        if not agreeing and not any(one.items() <= entry.items() for one in excluded):\n",
        ),
        (
            "all(own[key] == value for key, value in entry.items() if key in own)",
            "all(whole[key] == value for key, value in entry.items() if key in whole)",
        ),
        ("whole.update(entry)", "whole.update({**entry, **whole})"),
        ("yield from extended\n    yield from alone", "yield from alone\n    yield from extended"),
        ("spec if spec.epochs > known.spec.epochs else known.spec", "known.spec"),
    ),
    *of(
        "urfb/grid/expand.py",
        "tests/grid/test_files.py::test_runs_of_several_files_are_one_grid_and_each_file_keeps_its_defaults_and_networks",
        (
            "**file.defaults.given(), **experiment.defaults.given()",
            "**experiment.defaults.given(), **file.defaults.given()",
        ),
    ),
    *of(
        "urfb/grid/expand.py",
        SETTINGS,
        ('named(name, convention or "paper")', 'named(name, "paper")'),
        ("> dataset.training:", ">= dataset.training:"),
        ('"off_class_margin", "true_class_margin") if key', '"off_class_margin") if key'),
        ("parameter not in rule.required + rule.optional:", "parameter not in rule.required:"),
        ('for key in ("pretraining_rule", "frozen") if key in values', 'for key in ("frozen",) if key in values'),
        (
            'for key in ("pretraining_rule", "frozen") if key in values',
            'for key in ("pretraining_rule", "frozen") if values.get(key, "none") != "none"',
        ),
        ('"epochs": 1000, **values', '"epochs": 100, **values'),
    ),
    *of(
        "urfb/grid/expand.py",
        "tests/grid/test_schema.py",
        ('shapes(values["layers"], dataset.shape, dataset', 'shapes(values["layers"], (3, 32, 32), dataset'),
    ),
    *of(
        "urfb/grid/expand.py",
        "tests/test_plugins.py::test_what_only_the_notation_says_is_refused_beside_a_users_model",
        ('    "pool_padding",\n)', ")"),
        ('"untied", "untied_start", "pretraining_epochs"', '"untied", "untied_start"'),
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
        "tests/test_plugins.py::test_a_data_sets_own_batch_size_holds_where_untied_layers_have_a_larger_one",
        (
            "min(dataset.batch_size, UNTIED_BATCH_SIZE if author_untied else dataset.batch_size)",
            "UNTIED_BATCH_SIZE if author_untied else dataset.batch_size",
        ),
    ),
    *of(
        "urfb/grid/schema.py",
        "tests/grid/test_schema.py",
        ("if name in NETWORKS and text != canonical(NETWORKS[name]):", "if name in NETWORKS:"),
        ("{column + 1}", "{column}"),
        ("            taken |= set(axes) & set(Settings.model_fields)\n", ""),
    ),
    *of(
        "urfb/grid/schema.py",
        SETTINGS,
        (
            "pretraining_epochs: Annotated[int, Field(ge=0, lt=2**31)] | None",
            "pretraining_epochs: Annotated[int, Field(ge=1, lt=2**31)] | None",
        ),
    ),
    *of(
        "urfb/grid/plan.py",
        "tests/grid/test_plan.py",
        ("        if name in filters:\n", "        if False:\n"),
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
        "urfb/grid/estimate.py",
        "tests/grid/test_estimate.py",
        ("run.layers, run.source, run.dataset", "run.layers, None, run.dataset"),
        ("(run.connectivity < 1) + (run.feedback_connectivity < 1)", "int(run.connectivity < 1)"),
        ("(run.connectivity < 1) + (run.feedback_connectivity < 1)", "(run.connectivity < 1) * 2"),
        ("workload = workloads(spec)[1]", "workload = workloads(spec)[0]"),
        ("or BYTES_PER_EPOCH))", "or 0))"),
        ("any(its not in timings for its, _ in stages)", "all(its not in timings for its, _ in stages)"),
        ("used[key] = timing", "used[workload] = timing"),
        ("is_training_error_epoch(epoch) or epoch == target", "is_training_error_epoch(epoch)"),
    ),
    *of(
        "urfb/grid/shown.py",
        "tests/grid/test_shown.py",
        ("masks = (spec.connectivity < 1) + (spec.feedback_connectivity < 1)", "masks = int(spec.connectivity < 1)"),
        ("spec.rule_of(spec.epochs)", "spec.rule_of(1)"),
        ("memory(spec.batch_size, spec", "memory(500, spec"),
    ),
    *of(
        "urfb/grid/shown.py",
        "tests/cli/test_network_commands.py::test_a_rule_with_parameters_is_shown_without_them",
        ('resolved({**settings, "rule": "urfb"}).model_copy(update={"rule": settings["rule"]})', "resolved(settings)"),
    ),
    *of(
        "urfb/engines/planner.py",
        "tests/engines/test_planner.py",
        ("[one.run.spec for one in missing]", "[one.run.spec for one in planned]"),
        ("jobs, len(missing), max(memory)", "jobs, len(planned), max(memory)"),
        ("jobs, len(missing), max(memory)", "jobs, len(missing), min(memory)"),
        ("known.epoch_seconds(name, workplaces[0].threads)", "known.epoch_seconds(name, 1)"),
        ("known.reasons() if known else {}", "{}"),
        ("slots=len(workplaces)", "slots=1"),
        ("refuse_unfit(specs, devices)", "pass"),
        ("bytes_per_epoch=known.bytes_per_epoch() if known else None", "bytes_per_epoch=None"),
    ),
    *of(
        "urfb/engines/scheduler.py",
        SCHEDULER,
        ("if not runner.outcome.stopped and (stop()", "if (stop()"),
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
        (
            "                if not self.outcome.stopped:\n                    self.elsewhere.append(spec)",
            "                pass",
        ),
        (
            "if isinstance(event, Finished):\n                    self.discard",
            "if isinstance(event, END):\n                    self.discard",
        ),
        ("        self.elsewhere.clear()\n", ""),
        ("failures=self.failures.get(spec.identity, 0)", "failures=0"),
        ("isinstance(event, Lost) and not self.outcome.stopped", "isinstance(event, Lost)"),
        ("if not isinstance(event, END):", "if True:"),
        ("self.engine.drop(identity)", "pass"),
        ("                store.renew_leases()", "                pass"),
    ),
]

CONTRACT = "tests/store/test_contract.py::test_"
MERGE = "tests/store/test_merge.py"
RUNNER = "tests/engines/test_runner.py::test_"

STORE = [
    *of(
        "urfb/store/__init__.py",
        CONTRACT + "a_runner_renews_and_gives_back_its_own_runs_alone",
        (
            ".where(tables.run.c.owner == self._token)\n                .values(leased_until",
            ".values(leased_until",
        ),
        (
            ".values(leased_until=_clock(connection) + LEASE_SECONDS)\n            )",
            ".values(leased_until=_clock(connection))\n            )",
        ),
        ("epochs_done=event.epoch, leased_until=_clock(connection) + LEASE_SECONDS", "epochs_done=event.epoch"),
        ("own = select(columns.id).where(columns.owner == self._token)", "own = select(columns.id)"),
    ),
    *of(
        "urfb/store/__init__.py",
        CONTRACT + "a_run_that_is_taken_or_cancelled_while_it_is_claimed_is_not_claimed",
        ("columns.owner.is_not_distinct_from(row.owner), columns.state == row.state", "columns.state == row.state"),
        (", columns.state == row.state)\n                .values(", ")\n                .values("),
    ),
    *of(
        "urfb/store/__init__.py",
        CONTRACT + "a_runner_that_lives_beside_this_one_keeps_its_run",
        ("(_is_here(row.owner) and row.owner_process == os.getpid())", "_is_here(row.owner)"),
    ),
    *of(
        "urfb/store/__init__.py",
        CONTRACT + "going_on_from_an_earlier_epoch_drops_what_is_stored_past_it",
        (
            "for table in (tables.epoch, tables.test, tables.layer_alignment, tables.filters):",
            "for table in (tables.epoch, tables.layer_alignment, tables.filters):",
        ),
        ("past = table.c.epoch > event.epochs_done", "past = table.c.epoch > event.epochs_done + 1"),
    ),
    *of(
        "urfb/store/__init__.py",
        CONTRACT + "closing_a_run_again_replaces_its_test_error_of_that_epoch",
        (
            ".where(columns.run_id == run.id, columns.epoch == event.epoch)",
            ".where(columns.run_id == run.id)",
        ),
        (
            ".where(columns.run_id == run.id, columns.epoch == event.epoch)",
            ".where(columns.epoch == event.epoch)",
        ),
    ),
    *of(
        "urfb/store/__init__.py",
        CONTRACT + "a_target_nearer_than_what_is_stored_is_what_is_stored",
        ("epochs_target=max(spec.epochs, epochs_done)", "epochs_target=spec.epochs"),
    ),
    *of(
        "urfb/store/__init__.py",
        CONTRACT + "failures_are_counted",
        ('.where(attempts.run_id == row.id, attempts.outcome == "failed")', ".where(attempts.run_id == row.id)"),
        ('.where(attempts.run_id == row.id, attempts.outcome == "failed")', '.where(attempts.outcome == "failed")'),
    ),
    *of(
        "urfb/store/__init__.py",
        CONTRACT + "a_run_goes_on_with_the_threads_of_its_own_last_training",
        (".order_by(columns.id.desc())\n        .limit(1)", ".order_by(columns.id)\n        .limit(1)"),
        ("columns.run_id == run_id, columns.threads.is_not(None)", "columns.run_id == run_id"),
        ("columns.run_id == run_id, columns.threads.is_not(None)", "columns.threads.is_not(None)"),
    ),
    *of(
        "urfb/store/__init__.py",
        CONTRACT + "a_runner_that_has_lost_its_run_stores_nothing_of_it",
        ("if run.owner != self._token:", "if run.owner is None:"),
    ),
    *of(
        "urfb/store/__init__.py",
        CONTRACT + "a_run_belongs_to_one_living_process",
        ("if leased_until is None or leased_until < now:", "if leased_until is None:"),
    ),
    *of(
        "urfb/store/__init__.py",
        CONTRACT + "filters_are_read_back_as_arrays_each_where_it_was",
        (".where(tables.run.c.identity == self.spec(run).identity)\n            .order_by", ".order_by"),
    ),
    *of(
        "urfb/store/__init__.py",
        CONTRACT + "a_runs_rows_are_read_back_as_tidy_frames",
        ("None if value != value else value", "value"),
    ),
    *of(
        "urfb/store/__init__.py",
        "tests/store/test_simulations.py::test_thumbnails_are_read_back_by_label_and_position_and_replaced",
        ('for name in ("dataset", "label", "position")', 'for name in ("label", "position")'),
    ),
    *of(
        "urfb/store/engine.py",
        CONTRACT + "a_reader_sees_one_moment",
        ('"READ COMMITTED" if writing else "REPEATABLE READ"', '"READ COMMITTED"'),
        (
            'connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")',
            'connection.exec_driver_sql("BEGIN IMMEDIATE") if writing else None',
        ),
    ),
    *of(
        "urfb/store/tables.py",
        CONTRACT + "what_is_summed_up_of_a_run_is_its_own",
        ("FROM epoch WHERE epoch.run_id = run.id)", "FROM epoch)"),
        ("(SELECT count(*) FROM attempt WHERE attempt.run_id = run.id)", "(SELECT count(*) FROM attempt)"),
    ),
    *of(
        "urfb/store/tables.py",
        CONTRACT + "a_run_goes_on_with_the_threads_of_its_own_last_training",
        ("attempt.id = (SELECT max(id)", "attempt.id = (SELECT min(id)"),
    ),
    *of(
        "urfb/store/tables.py",
        CONTRACT + "a_runs_rows_are_read_back_as_tidy_frames",
        ('    "input_offset",\n    "step_size",\n', '    "step_size",\n'),
    ),
    *of(
        "urfb/store/tables.py",
        CONTRACT + "registering_again_adds_nothing_but_the_experiment",
        ("WHERE experiment_run.run_id = run.id ORDER BY experiment.name", "WHERE experiment_run.run_id = run.id"),
    ),
    *of(
        "urfb/store/frames.py",
        CONTRACT + "filters_take_the_values_of_a_frame",
        ("value.item() if isinstance(value, np.generic) else value", "value"),
        ("or_(agrees, name.is_(None)) if len(there) < len(values) else agrees", "agrees"),
    ),
    *of(
        "urfb/store/merge.py",
        MERGE,
        (
            "            _unite_memberships(writing, memberships)\n    for run",
            "        _unite_memberships(writing, memberships)\n    for run",
        ),
        ('self.tested and self.state != "failed"', "self.tested"),
        ('(row["id"], row["epochs_done"]) in tested', 'row["id"] in {run for run, _ in tested}'),
        ("their.rank > our.rank", "their.rank >= our.rank"),
        ("holders[one.run] = [source]", "holders[one.run].append(source)"),
    ),
    *of(
        "urfb/store/export.py",
        "tests/store/test_export.py::test_a_folder_gets_all_three_tables",
        ("frame.to_csv(partial_file, index=False)", 'frame.to_csv(partial_file, index=False, float_format="%.6g")'),
    ),
    *of(
        "urfb/store/query.py",
        "tests/store/test_query.py::test_a_server_runs_no_second_statement",
        ("prepare_threshold = 0", "prepare_threshold = 5"),
    ),
    *of(
        "urfb/engines/runner.py",
        RUNNER + "checkpoints_of_runs_that_are_done_stay_or_go_as_wanted",
        ('if state == "done"]', 'if state != "running"]'),
    ),
    *of(
        "urfb/engines/runner.py",
        RUNNER + "an_experiment_whose_runs_are_done_is_recorded",
        ("        writable.register(runs)\n", "        writable.register(missing)\n"),
    ),
    *of(
        "urfb/engines/runner.py",
        RUNNER + "a_run_that_another_runner_trains_takes_no_place_of_those_wanted",
        ('if one.missing and (limit is None or one.state != "running")]', "if one.missing]"),
    ),
    *of(
        "urfb/training/checkpoint.py",
        "tests/training/test_trainer.py::test_a_checkpoint_ahead_of_the_store_is_passed_over",
        ("if epoch > at_most:", "if False:"),
    ),
    *of(
        "urfb/training/checkpoint.py",
        "tests/training/test_trainer.py::test_a_damaged_checkpoint_falls_back_to_the_one_before_and_says_so",
        ("self._latest_is_good = path == self.latest", "self._latest_is_good = True"),
    ),
]

MUTATIONS = [*TRAINING, *CLAIMS, *GRID, *STORE]
