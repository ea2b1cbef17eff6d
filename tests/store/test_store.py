from __future__ import annotations

import itertools
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy.event

from tests.helpers import tiny_run
from urfb import open_store
from urfb.errors import SelectionError, StoreError
from urfb.events import AlignmentPoint, EpochEnded, Failed, Finished, Provenance, SavedFilters, Started
from urfb.grid.expand import GridRun
from urfb.store import WritableStore, open_for_writing, stored_progress

PROVENANCE = Provenance("host", 1, "cpu", "a processor", 2, "0.1.0", "abc", "3.11", "2.15")


def epoch(number: int, error: float = 0.5) -> EpochEnded:
    point = AlignmentPoint(number * 26, number, 1, "Conv 4 3x3", 0.25, 0.5)
    return EpochEnded(number, 1.0, 0.6, 0.9, error, 0.95, error + 0.1, 1.5, (point,), filters(number))


def filters(epoch: int) -> tuple[SavedFilters, ...]:
    weights = np.arange(36, dtype="<f4") + epoch
    return tuple(SavedFilters(epoch, 1, row, 2, (2, 3, 3, 2), (weights + row).tobytes()) for row in (2, 6))


def started(epochs_done: int = 0) -> Started:
    point = AlignmentPoint(0, 0.0, 1, "Conv 4 3x3", 0.0, float("nan"))
    return Started(epochs_done, PROVENANCE, *(((point,), filters(0)) if epochs_done == 0 else ()))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results" / "urfb.sqlite"


@pytest.fixture
def store(path: Path) -> WritableStore:
    return open_for_writing(str(path))


@pytest.fixture
def run(store: WritableStore) -> GridRun:
    run = tiny_run("first", "second", seed=3, connectivity=0.5)
    store.register([run])
    return run


def finish(store: WritableStore, run: GridRun, epochs: int = 2) -> None:
    store.claim(run.spec)
    for event in (started(), *(epoch(number) for number in range(1, epochs + 1)), Finished(epochs, 1.0, 0.25)):
        store.record(run.spec.identity, event)


def test_a_runs_rows_are_read_back_as_tidy_frames(store: WritableStore, run: GridRun, path: Path) -> None:
    finish(store, run)
    read = open_store(str(path))
    (row,) = read.runs().to_dict("records")
    spec = run.spec
    for field in ("network", "layers", "dataset", "rule", "loss", "connectivity", "seed", "batch_size", "step_size"):
        assert row[field] == getattr(spec, field)
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


def test_filters_take_a_value_or_several_and_refuse_what_is_no_column(store: WritableStore) -> None:
    store.register([tiny_run(rule=rule, seed=seed) for rule in ("bp", "urfb") for seed in (0, 1)])
    assert len(store.runs(rule="urfb")) == 2
    assert len(store.runs(rule=["urfb", "bp"], seed=1)) == 2
    assert len(store.runs(state="new")) == 4
    assert store.runs(state="done").empty
    assert store.epochs(rule="urfb").empty
    with pytest.raises(SelectionError, match="did you mean 'rule'"):
        store.runs(rul="bp")


def test_the_views_read_as_well_with_plain_pandas(store: WritableStore, run: GridRun, path: Path) -> None:
    finish(store, run)
    with sqlite3.connect(path) as connection:
        for view in ("runs", "epochs", "alignment"):
            frame = pd.read_sql(f"SELECT * FROM {view}", connection)
            assert frame.columns.tolist() == getattr(store, view)().columns.tolist()
            assert len(frame) == len(getattr(store, view)())
    connection.close()


def test_registering_again_adds_nothing_but_the_experiment(store: WritableStore, run: GridRun) -> None:
    store.register([run, tiny_run("third", seed=3, connectivity=0.5)])
    (row,) = store.runs().to_dict("records")
    assert row["experiments"] == "first,second,third"


def test_a_run_belongs_to_one_living_process(store: WritableStore, run: GridRun, path: Path) -> None:
    assert store.claim(run.spec) == ("claimed", 0)
    store.record(run.spec.identity, started())
    store.record(run.spec.identity, epoch(1))
    assert stored_progress(str(path)) == {run.spec.identity: ("running", 1)}
    # The same run, owned by a process of another host whose lease has not lapsed yet
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE run SET owner_host = 'elsewhere', owner = 'another'")
    assert store.claim(run.spec) == ("elsewhere", 1)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE run SET leased_until = leased_until - 3600")
    assert stored_progress(str(path)) == {run.spec.identity: ("unfinished", 1)}
    assert store.runs()["state"].tolist() == ["unfinished"]
    assert store.claim(run.spec) == ("claimed", 1)
    connection.close()


def test_a_finished_run_is_claimed_only_for_a_farther_target(store: WritableStore, run: GridRun) -> None:
    finish(store, run)
    assert store.claim(run.spec) == ("done", 2)
    farther = run.spec.model_copy(update={"epochs": 3})
    assert store.claim(farther) == ("claimed", 2)
    assert store.runs()["epochs_target"].tolist() == [3]


def test_going_on_from_an_earlier_epoch_drops_what_is_stored_past_it(store: WritableStore, run: GridRun) -> None:
    finish(store, run, epochs=4)
    store.claim(run.spec.model_copy(update={"epochs": 9}))
    store.record(run.spec.identity, started(epochs_done=2))
    assert store.epochs()["epoch"].tolist() == [1, 2]
    assert store.alignment()["epoch"].tolist() == [0, 1, 2]
    assert store.runs()["test_error"].isna().all()
    store.claim(run.spec)
    store.record(run.spec.identity, started(epochs_done=0))
    assert store.epochs().empty
    assert store.alignment()["epoch"].tolist() == [0]
    assert store.runs()["attempts"].tolist() == [3]


def test_an_attempt_whose_runner_died_is_told_from_one_that_runs(
    store: WritableStore, run: GridRun, path: Path
) -> None:
    store.claim(run.spec)
    store.record(run.spec.identity, started())
    store.claim(run.spec)
    store.record(run.spec.identity, started())
    with sqlite3.connect(path) as connection:
        outcomes = connection.execute("SELECT outcome FROM attempt ORDER BY id").fetchall()
    connection.close()
    assert outcomes == [("interrupted",), (None,)]


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
    assert store.claim(run.spec) == ("claimed", 0)


def test_releasing_gives_back_what_this_process_has_claimed(store: WritableStore, run: GridRun) -> None:
    store.claim(run.spec)
    store.record(run.spec.identity, started())
    store.record(run.spec.identity, epoch(1))
    store.release("interrupted")
    (row,) = store.runs().to_dict("records")
    assert (row["state"], row["epochs_done"], row["outcome"]) == ("unfinished", 1, "interrupted")


def test_a_failure_before_training_is_stored_with_its_reason(store: WritableStore, run: GridRun) -> None:
    store.claim(run.spec)
    store.record(run.spec.identity, Failed("RuntimeError: no memory", "Traceback …"))
    (row,) = store.runs().to_dict("records")
    assert (row["state"], row["reason"], row["attempts"]) == ("failed", "RuntimeError: no memory", 1)


def test_a_runner_that_has_lost_its_run_stores_nothing_of_it(store: WritableStore, run: GridRun, path: Path) -> None:
    """A runner suspended for longer than its lease wakes up when another one has the run."""
    store.claim(run.spec)
    assert store.record(run.spec.identity, started())
    other = open_for_writing(str(path))
    assert other.claim(run.spec) == ("claimed", 0)  # of this very process, so its predecessor must be dead
    assert other.record(run.spec.identity, started())
    assert other.record(run.spec.identity, epoch(1))
    for event in (epoch(1), Failed("late", ""), Finished(1, 1.0, 0.5)):
        assert not store.record(run.spec.identity, event)
    store.release("late")
    (row,) = store.runs().to_dict("records")
    assert (row["state"], row["epochs_done"]) == ("running", 1)
    assert store.runs()["test_error"].isna().all()


def test_closing_a_run_again_replaces_its_test_error(store: WritableStore, run: GridRun) -> None:
    finish(store, run)
    store.claim(run.spec.model_copy(update={"epochs": 50}))
    store.record(run.spec.identity, started(epochs_done=2))
    store.record(run.spec.identity, Finished(2, 1.0, 0.25))
    assert store.runs()["test_error"].tolist() == [0.25]


@pytest.mark.parametrize("name", ["a?b=1.sqlite", "per%20cent.sqlite", "with space.sqlite"])
def test_odd_names_are_the_files_names(tmp_path: Path, name: str) -> None:
    open_for_writing(str(tmp_path / name)).register([tiny_run()])
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".sqlite"] == [name]
    assert len(open_store(str(tmp_path / name)).runs()) == 1


def test_a_store_that_another_runner_is_just_making_is_no_store_yet(tmp_path: Path) -> None:
    path = tmp_path / "urfb.sqlite"
    path.touch()
    assert stored_progress(str(path)) == {}
    open_for_writing(str(path)).register([tiny_run()])
    assert len(stored_progress(str(path))) == 1


def test_a_damaged_store_is_told_in_one_message(store: WritableStore, run: GridRun, path: Path) -> None:
    finish(store, run, epochs=200)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xff" * (len(content) - 8192)
    path.write_bytes(content)
    for read in (lambda: open_store(str(path)).runs(), lambda: stored_progress(str(path))):
        with pytest.raises(StoreError, match="malformed"):
            read()


def test_a_reading_store_cannot_write(store: WritableStore, run: GridRun, path: Path) -> None:
    reading = open_store(str(path))
    with pytest.raises(Exception, match="readonly"), reading._engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM run")
    assert len(store.runs()) == 1


def test_a_location_may_be_a_url(store: WritableStore, run: GridRun, path: Path) -> None:
    assert len(open_store(f"sqlite:///{path}").runs()) == 1


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("absent.sqlite", "there is no store at"),
        ("postgresql://user:secret@host/db", "SQLite files only"),
        ("nonsense://", "SQLite files only|is no store"),
        ("~nobody-of-this-name/urfb.sqlite", "cannot be a store's path"),
        ("x" * 300, "cannot be a store's path"),
        ("", "is a folder"),
    ],
)
def test_what_is_no_store_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str, said: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match=said) as caught:
        open_store(location)
    assert "secret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to look like one " * 50)
    before = path.read_bytes()
    for opening in (open_store, open_for_writing):
        with pytest.raises(StoreError, match="file is not a database"):
            opening(str(path))
    assert path.read_bytes() == before


def test_a_database_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE song (title TEXT)")
    for opening in (open_store, open_for_writing):
        with pytest.raises(StoreError, match="but not a urfb store"):
            opening(str(path))
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("song",)]
    connection.close()


def test_a_store_from_a_newer_version_is_refused(store: WritableStore, path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    for opening in (open_store, open_for_writing):
        with pytest.raises(StoreError, match="written by a newer urfb"):
            opening(str(path))


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="folder cannot be made"):
        open_for_writing(str(tmp_path / "file" / "urfb.sqlite"))
    with pytest.raises(StoreError, match="cannot"):
        open_for_writing(str(tmp_path))


def test_a_store_that_fills_its_disk_says_so_and_loses_nothing(store: WritableStore, run: GridRun, path: Path) -> None:
    """SQLite's own limit on a database's pages stands in for the disk."""
    store.claim(run.spec)
    store.record(run.spec.identity, started())

    @sqlalchemy.event.listens_for(store._engine, "begin")
    def full(connection: Any) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    def record_for_ever() -> None:
        for number in itertools.count(1):
            store.record(run.spec.identity, epoch(number))

    with pytest.raises(StoreError, match=r"cannot be written .*full"):
        record_for_ever()
    sqlalchemy.event.remove(store._engine, "begin", full)
    stored = len(store.epochs())
    assert stored > 0
    assert store.epochs()["epoch"].tolist() == list(range(1, stored + 1))
    assert store.alignment()["epoch"].tolist() == list(range(stored + 1))
    assert store.runs()["epochs_done"].tolist() == [stored]
    store.record(run.spec.identity, epoch(stored + 1))  # room again
    assert len(store.epochs()) == stored + 1


def test_filters_are_read_back_as_arrays_each_where_it_was(store: WritableStore, run: GridRun) -> None:
    finish(store, run)
    found = store.filters(run.spec.identity[:5])
    assert [(one.epoch, one.layer, one.row, one.column) for one in found] == [
        (epoch, 1, row, 2) for epoch in (0, 1, 2) for row in (2, 6)
    ]
    np.testing.assert_array_equal(found[3].weights, np.arange(36.0).reshape(2, 3, 3, 2) + 1 + 6)


def test_filters_past_the_epoch_that_a_run_goes_on_from_are_dropped(store: WritableStore, run: GridRun) -> None:
    finish(store, run)
    store.claim(run.spec.model_copy(update={"epochs": 5}))
    store.record(run.spec.identity, started(epochs_done=1))
    assert {one.epoch for one in store.filters(run.spec.identity)} == {0, 1}
    store.record(run.spec.identity, started())
    assert {one.epoch for one in store.filters(run.spec.identity)} == {0}


def test_every_measure_of_alignment_is_kept_and_what_is_not_there_is_empty(store: WritableStore, run: GridRun) -> None:
    store.claim(run.spec)
    full = AlignmentPoint(0, 0.0, 1, "Conv 4 3x3", 0.1, 0.2, 80.0, 0.6, 1.5, 0.7, 0.3)
    store.record(run.spec.identity, Started(0, PROVENANCE, (full, AlignmentPoint(0, 0.0, 2, "Output"))))
    first, second = store.alignment().to_dict("records")
    for name in ("correlation", "correlation_shared", "angle", "sign_agreement", "norm_ratio", "gradient_cosine",
                 "filter_similarity"):  # fmt: skip
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
    with pytest.raises(SelectionError, match=r"there is no run 'zz' .*`urfb results runs` lists them all"):
        store.spec("zz")
    with pytest.raises(SelectionError, match="run '': 3 runs begin so"):
        store.spec("")


def test_runs_are_found_by_every_setting(store: WritableStore) -> None:
    settings = {"rule": "interpolated", "epsilon": 0.5, "decay": 0.25, "untied": "all", "gradient_batch": 7,
                "pretraining_epochs": 1, "pretraining_rule": "frfb", "frozen": "none"}  # fmt: skip
    store.register([tiny_run(**settings), tiny_run()])
    for name, value in {**settings, "untied_start": "independent"}.items():
        found = store.runs(**{name: value})
        assert found["rule"].tolist() == ["interpolated"], name
