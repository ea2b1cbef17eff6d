"""The contract of every store, as its docstrings state it: in an SQLite file and in a PostgreSQL database."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from os import getpid, getppid
from socket import gethostname
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import text

from tests.helpers import tiny_run
from tests.store.recorded import PROVENANCE, epoch, finish, started
from tests.store.simulated import simulated
from urfb import open_store
from urfb.errors import SelectionError, StoreError
from urfb.events import AlignmentPoint, Failed, Finished, Lost, Started, Stopped
from urfb.grid.expand import GridRun
from urfb.grid.plan import parse_filters
from urfb.grid.spec import RunSpec
from urfb.store import Claim, WritableStore, open_for_writing, stored_progress, tables
from urfb.store.engine import Location, connect

Sql = Callable[[str], list[tuple[Any, ...]]]


def test_a_runs_rows_are_read_back_as_tidy_frames(store: WritableStore, run: GridRun, location: str) -> None:
    finish(store, run)
    read = open_store(location)
    (row,) = read.runs().to_dict("records")
    spec = run.spec
    for field in RunSpec.model_fields.keys() - {"epochs"}:
        value = getattr(spec, field)
        assert pd.isna(row[field]) if value is None else row[field] == value, field
    assert row["run"] == spec.identity
    assert (row["state"], row["epochs_done"], row["epochs_target"]) == ("done", 2, 2)
    assert (row["training_error"], row["validation_error"], row["test_error"]) == (0.5, 0.6, 0.25)
    assert row["experiments"] == "first,second"
    assert (row["host"], row["threads"], row["commit"], row["outcome"]) == ("host", 2, "abc", "done")
    assert row["dense_output"] is True
    epochs = read.epochs()
    assert epochs["epoch"].tolist() == [1, 2]
    assert set(epochs["run"]) == {spec.identity}
    alignment = read.alignment(layer=1)
    assert alignment["step"].tolist() == [0, 26, 52]
    assert alignment["correlation_shared"].isna().tolist() == [True, False, False]
    assert read.alignment(correlation_shared=None)["step"].tolist() == [0]


def test_empty_frames_have_the_types_of_full_ones(store: WritableStore, run: GridRun) -> None:
    empty = store.epochs(), store.alignment()
    finish(store, run)
    full = store.epochs(), store.alignment()
    for before, after in zip(empty, full, strict=True):
        numbers = after.select_dtypes("number").columns
        assert before[numbers].dtypes.tolist() == after[numbers].dtypes.tolist()


def test_filters_take_one_or_more_values_and_refuse_unknown_columns(store: WritableStore) -> None:
    store.register([tiny_run(rule=rule, seed=seed) for rule in ("bp", "urfb") for seed in (0, 1)])
    assert len(store.runs(rule="urfb")) == 2
    assert len(store.runs(rule=["urfb", "bp"], seed=1)) == 2
    assert len(store.runs(state="new")) == 4
    assert store.runs(state="done").empty
    assert store.epochs(rule="urfb").empty
    with pytest.raises(SelectionError, match="did you mean 'rule'"):
        store.runs(rul="bp")


IMPOSSIBLE = [
    ({"rule": "urbf"}, "rule 'urbf': did you mean 'urfb'? (allowed: bp, urfb, "),
    ({"rule": ["urfb", "FA"]}, "rule 'FA': did you mean 'frfb'?"),
    ({"loss": "cross_entropy"}, "loss 'cross_entropy': did you mean 'softmax'?"),
    ({"dataset": "digit"}, "dataset 'digit': did you mean 'digits'?"),
    ({"network": "mnie"}, "network 'mnie': did you mean 'mine'?"),
    ({"network": "Full 20"}, "network 'Full 20': a network ends with 'Output'"),
    ({"precision": "fp32"}, "precision 'fp32': did you mean 'float32'?"),
    ({"untied": "first"}, "untied 'first': give conv layers as 'none', 'all' or numbers"),
    ({"connectivity": 50}, "connectivity '50': must be at most 1"),
    ({"seed": 2**70}, f"seed '{2**70}': must be less than"),
    ({"seed": "0"}, "seed '0': give a number"),
    ({"rule": 3}, "rule 3: give text"),
    ({"state": "finished"}, "state 'finished': did you mean 'done'? (allowed: new, running"),
    ({"experiments": "frist"}, "experiments 'frist': did you mean 'first'? (allowed: first, second)"),
    ({"run": "0" * 16}, f"run '{'0' * 16}': allowed: "),
    (
        {"seed": 0, "experiments": "frist", "state": "don"},
        "(allowed: first, second)\nstate 'don': did you mean 'done'?",
    ),
]


@pytest.mark.parametrize("view", ["runs", "epochs", "alignment"])
def test_an_impossible_filter_value_is_refused(store: WritableStore, view: str) -> None:
    run = tiny_run("first", "second")
    store.register([replace(run, spec=run.spec.model_copy(update={"network": "mine"}))])  # a name of a grid file
    for filters, message in IMPOSSIBLE:
        with pytest.raises(SelectionError) as caught:
            getattr(store, view)(**filters)
        assert message in str(caught.value)


def test_a_mistyped_identity_suggests_the_nearest_one(store: WritableStore, run: GridRun) -> None:
    identity = run.spec.identity
    for typed in (identity[:5], identity[:-1] + "x"):
        with pytest.raises(SelectionError, match=f"run '{typed}': did you mean '{identity}'"):
            store.epochs(run=typed)


def test_a_possible_filter_value_that_no_run_has_selects_nothing(store: WritableStore, run: GridRun) -> None:
    for filters in (
        {"rule": "bp"}, {"rule": "my_rules:halfway"}, {"seed": 7}, {"connectivity": 0.25}, {"state": "failed"},
        {"network": "simpnet"}, {"network": "Full 3; Output"}, {"untied": "2 3"}, {"host": "elsewhere"},
    ):  # fmt: skip
        assert store.runs(**filters).empty, filters


def test_filters_accept_other_spellings_of_a_setting(store: WritableStore) -> None:
    store.register([tiny_run(network="Conv 4 3x3; Conv 4 3x3; Conv 4 3x3; Output", untied="1 2"), tiny_run()])
    assert len(store.runs(network="conv 4 3x3;conv 4 3x3;conv 4 3x3; output", untied="2 1")) == 1


def test_filters_take_the_values_of_a_frame(store: WritableStore) -> None:
    store.register([tiny_run(rule="interpolated", epsilon=0.5, gradient_batch=7), tiny_run(seed=1)])
    runs = store.runs()
    for name in ("seed", "rule", "epsilon", "gradient_batch"):
        for run, value in zip(runs["run"], runs[name], strict=True):
            assert store.runs(**{name: value})["run"].tolist() == [run], name
        for values in (runs[name], runs[name].to_numpy(), list(runs[name].to_numpy())):
            assert len(store.runs(**{name: values})) == 2, name
    assert len(store.runs(epsilon=[None, 0.5])) == 2


def test_an_experiments_runs_include_those_shared_with_others(store: WritableStore) -> None:
    shared, own = tiny_run("first", "second", seed=0), tiny_run("first", seed=1)
    store.register([shared, own])
    assert set(store.runs(experiments="first")["run"]) == {shared.spec.identity, own.spec.identity}
    assert set(store.runs(experiments="second")["run"]) == {shared.spec.identity}
    assert len(store.runs(experiments=["first", "second"], seed=1)) == 1


@pytest.mark.parametrize("view", ["runs", "epochs", "alignment"])
def test_every_frame_of_runs_is_filtered_by_experiment_and_state(store: WritableStore, sql: Sql, view: str) -> None:
    shared, own, cancelled = runs = tiny_run("first", "second"), tiny_run("first", seed=1), tiny_run("second", seed=2)
    store.register(runs)
    for run in runs:
        finish(store, run)
    sql(f"UPDATE run SET state = 'cancelled' WHERE identity = '{cancelled.spec.identity}'")
    # A run whose runner is dead
    sql(f"UPDATE run SET state = 'running', owner = 'dead' WHERE identity = '{own.spec.identity}'")
    read = getattr(store, view)

    def seeds(**filters: Any) -> list[int]:
        frame = read(**filters)
        assert list(frame.columns) == list(store.columns(view))
        assert frame.index.tolist() == list(range(len(frame)))
        return sorted(set(frame["seed"]))

    assert seeds(experiments="first") == [0, 1]
    assert seeds(experiments=["first", "second"], seed=[1, 2]) == [1, 2]
    assert seeds(state="unfinished") == [1]
    assert seeds(state=["done", "cancelled"], experiments="second", run=[shared.spec.identity]) == [0]
    assert seeds(state=[], seed=0) == []


def test_registering_again_adds_nothing_but_the_experiment(store: WritableStore, run: GridRun) -> None:
    store.register([run, tiny_run("another", seed=3, connectivity=0.5)])
    (row,) = store.runs().to_dict("records")
    assert row["experiments"] == "another,first,second"


def test_sums_and_counts_cover_only_the_runs_own_rows(store: WritableStore, run: GridRun) -> None:
    other = tiny_run()
    store.register([other])
    finish(store, run)
    finish(store, other, epochs=3)
    assert store.runs()[["seconds", "attempts", "experiments"]].to_numpy().tolist() == [
        [3.0, 1, "first,second"],
        [4.5, 1, "tiny"],
    ]


def test_a_run_belongs_to_one_living_process(store: WritableStore, run: GridRun, location: str, sql: Sql) -> None:
    assert store.claim(run.spec) == ("claimed", 0, None)
    store.record(run.spec.identity, started())
    store.record(run.spec.identity, epoch(1))
    assert stored_progress(location) == {run.spec.identity: ("running", 1)}
    # The same run, owned by a process of another host with a valid lease
    sql("UPDATE run SET owner_host = 'elsewhere', owner = 'another'")
    assert store.claim(run.spec) == ("elsewhere", 1, None)
    sql("UPDATE run SET leased_until = leased_until - 3600")
    assert stored_progress(location) == {run.spec.identity: ("unfinished", 1)}
    assert store.runs()["state"].tolist() == ["unfinished"]
    assert store.claim(run.spec) == ("claimed", 1, 2)


def test_a_finished_run_is_claimed_only_for_a_larger_target(store: WritableStore, run: GridRun) -> None:
    finish(store, run)
    assert store.claim(run.spec) == ("done", 2, None)
    larger = run.spec.model_copy(update={"epochs": 3})
    assert store.claim(larger) == ("claimed", 2, 2)
    assert store.runs()["epochs_target"].tolist() == [3]


def test_a_target_below_the_stored_epochs_is_raised_to_them(store: WritableStore, run: GridRun) -> None:
    store.claim(run.spec.model_copy(update={"epochs": 9}))
    for event in (started(), *map(epoch, (1, 2, 3)), Stopped()):
        store.record(run.spec.identity, event)
    assert store.claim(run.spec).outcome == "claimed"
    assert store.runs()[["epochs_done", "epochs_target"]].to_numpy().tolist() == [[3, 3]]


def test_continuing_from_an_earlier_epoch_deletes_later_rows(store: WritableStore, run: GridRun) -> None:
    finish(store, run, epochs=4)
    store.claim(run.spec.model_copy(update={"epochs": 9}))
    store.record(run.spec.identity, started(epochs_done=2))
    assert store.epochs()["epoch"].tolist() == [1, 2]
    assert store.alignment()["epoch"].tolist() == [0, 1, 2]
    for number in (3, 4):
        store.record(run.spec.identity, epoch(number))
    assert store.runs()["test_error"].isna().all()
    store.claim(run.spec)
    store.record(run.spec.identity, started(epochs_done=0))
    assert store.epochs().empty
    assert store.alignment()["epoch"].tolist() == [0]
    assert store.runs()["attempts"].tolist() == [3]


def test_an_attempt_whose_runner_died_ends_as_interrupted(store: WritableStore, run: GridRun, sql: Sql) -> None:
    store.claim(run.spec)
    store.record(run.spec.identity, started())
    store.claim(run.spec)
    store.record(run.spec.identity, started())
    assert sql("SELECT outcome FROM attempt ORDER BY id") == [("interrupted",), (None,)]


def test_a_failure_is_stored_with_its_traceback(store: WritableStore, run: GridRun) -> None:
    store.claim(run.spec)
    store.record(run.spec.identity, started())
    store.record(run.spec.identity, Failed("DivergedError: the loss is nan", "Traceback …"))
    (row,) = store.runs().to_dict("records")
    assert (row["state"], row["reason"], row["traceback"]) == (
        "failed",
        "DivergedError: the loss is nan",
        "Traceback …",
    )
    assert store.claim(run.spec) == ("claimed", 0, PROVENANCE.threads)


def test_release_gives_up_the_runs_of_this_process(store: WritableStore, run: GridRun) -> None:
    store.claim(run.spec)
    store.record(run.spec.identity, started())
    store.record(run.spec.identity, epoch(1))
    store.release("interrupted")
    (row,) = store.runs().to_dict("records")
    assert (row["state"], row["epochs_done"], row["outcome"]) == ("unfinished", 1, "interrupted")


def test_a_runner_renews_and_releases_only_its_own_runs(store: WritableStore, location: str, sql: Sql) -> None:
    first, second = runs = [tiny_run(seed=seed) for seed in (0, 1)]
    other = open_for_writing(location)
    store.register(runs)
    store.claim(first.spec)
    other.claim(second.spec)
    other.record(second.spec.identity, started())
    sql("UPDATE run SET leased_until = leased_until - 3600")
    store.renew_leases()
    assert store.runs()["state"].tolist() == ["running", "unfinished"]
    other.record(second.spec.identity, epoch(1))
    store.release("stopped")
    assert store.runs()["state"].tolist() == ["unfinished", "running"]


def test_a_failure_before_training_is_stored_with_its_reason(store: WritableStore, run: GridRun) -> None:
    store.claim(run.spec)
    store.record(run.spec.identity, Failed("RuntimeError: no memory", "Traceback …"))
    (row,) = store.runs().to_dict("records")
    assert (row["state"], row["reason"], row["attempts"]) == ("failed", "RuntimeError: no memory", 1)


def test_a_runner_that_has_lost_a_run_stores_nothing_for_it(store: WritableStore, run: GridRun, location: str) -> None:
    """A runner that was suspended for longer than its lease finds that another runner has the run."""
    store.claim(run.spec)
    assert store.record(run.spec.identity, started())
    other = open_for_writing(location)
    assert other.claim(run.spec)[:2] == ("claimed", 0)  # the owner has this process's number, so it must be dead
    assert other.record(run.spec.identity, started())
    assert other.record(run.spec.identity, epoch(1))
    for event in (epoch(1), Failed("late", ""), Finished(1, 1.0, 0.5)):
        assert not store.record(run.spec.identity, event)
    store.release("late")
    (row,) = store.runs().to_dict("records")
    assert (row["state"], row["epochs_done"]) == ("running", 1)
    assert store.runs()["test_error"].isna().all()


def test_finishing_a_run_again_replaces_that_epochs_test_error(store: WritableStore, run: GridRun, sql: Sql) -> None:
    other, larger = tiny_run(), run.spec.model_copy(update={"epochs": 50})
    store.register([other])
    for one in (run, other):
        finish(store, one)
    for events in ((Finished(2, 1.0, 0.25),), (epoch(3), Finished(3, 1.0, 0.125))):
        store.claim(larger)
        for event in (started(epochs_done=2), *events):
            store.record(run.spec.identity, event)
    assert store.runs()["test_error"].tolist() == [0.125, 0.25]
    assert sql("SELECT epoch, test_error FROM test ORDER BY run_id, epoch") == [(2, 0.25), (3, 0.125), (2, 0.25)]


def test_a_reading_store_cannot_write(store: WritableStore, run: GridRun, location: str) -> None:
    reading = open_store(location)
    with pytest.raises(Exception, match=r"read-?only"), reading.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM run")
    assert len(store.runs()) == 1


def test_filters_are_read_back_as_arrays_with_their_locations(store: WritableStore, run: GridRun) -> None:
    other = tiny_run()
    store.register([other])
    for one in (run, other):
        finish(store, one)
    found = store.filters(run.spec.identity[:5])
    assert [(one.epoch, one.layer, one.row, one.column) for one in found] == [
        (epoch, 1, row, 2) for epoch in (0, 1, 2) for row in (2, 6)
    ]
    np.testing.assert_array_equal(found[3].weights, np.arange(36.0).reshape(2, 3, 3, 2) + 1 + 6)


def test_continuing_from_an_earlier_epoch_deletes_later_filters(store: WritableStore, run: GridRun) -> None:
    finish(store, run)
    store.claim(run.spec.model_copy(update={"epochs": 5}))
    store.record(run.spec.identity, started(epochs_done=1))
    assert {one.epoch for one in store.filters(run.spec.identity)} == {0, 1}
    store.record(run.spec.identity, started())
    assert {one.epoch for one in store.filters(run.spec.identity)} == {0}


def test_alignment_measures_are_kept_and_missing_are_empty(store: WritableStore, run: GridRun) -> None:
    store.claim(run.spec)
    full = AlignmentPoint(0, 0.0, 1, "Conv 4 3x3", 0.1, 0.2, 80.0, 0.6, 1.5, 0.7, 0.3, 0.4)
    store.record(run.spec.identity, Started(0, PROVENANCE, (full, AlignmentPoint(0, 0.0, 2, "Output"))))
    first, second = store.alignment().to_dict("records")
    for name in ("correlation", "correlation_shared", "angle", "sign_agreement", "norm_ratio", "gradient_cosine",
                 "filter_similarity", "saturation"):  # fmt: skip
        assert first[name] == getattr(full, name)
        assert np.isnan(second[name])


def test_a_spec_is_read_back_whole_by_the_beginning_of_its_identity(store: WritableStore) -> None:
    runs = [
        tiny_run(rule="interpolated", epsilon=0.5, decay=0.01, untied="all", gradient_batch=7),
        tiny_run(rule="bp", loss="softmax", pretraining_epochs=1, untied="none"),
        tiny_run(seed=2**62, convention="author-code"),
    ]
    store.register(runs)
    for run in runs:
        assert store.spec(run.spec.identity[:8]) == run.spec
    with pytest.raises(SelectionError, match=r"there is no run 'zz' .*`urfb results runs` lists all runs"):
        store.spec("zz")
    with pytest.raises(SelectionError, match="run '': 3 identities begin with this"):
        store.spec("")


def test_runs_are_found_by_every_setting(store: WritableStore) -> None:
    settings = {"rule": "interpolated", "epsilon": 0.5, "decay": 0.25, "untied": "all", "gradient_batch": 7,
                "pretraining_epochs": 1, "pretraining_rule": "frfb", "frozen": "none"}  # fmt: skip
    store.register([tiny_run(**settings), tiny_run()])
    for name, value in {**settings, "untied_start": "independent"}.items():
        found = store.runs(**{name: value})
        assert found["rule"].tolist() == ["interpolated"], name


def test_stopped_or_lost_run_resumes_with_the_same_threads(store: WritableStore, run: GridRun) -> None:
    for end in (Stopped(), Lost("the worker process died (SIGKILL)")):
        store.claim(run.spec)
        store.record(run.spec.identity, started())
        store.record(run.spec.identity, epoch(1))
        store.record(run.spec.identity, end)
        (row,) = store.runs().to_dict("records")
        assert (row["state"], row["outcome"], row["epochs_done"]) == ("unfinished", "interrupted", 1)
        assert store.claim(run.spec) == ("claimed", 1, PROVENANCE.threads)
        store.release("")


def test_a_run_continues_with_the_threads_of_its_last_training(store: WritableStore, run: GridRun) -> None:
    other = tiny_run(seed=4)
    store.register([other])
    for one, threads in ((run, 1), (run, 4), (other, 8)):
        store.claim(one.spec)
        store.record(one.spec.identity, Started(0, replace(PROVENANCE, threads=threads)))
        store.record(one.spec.identity, epoch(1))
        store.release("interrupted")
    assert store.runs()["threads"].tolist() == [4, 8]
    for _ in range(2):  # the second claim follows a worker that died before it began
        assert store.claim(run.spec) == ("claimed", 1, 4)
        store.record(run.spec.identity, Lost("killed"))


def test_a_cancelled_run_is_claimed_only_on_request(store: WritableStore, run: GridRun, sql: Sql) -> None:
    other = tiny_run(seed=4)
    store.register([other])
    finish(store, other)
    store.claim(run.spec)
    store.record(run.spec.identity, started())
    assert store.cancel([run.spec.identity, other.spec.identity]) == [run.spec.identity]
    assert store.cancel([run.spec.identity]) == []
    assert not store.record(run.spec.identity, epoch(1))  # the runner that trained it no longer owns it
    assert store.claim(run.spec) == ("cancelled", 0, None)
    assert store.runs()["state"].tolist() == ["cancelled", "done"]
    assert sql("SELECT outcome FROM attempt ORDER BY id") == [("done",), ("cancelled",)]
    assert store.claim(run.spec, cancelled=True).outcome == "claimed"
    assert store.claim(other.spec, cancelled=True).outcome == "done"


def test_writes_for_a_removed_run_store_nothing(store: WritableStore, run: GridRun, sql: Sql) -> None:
    identity = run.spec.identity
    store.claim(run.spec)
    for table in ("attempt", "experiment_run", "run"):
        sql(f"DELETE FROM {table}")
    assert store.record(identity, started()) is False
    assert store.claim(run.spec) == Claim("removed", 0)
    assert store.cancel([identity]) == []
    store.renew_leases()
    store.release("stopped")
    assert store.runs().empty


def test_failures_are_counted(store: WritableStore, run: GridRun) -> None:
    other = tiny_run(seed=4)
    store.register([other])
    for one, times in ((run, 3), (other, 2)):
        for event in (Lost("killed"), *[Failed("ValueError: no", "Traceback \0 …")] * times):
            store.claim(one.spec)
            store.record(one.spec.identity, event)
    assert store.failures() == {run.spec.identity: 3, other.spec.identity: 2}
    assert store.claim(run.spec, failures=2) == ("failed", 0, None)
    assert store.claim(run.spec, failures=3).outcome == "claimed"


def test_any_exception_message_can_be_stored(store: WritableStore, run: GridRun) -> None:
    store.claim(run.spec)
    assert store.record(run.spec.identity, Failed("ValueError: bad \udcff\0 file", "Traceback \udcff\0"))
    (row,) = store.runs().to_dict("records")
    assert (row["reason"], row["traceback"]) == ("ValueError: bad \\udcff file", "Traceback \\udcff")


def test_runner_with_foreign_process_number_is_judged_by_lease(store: WritableStore, run: GridRun, sql: Sql) -> None:
    """A runner in a container may have this host's name, and a process number that is different or unused here."""
    store.claim(run.spec)
    sql(f"UPDATE run SET owner = 'another machine 1', owner_process = {2**22 + 1}, owner_host = '{gethostname()}'")
    assert store.claim(run.spec).outcome == "elsewhere"
    sql(f"UPDATE run SET owner_process = {getpid()}")
    assert store.claim(run.spec).outcome == "elsewhere"
    sql("UPDATE run SET leased_until = leased_until - 3600")
    assert store.claim(run.spec).outcome == "claimed"


def test_a_live_runner_on_the_same_host_keeps_its_run(
    store: WritableStore, run: GridRun, location: str, sql: Sql
) -> None:
    store.claim(run.spec)
    other = open_for_writing(location)
    sql(f"UPDATE run SET owner_process = {getppid()}")
    assert other.claim(run.spec).outcome == "elsewhere"
    assert other.runs()["state"].tolist() == ["running"]


def test_a_run_of_a_dead_local_process_can_be_claimed(
    store: WritableStore, run: GridRun, location: str, sql: Sql
) -> None:
    store.claim(run.spec)
    other = open_for_writing(location)
    sql(f"UPDATE run SET owner_process = {2**22 + 1}")  # larger than any process number on Linux
    assert other.runs()["state"].tolist() == ["unfinished"]
    assert other.claim(run.spec).outcome == "claimed"


def test_a_run_cancelled_during_a_release_stays_cancelled(store: WritableStore, run: GridRun, location: str) -> None:
    store.claim(run.spec)
    with ThreadPoolExecutor(1) as thread:
        with connect(Location.of(location), writing=True).begin() as cancelling:
            cancelling.execute(text("UPDATE run SET state = 'cancelled', owner = NULL"))
            releasing = thread.submit(store.release, "stopped")
            time.sleep(0.5)  # until it waits for the lock
        releasing.result()
    assert store.runs()["state"].tolist() == ["cancelled"]


@pytest.mark.parametrize(
    ("before", "meanwhile"),
    [
        ("state = 'running', owner = 'dead', leased_until = 0", "owner = 'another', leased_until = 1e12"),
        ("state = 'new'", "state = 'cancelled'"),
    ],
    ids=["taken", "cancelled"],
)
def test_run_taken_or_cancelled_during_a_claim_is_not_claimed(
    store: WritableStore, run: GridRun, location: str, sql: Sql, before: str, meanwhile: str
) -> None:
    sql(f"UPDATE run SET {before}")
    with ThreadPoolExecutor(1) as thread:
        with connect(Location.of(location), writing=True).begin() as taking:
            taking.execute(text(f"UPDATE run SET {meanwhile}"))
            claiming = thread.submit(store.claim, run.spec)
            time.sleep(0.5)  # until it waits for the lock
        assert claiming.result().outcome in ("elsewhere", "cancelled")
    assert store.runs()["attempts"].tolist() == [0]


def test_a_reader_sees_one_snapshot(store: WritableStore, run: GridRun, location: str) -> None:
    with connect(Location.of(location), writing=False).begin() as connection:
        for _ in range(2):
            assert connection.execute(text("SELECT count(*) FROM epoch")).scalar_one() == 0
            finish(store, run)


def test_runners_add_same_runs_in_any_order_without_deadlock(store: WritableStore, location: str) -> None:
    runs = [tiny_run(seed=seed) for seed in range(300)]
    stores = (store, open_for_writing(location))
    with ThreadPoolExecutor(2) as threads:
        for _ in threads.map(WritableStore.register, stores, (runs, runs[::-1])):
            pass
    assert len(store.runs()) == 300


def test_runs_are_chosen_by_identity_prefix_and_conditions(store: WritableStore, run: GridRun) -> None:
    others = [tiny_run(seed=seed) for seed in (4, 5)]
    store.register(others)
    first, second = (other.spec.identity for other in others)
    assert store.identities([], ["seed=4,5"]) == [first, second]
    assert store.identities([second[:9], run.spec.identity], []) == [run.spec.identity, second]
    assert store.identities([second], ["seed=4"]) == []
    with pytest.raises(SelectionError, match="which runs"):
        store.identities([], [])
    with pytest.raises(SelectionError, match="did you mean 'seed'"):
        store.identities([], ["sead=4"])


def test_conditions_use_the_column_types_of_their_view(store: WritableStore, run: GridRun) -> None:
    """`epoch` is an integer in the view `epochs`, and a number with a fraction in `alignment`."""
    store.claim(run.spec)
    halfway = AlignmentPoint(13, 0.5, 1, "Conv 4 3x3", 0.1)
    store.record(run.spec.identity, Started(0, PROVENANCE, (halfway, replace(halfway, step=26, epoch=1.0))))
    conditions = parse_filters(["epoch=0.5"], store.columns("alignment"))
    assert store.alignment(**conditions)["step"].tolist() == [13]
    with pytest.raises(SelectionError, match="epoch is a number"):
        parse_filters(["epoch=0.5"], store.columns("epochs"))


@pytest.mark.parametrize("view", list(tables.VIEWS))
def test_columns_have_values_of_their_declared_type(store: WritableStore, run: GridRun, view: str) -> None:
    finish(store, run)
    store.register([tiny_run(gradient_batch=7)])  # an untrained run, which has empty columns
    for one in (simulated(), simulated(draw=1, diverged_at=4)):
        store.keep_simulation(one)
    frame = getattr(store, view)()
    assert list(store.columns(view)) == frame.columns.tolist()
    for name, kind in store.columns(view).items():
        assert {type(value) for value in frame[name].dropna().tolist()} <= {kind}, name


def test_another_programs_database_is_refused_and_not_changed(location: str, sql: Sql) -> None:
    if (path := Location.of(location).path) is not None:
        path.parent.mkdir()
        path.touch()
    sql("CREATE TABLE song (title TEXT)")
    for opening in (open_store, open_for_writing):
        with pytest.raises(StoreError, match="but not a urfb store"):
            opening(location)
    assert sql("SELECT * FROM song") == []


def test_a_store_from_a_newer_version_is_refused(store: WritableStore, location: str, sql: Sql) -> None:
    sql("UPDATE alembic_version SET version_num = '9999'")
    for opening in (open_store, open_for_writing):
        with pytest.raises(StoreError, match="written by a newer urfb"):
            opening(location)


def test_a_store_does_not_exist_until_a_runner_creates_it(location: str) -> None:
    assert stored_progress(location) == {}
    with pytest.raises(StoreError, match="there is no store at") as caught:
        open_store(location)
    assert "secret" not in str(caught.value)
