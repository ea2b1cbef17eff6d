"""A store's views as tidy pandas DataFrames."""

from __future__ import annotations

from typing import Any

import pandas as pd
from sqlalchemy import Engine, column, inspect, select, table
from sqlalchemy.sql import ColumnElement

from urfb.errors import SelectionError, nearest
from urfb.store.tables import COLUMN_TYPES

MISSING_INTEGERS = ("test_epoch", "process", "threads", "gradient_batch")
"""Whole numbers that a row may not have yet; the other columns of whole numbers are always there."""


def read_view(engine: Engine, view: str, filters: dict[str, Any]) -> pd.DataFrame:
    """Return a view's rows, those that agree with every filter.

    Args:
        engine: of the store.
        view: 'runs', 'epochs' or 'alignment'.
        filters: for columns of the view, a value, or a list of values of which one must agree.

    Raises:
        SelectionError: a filter names no column of the view.
    """
    columns = [described["name"] for described in inspect(engine).get_columns(view)]
    unknown = [name for name in filters if name not in columns]
    if unknown:
        raise SelectionError("; ".join(f"{view} has no column '{name}': {nearest(name, columns)}" for name in unknown))
    query = select(table(view, *(column(name) for name in columns)))
    query = query.where(*(_agrees(name, wanted) for name, wanted in filters.items()))
    with engine.connect() as connection:
        frame = pd.read_sql_query(query, connection)
    kinds: dict[str, Any] = {name: float for name in columns if COLUMN_TYPES.get(name) is float}
    kinds |= dict.fromkeys(MISSING_INTEGERS, "Int64") | {"dense_output": bool}
    return frame.astype({name: kind for name, kind in kinds.items() if name in columns})


def _agrees(name: str, wanted: Any) -> ColumnElement[bool]:
    if isinstance(wanted, (list, tuple, set)):
        return column(name).in_(list(wanted))
    return column(name).is_(None) if wanted is None else column(name) == wanted
