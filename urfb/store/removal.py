"""Removes runs from a store, with their checkpoints and logs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Column, Connection, Delete, bindparam, delete, select

from urfb.errors import SelectionError, StoreError, nearest
from urfb.grid.naming import split_names
from urfb.store import tables
from urfb.store.engine import Location, take_migration_lock
from urfb.store.liveness import clock, true_state
from urfb.store.reading import Store
from urfb.store.writing import WritableStore
from urfb.training.files import CheckpointFiles

if TYPE_CHECKING:
    import pandas as pd


class RunFiles(NamedTuple):
    """The files of some runs in the store's own folders on this machine; paths in the store are ignored.

    Attributes:
        checkpoints: the checkpoints of all runs, including partly written ones.
        logs: the logs of all runs.
        bytes: the size of the checkpoints.
    """

    checkpoints: list[Path]
    logs: list[Path]
    bytes: int

    @classmethod
    def of(cls, location: Location, identities: Iterable[str]) -> RunFiles:
        """Return the files that exist."""
        identities = list(identities)
        files = [file for identity in identities for file in CheckpointFiles.of(location.checkpoints, identity)]
        sizes = {}
        for file in files:
            with suppress(FileNotFoundError):
                sizes[file] = file.stat().st_size
        logs = [location.logs / f"{identity}.log" for identity in identities]
        return cls(list(sizes), [log for log in logs if log.is_file()], sum(sizes.values()))

    def remove(self) -> None:
        """Remove the files.

        Raises:
            StoreError: a file cannot be removed.
        """
        try:
            for file in (*self.checkpoints, *self.logs):
                file.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(
                f"{error.filename}: cannot be removed ({error.strerror}); the runs are removed from the store, and "
                "`urfb grid clean --orphans` removes the files that are left"
            ) from error


@dataclass(frozen=True)
class Removal:
    """The plan of a removal.

    Attributes:
        runs: the runs to remove, as `Store.runs` returns them.
        files: the files of these runs.
        experiment: the experiment whose runs are selected; None if the selection does not name one.
        shared: the identities of the experiment's runs that other experiments also ask for. They stay in the store, but
            no longer belong to this experiment.
    """

    runs: pd.DataFrame
    files: RunFiles
    experiment: str | None
    shared: tuple[str, ...]


def plan_removal(
    store: Store,
    runs: Sequence[str] = (),
    conditions: Sequence[str] = (),
    not_in: Sequence[Path] = (),
    experiment: str | None = None,
) -> Removal:
    """Plan to remove the runs that match all criteria. Nothing is written.

    Args:
        store: the store that has the runs.
        runs, conditions, not_in: criteria as in `Store.selected_runs`.
        experiment: the experiment whose runs to remove, except those that other experiments also ask for.

    Raises:
        SelectionError: no criterion is given, a criterion is invalid, or no run matches.
        GridError: a grid file has mistakes.
        StoreError: one of the runs is being trained.
    """
    if not (runs or conditions or not_in or experiment):
        raise SelectionError(
            "which runs? Give their identities, --where rule=frfb, --experiment figure4 or --not-in experiments.yaml"
        )
    frame = store.selected_runs(runs, conditions, not_in)
    shared: tuple[str, ...] = ()
    if experiment is not None:
        names = sorted({name for name, _ in store.memberships()})
        if experiment not in names:
            problem = nearest(experiment, names)
            raise SelectionError(f"{store.location} has no experiment '{experiment}': {problem}")
        members = frame[[experiment in split_names(names) for names in frame["experiments"]]]
        is_own = members["experiments"] == experiment
        frame, shared = members[is_own], tuple(members["run"][~is_own])
    if frame.empty and not shared:
        counts = Counter(state for state, _ in store.progress().values())
        there = ", ".join(f"{count} {state}" for state, count in counts.items())
        raise SelectionError(
            f"nothing to remove: no run in {store.location} matches; `urfb results runs` lists all runs "
            f"({there or 'none'})"
        )
    reasons = store.reasons()
    running = frame["run"][frame["state"] == "running"]
    _refuse_running({run: reasons.get(run, "is being trained") for run in running})  # a run may have ended by now
    return Removal(frame, RunFiles.of(store.location, frame["run"]), experiment, shared)


def remove(store: WritableStore, removal: Removal) -> int:
    """Remove the rows of all runs in one transaction, then their files; return the number of removed runs.

    Raises:
        StoreError: a run is being trained, or the store cannot be written, and nothing is removed; or a file cannot be
            removed, after the rows are.
    """
    identities, shared = set(removal.runs["run"]), set(removal.shared)
    with store.writing() as connection:
        take_migration_lock(connection)  # so that no runner registers one of these runs until they are removed
        rows = _locked_rows(connection, identities | shared)
        asked_for = _leave_experiment(connection, removal.experiment, rows) if removal.experiment else set()
        leaving = [row for row in rows if row.identity in identities and row.id not in asked_for]
        now = clock(connection)
        _refuse_running(
            {
                row.identity: f"is being trained on {row.owner_host}"
                for row in leaving
                if true_state(row.state, row.owner, row.owner_process, row.leased_until, now) == "running"
            }
        )
        _delete(connection, leaving)
    RunFiles.of(store.location, [row.identity for row in leaving]).remove()
    return len(leaving)


def _refuse_running(reasons: Mapping[str, str]) -> None:
    if reasons:
        named = (f"run {run} {reason}" for run, reason in reasons.items())
        raise StoreError("\n".join([*named, "nothing is removed; stop a run's training with `urfb grid cancel RUN`"]))


def _locked_rows(connection: Connection, identities: Set[str]) -> list[Any]:
    """Return the rows of the runs that still exist, and lock them until this transaction ends."""
    run = tables.run.c
    query = select(run.id, run.identity, run.state, run.owner, run.owner_process, run.owner_host, run.leased_until)
    # Lock them in the order in which `cancel` does, so that two processes cannot deadlock.
    locked = connection.execute(query.order_by(run.identity).with_for_update())
    return [row for row in locked if row.identity in identities]


def _leave_experiment(connection: Connection, experiment: str, rows: Sequence[Any]) -> set[int]:
    """Remove runs from an experiment, and return the ids of all runs that an experiment still asks for."""
    membership, columns = tables.experiment_run.c, tables.experiment.c
    experiment_id = select(columns.id).where(columns.name == experiment).scalar_subquery()
    memberships = delete(tables.experiment_run).where(membership.experiment_id == experiment_id)
    _for_each(connection, memberships, membership.run_id, rows)
    return set(connection.execute(select(membership.run_id)).scalars())


def _delete(connection: Connection, rows: Sequence[Any]) -> None:
    """Delete all rows of some runs, and the experiments that have no runs left."""
    experiment, membership = tables.experiment.c, tables.experiment_run.c
    for column in (*(table.c.run_id for table in (*tables.RUN_TABLES, tables.experiment_run)), tables.run.c.id):
        _for_each(connection, delete(column.table), column, rows)
    connection.execute(delete(tables.experiment).where(experiment.id.not_in(select(membership.experiment_id))))


def _for_each(connection: Connection, statement: Delete, column: Column[Any], rows: Sequence[Any]) -> None:
    """Execute a deletion once per run, because there may be more runs than a statement can list."""
    if rows:
        connection.execute(statement.where(column == bindparam("id")), [{"id": row.id} for row in rows])


def orphaned_files(store: Store) -> RunFiles:
    """Return the files of runs that the store does not have."""
    folders = (store.location.checkpoints, store.location.logs)
    identities = {file.name.partition(".")[0] for folder in folders for file in folder.glob("*")}
    # Read the runs after the files, because a run is stored before it has files.
    missing = identities - store.progress().keys()
    return RunFiles.of(store.location, (name for name in missing if re.fullmatch("[0-9a-f]{16}", name)))
