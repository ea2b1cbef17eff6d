"""Any SQL on a store, as long as it only reads."""

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
"""How a statement begins that gives a table. Others can do what a connection that refuses to write lets pass: ATTACH
makes a file, PRAGMA changes how the database is kept."""


class Answer(NamedTuple):
    """What a query gives: the names of its columns, which need not differ, and its rows."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]


def query(store: Store, statement: str) -> Answer:
    """Return what one SQL statement gives, in the dialect of the store's database, on a connection that cannot write.

    Raises:
        SelectionError: the statement would write, is wrong, or is more than one.
    """
    try:
        if READING.match(statement):
            with store.engine.connect() as connection:
                if connection.dialect.name == "postgresql":
                    # A prepared statement is always one; the first of several could end the reading transaction.
                    connection.connection.driver_connection.prepare_threshold = 0  # type: ignore[union-attr]
                result = connection.execution_options(no_parameters=True).exec_driver_sql(statement)
                return Answer(tuple(result.keys()), [tuple(row) for row in result.all()])
        problem = "it does not begin with SELECT, WITH, VALUES or EXPLAIN"
    except DBAPIError as error:
        problem = str(error.orig).partition("\n")[0].rstrip(".")
    except (sqlite3.Warning, UnicodeEncodeError) as error:  # several statements, until Python 3.12; what is no UTF-8
        problem = str(error)
    raise SelectionError(
        f"the query is refused: {problem}. Give one statement that only reads, such as "
        f'"SELECT run, test_error FROM runs"; there is: {", ".join((*tables.VIEWS, *tables.metadata.tables))}'
    )
