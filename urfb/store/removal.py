"""Runs taken out of a store, with their checkpoints and logs."""

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
    """The files of some runs on this machine, in the store's own folders, whatever paths the store names.

    Attributes:
        checkpoints: of all runs, with those that are only partly written.
        logs: of all runs.
        bytes: of the checkpoints.
    """

    checkpoints: list[Path]
    logs: list[Path]
    bytes: int

    @classmethod
    def of(cls, location: Location, identities: Iterable[str]) -> RunFiles:
        """Return the files that are there."""
        identities = list(identities)
        files = [file for identity in identities for file in CheckpointFiles.of(location.checkpoints, identity)]
        sizes = {}
        for file in files:
            with suppress(FileNotFoundError):
                sizes[file] = file.stat().st_size
        logs = [location.logs / f"{identity}.log" for identity in identities]
        return cls(list(sizes), [log for log in logs if log.is_file()], sum(sizes.values()))

    def remove(self) -> None:
        """Remove them.

        Raises:
            StoreError: one of them cannot be removed.
        """
        try:
            for file in (*self.checkpoints, *self.logs):
                file.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(
                f"{error.filename}: cannot be removed ({error.strerror}); the runs are, and "
                "`urfb grid clean --orphans` removes the files that they leave"
            ) from error


@dataclass(frozen=True)
class Removal:
    """What is to be removed from a store.

    Attributes:
        runs: that leave it, as `Store.runs` returns them.
        files: of these runs.
        experiment: whose runs alone are to be removed, if that is asked for.
        shared: the identities of its runs that other experiments ask for, too: they stay, without this experiment.
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
    """Return what the removal of the runs for which all of this holds would remove. Nothing is written.

    Args:
        store: that has them.
        runs, conditions, not_in: as `Store.selected_runs` takes them.
        experiment: the only one that asks for them.

    Raises:
        SelectionError: nothing is given, something does not exist, or there is no such run.
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
            f"nothing to remove: no run of {store.location} is what is asked for; `urfb results runs` lists what there "
            f"is ({there or 'no runs'})"
        )
    reasons = store.reasons()
    running = frame["run"][frame["state"] == "running"]
    _refuse_running({run: reasons.get(run, "is being trained") for run in running})  # it may have ended since
    return Removal(frame, RunFiles.of(store.location, frame["run"]), experiment, shared)


def remove(store: WritableStore, removal: Removal) -> int:
    """Remove the rows of all runs in one transaction, then their files; return how many runs there were.

    Raises:
        StoreError: some of the runs are being trained, and nothing is removed; or the store cannot be written; or a
            file cannot be removed, after the rows.
    """
    identities, shared = set(removal.runs["run"]), set(removal.shared)
    with store.writing() as connection:
        take_migration_lock(connection)  # no runner asks for one of these runs before they are gone
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
        raise StoreError("\n".join([*named, "nothing is removed; `urfb grid cancel RUN` stops a run's training"]))


def _locked_rows(connection: Connection, identities: Set[str]) -> list[Any]:
    """Return the rows of the runs that are still there; nobody else changes one before this transaction ends."""
    run = tables.run.c
    query = select(run.id, run.identity, run.state, run.owner, run.owner_process, run.owner_host, run.leased_until)
    # In the order in which runs are cancelled, so that no two processes wait for each other.
    locked = connection.execute(query.order_by(run.identity).with_for_update())
    return [row for row in locked if row.identity in identities]


def _leave_experiment(connection: Connection, experiment: str, rows: Sequence[Any]) -> set[int]:
    """Take some runs out of an experiment, and return the numbers of all runs that an experiment asks for still."""
    membership, its = tables.experiment_run.c, tables.experiment.c
    number = select(its.id).where(its.name == experiment).scalar_subquery()
    memberships = delete(tables.experiment_run).where(membership.experiment_id == number)
    _for_each(connection, memberships, membership.run_id, rows)
    return set(connection.execute(select(membership.run_id)).scalars())


def _delete(connection: Connection, rows: Sequence[Any]) -> None:
    """Delete all rows of some runs, and the experiments that have no run left."""
    experiment, membership = tables.experiment.c, tables.experiment_run.c
    for column in (*(table.c.run_id for table in (*tables.RUN_TABLES, tables.experiment_run)), tables.run.c.id):
        _for_each(connection, delete(column.table), column, rows)
    connection.execute(delete(tables.experiment).where(experiment.id.not_in(select(membership.experiment_id))))


def _for_each(connection: Connection, statement: Delete, column: Column[Any], rows: Sequence[Any]) -> None:
    """Delete those of each run, one by one, for there may be more runs than a statement can list."""
    if rows:
        connection.execute(statement.where(column == bindparam("id")), [{"id": row.id} for row in rows])


def orphaned_files(store: Store) -> RunFiles:
    """Return the files of runs that a store does not have."""
    folders = (store.location.checkpoints, store.location.logs)
    identities = {file.name.partition(".")[0] for folder in folders for file in folder.glob("*")}
    # The runs are read after the files, for a run is stored before it has any.
    missing = identities - store.progress().keys()
    return RunFiles.of(store.location, (name for name in missing if re.fullmatch("[0-9a-f]{16}", name)))
