"""Merging stores: which execution of a run is kept, and that nothing else changes."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pandas as pd
import pytest

from tests.helpers import tiny_run
from tests.store.large import make_large_store
from tests.store.recorded import epoch, finish, started
from urfb import open_store
from urfb.errors import StoreError
from urfb.events import Event, Failed, Finished, Stopped
from urfb.grid.expand import GridRun
from urfb.store import open_for_writing
from urfb.store.merge import merge_stores

VIEWS = ("runs", "epochs", "alignment")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return tmp_path / "here" / "urfb.sqlite"


@pytest.fixture
def there(tmp_path: Path) -> Path:
    return tmp_path / "there" / "urfb.sqlite"


def trained(path: Path, run: GridRun, epochs: int, error: float, *, outcome: str = "done") -> None:
    """Store an execution of a run by another machine; `error` distinguishes it from other executions."""
    store = open_for_writing(str(path))
    store.register([run])
    store.claim(run.spec)
    for event in (started(), *(epoch(number, error) for number in range(1, epochs + 1))):
        store.record(run.spec.identity, event)
    match outcome:
        case "done":
            store.record(run.spec.identity, Finished(epochs, 1.0, error))
        case "failed":
            store.record(run.spec.identity, Failed("diverged", "Traceback …"))
        case "unfinished":
            store.release("interrupted")
    change(path, f"UPDATE attempt SET host = 'machine of {path.parent.name}'")


def change(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement)
    connection.close()


def merge(here: Path, *others: Path) -> list[str]:
    """Merge stores, and return the outcome of each run."""
    return [one.outcome for one in merge_stores(str(here), [str(other) for other in others])]


def numbers(path: Path) -> tuple[str, int, int, list[float], list[str]]:
    """Return the state, epochs, target, training errors by epoch, and host of a store's only run."""
    store = open_store(str(path))
    (row,) = store.runs().to_dict("records")
    errors = store.epochs()["training_error"].tolist()
    return row["state"], row["epochs_done"], row["epochs_target"], errors, row["host"]


def dump(path: Path) -> list[str]:
    """Return the whole content of a database, as SQL."""
    connection = sqlite3.connect(path)
    try:
        return list(connection.iterdump())
    finally:
        connection.close()


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def write_checkpoints(path: Path, run: GridRun, latest: bytes, previous: bytes | None = None) -> None:
    """Write files to the paths of a run's checkpoints."""
    folder = path.with_suffix(".checkpoints")
    folder.mkdir(exist_ok=True, parents=True)
    (folder / f"{run.spec.identity}.pt").write_bytes(latest)
    if previous is not None:
        (folder / f"{run.spec.identity}.previous.pt").write_bytes(previous)


def checkpoints(path: Path) -> list[bytes]:
    return list(files(path.with_suffix(".checkpoints")).values())


def test_source_only_runs_merge_whole_and_keep_source_unchanged(here: Path, there: Path) -> None:
    trained(here, tiny_run("mine", seed=9), 2, 0.5)
    other = open_for_writing(str(there))
    runs = [tiny_run("first", "second", seed=seed, connectivity=0.5) for seed in range(3)]
    other.register(runs)
    for epochs, run in enumerate(runs[:2], start=2):
        finish(other, run, epochs=epochs)
    other.close()
    before = files(there.parent)
    assert merge(here, there) == ["added"] * 3
    assert files(there.parent) == before
    merged, original = open_store(str(here)), open_store(str(there))
    for view in VIEWS:
        taken = getattr(merged, view)(connectivity=0.5)
        pd.testing.assert_frame_equal(taken, getattr(original, view)())
    for run in runs:
        assert merged.spec(run.spec.identity) == original.spec(run.spec.identity)
        ours, theirs = (store.filters(run.spec.identity) for store in (merged, original))
        assert [(one.epoch, one.row, one.weights.tolist()) for one in ours] == [
            (one.epoch, one.row, one.weights.tolist()) for one in theirs
        ]
    assert merged.runs(seed=9)["epochs_done"].tolist() == [2]


def test_a_missing_target_is_created(here: Path, there: Path) -> None:
    trained(there, tiny_run(), 2, 0.25)
    assert merge(here, there) == ["added"]
    assert numbers(here) == numbers(there)


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ((2, "done"), (4, "unfinished"), "replaced"),
        ((4, "unfinished"), (2, "done"), "kept"),
        ((2, "unfinished"), (2, "done"), "replaced"),
        ((2, "failed"), (2, "done"), "replaced"),
        ((2, "done"), (2, "unfinished"), "kept"),
        ((2, "done"), (2, "done"), "kept"),
    ],
)
def test_longer_then_ended_then_target_execution_is_kept_whole(
    here: Path, there: Path, ours: tuple[int, str], theirs: tuple[int, str], expected: str
) -> None:
    run = tiny_run(epochs=2)
    for path, (epochs, outcome), error in ((here, ours, 0.5), (there, theirs, 0.25)):
        trained(path, run, epochs, error, outcome=outcome)
    (one,) = merge_stores(str(here), [str(there)])
    assert one.outcome == expected
    assert (one.run, one.source) == (run.spec.identity, str(there))
    epochs, error, machine = (theirs[0], 0.25, "there") if expected == "replaced" else (ours[0], 0.5, "here")
    _, epochs_done, _, errors, host = numbers(here)
    assert (epochs_done, errors, host) == (epochs, [error] * epochs, f"machine of {machine}")
    store = open_store(str(here))
    assert store.runs()["attempts"].tolist() == [1]
    assert len(store.alignment()) == epochs + 1
    assert len(store.filters(run.spec.identity)) == 2 * (epochs + 1)


@pytest.mark.parametrize(
    "went_on", [(Failed("diverged", ""),), (started(2), epoch(3), Stopped())], ids=["failed", "stopped"]
)
def test_an_execution_that_ended_wins_over_one_that_did_not(
    here: Path, there: Path, went_on: tuple[Event, ...]
) -> None:
    run = tiny_run(epochs=2)
    trained(here, run, 2, 0.5)
    store = open_for_writing(str(here))
    store.claim(tiny_run(epochs=9).spec)
    for event in went_on:
        store.record(run.spec.identity, event)
    epochs_done = numbers(here)[1]
    trained(there, tiny_run(epochs=epochs_done), epochs_done, 0.25)
    assert merge(here, there) == ["replaced"]


def test_the_order_of_the_sources_does_not_matter(here: Path, there: Path, tmp_path: Path) -> None:
    run, third = tiny_run("there", epochs=4), tmp_path / "third" / "urfb.sqlite"
    trained(there, run, 3, 0.25, outcome="unfinished")
    trained(third, tiny_run("third", epochs=4), 4, 0.125)
    for path in (there, third):
        write_checkpoints(path, run, path.parent.name.encode())
    for number, order in enumerate(((there, third), (third, there))):
        into = here.with_name(f"{number}.sqlite")
        merge(into, *order)
        assert numbers(into) == ("done", 4, 4, [0.125] * 4, "machine of third")
        assert checkpoints(into) == [b"third"]
        assert {name for name, _ in open_store(str(into)).memberships()} == {"there", "third"}


def test_larger_target_wins_and_a_shorter_run_is_unfinished(here: Path, there: Path) -> None:
    trained(here, tiny_run(epochs=2), 2, 0.5)
    open_for_writing(str(there)).register([tiny_run("far", epochs=9)])
    assert merge(here, there) == ["unchanged"]
    assert numbers(here)[:3] == ("unfinished", 2, 9)
    assert open_store(str(here)).runs()["test_error"].tolist() == [0.5]
    assert merge(there, here) == ["added"]
    assert numbers(there)[:3] == ("unfinished", 2, 9)
    assert {name for name, _ in open_store(str(there)).memberships()} == {"tiny", "far"}


def test_merging_again_changes_nothing(here: Path, there: Path, tmp_path: Path) -> None:
    third = tmp_path / "third" / "urfb.sqlite"
    for path, seed, error in ((here, 0, 0.5), (there, 0, 0.25), (third, 0, 0.125), (there, 1, 0.25)):
        trained(path, tiny_run(path.parent.name, seed=seed), 2, error)
    trained(third, tiny_run(seed=2), 1, 0.5, outcome="failed")
    open_for_writing(str(third)).register([tiny_run("far", seed=1, epochs=9)])
    merge(here, there, third)
    after = dump(here)
    assert merge(here, there, third) == ["kept", "unchanged", "kept", "unchanged", "unchanged"]
    assert merge(here, third, there, third)
    assert dump(here) == after


def test_an_execution_that_continued_after_a_merge_is_merged_again(here: Path, there: Path) -> None:
    run = tiny_run()
    store = open_for_writing(str(there))
    store.register([run])
    store.claim(run.spec)
    for event in (started(), epoch(1), epoch(2)):
        store.record(run.spec.identity, event)
    assert merge(here, there) == ["added"]
    assert numbers(here)[:2] == ("unfinished", 2)
    store.record(run.spec.identity, Finished(2, 1.0, 0.25))
    assert merge(here, there) == ["replaced"]
    assert numbers(here)[0] == "done"
    assert open_store(str(here)).runs()["test_error"].tolist() == [0.25]
    assert open_store(str(here)).runs()["outcome"].tolist() == ["done"]


def test_a_run_in_training_in_the_target_is_not_changed(here: Path, there: Path) -> None:
    run = tiny_run(epochs=4)
    trained(here, run, 1, 0.5, outcome="running")
    trained(there, tiny_run("far", epochs=9), 9, 0.25)
    before = open_store(str(here)).runs().drop(columns="experiments")
    (one,) = merge_stores(str(here), [str(there)])
    assert (one.outcome, one.run) == ("busy", run.spec.identity)
    pd.testing.assert_frame_equal(open_store(str(here)).runs().drop(columns="experiments"), before)
    assert numbers(here)[3] == [0.5]
    change(here, "UPDATE run SET leased_until = leased_until - 3600")  # as if its runner had died
    assert merge(here, there) == ["replaced"]
    assert numbers(here)[:3] == ("done", 9, 9)


def test_running_source_run_merges_as_unfinished_without_owner(here: Path, there: Path) -> None:
    run = tiny_run(epochs=4)
    trained(there, run, 3, 0.25, outcome="running")
    assert merge(here, there) == ["added"]
    assert numbers(here)[:4] == ("unfinished", 3, 4, [0.25] * 3)
    (row,) = open_store(str(here)).runs().to_dict("records")
    assert (row["outcome"], row["reason"]) == ("interrupted", "the store was merged before this attempt ended")
    assert row["ended"]
    connection = sqlite3.connect(here)
    stored = connection.execute("SELECT state, owner, owner_host, owner_process, leased_until FROM run").fetchall()
    connection.close()
    assert stored == [("unfinished", None, None, None, None)]
    assert numbers(there)[0] == "running"


def test_checkpoints_are_merged_with_their_rows(here: Path, there: Path) -> None:
    longer, shorter, only, without = (tiny_run(seed=seed) for seed in range(4))
    for path, run, epochs in (
        (here, longer, 1), (there, longer, 2), (here, shorter, 2), (there, shorter, 1), (there, only, 2),
        (here, without, 1), (there, without, 2),
    ):  # fmt: skip
        trained(path, run, epochs, 0.5, outcome="unfinished")
    write_checkpoints(here, longer, b"longer here", b"longer here, earlier")
    write_checkpoints(there, longer, b"longer there")
    write_checkpoints(here, shorter, b"shorter here")
    write_checkpoints(there, shorter, b"shorter there", b"shorter there, earlier")
    write_checkpoints(there, only, b"only there", b"only there, earlier")
    write_checkpoints(here, without, b"of replaced rows")
    merge(here, there)
    expected = sorted([b"longer there", b"shorter here", b"only there", b"only there, earlier"])
    assert sorted(checkpoints(here)) == expected
    shutil.rmtree(here.with_suffix(".checkpoints"))  # as if the merge had been killed after it wrote the rows
    merge(here, there)
    assert sorted(checkpoints(here)) == sorted(set(expected) - {b"shorter here"})


def test_failed_merge_leaves_target_and_checkpoints_unchanged(here: Path, there: Path) -> None:
    run = tiny_run(epochs=3)
    trained(here, run, 1, 0.5)
    trained(there, run, 3, 0.25)
    trained(there, tiny_run(seed=8), 2, 0.25)
    write_checkpoints(here, run, b"here")
    write_checkpoints(there, run, b"there")
    # Fail as on a full disk
    change(here, "CREATE TRIGGER full BEFORE INSERT ON epoch WHEN NEW.epoch = 3 BEGIN SELECT RAISE(ABORT, 'full'); END")
    before = dump(here)
    with pytest.raises(StoreError, match=r"here/urfb.sqlite: cannot be written \(full\)"):
        merge(here, there)
    assert dump(here) == before
    assert checkpoints(here) == [b"here"]
    change(here, "DROP TRIGGER full")
    assert merge(here, there) == ["replaced", "added"]
    assert checkpoints(here) == [b"there"]


def test_a_damaged_source_is_named_and_nothing_is_merged(here: Path, there: Path, tmp_path: Path) -> None:
    trained(here, tiny_run(seed=1), 1, 0.5)
    trained(there, tiny_run(seed=2), 1, 0.5)
    damaged = tmp_path / "damaged.sqlite"
    make_large_store(damaged, runs=10, epochs=200)
    change(damaged, "PRAGMA journal_mode=DELETE")
    content = bytearray(damaged.read_bytes())
    half = len(content) // 2
    content[half:] = b"\xff" * (len(content) - half)
    damaged.write_bytes(content)
    before = dump(here)
    with pytest.raises(StoreError, match=r"damaged.sqlite: cannot be read .*malformed"):
        merge(here, there, damaged)
    assert dump(here) == before


def test_all_mistakes_are_reported_and_nothing_is_merged(here: Path, there: Path, tmp_path: Path) -> None:
    trained(here, tiny_run(), 1, 0.5)
    trained(there, tiny_run(seed=1), 1, 0.5)
    old = Path(shutil.copy(Path(__file__).parent / "schema2.sqlite", tmp_path / "old.sqlite"))
    alias = tmp_path / "alias.sqlite"
    alias.symlink_to(here)
    before = dump(here)
    with pytest.raises(StoreError) as caught:
        merge(here, tmp_path / "absent.sqlite", there, old, alias)
    absent, older, same = str(caught.value).splitlines()
    assert "there is no store at" in absent
    assert f"`urfb results upgrade --store {old}`" in older
    assert same == f"{here}: is the target of the merge; leave it out of the sources"
    assert dump(here) == before
