"""Stores in SQLite files, and locations and files that are not stores."""

from __future__ import annotations

import itertools
import sqlite3
import time
from pathlib import Path
from threading import Thread
from typing import Any

import pandas as pd
import pytest
import sqlalchemy.event

from tests.helpers import tiny_run
from tests.store.recorded import epoch, finish, started
from urfb import open_store
from urfb.errors import StoreError
from urfb.grid.expand import GridRun
from urfb.store import WritableStore, open_for_writing, stored_progress


@pytest.fixture
def location(tmp_path: Path) -> str:
    return str(tmp_path / "results" / "urfb.sqlite")


@pytest.fixture
def path(location: str) -> Path:
    return Path(location)


def test_plain_pandas_reads_the_same_views(store: WritableStore, run: GridRun, path: Path) -> None:
    finish(store, run)
    with sqlite3.connect(path) as connection:
        for view in ("runs", "epochs", "alignment"):
            frame = pd.read_sql(f"SELECT * FROM {view}", connection)
            assert frame.columns.tolist() == getattr(store, view)().columns.tolist()
            assert len(frame) == len(getattr(store, view)())
    connection.close()


@pytest.mark.parametrize("name", ["a?b=1.sqlite", "per%20cent.sqlite", "with space.sqlite"])
def test_file_names_with_special_characters_are_kept(tmp_path: Path, name: str) -> None:
    open_for_writing(str(tmp_path / name)).register([tiny_run()])
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".sqlite"] == [name]
    assert len(open_store(str(tmp_path / name)).runs()) == 1


def test_an_empty_file_counts_as_no_store_yet(tmp_path: Path) -> None:
    path = tmp_path / "urfb.sqlite"
    path.touch()
    assert stored_progress(str(path)) == {}
    open_for_writing(str(path)).register([tiny_run()])
    assert len(stored_progress(str(path))) == 1


def test_a_damaged_store_gives_one_error_message(store: WritableStore, run: GridRun, path: Path) -> None:
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


def test_a_location_may_be_a_url(store: WritableStore, run: GridRun, path: Path) -> None:
    assert len(open_store(f"sqlite:///{path}").runs()) == 1


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("absent.sqlite", "there is no store at"),
        ("postgresql://user:secret@127.0.0.1:1/db", "the server cannot be reached"),
        ("postgresql://user:secret@host:port/db", "'postgresql://…' is not a store's location"),
        ("mysql://user:secret@host/db", "a store is an SQLite file .* or a PostgreSQL database"),
        ("nonsense://", "a store is an SQLite file"),
        ("~nobody-of-this-name/urfb.sqlite", "cannot be a store's path"),
        ("x" * 300, "cannot be a store's path"),
        ("", "is a folder"),
    ],
)
def test_invalid_locations_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match=message) as caught:
        open_store(location)
    assert "secret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_refused_and_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to look like one " * 50)
    before = path.read_bytes()
    for opening in (open_store, open_for_writing):
        with pytest.raises(StoreError, match="file is not a database"):
            opening(str(path))
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_created_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="folder cannot be created"):
        open_for_writing(str(tmp_path / "file" / "urfb.sqlite"))
    with pytest.raises(StoreError, match="cannot"):
        open_for_writing(str(tmp_path))


def test_a_full_disk_is_reported_and_loses_no_results(store: WritableStore, run: GridRun, path: Path) -> None:
    """SQLite's limit on a database's number of pages simulates the full disk."""
    store.claim(run.spec)
    store.record(run.spec.identity, started())

    @sqlalchemy.event.listens_for(store.engine, "begin")
    def full(connection: Any) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    def record_for_ever() -> None:
        for number in itertools.count(1):
            store.record(run.spec.identity, epoch(number))

    with pytest.raises(StoreError, match=r"cannot be written .*full"):
        record_for_ever()
    sqlalchemy.event.remove(store.engine, "begin", full)
    store.close()  # the limit ends with the connection
    stored = len(store.epochs())
    assert stored > 0
    assert store.epochs()["epoch"].tolist() == list(range(1, stored + 1))
    assert store.alignment()["epoch"].tolist() == list(range(stored + 1))
    assert store.runs()["epochs_done"].tolist() == [stored]
    store.record(run.spec.identity, epoch(stored + 1))  # there is space again
    assert len(store.epochs()) == stored + 1


def test_the_threads_of_a_runner_write_one_after_the_other(tmp_path: Path) -> None:
    store = open_for_writing(str(tmp_path / "urfb.sqlite"))
    with store.writing():
        renewal = Thread(target=store.renew_leases)
        renewal.start()
        time.sleep(0.2)
        assert store.engine.pool.checkedout() == 1
        assert renewal.is_alive()
    renewal.join(timeout=10)
    assert not renewal.is_alive()
