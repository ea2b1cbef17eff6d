"""A store's views as tidy pandas DataFrames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pandas.api.types import is_list_like
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Column, Connection, Select, column, or_, select, table
from sqlalchemy.sql import ColumnElement

from urfb.errors import SelectionError, nearest
from urfb.grid.plan import STATES
from urfb.grid.settings import SETTINGS
from urfb.grid.wording import in_plain_words
from urfb.store import tables
from urfb.theory.spec import CHOICES

if TYPE_CHECKING:
    from urfb.store.reading import Store

MEASUREMENTS = {
    "epochs": (tables.epoch, ("run_id", "epoch")),
    "alignment": (tables.layer_alignment, ("run_id", "step", "layer")),
}
"""For each view that repeats a run's spec in many rows: the table of its measurements, and the order of its rows."""


def read_view(store: Store, view: str, filters: Mapping[str, Any]) -> pd.DataFrame:
    """Return the rows of a view that match all filters.

    Args:
        store: the store to read.
        view: a key of `tables.VIEWS`.
        filters: a value or a list of allowed values for names in `store.filterable`; None, NaN or NA matches empty
            fields.

    Raises:
        SelectionError: the view has no such filter, or no row can have a filter's value.
    """
    columns, allowed = list(store.columns(view)), store.filterable(view)
    unknown = [name for name in filters if name not in allowed]
    if unknown:
        raise SelectionError("; ".join(f"{view} has no column '{name}': {nearest(name, allowed)}" for name in unknown))
    states: dict[str, str] = {}
    if "state" in (*columns, *filters):  # the table still has 'running' for a run whose runner died
        states = {run: state for run, (state, _) in store.progress().items()}
    conditions: list[tuple[str, list[Any] | Select[Any]]] = []
    problems, wanted_states = [], None
    for name, wanted in filters.items():
        try:
            values = _checked(store, view, name, allowed[name], _values(wanted))
        except SelectionError as error:
            problems.append(str(error))
            continue
        if name == "state":
            wanted_states = values
        elif name == "experiments":
            conditions.append(("run", _members(values)))
        else:
            conditions.append((name, values))
    if problems:
        raise SelectionError("\n".join(problems))
    with store.engine.connect() as connection:
        if view in MEASUREMENTS:
            frame = _measurements(connection, view, columns, conditions)
        else:
            query = select(table(view, *(column(name) for name in columns)))
            query = query.where(*(_matches(column(name), values) for name, values in conditions))
            result = connection.execute(query)
            frame = pd.DataFrame.from_records(result.cursor.fetchall(), columns=columns, coerce_float=True)
    if wanted_states is not None:
        frame = frame[frame["run"].map(states).isin(wanted_states)].reset_index(drop=True)
    if "state" in columns:
        frame["state"] = frame["run"].map(states)
    shown = tables.view_columns(view)
    return frame.astype({name: kind for name in columns if (kind := _kind(shown[name])) is not None})


def _kind(stored: Column[Any]) -> str | type | None:
    """Return the type to convert a frame's column to; None if pandas infers it."""
    python_type = stored.type.python_type
    if python_type is int:
        return "Int64" if stored.nullable else "int64"  # pandas cannot infer the type of an empty frame
    return python_type if python_type in (bool, float) else None


def _measurements(
    connection: Connection,
    view: str,
    columns: Sequence[str],
    conditions: Sequence[tuple[str, list[Any] | Select[Any]]],
) -> pd.DataFrame:
    """Return the rows of 'epochs' or 'alignment'.

    This reads each run's spec once. To read the view, which repeats it in each row, takes three times as long.
    """
    measured, order = MEASUREMENTS[view]
    run = tables.run.c
    run_columns = {"run": run.identity} | {name: run[name] for name in tables.SPEC_COLUMNS}
    wanted_runs = [_matches(run_columns[name], values) for name, values in conditions if name in run_columns]
    wanted_rows = [_matches(measured.c[name], values) for name, values in conditions if name not in run_columns]
    specs = select(run.id.label("run_id"), *(column.label(name) for name, column in run_columns.items())).where(
        *wanted_runs
    )
    rows = (
        select(measured)
        .where(measured.c.run_id.in_(select(run.id).where(*wanted_runs)), *wanted_rows)
        .order_by(*(measured.c[name] for name in order))
    )
    # Read the driver's rows, because SQLAlchemy's take twice as long; numbers and texts need no conversion.
    read = connection.execute(rows).cursor.fetchall()
    frame = pd.DataFrame.from_records(read, columns=measured.c.keys(), coerce_float=True)
    return frame.merge(pd.read_sql_query(specs, connection), on="run_id")[list(columns)]


def _values(wanted: Any) -> list[Any]:
    """Return the values of a filter, with None for empty fields."""
    values = list(wanted) if is_list_like(wanted) else [wanted]
    # A frame has NumPy numbers, which SQLite would store as bytes, and NaN or NA for empty fields.
    return [None if pd.isna(value) else value.item() if isinstance(value, np.generic) else value for value in values]


def _checked(store: Store, view: str, name: str, kind: type, values: list[Any]) -> list[Any]:
    """Return the values of a filter as the store writes them.

    Raises:
        SelectionError: a value is not possible for this column. A possible value that no run has is no error.
    """
    present = [value for value in values if value is not None]
    for value in present:
        if isinstance(value, str) != (kind is str):
            raise SelectionError(f"{name} {value!r}: give {'text' if kind is str else 'a number'}")
    subject = tables.VIEW_TABLES[view][0]
    if subject is tables.run and name in tables.SPEC_COLUMNS:
        stored = _stored(store, subject.c[name])
        return [value if value is None or value in stored else _possible(name, value, stored) for value in values]
    if name == subject.name:
        known: Sequence[Any] = _stored(store, subject.c.identity)
    elif name == "experiments":
        known = _stored(store, tables.experiment.c.name)
    elif name == "state":
        known = STATES
    else:
        known = CHOICES.get(name, present) if subject is tables.simulation else present
    for value in present:
        if value not in known:
            raise SelectionError(f"{name} '{value}': {nearest(value, known)}")
    return values


def _stored(store: Store, field: Column[Any]) -> Sequence[Any]:
    with store.reading() as connection:
        return connection.execute(select(field).distinct().order_by(field)).scalars().all()


def _possible(name: str, value: Any, stored: Sequence[Any]) -> Any:
    """Return a value of a run's setting, which is not among the `stored` ones, as the store would write it.

    Raises:
        SelectionError: the setting cannot have this value.
    """
    setting = SETTINGS[name]
    reading: TypeAdapter[Any] = TypeAdapter(setting.use.grid_type or setting.type)
    try:
        return reading.validate_python(value, context={"networks": stored})
    except ValidationError as error:
        raise SelectionError(f"{name} '{value}': {in_plain_words(error.errors()[0])}") from error


def _members(experiments: list[Any]) -> Select[Any]:
    """Return a subquery for the runs of some experiments, because there may be more runs than a statement can list."""
    return (
        select(tables.run.c.identity)
        .join(tables.experiment_run, tables.experiment_run.c.run_id == tables.run.c.id)
        .join(tables.experiment, tables.experiment.c.id == tables.experiment_run.c.experiment_id)
        .where(tables.experiment.c.name.in_(experiments))
    )


def _matches(field: ColumnElement[Any], values: list[Any] | Select[Any]) -> ColumnElement[bool]:
    if isinstance(values, Select):
        return field.in_(values)
    present = [value for value in values if value is not None]
    matches = field.in_(present)
    return or_(matches, field.is_(None)) if len(present) < len(values) else matches
