"""Stores of older versions are upgraded completely or not at all, without loss."""

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
"""Stores of earlier versions: six runs of simpnet on CIFAR-10; five runs with untied layers and parameters."""


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
    """Return each table's columns (name, type, nullability, position in the key) and each view's SQL.

    Defaults are left out, because they only matter for rows that exist before a migration.
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


def test_an_older_store_is_refused_until_it_is_upgraded(old: Path) -> None:
    with pytest.raises(StoreError, match=r"written by an older urfb; .*`urfb results upgrade --store"):
        open_store(str(old))


@pytest.mark.parametrize("how", ["command", "run"])
def test_an_upgrade_loses_no_data(old: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_an_upgrade_that_fails_leaves_the_store_unchanged(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size, old_schema, runs = old.stat().st_size, schema(old), raw(old, "runs")
    monkeypatch.setitem(tables.VIEWS, "alignment", "SELECT no_such_column FROM no_such_table WHERE")
    with pytest.raises(StoreError, match=r"cannot be upgraded .*; the store is unchanged"):
        urfb.store.upgrade_store(str(old))
    pd.testing.assert_frame_equal(raw(old, "runs"), runs)
    assert schema(old) == old_schema
    assert old.stat().st_size == size


def test_the_newest_revision_is_the_one_that_this_version_writes() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(urfb.store.__file__).parent / "migrations"))
    scripts = ScriptDirectory.from_config(config)
    assert tuple(script.revision for script in scripts.walk_revisions())[::-1] == tables.REVISIONS


def test_upgrading_a_missing_store_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["results", "upgrade", "--store", str(tmp_path / "absent.sqlite")])
    assert result.exit_code == 2
    assert "there is no store at" in result.stderr
    assert not (tmp_path / "absent.sqlite").exists()
