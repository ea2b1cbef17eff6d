"""Removing runs from a store, in an SQLite file and in a PostgreSQL database."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import sleep
from typing import Any

import pytest
from sqlalchemy import text

from tests.helpers import grid_file, tiny_run
from tests.store.recorded import epoch, finish, started
from urfb.errors import GridError, SelectionError, StoreError
from urfb.grid.expand import GridRun, load_grid
from urfb.store import Store, WritableStore, open_for_writing, tables
from urfb.store.engine import Location, connect
from urfb.store.merge import merge_stores
from urfb.store.removal import orphaned_files, plan_removal, remove
from urfb.store.status import run_statuses
from urfb.training.files import CheckpointFiles

Sql = Callable[[str], list[tuple[Any, ...]]]
RUN_TABLES = ("experiment_run", *(table.name for table in tables.RUN_TABLES))


@pytest.fixture(autouse=True)
def _files_are_the_tests_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the files of a PostgreSQL store are in the working folder


def stored(store: WritableStore, *runs: GridRun) -> list[str]:
    """Store runs that are done, with a checkpoint of ten bytes and a log each, and return their identities."""
    store.register(runs)
    for run in runs:
        finish(store, run)
        for file in files_of(store, run.spec.identity):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"ten bytes.")
    return [run.spec.identity for run in runs]


def files_of(store: WritableStore, identity: str) -> list[Path]:
    latest, _, partial = CheckpointFiles.of(store.location.checkpoints, identity)
    return [latest, partial, store.location.logs / f"{identity}.log"]


def test_a_removed_run_leaves_neither_rows_nor_files(store: WritableStore, sql: Sql) -> None:
    gone, kept = stored(store, tiny_run("old"), tiny_run("new", seed=1))
    before = {table: sql(f"SELECT count(*) FROM {table}")[0][0] for table in RUN_TABLES}
    assert all(before.values())
    removal = plan_removal(store, [gone[:8]])
    assert removal.runs["run"].tolist() == [gone]
    assert [len(removal.files.checkpoints), len(removal.files.logs), removal.files.bytes] == [2, 1, 20]
    assert remove(store, removal) == 1
    assert store.runs()["run"].tolist() == [kept]
    assert {table: 2 * sql(f"SELECT count(*) FROM {table}")[0][0] for table in RUN_TABLES} == before
    assert sql("SELECT name FROM experiment") == [("new",)]
    assert [file.exists() for identity in (gone, kept) for file in files_of(store, identity)] == 3 * [False] + 3 * [
        True
    ]


def test_an_experiments_runs_are_removed_unless_shared(store: WritableStore) -> None:
    own, shared, other = stored(store, tiny_run("a"), tiny_run("a", "b", seed=1), tiny_run("b", seed=2))
    removal = plan_removal(store, experiment="a")
    assert (removal.runs["run"].tolist(), removal.shared) == ([own], (shared,))
    assert remove(store, removal) == 1
    assert store.memberships() == {("b", shared), ("b", other)}
    assert set(store.runs()["run"]) == {shared, other}
    with pytest.raises(SelectionError, match=r"has no experiment 'a': allowed: b"):
        plan_removal(store, experiment="a")


def test_a_run_that_gets_another_experiment_after_planning_stays(store: WritableStore) -> None:
    run = tiny_run("a")
    (identity,) = stored(store, run)
    removal = plan_removal(store, experiment="a")
    store.register([tiny_run("b")])
    assert remove(store, removal) == 0
    assert store.memberships() == {("b", identity)}


def test_a_shared_run_stays_even_when_no_experiment_is_left(store: WritableStore) -> None:
    (identity,) = stored(store, tiny_run("a", "b"))
    first, second = (plan_removal(store, experiment=name) for name in "ab")
    assert [remove(store, first), remove(store, second)] == [0, 0]
    assert (store.runs()["run"].tolist(), store.memberships()) == ([identity], set())


def test_runs_that_no_grid_file_asks_for_are_selected(store: WritableStore, tmp_path: Path) -> None:
    wanted = load_grid(grid_file(tmp_path, seeds=1)).runs
    other = tmp_path / "other"
    other.mkdir()
    more = load_grid(grid_file(other, seeds=2)).runs
    old = tiny_run("old", seed=7)
    store.register([*wanted, *more, old])
    files = [tmp_path / "grid.yaml", other / "grid.yaml"]
    assert plan_removal(store, not_in=files).runs["run"].tolist() == [old.spec.identity]
    assert len(plan_removal(store, not_in=files[:1]).runs) == 3
    assert len(plan_removal(store, [], ["rule=urfb"], files[:1]).runs) == 2
    assert store.selected_runs(not_in=files)["run"].tolist() == [old.spec.identity]
    files[0].write_text("experiments: {tiny: {matrix: {rule: urbf}}}\n")
    with pytest.raises(GridError, match="did you mean 'urfb'"):
        plan_removal(store, not_in=files)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({}, "which runs?"),
        ({"conditions": ["seed=9"]}, "`urfb results runs` lists all runs (1 done, 1 new)"),
        ({"conditions": ["rule=urbf"]}, "did you mean 'urfb'"),
        ({"experiment": "tinny"}, "has no experiment 'tinny': did you mean 'tiny'"),
        ({"runs": ["zz"]}, "there is no run 'zz'"),
        ({"conditions": ["seed=1"], "experiment": "old"}, "nothing to remove: no run in "),
    ],
    ids=["nothing", "no such run", "value", "experiment", "run", "contradiction"],
)
def test_an_empty_selection_is_refused_with_alternatives(
    store: WritableStore, chosen: dict[str, Any], message: str
) -> None:
    stored(store, tiny_run("old"))
    store.register([tiny_run(seed=1)])
    with pytest.raises(SelectionError) as caught:
        plan_removal(store, **chosen)
    assert message in str(caught.value)


def test_nothing_is_removed_while_a_selected_run_is_in_training(store: WritableStore, location: str) -> None:
    done, running = tiny_run(), tiny_run(seed=1)
    identities = stored(store, done, running)
    longer = tiny_run(seed=1, epochs=3)
    assert store.claim(longer.spec).outcome == "claimed"
    other = open_for_writing(location)
    with pytest.raises(StoreError) as caught:
        remove(other, plan_removal(other, identities))
    named, advice = str(caught.value).splitlines()
    assert named.startswith(f"run {identities[1]} is being trained on ")
    assert "nothing is removed; stop a run's training with `urfb grid cancel" in advice
    assert len(store.epochs()) == 4
    assert all(file.exists() for identity in identities for file in files_of(store, identity))
    store.cancel(identities)
    assert remove(other, plan_removal(other, identities)) == 2
    other.close()


def test_a_run_whose_runner_died_can_be_removed(store: WritableStore, run: GridRun, sql: Sql) -> None:
    store.claim(run.spec)
    store.record(run.spec.identity, started())
    store.record(run.spec.identity, epoch(1))
    sql("UPDATE run SET owner = 'elsewhere 1', leased_until = 0")
    assert remove(store, plan_removal(store, [run.spec.identity])) == 1
    assert store.record(run.spec.identity, epoch(2)) is False


def test_a_run_claimed_just_before_its_removal_stays(store: WritableStore, run: GridRun, location: str) -> None:
    removal = plan_removal(store, [run.spec.identity])
    with ThreadPoolExecutor(1) as thread:
        with connect(Location.of(location), writing=True).begin() as claiming:
            claiming.execute(
                text("UPDATE run SET state = 'running', owner = 'x', owner_host = 'h', leased_until = 1e12")
            )
            removing = thread.submit(remove, store, removal)
            sleep(0.5)  # until it waits for the lock
        with pytest.raises(StoreError, match="is being trained on h"):
            removing.result()
    assert len(store.runs()) == 1


def test_runs_removed_by_another_process_are_not_counted(store: WritableStore) -> None:
    first, second = stored(store, tiny_run(), tiny_run(seed=1))
    removal = plan_removal(store, [first, second])
    assert remove(store, plan_removal(store, [first])) == 1
    assert [remove(store, removal), remove(store, removal)] == [1, 0]


def test_log_paths_outside_the_stores_folder_are_not_removed(store: WritableStore, tmp_path: Path, sql: Sql) -> None:
    (identity,) = stored(store, tiny_run())
    elsewhere = tmp_path / "elsewhere.log"
    elsewhere.write_text("mine")
    sql(f"UPDATE attempt SET log = '{elsewhere}'")
    remove(store, plan_removal(store, [identity]))
    assert elsewhere.read_text() == "mine"


def test_files_of_runs_that_the_store_lacks_are_orphans(store: WritableStore) -> None:
    gone, kept = stored(store, tiny_run(), tiny_run(seed=1))
    folder = store.location.checkpoints
    others = [folder / "notes.pt", folder / f"{gone}.backup", store.location.logs / "ray.log"]
    for file in others:
        file.touch()
    assert orphaned_files(store) == ([], [], 0)
    left = {file: file.read_bytes() for file in files_of(store, gone)}
    remove(store, plan_removal(store, [gone]))
    for file, content in left.items():
        file.write_bytes(content)
    orphans = orphaned_files(store)
    assert {*orphans.checkpoints, *orphans.logs} == set(left)
    orphans.remove()
    assert all(file.exists() for file in (*others, *files_of(store, kept)))
    assert not any(file.exists() for file in left)


def test_a_file_that_cannot_be_removed_is_named(store: WritableStore, monkeypatch: pytest.MonkeyPatch) -> None:
    (identity,) = stored(store, tiny_run())

    def refuse(path: Path, missing_ok: bool) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(StoreError, match=rf"{identity}.pt: cannot be removed \(Permission denied\); the runs are"):
        remove(store, plan_removal(store, [identity]))
    assert store.runs().empty


def test_following_a_log_ends_when_its_run_is_removed(
    store: WritableStore, run: GridRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("urfb.store.reading.FOLLOW_SECONDS", 0.01)
    identity = run.spec.identity
    store.claim(run.spec)
    store.location.logs.mkdir(parents=True)
    (store.location.logs / f"{identity}.log").write_text("begins\n")
    following = store.log(identity, follow=True)
    assert next(following) == "begins\n"
    store.cancel([identity])
    remove(store, plan_removal(store, [identity]))
    assert "".join(following) == ""


def test_status_skips_a_run_that_is_removed_during_the_read(
    store: WritableStore, run: GridRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "progress", dict)  # `progress` is read after the rows
    assert run_statuses(store) == []


def test_a_merge_skips_a_run_that_is_removed_during_the_read(
    store: WritableStore, run: GridRun, location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = store.memberships() | {("first", "0" * 16)}
    monkeypatch.setattr(Store, "memberships", lambda store: members)  # memberships are read before the rows
    (merged,) = merge_stores(str(tmp_path / "merged.sqlite"), [location])
    assert merged.run == run.spec.identity
