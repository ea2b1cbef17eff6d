"""Runs read-only SQL queries on a store."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy.exc import DBAPIError

from urfb.errors import SelectionError
from urfb.store import tables
from urfb.store.reading import Store

READING = re.compile(r"(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*(?:SELECT|WITH|VALUES|EXPLAIN)\b", re.IGNORECASE | re.DOTALL)
"""The start of a statement that returns a table. Other statements can change things even on a read-only connection:
ATTACH creates a file, PRAGMA changes the database's options."""


class Answer(NamedTuple):
    """The result of a query: its columns' names, which may repeat, and its rows."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]


def query(store: Store, statement: str) -> Answer:
    """Run one SQL statement, in the dialect of the store's database, on a read-only connection; return its result.

    Raises:
        SelectionError: the statement writes or is invalid, or there is more than one.
    """
    try:
        if READING.match(statement):
            with store.engine.connect() as connection:
                if connection.dialect.name == "postgresql":
                    # The server refuses to prepare several statements; one could end the read-only transaction.
                    connection.connection.driver_connection.prepare_threshold = 0  # type: ignore[union-attr]
                result = connection.execution_options(no_parameters=True).exec_driver_sql(statement)
                return Answer(tuple(result.keys()), [tuple(row) for row in result.all()])
        problem = "it does not begin with SELECT, WITH, VALUES or EXPLAIN"
    except DBAPIError as error:
        problem = str(error.orig).partition("\n")[0].rstrip(".")
    except (sqlite3.Warning, UnicodeEncodeError) as error:  # several statements, before Python 3.12; invalid UTF-8
        problem = str(error)
    raise SelectionError(
        f"the query is refused: {problem}. Give one statement that only reads, such as "
        f'"SELECT run, test_error FROM runs"; tables: {", ".join((*tables.VIEWS, *tables.metadata.tables))}'
    )
