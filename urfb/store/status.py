"""The status of a store's runs, and why some runs of a grid are new.

This module does not import pandas, because the import takes longer than everything else here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from operator import attrgetter
from typing import Any, NamedTuple

from sqlalchemy import func, or_, select

from urfb.errors import counted
from urfb.grid.settings import SETTINGS
from urfb.grid.spec import SCIENCE_VERSION, RunSpec
from urfb.store import tables
from urfb.store.reading import Store


class RunStatus(NamedTuple):
    """The state of a run with these settings; `reason` says why its last attempt failed or stopped, or is None."""

    run: str
    settings: Mapping[str, Any]
    state: str
    epochs_done: int
    epochs_target: int
    experiments: tuple[str, ...]
    reason: str | None


def run_statuses(store: Store) -> list[RunStatus]:
    """Return the status of each run, in the order in which the runs were registered.

    Raises:
        StoreError: the store cannot be read.
    """
    run, attempt = tables.run.c, tables.attempt.c
    last = select(attempt.run_id, func.max(attempt.id).label("id")).group_by(attempt.run_id).subquery()
    reasons = select(attempt.run_id, attempt.reason).join(last, last.c.id == attempt.id).subquery()
    query = select(tables.run, reasons.c.reason).outerjoin(reasons, reasons.c.run_id == run.id).order_by(run.id)
    experiments = defaultdict(list)
    for name, identity in sorted(store.memberships()):
        experiments[identity].append(name)
    with store.reading() as connection:
        rows = connection.execute(query).all()
    names = [name for name in SETTINGS if name in tables.run.c]
    progress = store.progress()  # read after the rows, so that only removed runs are missing
    return [
        RunStatus(
            row.identity, {name: getattr(row, name) for name in names}, *progress[row.identity], row.epochs_target,
            tuple(experiments[row.identity]), row.reason,
        )
        for row in rows
        if row.identity in progress
    ]  # fmt: skip


def unasked_runs(store: Store, experiments: Set[str], identities: Set[str]) -> dict[str, set[str]]:
    """Return the stored runs of some experiments that are not among `identities`.

    Returns:
        The identities of these runs, by experiment; experiments without such runs are left out.

    Raises:
        StoreError: the store cannot be read.
    """
    unasked: dict[str, set[str]] = {}
    for name, identity in sorted(store.memberships()):
        if name in experiments and identity not in identities:
            unasked.setdefault(name, set()).add(identity)
    return unasked


def changes(store: Store, specs: Sequence[RunSpec]) -> list[str | None]:
    """Return, for each new run, a text that names the trained run that differs only in source or science version.

    Args:
        store: the store that may have such trained runs.
        specs: the specs of the new runs.

    Raises:
        StoreError: the store cannot be read.
    """
    names = [name for name in RunSpec.model_fields if name not in ("network", "epochs", "source")]
    run = tables.run.c
    query = (
        select(run.identity, run.epochs_done, run.source, *(run[name] for name in names))
        .where(run.epochs_done > 0, or_(run.source.is_not(None), run.science_version < SCIENCE_VERSION))
        .order_by(run.id)
    )
    with store.reading() as connection:
        # Read the driver's rows, because SQLAlchemy's take several times as long. The latest of equal runs is kept.
        earlier = {tuple(row[3:]): row[:3] for row in connection.execute(query).cursor.fetchall()}
    if not earlier:
        return [None] * len(specs)
    settings = attrgetter(*names)
    return [_change(spec, *earlier.get(settings(spec), (None, 0, None))) for spec in specs]


def _change(spec: RunSpec, run: str | None, epochs: int, source: str | None) -> str | None:
    """Return what has changed since a run was trained; None if there is no such run."""
    if run is None:
        return None
    trained = f"run {run} ({counted(epochs, 'epoch')})"
    if source != spec.source:
        return f"source changed since {trained}"
    return f"an older urfb trained {trained}; its results differ"
