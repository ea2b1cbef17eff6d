"""Writes to a store: claims runs and records their events, each in one transaction."""

from __future__ import annotations

import math
import os
import socket
import threading
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, Engine, ScalarSelect, Select, Table, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from urfb.errors import StoreError
from urfb.events import AlignmentPoint, EpochEnded, Event, Failed, Finished, Lost, SavedFilters, Started, Stopped
from urfb.grid.expand import GridRun
from urfb.grid.spec import SCIENCE_VERSION, RunSpec
from urfb.store import tables
from urfb.store.engine import Location, cause, take_migration_lock
from urfb.store.liveness import LEASE_SECONDS, clock, is_alive, is_local, machine, timestamp
from urfb.store.open_file import OpenFile
from urfb.store.reading import Store
from urfb.store.simulations import insert_simulation
from urfb.theory.spec import Simulated

SHORT_PATIENCE = 5.0
"""Seconds to wait for another program's lock before a write that is not essential is given up."""


class Claim(NamedTuple):
    """The outcome of an attempt to claim a run.

    Attributes:
        outcome: 'claimed'; 'elsewhere' if another living process has the run; 'done' if it has reached its target;
            'cancelled'; 'failed' if it has failed more often than allowed; or 'removed' if it is not in the store.
        epochs_done: the number of the run's stored epochs.
        threads: the number of CPU threads that last trained the run; None if it was never trained.
    """

    outcome: Literal["claimed", "elsewhere", "done", "cancelled", "failed", "removed"]
    epochs_done: int
    threads: int | None = None


class WritableStore(Store):
    """A store that is open for one runner.

    Each runner has a unique token, because the system reuses process numbers. A run belongs to at most one runner. One
    statement claims it, and has no effect if the run's owner has changed since it was read. The run belongs to the
    runner as long as the lease is renewed. Events of a run that the runner no longer owns are not stored. A run's rows
    are complete epochs, from the first to `epochs_done`.

    Each method is one transaction. It raises StoreError and stores nothing if the store cannot be written, for example
    because the disk is full. It also raises StoreError, and saves a copy, if the store's file is no longer at its path,
    because results in a moved or deleted file would be lost.
    """

    def __init__(self, location: Location, engine: Engine) -> None:
        super().__init__(location, engine)
        self._token = f"{machine()} {uuid.uuid4().hex}"
        self._file = OpenFile(location, engine) if location.path is not None else None
        # The thread that renews leases has its own connection. Versions of SQLite before 3.51.3 can damage a file that
        # two connections write at the same instant.
        self._turn = threading.Lock() if location.path is not None else None

    @contextmanager
    def writing(self, patience: float = math.inf) -> Iterator[Connection]:
        """Open a transaction.

        Args:
            patience: the longest time to wait for another program's lock on the store, in seconds.

        Raises:
            StoreError: the store cannot be written; nothing of the transaction is stored.
        """
        self._check_file()
        try:
            with self._alone(patience), self.engine.execution_options(patience=patience).begin() as connection:
                yield connection
        except DBAPIError as error:
            self._check_file()
            raise StoreError(
                f"{self.location}: cannot be written ({cause(error)}); stored results are safe: run the command again "
                "to continue from them"
            ) from error
        self._check_file()

    @contextmanager
    def _alone(self, patience: float) -> Iterator[None]:
        """Wait until no other thread writes to an SQLite file, and keep others waiting while the context is open."""
        if self._turn is None:
            yield
        elif self._turn.acquire(timeout=-1 if patience == math.inf else patience):
            try:
                yield
            finally:
                self._turn.release()
        else:
            raise StoreError(f"{self.location}: cannot be written (another thread is writing)")

    def _check_file(self) -> None:
        if self._file is not None:
            self._file.check()

    def verify(self) -> None:
        """Check that everything that was written is at the store's path, and intact.

        Raises:
            StoreError: another file or none is there, or the file is damaged.
        """
        if self._file is not None:
            self._file.verify()

    def register(self, runs: Iterable[GridRun]) -> None:
        """Add the runs that the store does not have, and the experiments that ask for them."""
        runs = list(runs)
        specs = [run.spec for run in runs]
        with self.writing() as connection:
            take_migration_lock(connection)
            insert_new(connection, tables.run, [_run_row(spec) for spec in specs])
            names = {name for run in runs for name in run.experiments}
            insert_new(connection, tables.experiment, [{"name": name} for name in sorted(names)])
            run_columns, experiment_columns = tables.run.c, tables.experiment.c
            run_ids = _lookup(connection, select(run_columns.identity, run_columns.id))
            experiment_ids = _lookup(connection, select(experiment_columns.name, experiment_columns.id))
            memberships = [
                {"experiment_id": experiment_ids[name], "run_id": run_ids[run.spec.identity]}
                for run in runs
                for name in run.experiments
            ]
            insert_new(connection, tables.experiment_run, memberships)

    def claim(self, spec: RunSpec, *, cancelled: bool = False, failures: int | None = None) -> Claim:
        """Make this process the run's owner, unless another living process owns it, or it is done or cancelled.

        Args:
            spec: the spec of the run.
            cancelled: whether to claim a cancelled run.
            failures: the number of failures that the run may have, so that only one of many runners tries it again;
                None for any number.
        """
        columns, attempts = tables.run.c, tables.attempt.c
        with self.writing() as connection:
            now = clock(connection)
            row = connection.execute(select(tables.run).where(columns.identity == spec.identity)).one_or_none()
            if row is None:
                return Claim("removed", 0)
            epochs_done = int(row.epochs_done)
            if row.state == "done" and epochs_done >= spec.epochs:
                return Claim("done", epochs_done)
            if row.state == "cancelled" and not cancelled:
                return Claim("cancelled", epochs_done)
            if row.state == "failed" and failures is not None:
                failed = select(func.count()).where(attempts.run_id == row.id, attempts.outcome == "failed")
                if connection.execute(failed).scalar_one() > failures:
                    return Claim("failed", epochs_done)
            is_owner = row.owner == self._token or (is_local(row.owner) and row.owner_process == os.getpid())
            if row.owner is not None and not is_owner and is_alive(row.owner, row.owner_process, row.leased_until, now):
                return Claim("elsewhere", epochs_done)
            claimed = connection.execute(
                update(tables.run)
                .where(columns.id == row.id, columns.owner.is_not_distinct_from(row.owner), columns.state == row.state)
                .values(
                    state="running",
                    epochs_target=max(spec.epochs, epochs_done),
                    owner=self._token,
                    owner_host=socket.gethostname(),
                    owner_process=os.getpid(),
                    leased_until=now + LEASE_SECONDS,
                )
            )
            if claimed.rowcount == 0:  # another runner has claimed it since it was read
                return Claim("elsewhere", epochs_done)
            threads = connection.execute(_last_threads(row.id)).scalar()
            _end_attempt(connection, row.id, "interrupted", "the runner died")
            connection.execute(
                insert(tables.attempt).values(run_id=row.id, started=timestamp(), host=socket.gethostname())
            )
            return Claim("claimed", epochs_done, threads)

    def renew_leases(self) -> None:
        """Renew the leases of all runs that this process has claimed."""
        with self.writing(patience=SHORT_PATIENCE) as connection:
            connection.execute(
                update(tables.run)
                .where(tables.run.c.owner == self._token)
                .values(leased_until=clock(connection) + LEASE_SECONDS)
            )

    def release(self, reason: str) -> None:
        """Give up all runs that this process has claimed, as unfinished.

        This does not wait long for another program's lock, because the runs of a dead process count as unfinished
        anyway.

        Args:
            reason: the reason to store with the runs' open attempts.
        """
        columns = tables.run.c
        with self.writing(patience=SHORT_PATIENCE) as connection:
            claimed = select(columns.id).where(columns.owner == self._token).with_for_update()
            for run_id in connection.execute(claimed).scalars().all():
                _end_attempt(connection, run_id, "interrupted", reason)
                _end_run(connection, run_id, "unfinished")

    def keep_simulation(self, simulated: Simulated) -> bool:
        """Store a complete simulation, unless its identity is stored; return whether it was added."""
        with self.writing() as connection:
            return insert_simulation(connection, simulated)

    def cancel(self, identities: Iterable[str]) -> list[str]:
        """Cancel runs, except those that are done; return the identities of the cancelled runs.

        A runner that is training a cancelled run drops it.
        """
        cancelled = []
        with self.writing() as connection:
            for identity in sorted(identities):  # always in this order, so that two processes cannot deadlock
                run = connection.execute(_select_run(identity)).one_or_none()
                if run is not None and run.state not in ("done", "cancelled"):
                    _end_attempt(connection, run.id, "cancelled", "cancelled")
                    _end_run(connection, run.id, "cancelled")
                    cancelled.append(identity)
        return cancelled

    def record(self, identity: str, event: Event) -> bool:
        """Store an event of a run if this process still owns the run; return whether it does."""
        with self.writing() as connection:
            run = connection.execute(_select_run(identity)).one_or_none()
            if run is None or run.owner != self._token:
                return False
            match event:
                case Started():
                    _record_start(connection, run.id, event)
                case EpochEnded():
                    _record_epoch(connection, run.id, event)
                case Finished():
                    # The run may have ended at this epoch before; then the test error is the same.
                    columns = tables.test.c
                    connection.execute(
                        delete(tables.test).where(columns.run_id == run.id, columns.epoch == event.epoch)
                    )
                    connection.execute(insert(tables.test).values(run_id=run.id, **vars(event)))
                    _end_attempt(connection, run.id, "done", None)
                    _end_run(connection, run.id, "done")
                case Failed():
                    _end_attempt(connection, run.id, "failed", event.reason, event.traceback)
                    _end_run(connection, run.id, "failed")
                case Stopped():
                    _end_attempt(connection, run.id, "interrupted", "stopped on request, with a checkpoint")
                    _end_run(connection, run.id, "unfinished")
                case Lost():
                    _end_attempt(connection, run.id, "interrupted", event.reason)
                    _end_run(connection, run.id, "unfinished")
            return True


def _run_row(spec: RunSpec) -> dict[str, Any]:
    """Return the row of a new run."""
    return {
        "identity": spec.identity,
        "convention": spec.convention,
        "science_version": SCIENCE_VERSION,
        "epochs_target": spec.epochs,
        "state": "new",
        "epochs_done": 0,
        **spec.model_dump(exclude={"epochs"}),
    }


def insert_new(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert rows, except those that exist already."""
    if rows:
        dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
        connection.execute(dialect.insert(table).on_conflict_do_nothing(), rows)


def _lookup(connection: Connection, query: Select[Any]) -> dict[str, int]:
    return {name: int(number) for name, number in connection.execute(query)}


def _select_run(identity: str) -> Select[Any]:
    """Return the query that reads a run and, on a server, locks it until the transaction ends."""
    columns = tables.run.c
    wanted = select(columns.id, columns.owner, columns.state, columns.epochs_done)
    return wanted.where(columns.identity == identity).with_for_update()


def _last_threads(run_id: int) -> Select[Any]:
    """Return the query for the number of CPU threads that last trained a run."""
    columns = tables.attempt.c
    return (
        select(columns.threads)
        .where(columns.run_id == run_id, columns.threads.is_not(None))
        .order_by(columns.id.desc())
        .limit(1)
    )


def _record_start(connection: Connection, run_id: int, event: Started) -> None:
    """Store the attempt's provenance, and delete rows that are later than the epoch from which it continues."""
    for table in (tables.epoch, tables.test, tables.layer_alignment, tables.filters):
        past = table.c.epoch > event.epochs_done
        connection.execute(delete(table).where(table.c.run_id == run_id, past))
    if event.epochs_done == 0:
        for table in (tables.layer_alignment, tables.filters):  # these have rows of epoch 0
            connection.execute(delete(table).where(table.c.run_id == run_id))
    connection.execute(update(tables.run).where(tables.run.c.id == run_id).values(epochs_done=event.epochs_done))
    connection.execute(
        update(tables.attempt)
        .where(tables.attempt.c.id == _open_attempt(run_id))
        .values(first_epoch=event.epochs_done + 1, **vars(event.provenance))
    )
    _insert_alignment(connection, run_id, event.alignment)
    _insert_filters(connection, run_id, event.filters)


def _record_epoch(connection: Connection, run_id: int, event: EpochEnded) -> None:
    values = dict(vars(event))
    del values["alignment"], values["filters"]
    connection.execute(insert(tables.epoch).values(run_id=run_id, **values))
    _insert_alignment(connection, run_id, event.alignment)
    _insert_filters(connection, run_id, event.filters)
    connection.execute(
        update(tables.run)
        .where(tables.run.c.id == run_id)
        .values(epochs_done=event.epoch, leased_until=clock(connection) + LEASE_SECONDS)
    )


def _insert_alignment(connection: Connection, run_id: int, points: Sequence[AlignmentPoint]) -> None:
    if points:
        # An undefined correlation is NULL. SQLite stores NaN as NULL, but PostgreSQL keeps it.
        rows = [{"run_id": run_id, **vars(point)} for point in points]
        rows = [{name: None if value != value else value for name, value in row.items()} for row in rows]
        connection.execute(insert(tables.layer_alignment), rows)


def _insert_filters(connection: Connection, run_id: int, locations: Sequence[SavedFilters]) -> None:
    for filters in locations:
        values = vars(filters) | dict(zip(("filters", "height", "width", "channels"), filters.shape, strict=True))
        values["weights"] = values.pop("values")
        del values["shape"]
        connection.execute(insert(tables.filters).values(run_id=run_id, **values))


def _end_attempt(connection: Connection, run_id: int, outcome: str, reason: str | None, traceback: str = "") -> None:
    connection.execute(
        update(tables.attempt)
        .where(tables.attempt.c.id == _open_attempt(run_id))
        .values(outcome=outcome, reason=_storable(reason or ""), traceback=_storable(traceback), ended=timestamp())
    )


def _open_attempt(run_id: int) -> ScalarSelect[Any]:
    columns = tables.attempt.c
    return select(func.max(columns.id)).where(columns.run_id == run_id, columns.ended.is_(None)).scalar_subquery()


def _end_run(connection: Connection, run_id: int, state: str) -> None:
    connection.execute(
        update(tables.run)
        .where(tables.run.c.id == run_id)
        .values(state=state, owner=None, owner_host=None, owner_process=None, leased_until=None)
    )


def _storable(text: str) -> str | None:
    """Return a text without characters that a database refuses, such as NUL; None if it is empty."""
    return text.replace("\0", "").encode(errors="backslashreplace").decode() or None
