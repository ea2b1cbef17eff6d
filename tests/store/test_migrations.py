"""Stores of older versions: upgraded without loss, never half."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pandas as pd
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from typer.testing import CliRunner

import urfb.store
from tests.helpers import tiny_run
from urfb import open_store
from urfb.cli import app
from urfb.errors import StoreError
from urfb.grid import spec
from urfb.store import open_for_writing, tables

OLD = sorted(Path(__file__).parent.glob("schema*.sqlite"))
"""Stores as earlier versions wrote them: six runs of simpnet on CIFAR-10; five of untied layers and parameters."""


@pytest.fixture(params=OLD, ids=lambda path: path.stem)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return Path(shutil.copy(request.param, tmp_path / "urfb.sqlite"))


def raw(path: Path, view: str) -> pd.DataFrame:
    connection = sqlite3.connect(path)
    try:
        return pd.read_sql_query(f"SELECT * FROM {view}", connection)
    finally:
        connection.close()


def schema(path: Path) -> dict[str, object]:
    """Return each table's columns, with type, whether it may be empty and its place in the key, and each view's text.

    Defaults are left out: they fill the rows that a migration finds, and every new row has all columns.
    """
    connection = sqlite3.connect(path)
    try:
        names = connection.execute(
            "SELECT name, type, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"
        ).fetchall()
        return {
            name: sql
            if kind == "view"
            else sorted((*row[1:4], row[5]) for row in connection.execute(f"PRAGMA table_info({name})").fetchall())
            for name, kind, sql in names
        }
    finally:
        connection.close()


def test_an_older_store_is_not_read_but_by_upgrading_it(old: Path) -> None:
    with pytest.raises(StoreError, match=r"written by an older urfb; .*`urfb results upgrade --store"):
        open_store(str(old))


@pytest.mark.parametrize("how", ["command", "run"])
def test_an_upgraded_store_has_all_that_it_had(old: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {view: raw(old, view) for view in ("runs", "epochs", "alignment")}
    assert all(map(len, before.values()))
    if how == "command":
        result = CliRunner().invoke(app, ["results", "upgrade", "--store", str(old)])
        assert (result.exit_code, result.stdout) == (0, f"{old}: upgraded\n")
    else:
        open_for_writing(str(old))
    for view, frame in before.items():
        after = raw(old, view)
        pd.testing.assert_frame_equal(after[frame.columns], frame)
    runs = open_store(str(old)).runs()
    assert set(runs["pretraining_epochs"]) == {0}
    monkeypatch.setattr(spec, "SCIENCE_VERSION", runs["science_version"].unique().item())
    assert [open_store(str(old)).spec(run).identity for run in runs["run"]] == runs["run"].tolist()
    again = CliRunner().invoke(app, ["results", "upgrade", "--store", str(old)])
    assert "nothing to do" in again.stdout


def test_an_upgraded_store_has_the_tables_of_a_new_one(old: Path, tmp_path: Path) -> None:
    open_for_writing(str(old))
    open_for_writing(str(tmp_path / "new.sqlite")).register([tiny_run()])
    upgraded, new = schema(old), schema(tmp_path / "new.sqlite")
    assert upgraded.keys() == new.keys()
    for name in new:
        assert upgraded[name] == new[name], name


def test_an_upgrade_that_fails_leaves_the_store_as_it_was(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, its_schema, runs = old.read_bytes(), schema(old), raw(old, "runs")
    monkeypatch.setitem(tables.VIEWS, "alignment", "SELECT no_such_column FROM no_such_table WHERE")
    with pytest.raises(StoreError, match=r"cannot be upgraded .*; the store is unchanged"):
        urfb.store.upgrade_store(str(old))
    pd.testing.assert_frame_equal(raw(old, "runs"), runs)
    assert schema(old) == its_schema
    assert len(before) == old.stat().st_size


def test_the_newest_revision_is_the_one_that_this_version_writes() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(urfb.store.__file__).parent / "migrations"))
    scripts = ScriptDirectory.from_config(config)
    assert tuple(script.revision for script in scripts.walk_revisions())[::-1] == tables.REVISIONS


def test_there_is_nothing_to_upgrade_where_there_is_no_store(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["results", "upgrade", "--store", str(tmp_path / "absent.sqlite")])
    assert result.exit_code == 2
    assert "there is no store at" in result.stderr
    assert not (tmp_path / "absent.sqlite").exists()
