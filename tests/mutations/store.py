"""Mistakes in storing, reading, merging and resuming runs."""

from tests.mutations.mutation import of

CONTRACT = "tests/store/test_contract.py::test_"
MERGE = "tests/store/test_merge.py"
RUNNER = "tests/engines/test_runner.py::test_"

MUTATIONS = [
    *of(
        "urfb/store/writing.py",
        "tests/store/test_files.py::test_the_threads_of_a_runner_write_one_after_the_other",
        ("        if self._turn is None:\n", "        if True:\n"),
    ),
    *of(
        "urfb/store/status.py",
        "tests/cli/test_grid_commands.py::test_stored_runs_of_an_experiment_that_the_file_lacks_are_reported",
        ("if name in experiments and identity not in identities:", "if identity not in identities:"),
        ("if name in experiments and identity not in identities:", "if name in experiments:"),
    ),
    *of(
        "urfb/store/frames.py",
        CONTRACT + "an_impossible_filter_value_is_refused",
        ("if isinstance(value, str) != (kind is str):", "if False:"),
        ('context={"networks": stored}', "context={}"),
        ("        if value not in known:\n", "        if False:\n"),
    ),
    *of(
        "urfb/store/frames.py",
        CONTRACT + "every_frame_of_runs_is_filtered_by_experiment_and_state",
        ('if "state" in (*columns, *filters):', 'if "state" in columns:'),
        ("    if wanted_states is not None:\n", "    if False:\n"),
        ("        .where(tables.experiment.c.name.in_(experiments))\n", ""),
    ),
    *of(
        "urfb/store/writing.py",
        "tests/store/test_displaced.py",
        ("        self._check_file()\n        try:\n", "        try:\n"),
        ("            ) from error\n        self._check_file()\n", "            ) from error\n"),
    ),
    *of(
        "urfb/store/open_file.py",
        "tests/store/test_displaced.py",
        ("return state.st_dev, state.st_ino", "return state.st_dev, 0"),
        ("PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA wal_checkpoint(PASSIVE)"),
        ("        self.check()\n        engine = connect(", "        engine = connect("),
        ("        check_schema(engine, self._location)\n", ""),
        ('if problem != "ok":', "if False:"),
    ),
    *of(
        "urfb/store/engine.py",
        "tests/store/test_displaced.py",
        ('connection.execute("PRAGMA wal_autocheckpoint=1")', 'connection.execute("PRAGMA wal_autocheckpoint=1000")'),
        ("if waited > QUIET_SECONDS and not warned:", "if waited > QUIET_SECONDS:"),
        ("            if path.is_symlink():", "            if False:"),
        ("database=str(path.absolute())", "database=str(path)"),
    ),
    *of(
        "urfb/store/engine.py",
        "tests/cli/test_read_only.py",
        ('else "immutable=1"', 'else "mode=rw"'),
        ("writing or is_writable or rows_in_log(path)", "writing or is_writable"),
    ),
    *of(
        "urfb/store/writing.py",
        CONTRACT + "a_runner_renews_and_releases_only_its_own_runs",
        (
            ".where(tables.run.c.owner == self._token)\n                .values(leased_until",
            ".values(leased_until",
        ),
        (
            ".values(leased_until=clock(connection) + LEASE_SECONDS)\n            )",
            ".values(leased_until=clock(connection))\n            )",
        ),
        ("epochs_done=event.epoch, leased_until=clock(connection) + LEASE_SECONDS", "epochs_done=event.epoch"),
        ("claimed = select(columns.id).where(columns.owner == self._token)", "claimed = select(columns.id)"),
    ),
    *of(
        "urfb/store/writing.py",
        CONTRACT + "run_taken_or_cancelled_during_a_claim_is_not_claimed",
        ("columns.owner.is_not_distinct_from(row.owner), columns.state == row.state", "columns.state == row.state"),
        (", columns.state == row.state)\n                .values(", ")\n                .values("),
    ),
    *of(
        "urfb/store/writing.py",
        CONTRACT + "a_live_runner_on_the_same_host_keeps_its_run",
        ("(is_local(row.owner) and row.owner_process == os.getpid())", "is_local(row.owner)"),
    ),
    *of(
        "urfb/store/writing.py",
        CONTRACT + "continuing_from_an_earlier_epoch_deletes_later_rows",
        (
            "for table in (tables.epoch, tables.test, tables.layer_alignment, tables.filters):",
            "for table in (tables.epoch, tables.layer_alignment, tables.filters):",
        ),
        ("past = table.c.epoch > event.epochs_done", "past = table.c.epoch > event.epochs_done + 1"),
    ),
    *of(
        "urfb/store/writing.py",
        CONTRACT + "finishing_a_run_again_replaces_that_epochs_test_error",
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
        "urfb/store/writing.py",
        CONTRACT + "a_target_below_the_stored_epochs_is_raised_to_them",
        ("epochs_target=max(spec.epochs, epochs_done)", "epochs_target=spec.epochs"),
    ),
    *of(
        "urfb/store/writing.py",
        CONTRACT + "failures_are_counted",
        ('.where(attempts.run_id == row.id, attempts.outcome == "failed")', ".where(attempts.run_id == row.id)"),
        ('.where(attempts.run_id == row.id, attempts.outcome == "failed")', '.where(attempts.outcome == "failed")'),
    ),
    *of(
        "urfb/store/writing.py",
        CONTRACT + "a_run_continues_with_the_threads_of_its_last_training",
        (".order_by(columns.id.desc())\n        .limit(1)", ".order_by(columns.id)\n        .limit(1)"),
        ("columns.run_id == run_id, columns.threads.is_not(None)", "columns.run_id == run_id"),
        ("columns.run_id == run_id, columns.threads.is_not(None)", "columns.threads.is_not(None)"),
    ),
    *of(
        "urfb/store/writing.py",
        CONTRACT + "a_runner_that_has_lost_a_run_stores_nothing_for_it",
        ("if run is None or run.owner != self._token:", "if run is None or run.owner is None:"),
    ),
    *of(
        "urfb/store/liveness.py",
        CONTRACT + "a_run_belongs_to_one_living_process",
        ("if leased_until is None or leased_until < now:", "if leased_until is None:"),
    ),
    *of(
        "urfb/store/reading.py",
        CONTRACT + "filters_are_read_back_as_arrays_with_their_locations",
        (".where(tables.run.c.identity == self.spec(run).identity)\n            .order_by", ".order_by"),
    ),
    *of(
        "urfb/store/writing.py",
        CONTRACT + "a_runs_rows_are_read_back_as_tidy_frames",
        ("None if value != value else value", "value"),
    ),
    *of(
        "urfb/store/engine.py",
        CONTRACT + "a_reader_sees_one_snapshot",
        ('"READ COMMITTED" if writing else "REPEATABLE READ"', '"READ COMMITTED"'),
        (
            'connection.exec_driver_sql("BEGIN")',
            "pass",
        ),
    ),
    *of(
        "urfb/store/tables.py",
        CONTRACT + "sums_and_counts_cover_only_the_runs_own_rows",
        ("FROM epoch WHERE epoch.run_id = run.id)", "FROM epoch)"),
        ("(SELECT count(*) FROM attempt WHERE attempt.run_id = run.id)", "(SELECT count(*) FROM attempt)"),
    ),
    *of(
        "urfb/store/tables.py",
        CONTRACT + "a_run_continues_with_the_threads_of_its_last_training",
        ("attempt.id = (SELECT max(id)", "attempt.id = (SELECT min(id)"),
    ),
    *of(
        "urfb/store/tables.py",
        CONTRACT + "a_runs_rows_are_read_back_as_tidy_frames",
        ('if name != "epochs")', 'if name not in ("epochs", "input_offset"))'),
    ),
    *of(
        "urfb/store/tables.py",
        CONTRACT + "registering_again_adds_nothing_but_the_experiment",
        ("WHERE experiment_run.run_id = run.id ORDER BY experiment.name", "WHERE experiment_run.run_id = run.id"),
    ),
    *of(
        "urfb/store/tables.py",
        CONTRACT + "conditions_use_the_column_types_of_their_view",
        ('"alignment": (run, layer_alignment)', '"alignment": (run, layer_alignment, epoch)'),
    ),
    *of(
        "urfb/store/frames.py",
        CONTRACT + "columns_have_values_of_their_declared_type",
        ('return "Int64" if stored.nullable else "int64"', "return None"),
    ),
    *of(
        "urfb/store/frames.py",
        CONTRACT + "filters_take_the_values_of_a_frame",
        ("value.item() if isinstance(value, np.generic) else value", "value"),
        ("or_(matches, field.is_(None)) if len(present) < len(values) else matches", "matches"),
    ),
    *of(
        "urfb/store/merge.py",
        MERGE,
        (
            "            _unite_memberships(writing, memberships)\n    for identity",
            "        _unite_memberships(writing, memberships)\n    for identity",
        ),
        ('self.tested and self.state != "failed"', "self.tested"),
        ('(row["id"], row["epochs_done"]) in tested', 'row["id"] in {run for run, _ in tested}'),
        ("source.rank > target.rank", "source.rank >= target.rank"),
        ("holders[run.run] = [source]", "holders[run.run].append(source)"),
    ),
    *of(
        "urfb/store/status.py",
        "tests/store/test_status.py",
        ("run.epochs_done > 0, or_(", "or_("),
        (", run.science_version < SCIENCE_VERSION)", ")"),
        ('("network", "epochs", "source")]', '("network", "source")]'),
        ("    if source != spec.source:\n", "    if source is None:\n"),
    ),
    *of(
        "urfb/store/removal.py",
        "tests/store/test_removal.py",
        ("                for row in leaving\n", "                for row in ()\n"),
        ("row.identity in identities and row.id not in asked_for", "row.identity in identities"),
        ("row.identity in identities and row.id not in asked_for", "row.id not in asked_for"),
        ("(*tables.RUN_TABLES, tables.experiment_run)", "tables.RUN_TABLES"),
        ("    connection.execute(delete(tables.experiment).where(", "    (delete(tables.experiment).where("),
        ('(name for name in missing if re.fullmatch("[0-9a-f]{16}", name))', "missing"),
        ("    RunFiles.of(store.location, [row.identity for row in leaving]).remove()\n", ""),
    ),
    *of(
        "urfb/store/reading.py",
        "tests/store/test_removal.py",
        ('~frame["run"].isin(', 'frame["run"].isin('),
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
        RUNNER + "checkpoints_of_done_runs_are_kept_or_removed_on_request",
        ('if state == "done"]', 'if state != "running"]'),
    ),
    *of(
        "urfb/engines/runner.py",
        RUNNER + "an_experiment_whose_runs_are_done_is_recorded",
        ("        writable.register(runs)\n", "        writable.register(missing)\n"),
    ),
    *of(
        "urfb/engines/runner.py",
        RUNNER + "runs_of_other_runners_do_not_count_for_the_limit",
        ('if run.missing and (limit is None or run.state != "running")]', "if run.missing]"),
    ),
    *of(
        "urfb/training/checkpoint.py",
        "tests/training/test_trainer.py::test_a_checkpoint_ahead_of_the_store_is_skipped",
        ("if epoch > at_most or (", "if ("),
    ),
    *of(
        "urfb/training/checkpoint.py",
        "tests/training/test_trainer.py::test_a_damaged_checkpoint_falls_back_to_the_one_before",
        ("            if path == self.latest:\n", "            if True:\n"),
    ),
    *of(
        "urfb/files.py",
        "tests/test_files.py",
        ("        partial.unlink(missing_ok=True)\n", "        pass\n"),
    ),
]
