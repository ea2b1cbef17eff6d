"""Joins the stores of several machines into one."""

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

from urfb.errors import StoreError
from urfb.files import atomic_write
from urfb.store import tables
from urfb.store.engine import Location, unreadable
from urfb.store.liveness import clock, timestamp, true_state
from urfb.store.opening import open_for_writing, open_store
from urfb.store.reading import Store
from urfb.store.simulations import copy_simulation
from urfb.training.files import CheckpointFiles

OF_A_RUN = tuple(
    table for table in tables.metadata.sorted_tables if "run_id" in table.c and table is not tables.experiment_run
)
"""The tables that have a run's own rows, which stay together."""

Read = Callable[[Select[Any]], Sequence[RowMapping]]


class Version(NamedTuple):
    """What one store has of a run: its row, its state, when and where each attempt at it began, whether it ended."""

    row: RowMapping
    state: str
    attempts: tuple[tuple[Any, ...], ...]
    tested: bool

    @property
    def rank(self) -> tuple[int, bool]:
        """What decides between two executions: how many epochs there are, then whether the run ended with them."""
        return self.row["epochs_done"], self.tested and self.state != "failed"

    def __str__(self) -> str:
        return f"{self.row['epochs_done']} epochs ({self.state})"


@dataclass(frozen=True)
class Merged:
    """What became of one run, or one simulation, of a source.

    Attributes:
        source: where it is.
        run: the run's or simulation's identity.
        became: 'added', where it had not been trained in the target; 'replaced' or 'kept', where the target's execution
            gave way or stayed; 'unchanged', where both have the same one, or the source none; 'busy', where the run is
            being trained in the target, and was left alone.
        theirs, ours: the source's version and the target's, in words.
        kind: what it is.
    """

    source: str
    run: str
    became: Literal["added", "replaced", "kept", "unchanged", "busy"]
    theirs: str
    ours: str
    kind: Literal["run", "simulation"] = "run"


def merge_stores(target: str, sources: Sequence[str]) -> list[Merged]:
    """Take the runs of other stores into one, which is made where there is none yet.

    All rows of a run come from one store. Of two executions of a run the one of more epochs wins, then one that ended
    with them, then the target's own; nothing is averaged. The sources' experiments ask for their runs in the target,
    too. Of two targets of epochs the farther one holds; a run that is short of it is unfinished. Simulations that the
    target lacks are added.

    Sources are only read. All rows are written in one transaction. After it, the checkpoints of the runs that were
    taken are copied to beside the target. A run whose source has none has none any more, for weights of another
    execution must not go on with its numbers: it is trained anew if it is asked for more epochs than it has. Merging
    again copies what is missing.

    Raises:
        StoreError: a source cannot be read or is the target, each such mistake on a line of its own; or the target
            cannot be written, and is as it was; or a checkpoint cannot be copied.
    """
    opened = _open_sources(target, sources)
    into = open_for_writing(target)
    merged: list[Merged] = []
    holders: dict[str, list[Store]] = defaultdict(list)
    with ExitStack() as replaced, into.writing() as writing:
        for source in opened:
            memberships = source.memberships()  # before the runs, which then are all there
            with source.engine.connect() as reading:
                read = partial(_read, source, reading)
                merged += _merge_simulations(writing, read, source)
                for one in _merge(writing, into, read, clock(reading), source, replaced):
                    merged.append(one)
                    if one.became in ("added", "replaced"):
                        holders[one.run] = [source]
                    elif one.became == "unchanged":
                        holders[one.run].append(source)
            _unite_memberships(writing, memberships)
    for run, having in holders.items():
        for source in having:
            _copy_checkpoints(_checkpoints(source, run), _checkpoints(into, run))
    return merged


def _open_sources(target: str, sources: Sequence[str]) -> list[Store]:
    opened, mistakes = [], []
    there = Location.of(target)
    for location in sources:
        try:
            source = open_store(location)
        except StoreError as error:
            mistakes.append(str(error))
            continue
        if source.location.is_same(there):
            mistakes.append(f"{source.location}: is the store that the others are merged into; leave it out")
        elif source.location.checkpoints.absolute() == there.checkpoints.absolute():
            mistakes.append(
                f"{source.location}: has its checkpoints where {there} has them, in {there.checkpoints}; rename one"
            )
        opened.append(source)
    if mistakes:
        raise StoreError("\n".join(mistakes))
    return opened


def _read(source: Store, reading: Connection, query: Select[Any]) -> Sequence[RowMapping]:
    try:
        return reading.execute(query).mappings().all()
    except DBAPIError as error:
        raise unreadable(source.location, error) from error


def _merge(
    writing: Connection, into: Store, read: Read, now: float, source: Store, replaced: ExitStack
) -> Iterator[Merged]:
    """Take the runs of one source, by whose clock it is `now`.

    `replaced` has the checkpoints of those that give way until all is committed.
    """
    run = tables.run.c
    runs_there = select(tables.run).with_for_update()
    ours = _versions(lambda query: writing.execute(query).mappings().all(), runs_there, clock(writing))
    for identity, their in _versions(read, select(tables.run).order_by(run.id), now).items():
        their = their._replace(state="unfinished" if their.state == "running" else their.state)
        our = ours.get(identity)
        became = _decide(their, our)
        if our is None:
            run_id = _insert(writing, tables.run, {name: value for name, value in their.row.items() if name != "id"})
        else:
            run_id = our.row["id"]
        if became in ("added", "replaced"):
            replaced.enter_context(_set_aside(_checkpoints(into, identity)))
            _copy_rows(writing, run_id, read, their.row["id"])
        if became != "busy":
            winner = their if our is None or became in ("added", "replaced") else our
            _set_state(writing, run_id, winner, max(one.row["epochs_target"] for one in (their, our or their)))
        yield Merged(str(source.location), identity, became, str(their), str(our or ""))


def _merge_simulations(writing: Connection, read: Read, source: Store) -> Iterator[Merged]:
    """Add the simulations that are not there; those of one identity are the same numbers."""
    for row in read(select(tables.simulation).order_by(tables.simulation.c.id)):
        became: Literal["added", "unchanged"] = "added" if copy_simulation(writing, read, row) else "unchanged"
        yield Merged(str(source.location), row["identity"], became, "", "", "simulation")


def _versions(read: Read, runs: Select[Any], now: float) -> dict[str, Version]:
    """Return each run that `runs` gives, by identity."""
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


def _decide(their: Version, our: Version | None) -> Literal["added", "replaced", "kept", "unchanged", "busy"]:
    if our is None:
        return "added"
    if our.state == "running":
        return "busy"
    if not their.attempts or (their.attempts == our.attempts and their.rank == our.rank):
        return "unchanged"
    if not our.attempts:
        return "added"
    return "replaced" if their.rank > our.rank else "kept"


def _copy_rows(writing: Connection, run_id: int, read: Read, their_id: int) -> None:
    """Put a source's rows of a run in the place of those that the target has."""
    for table in OF_A_RUN:
        writing.execute(delete(table).where(table.c.run_id == run_id))
        own_key = table.c.keys()[0] == "id"
        query = select(table).where(table.c.run_id == their_id)
        rows = [{**row, "run_id": run_id} for row in read(query.order_by(table.c.id) if own_key else query)]
        for row in rows:
            row.pop("id", None)
            if table is tables.attempt and row["ended"] is None:
                row |= {
                    "ended": timestamp(),
                    "outcome": "interrupted",
                    "reason": "its store was merged before it ended",
                }
        if rows:
            writing.execute(insert(table), rows)


def _set_state(writing: Connection, run_id: int, winner: Version, epochs_target: int) -> None:
    epochs_done, state = winner.row["epochs_done"], winner.state
    if state == "done" and epochs_done < epochs_target:
        state = "unfinished"
    nobody = dict.fromkeys(("owner", "owner_host", "owner_process", "leased_until"))
    values = {"state": state, "epochs_done": epochs_done, "epochs_target": epochs_target, **nobody}
    writing.execute(update(tables.run).where(tables.run.c.id == run_id).values(values))


def _unite_memberships(writing: Connection, memberships: Iterable[tuple[str, str]]) -> None:
    experiment, belongs = tables.experiment.c, tables.experiment_run.c
    experiment_ids = {row.name: row.id for row in writing.execute(select(experiment.name, experiment.id))}
    run_ids = {row.identity: row.id for row in writing.execute(select(tables.run.c.identity, tables.run.c.id))}
    there = {tuple(row) for row in writing.execute(select(belongs.experiment_id, belongs.run_id))}
    for name, identity in sorted(memberships):
        if name not in experiment_ids:
            experiment_ids[name] = _insert(writing, tables.experiment, {"name": name})
        keys = {"experiment_id": experiment_ids[name], "run_id": run_ids[identity]}
        if tuple(keys.values()) not in there:
            writing.execute(insert(tables.experiment_run).values(keys))


def _insert(writing: Connection, table: Table, values: dict[str, Any]) -> int:
    """Insert a row and return its number."""
    key: Sequence[Any] = writing.execute(insert(table).values(values)).inserted_primary_key or ()
    return int(key[0])


def _checkpoints(store: Store, run: str) -> list[Path]:
    """Return where a run's checkpoints are, if there are any: the latest and the one before it."""
    files = CheckpointFiles.of(store.location.checkpoints, run)
    return [files.latest, files.previous]


@contextmanager
def _set_aside(files: Sequence[Path]) -> Iterator[None]:
    """Rename files out of the way: for good if all goes well, else back again.

    So they are never beside rows of another execution, even if this process is killed between two moments.
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
            raise StoreError(f"{error.filename}: cannot be renamed ({error.strerror}); nothing is merged") from error
        raise
    for _, aside in moved:
        aside.unlink()


def _copy_checkpoints(theirs: Sequence[Path], ours: Sequence[Path]) -> None:
    """Copy the checkpoints that are not there yet."""
    for file, copy in zip(theirs, ours, strict=True):
        if copy.exists() or not file.exists():
            continue
        try:
            with atomic_write(copy) as partial_copy:
                shutil.copyfile(file, partial_copy)
        except OSError as error:
            raise StoreError(
                f"{copy}: cannot be written ({error.strerror}); the rows of all runs are merged, and merging again "
                "copies the checkpoints that are missing"
            ) from error
