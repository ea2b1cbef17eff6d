"""Merges the stores of several machines into one."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, RowMapping, Select, Table, delete, insert, select, update
from sqlalchemy.exc import DBAPIError

from urfb.errors import StoreError, counted
from urfb.files import atomic_write
from urfb.store import tables
from urfb.store.engine import Location, unreadable
from urfb.store.liveness import clock, timestamp, true_state
from urfb.store.opening import open_for_writing, open_store
from urfb.store.reading import Store
from urfb.store.simulations import copy_simulation
from urfb.training.files import CheckpointFiles

Outcome = Literal["added", "replaced", "kept", "unchanged", "busy"]
Read = Callable[[Select[Any]], Sequence[RowMapping]]


class Version(NamedTuple):
    """A store's data on a run: its row, its state, when and where each attempt began, and whether it was tested."""

    row: RowMapping
    state: str
    attempts: tuple[tuple[Any, ...], ...]
    tested: bool

    @property
    def rank(self) -> tuple[int, bool]:
        """The rank that decides between two executions: the number of epochs, then whether the run ended there."""
        return self.row["epochs_done"], self.tested and self.state != "failed"

    def __str__(self) -> str:
        return f"{counted(self.row['epochs_done'], 'epoch')} ({self.state})"


@dataclass(frozen=True)
class Merged:
    """The result of a merge for one run or simulation of a source.

    Attributes:
        source: the source's location.
        run: the identity of the run or simulation.
        outcome: 'added' if the target had no execution; 'replaced' or 'kept' if both had one, and the source's or the
            target's was chosen; 'unchanged' if both have the same execution, or the source has none; 'busy' if the
            run is being trained in the target, which is not changed.
        source_version, target_version: the epochs and state of the run in each store before the merge, as text.
        kind: 'run' or 'simulation'.
    """

    source: str
    run: str
    outcome: Outcome
    source_version: str
    target_version: str
    kind: Literal["run", "simulation"] = "run"


def merge_stores(target: str, sources: Sequence[str]) -> list[Merged]:
    """Merge other stores into a target store, which is created if it is missing.

    All rows of a run come from one store; nothing is averaged. If two stores have executions of a run, the one with
    more epochs is kept, then one that ended there, then the target's. The larger target of epochs is kept, and a run
    that has not reached it is unfinished. The target also gets the sources' experiments, and the simulations that it
    lacks.

    The sources are only read. All rows are written in one transaction. Then the checkpoints of added and replaced runs
    are copied to the target's folder. If the source of a replaced run has no checkpoint, the target's is deleted,
    because a run must not continue from the weights of another execution. Such a run is trained again from the start
    when more epochs are needed. If checkpoints are missing because a merge was interrupted, merge again.

    Raises:
        StoreError: a source cannot be read or is the target (one line for each such mistake); the target cannot be
            written, and is unchanged; or a checkpoint cannot be copied.
    """
    source_stores = _open_sources(target, sources)
    target_store = open_for_writing(target)
    merged: list[Merged] = []
    holders: dict[str, list[Store]] = defaultdict(list)
    with ExitStack() as replaced, target_store.writing() as writing:
        for source in source_stores:
            memberships = source.memberships()  # read before the runs, so that each of their runs is read, too
            with source.engine.connect() as reading:
                read = partial(_read, source, reading)
                merged += _merge_simulations(writing, read, source)
                for run in _merge_runs(writing, target_store, read, clock(reading), source, replaced):
                    merged.append(run)
                    if run.outcome in ("added", "replaced"):
                        holders[run.run] = [source]
                    elif run.outcome == "unchanged":
                        holders[run.run].append(source)
            _unite_memberships(writing, memberships)
    for identity, stores in holders.items():
        for source in stores:
            _copy_checkpoints(_checkpoints(source, identity), _checkpoints(target_store, identity))
    return merged


def _open_sources(target: str, sources: Sequence[str]) -> list[Store]:
    source_stores, mistakes = [], []
    target_location = Location.of(target)
    for location in sources:
        try:
            source = open_store(location)
        except StoreError as error:
            mistakes.append(str(error))
            continue
        if source.location.is_same(target_location):
            mistakes.append(f"{source.location}: is the target of the merge; leave it out of the sources")
        elif source.location.checkpoints.absolute() == target_location.checkpoints.absolute():
            mistakes.append(
                f"{source.location}: has the same folder of checkpoints as {target_location}, "
                f"{target_location.checkpoints}; rename one of the stores"
            )
        source_stores.append(source)
    if mistakes:
        raise StoreError("\n".join(mistakes))
    return source_stores


def _read(source: Store, reading: Connection, query: Select[Any]) -> Sequence[RowMapping]:
    try:
        return reading.execute(query).mappings().all()
    except DBAPIError as error:
        raise unreadable(source.location, error) from error


def _merge_runs(
    writing: Connection, target: Store, read: Read, now: float, source: Store, replaced: ExitStack
) -> Iterator[Merged]:
    """Merge the runs of a source and yield the result for each.

    Args:
        writing: the connection to the target, within the merge's transaction.
        target: the target store.
        read: a function that returns rows of the source.
        now: the time by the source's clock, in seconds since 1970.
        source: the source store.
        replaced: the context that keeps the checkpoints of replaced runs until the transaction is committed.
    """
    run = tables.run.c
    locked_runs = select(tables.run).with_for_update()
    target_versions = _versions(lambda query: writing.execute(query).mappings().all(), locked_runs, clock(writing))
    for identity, version in _versions(read, select(tables.run).order_by(run.id), now).items():
        source_version = version._replace(state="unfinished" if version.state == "running" else version.state)
        target_version = target_versions.get(identity)
        outcome = _decide(source_version, target_version)
        if target_version is None:
            row = {name: value for name, value in source_version.row.items() if name != "id"}
            run_id = _insert(writing, tables.run, row)
        else:
            run_id = target_version.row["id"]
        if outcome in ("added", "replaced"):
            replaced.enter_context(_set_aside(_checkpoints(target, identity)))
            _copy_rows(writing, run_id, read, source_version.row["id"])
        if outcome != "busy":
            winner = source_version if target_version is None or outcome in ("added", "replaced") else target_version
            versions = (source_version, target_version or source_version)
            _set_state(writing, run_id, winner, max(version.row["epochs_target"] for version in versions))
        yield Merged(str(source.location), identity, outcome, str(source_version), str(target_version or ""))


def _merge_simulations(writing: Connection, read: Read, source: Store) -> Iterator[Merged]:
    """Add the simulations that the target lacks; two simulations with the same identity have the same results."""
    for row in read(select(tables.simulation).order_by(tables.simulation.c.id)):
        outcome: Outcome = "added" if copy_simulation(writing, read, row) else "unchanged"
        yield Merged(str(source.location), row["identity"], outcome, "", "", "simulation")


def _versions(read: Read, runs: Select[Any], now: float) -> dict[str, Version]:
    """Return the runs that the query `runs` selects, by identity."""
    attempts = defaultdict(list)
    attempt, test = tables.attempt.c, tables.test.c
    for row in read(select(attempt.run_id, attempt.started, attempt.host, attempt.process).order_by(attempt.id)):
        attempts[row["run_id"]].append((row["started"], row["host"], row["process"]))
    tested = {(row["run_id"], row["epoch"]) for row in read(select(test.run_id, test.epoch))}
    return {
        row["identity"]: Version(
            row,
            true_state(row["state"], row["owner"], row["owner_process"], row["leased_until"], now),
            tuple(attempts[row["id"]]),
            (row["id"], row["epochs_done"]) in tested,
        )
        for row in read(runs)
    }


def _decide(source: Version, target: Version | None) -> Outcome:
    if target is None:
        return "added"
    if target.state == "running":
        return "busy"
    if not source.attempts or (source.attempts == target.attempts and source.rank == target.rank):
        return "unchanged"
    if not target.attempts:
        return "added"
    return "replaced" if source.rank > target.rank else "kept"


def _copy_rows(writing: Connection, run_id: int, read: Read, source_id: int) -> None:
    """Replace the target's rows of a run with the source's."""
    for table in tables.RUN_TABLES:
        writing.execute(delete(table).where(table.c.run_id == run_id))
        has_id = table.c.keys()[0] == "id"
        query = select(table).where(table.c.run_id == source_id)
        rows = [{**row, "run_id": run_id} for row in read(query.order_by(table.c.id) if has_id else query)]
        for row in rows:
            row.pop("id", None)
            if table is tables.attempt and row["ended"] is None:
                row |= {
                    "ended": timestamp(),
                    "outcome": "interrupted",
                    "reason": "the store was merged before this attempt ended",
                }
        if rows:
            writing.execute(insert(table), rows)


def _set_state(writing: Connection, run_id: int, winner: Version, epochs_target: int) -> None:
    epochs_done, state = winner.row["epochs_done"], winner.state
    if state == "done" and epochs_done < epochs_target:
        state = "unfinished"
    no_owner = dict.fromkeys(("owner", "owner_host", "owner_process", "leased_until"))
    values = {"state": state, "epochs_done": epochs_done, "epochs_target": epochs_target, **no_owner}
    writing.execute(update(tables.run).where(tables.run.c.id == run_id).values(values))


def _unite_memberships(writing: Connection, memberships: Iterable[tuple[str, str]]) -> None:
    experiment, membership = tables.experiment.c, tables.experiment_run.c
    experiment_ids = {row.name: row.id for row in writing.execute(select(experiment.name, experiment.id))}
    run_ids = {row.identity: row.id for row in writing.execute(select(tables.run.c.identity, tables.run.c.id))}
    stored = {tuple(row) for row in writing.execute(select(membership.experiment_id, membership.run_id))}
    for name, identity in sorted(memberships):
        if identity not in run_ids:  # removed from the source in the meantime
            continue
        if name not in experiment_ids:
            experiment_ids[name] = _insert(writing, tables.experiment, {"name": name})
        keys = {"experiment_id": experiment_ids[name], "run_id": run_ids[identity]}
        if tuple(keys.values()) not in stored:
            writing.execute(insert(tables.experiment_run).values(keys))


def _insert(writing: Connection, table: Table, values: dict[str, Any]) -> int:
    """Insert a row and return its id."""
    key: Sequence[Any] = writing.execute(insert(table).values(values)).inserted_primary_key or ()
    return int(key[0])


def _checkpoints(store: Store, run: str) -> list[Path]:
    """Return the paths of a run's checkpoints, which may not exist: the latest and the one before it."""
    files = CheckpointFiles.of(store.location.checkpoints, run)
    return [files.latest, files.previous]


@contextmanager
def _set_aside(files: Sequence[Path]) -> Iterator[None]:
    """Rename files; on exit delete them, or restore them after an error.

    So no checkpoint is ever next to the rows of another execution, even if this process is killed halfway.
    """
    moved = [(file, file.with_name(f"{file.name}.replaced")) for file in files if file.exists()]
    try:
        for file, aside in moved:
            file.replace(aside)
        yield
    except BaseException as error:
        for file, aside in moved:
            if aside.exists():
                aside.replace(file)
        if isinstance(error, OSError):
            raise StoreError(f"{error.filename}: cannot be renamed ({error.strerror}); nothing was merged") from error
        raise
    for _, aside in moved:
        aside.unlink()


def _copy_checkpoints(sources: Sequence[Path], copies: Sequence[Path]) -> None:
    """Copy the checkpoints that do not exist in the target.

    Raises:
        StoreError: a checkpoint cannot be copied.
    """
    for file, copy in zip(sources, copies, strict=True):
        if copy.exists() or not file.exists():
            continue
        try:
            with atomic_write(copy) as partial_copy:
                shutil.copyfile(file, partial_copy)
        except OSError as error:
            raise StoreError(
                f"{copy}: cannot be written ({error.strerror}); the rows of all runs are merged: merge again to copy "
                "the missing checkpoints"
            ) from error
