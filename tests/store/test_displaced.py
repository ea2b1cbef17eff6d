"""Stores whose file is moved, replaced, deleted, locked or overwritten while a runner has it open."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.helpers import tiny_run
from tests.store.recorded import epoch, finish, started
from urfb import open_store
from urfb.errors import StoreError
from urfb.grid.expand import GridRun
from urfb.store import WritableStore, engine, open_for_writing
from urfb.store.merge import merge_stores


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results" / "urfb.sqlite"


@pytest.fixture
def run() -> GridRun:
    return tiny_run()


@pytest.fixture
def store(path: Path, run: GridRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WritableStore:
    monkeypatch.chdir(tmp_path)  # a copy is saved here if the store's folder is deleted
    store = open_for_writing(str(path))
    store.register([run])
    store.claim(run.spec)
    store.record(run.spec.identity, started())
    store.record(run.spec.identity, epoch(1))
    return store


def move(path: Path) -> None:
    path.rename(path.with_name("moved.sqlite"))


def delete(path: Path) -> None:
    for file in path.parent.iterdir():
        file.unlink()


def replace(path: Path) -> None:
    new = path.with_name("new.sqlite")
    finish_another(new)
    new.replace(path)


def delete_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def finish_another(path: Path, runs: int = 1) -> None:
    """Create another store with finished runs at `path`."""
    other = open_for_writing(str(path))
    for seed in range(100, 100 + runs):
        other.register([tiny_run(seed=seed)])
        finish(other, tiny_run(seed=seed), epochs=30)
    other.close()


DISPLACEMENTS = pytest.mark.parametrize("displace", [move, delete, replace, delete_folder])


@DISPLACEMENTS
def test_a_displaced_store_is_noticed_and_its_content_saved(
    store: WritableStore,
    run: GridRun,
    path: Path,
    tmp_path: Path,
    displace: Callable[[Path], None],
) -> None:
    displace(path)
    with pytest.raises(StoreError, match=r"moved, replaced or deleted\. All results are saved in ") as caught:
        store.record(run.spec.identity, epoch(2))
    (saved,) = tmp_path.rglob("*.saved-*.sqlite")
    assert str(saved) in str(caught.value)
    assert open_store(str(saved)).epochs()["epoch"].tolist() == [1]


@DISPLACEMENTS
def test_a_displaced_store_stays_refused(
    store: WritableStore, run: GridRun, path: Path, tmp_path: Path, displace: Callable[[Path], None]
) -> None:
    displace(path)
    messages = set()
    for write in (store.renew_leases, lambda: store.release("stopped"), store.verify):
        with pytest.raises(StoreError) as caught:
            write()
        messages.add(str(caught.value))
    assert len(messages) == 1
    store.close()
    if displace is replace:
        assert open_store(str(path)).runs()["seed"].tolist() == [100]
    if displace is move:
        assert open_store(str(path.with_name("moved.sqlite"))).epochs()["epoch"].tolist() == [1]


@pytest.mark.parametrize("content", ["another store", "nothing", "text"])
def test_an_overwritten_store_fails_verification(
    store: WritableStore, run: GridRun, path: Path, tmp_path: Path, content: str
) -> None:
    copy = tmp_path / "copy"
    if content == "another store":
        finish_another(copy, runs=20)
    else:
        copy.write_text("" if content == "nothing" else "text" * 5000)
    for number in range(2, 40):
        store.record(run.spec.identity, epoch(number))
    shutil.copyfile(copy, path)

    def go_on() -> None:
        store.record(run.spec.identity, epoch(40))
        store.verify()

    with pytest.raises(StoreError, match=r"is damaged|malformed|not a urfb store"):
        go_on()


def test_verification_finds_damage_that_no_query_reads(store: WritableStore, run: GridRun, path: Path) -> None:
    for number in range(2, 40):
        store.record(run.spec.identity, epoch(number))
    store.close()  # so that the log's rows are in the file
    with path.open("r+b") as file:
        file.seek(-4096, 2)
        file.write(b"\xff" * 4096)
    with pytest.raises(StoreError, match="is damaged; another program has overwritten it"):
        store.verify()


def test_an_intact_store_passes_verification(store: WritableStore) -> None:
    store.verify()


def test_a_target_that_is_deleted_during_a_merge_is_noticed(store: WritableStore, path: Path, tmp_path: Path) -> None:
    target = tmp_path / "target.sqlite"

    def delete_target(*arguments: object) -> None:
        target.unlink(missing_ok=True)

    finish_another(target)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("urfb.store.merge._unite_memberships", delete_target)
        with pytest.raises(StoreError, match="moved, replaced or deleted"):
            merge_stores(str(target), [str(path)])


def test_the_file_alone_has_all_rows_after_a_crash(
    store: WritableStore, run: GridRun, path: Path, tmp_path: Path
) -> None:
    for number in range(2, 10):
        store.record(run.spec.identity, epoch(number))
    copy = Path(shutil.copyfile(path, tmp_path / "copy.sqlite"))  # without the log
    assert open_store(str(copy)).epochs()["epoch"].tolist() == list(range(1, 10))


def test_a_runner_waits_for_another_programs_lock_and_warns(
    store: WritableStore,
    run: GridRun,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(engine, "QUIET_SECONDS", 0.1)
    monkeypatch.setattr(engine, "BUSY_SECONDS", 1)
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as browser:
        browser.execute("BEGIN IMMEDIATE")
        unlock = threading.Timer(3, browser.rollback)
        unlock.start()
        with caplog.at_level(logging.WARNING):
            assert store.record(run.spec.identity, epoch(2))
        unlock.join()
    assert caplog.messages == [f"{path}: locked by another program, such as a database browser; waiting for it"]
    assert open_store(str(path)).epochs()["epoch"].tolist() == [1, 2]


def test_releasing_runs_does_not_wait_long_for_a_lock(
    store: WritableStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("urfb.store.writing.SHORT_PATIENCE", 0.1)
    with closing(sqlite3.connect(path, isolation_level=None)) as browser:
        browser.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        with pytest.raises(StoreError, match="locked"):
            store.release("stopped")
        assert time.monotonic() - began < engine.BUSY_SECONDS


@pytest.mark.parametrize(
    "location", [":memory:", "sqlite:///:memory:", "sqlite://", "sqlite:///file:x?mode=memory&uri=true", "/dev/null"]
)
def test_locations_that_cannot_keep_a_store_are_refused(location: str) -> None:
    with pytest.raises(StoreError, match=r"store"):
        open_for_writing(location)


def test_a_symbolic_link_opens_the_store_it_points_to(store: WritableStore, path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.sqlite"
    link.symlink_to(path.relative_to(tmp_path))
    linked = open_store(str(link))
    assert linked.location.checkpoints == store.location.checkpoints
    assert linked.location.logs == store.location.logs
    assert linked.epochs()["epoch"].tolist() == [1]


def test_a_broken_link_creates_the_store_at_its_target(tmp_path: Path) -> None:
    (tmp_path / "link.sqlite").symlink_to("folder/real.sqlite")
    open_for_writing(str(tmp_path / "link.sqlite")).register([tiny_run()])
    assert (tmp_path / "link.sqlite").is_symlink()
    assert len(open_store(str(tmp_path / "folder" / "real.sqlite")).runs()) == 1


def test_a_store_stays_in_place_when_the_working_folder_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_for_writing("urfb.sqlite")
    store.close()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    store.register([tiny_run()])
    assert list(Path().iterdir()) == []
    assert len(open_store(str(tmp_path / "urfb.sqlite")).runs()) == 1
