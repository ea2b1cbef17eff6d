"""Writes simulations of section 5 to a store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, insert, select

from urfb.store import tables
from urfb.store.engine import take_migration_lock
from urfb.theory.spec import THEORY_VERSION, Simulated

SIMULATION_TABLES = (tables.trajectory, tables.trajectory_layer)
PROVENANCE = (
    "diverged_at", "started", "seconds", "host", "urfb_version", "commit", "python_version", "numpy_version",
    "scipy_version",
)  # fmt: skip


def insert_simulation(connection: Connection, simulated: Simulated) -> bool:
    """Insert a simulation with its trajectory, unless its identity is stored; return whether it was inserted."""
    row = simulated.spec.settings | {
        "identity": simulated.spec.identity,
        "theory_version": THEORY_VERSION,
        **{name: getattr(simulated, name) for name in PROVENANCE},
    }
    simulation_id = _insert(connection, row)
    if simulation_id is None:
        return False
    trajectory = [
        {"simulation_id": simulation_id, "iteration": point.iteration, "error": point.error}
        for point in simulated.points
    ]
    connection.execute(insert(tables.trajectory), trajectory)
    layers = [
        {"simulation_id": simulation_id, "layer": layer, "iteration": point.iteration, "correlation": correlation}
        for point in simulated.points
        for layer, correlation in enumerate(point.correlations, start=1)
    ]
    if layers:
        connection.execute(insert(tables.trajectory_layer), layers)
    return True


def copy_simulation(
    connection: Connection, read: Callable[[Select[Any]], Sequence[RowMapping]], row: RowMapping
) -> bool:
    """Copy a simulation from another store, unless its identity is stored; return whether it was copied.

    Args:
        connection: the connection to the target store.
        read: a function that returns rows of the source store.
        row: the simulation's row in the source store.
    """
    simulation_id = _insert(connection, {name: value for name, value in row.items() if name != "id"})
    if simulation_id is None:
        return False
    for table in SIMULATION_TABLES:
        rows = read(select(table).where(table.c.simulation_id == row["id"]))
        if rows:
            connection.execute(insert(table), [{**fields, "simulation_id": simulation_id} for fields in rows])
    return True


def _insert(connection: Connection, row: dict[str, Any]) -> int | None:
    """Insert a simulation's row and return its id; None if its identity is stored."""
    take_migration_lock(connection)
    query = select(tables.simulation.c.id).where(tables.simulation.c.identity == row["identity"])
    if connection.execute(query).first() is not None:
        return None
    connection.execute(insert(tables.simulation).values(row))
    return int(connection.execute(query).scalar_one())
