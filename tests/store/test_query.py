"""SQL queries return rows, and never change anything."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.helpers import tiny_run
from tests.postgres import Server
from tests.store.recorded import finish
from urfb import open_store
from urfb.errors import SelectionError
from urfb.store import Store, open_for_writing
from urfb.store.query import query


@pytest.fixture
def store(tmp_path: Path) -> Store:
    path = tmp_path / "urfb.sqlite"
    writable, run = open_for_writing(str(path)), tiny_run()
    writable.register([run])
    finish(writable, run)
    return open_store(str(path))


@pytest.mark.parametrize(
    ("statement", "columns", "rows"),
    [
        ("SELECT rule, test_error FROM runs", ("rule", "test_error"), [("urfb", 0.25)]),
        ("select count(*) AS n, 1 AS n, NULL FROM epoch;", ("n", "n", "NULL"), [(2, 1, None)]),
        ("SELECT '%s', ':name', x'00ff'", ("'%s'", "':name'", "x'00ff'"), [("%s", ":name", b"\x00\xff")]),
        ("-- by hand; or not\n/* SELECT */ WITH t(a) AS (VALUES (1), (2)) SELECT * FROM t", ("a",), [(1,), (2,)]),
        ("SELECT run FROM runs WHERE rule = 'bp'", ("run",), []),
    ],
)
def test_a_query_returns_columns_and_rows(
    store: Store, statement: str, columns: tuple[str, ...], rows: list[tuple[object, ...]]
) -> None:
    assert query(store, statement) == (columns, rows)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("DELETE FROM run", "does not begin with SELECT"),
        ("ATTACH '{folder}/new.sqlite' AS new", "does not begin with SELECT"),
        ("VACUUM INTO '{folder}/new.sqlite'", "does not begin with SELECT"),
        ("PRAGMA journal_mode = DELETE", "does not begin with SELECT"),
        ("PRAGMA query_only = OFF", "does not begin with SELECT"),
        ("", "does not begin with SELECT"),
        ("-- SELECT 1", "does not begin with SELECT"),
        ("WITH old AS (SELECT id FROM run) DELETE FROM epoch WHERE run_id IN old", "readonly"),
        ("SELECT 1; DELETE FROM epoch", "one statement at a time"),
        ("SELECT 1; COMMIT; DELETE FROM epoch", "one statement at a time"),
        ("SELECT rul FROM runs", "no such column: rul"),
        ("SELECT FROM runs WHERE", "syntax error"),
        ("SELECT * FROM nowhere", "no such table: nowhere"),
        ("SELECT ?", "bindings"),
        ("SELECT '\udcff'", "surrogates|wrong type"),
    ],
)
def test_invalid_or_writing_statements_are_refused(store: Store, tmp_path: Path, statement: str, message: str) -> None:
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(SelectionError, match=message) as caught:
        query(store, statement.replace("{folder}", str(tmp_path)))
    assert str(caught.value).startswith("the query is refused: ")
    assert "; tables: runs, epochs, alignment, " in str(caught.value)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_server_runs_no_second_statement(postgres: Server) -> None:
    url, run = postgres.database(), tiny_run()
    writable = open_for_writing(url)
    writable.register([run])
    finish(writable, run)
    with pytest.raises(SelectionError, match="multiple commands"):
        query(open_store(url), "SELECT 1; COMMIT; BEGIN READ WRITE; DELETE FROM epoch; COMMIT")
    assert query(open_store(url), "SELECT count(*) FROM epoch").rows == [(2,)]


def test_a_query_ignores_uncommitted_changes(store: Store, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "urfb.sqlite", isolation_level=None) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM epoch")
        assert query(store, "SELECT count(*) FROM epoch").rows == [(2,)]
        connection.execute("ROLLBACK")
    connection.close()
