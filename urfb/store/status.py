"""How far a store's runs are. Without pandas, whose import takes longer than everything else here."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from sqlalchemy import func, select

from urfb.store import tables
from urfb.store.reading import Store


class RunStatus(NamedTuple):
    """How far one run is; `reason` says why its last attempt ended, if there is a reason."""

    run: str
    network: str
    dataset: str
    rule: str
    state: str
    epochs_done: int
    epochs_target: int
    experiments: tuple[str, ...]
    reason: str | None


def run_statuses(store: Store) -> list[RunStatus]:
    """Return how far each run of a store is, in the order in which they were registered.

    Raises:
        StoreError: it cannot be read.
    """
    run, attempt = tables.run.c, tables.attempt.c
    last = select(attempt.run_id, func.max(attempt.id).label("id")).group_by(attempt.run_id).subquery()
    reasons = select(attempt.run_id, attempt.reason).join(last, last.c.id == attempt.id).subquery()
    query = (
        select(run.identity, run.network, run.dataset, run.rule, run.epochs_target, reasons.c.reason)
        .outerjoin(reasons, reasons.c.run_id == run.id)
        .order_by(run.id)
    )
    experiments = defaultdict(list)
    for name, identity in sorted(store.memberships()):
        experiments[identity].append(name)
    with store.reading() as connection:
        rows = connection.execute(query).all()
    progress = store.progress()  # after the rows, so that it has every one of them that was not removed meanwhile
    return [
        RunStatus(
            row.identity, row.network, row.dataset, row.rule, *progress[row.identity], row.epochs_target,
            tuple(experiments[row.identity]), row.reason,
        )
        for row in rows
        if row.identity in progress
    ]  # fmt: skip
