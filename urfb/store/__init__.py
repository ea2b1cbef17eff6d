"""The results store: written by a runner alone, read by everyone.

A run is registered once, under its identity. It is claimed by one runner at a time, which writes each epoch's rows
and the run's `epochs_done` in one transaction, so that what is stored is always whole epochs from the first on.
"""

from __future__ import annotations

import os
import socket
import textwrap
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import psutil
from sqlalchemy import (
    Connection,
    Engine,
    ScalarSelect,
    Select,
    Table,
    delete,
    func,
    insert,
    inspect,
    or_,
    select,
    text,
    update,
)  # fmt: skip
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from urfb.errors import InputError, SelectionError, StoreError
from urfb.events import AlignmentPoint, EpochEnded, Event, Failed, Finished, Lost, SavedFilters, Started, Stopped
from urfb.grid.estimate import WORKLOAD_SETTINGS, TimedEpochs, workloads
from urfb.grid.expand import GridRun
from urfb.grid.plan import parse_filters
from urfb.grid.spec import SCIENCE_VERSION, RunSpec
from urfb.store import tables
from urfb.store.engine import (
    Location,
    cause,
    check_schema,
    connect,
    create_schema,
    exclude_others,
    has_tables,
    unreadable,
    upgrade,
)  # fmt: skip
from urfb.store.simulations import insert_simulation
from urfb.theory.spec import Simulated

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

LEASE_SECONDS = 60.0
FOLLOW_SECONDS = 0.5
TIMED_EXECUTIONS = 5
"""Of each workload, so that a store of any size answers at once."""
EPOCHS_TO_TELL = 1000
"""In fewer, the tables themselves take more than what is in them."""
SIZES = {
    "sqlite": "SELECT page_count * page_size - (SELECT coalesce(sum(length(image)), 0) FROM thumbnail) "
    "FROM pragma_page_count(), pragma_page_size()",
    "postgresql": "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' "
    "AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) "
    "AND relname NOT IN ('simulation', 'trajectory', 'trajectory_layer', 'thumbnail')",
}
"""How each database tells its size in bytes, without what does not come of runs, as far as it can tell."""


def open_store(location: str) -> Store:
    """Open an existing store for reading.

    Args:
        location: a path, or a URL such as sqlite:///PATH or postgresql://USER@HOST/DATABASE.

    Raises:
        StoreError: there is no store there, or this version cannot read it.
    """
    place = Location.of(location)
    engine = connect(place, writing=False)
    if not place.exists or (place.path is None and not has_tables(engine, place)):
        raise StoreError(
            f"there is no store at {place}; if that is the place, a run makes one: "
            f"`urfb grid run experiments.yaml quick --store {place}`"
        )
    if check_schema(engine, place) != tables.REVISIONS[-1]:
        raise StoreError(
            f"{place}: was written by an older urfb; bring it to this version with "
            f"`urfb results upgrade --store {place}`"
        )
    return Store(place, engine)


def upgrade_store(location: str, *, missing_ok: bool = False) -> bool:
    """Bring a store that an older version has written to this version's schema; return whether there was need to.

    Args:
        location: of the store.
        missing_ok: whether there may be none yet.

    Raises:
        StoreError: there is no store, it is of a newer version, or it cannot be written; then it is as it was.
    """
    place = Location.of(location)
    reading = connect(place, writing=False)
    if not place.exists or not has_tables(reading, place):
        if missing_ok:
            return False
        raise StoreError(f"there is no store at {place}")
    if check_schema(reading, place) == tables.REVISIONS[-1]:
        return False
    upgrade(connect(place, writing=True), place)
    return True


def open_for_writing(location: str) -> WritableStore:
    """Open a store for a runner, and make it where there is none yet.

    Raises:
        StoreError: it cannot be made or written, or is of a newer version; an older one is upgraded.
    """
    place = Location.of(location)
    if place.path is not None:
        folder = place.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{folder}: the store's folder cannot be made ({error.strerror})") from error
        if not os.access(folder, os.W_OK) or (place.path.exists() and not os.access(place.path, os.W_OK)):
            raise StoreError(f"{place}: cannot be written; choose another place with --store")
    engine = connect(place, writing=True)
    create_schema(engine, place)
    return WritableStore(place, engine)


def stored_progress(location: str) -> dict[str, tuple[str, int]]:
    """Return `Store.progress` of a store that may not be there yet: nothing, then.

    Raises:
        StoreError: there is something, but this version cannot read it.
    """
    place = Location.of(location)
    if not place.exists or not has_tables(connect(place, writing=False), place):
        return {}
    return open_store(location).progress()


class LocatedFilters(NamedTuple):
    """The filters of an untied layer at one location: `weights` is float32 [filters, height, width, channels]."""

    epoch: int
    layer: int
    row: int
    column: int
    weights: np.ndarray


class Thumbnail(NamedTuple):
    """A small picture out of a data set: `image` is uint8 [height, width, 3], red, green and blue.

    `position` tells pictures of one label apart, such as its place in the data set's file or 0, 1, ….
    """

    dataset: str
    label: int
    position: int
    label_name: str
    image: np.ndarray


class Store:
    """A store, open for reading, by one process or many, also while a runner writes to it.

    The frames are the views of the database. Filters are columns of the frame, each with a value or a list of values of
    which one must agree: `store.runs(rule="urfb", seed=[0, 1])`.

    Attributes:
        location: where it is, and the files that belong to it.
    """

    def __init__(self, location: Location, engine: Engine) -> None:
        self.location = location
        self._engine = engine

    def close(self) -> None:
        """Close the connections that are open; the next use opens new ones. A store that is dropped closes itself."""
        self._engine.dispose()

    def runs(self, **filters: Any) -> pd.DataFrame:
        """Return one row a run: its settings, state, last errors (fractions) and where it ran.

        `test_error` is there once the run has reached its target. A run whose process has died is not `running` here.
        `experiments` names all that ask for a run; as a filter it finds the runs that an experiment asks for, whichever
        others do, too.

        Raises:
            SelectionError: a filter names no column.
            StoreError: the store cannot be read.
        """
        states = {identity: state for identity, (state, _) in self.progress().items()}
        wanted, asking = filters.pop("state", None), filters.pop("experiments", None)
        frame = self._read("runs", filters)
        frame["state"] = frame["run"].map(states)
        if asking is not None:
            names = {asking} if isinstance(asking, str) else set(asking)
            members = {run for experiment, run in self.memberships() if experiment in names}
            frame = frame[frame["run"].isin(members)].reset_index(drop=True)
        if wanted is None:
            return frame
        return frame[frame["state"].isin([wanted] if isinstance(wanted, str) else wanted)].reset_index(drop=True)

    def epochs(self, **filters: Any) -> pd.DataFrame:
        """Return one row a run and epoch, its losses and errors (fractions) beside the run's settings.

        Those of the training images are empty after most epochs.

        Raises:
            SelectionError: a filter names no column.
            StoreError: the store cannot be read.
        """
        return self._read("epochs", filters)

    def alignment(self, **filters: Any) -> pd.DataFrame:
        """Return one row a run, layer and moment: correlation (−1 to 1) and angle (degrees) of W and R, and more.

        Raises:
            SelectionError: a filter names no column.
            StoreError: the store cannot be read.
        """
        return self._read("alignment", filters)

    def simulations(self, **filters: Any) -> pd.DataFrame:
        """Return one row a simulation of section 5: its settings, last error e = tr(EᵗE), and what it ran on.

        `diverged_at` is the iteration at which one diverged, and empty for the others.

        Raises:
            SelectionError: a filter names no column.
            StoreError: the store cannot be read.
        """
        return self._read("simulations", filters)

    def trajectories(self, **filters: Any) -> pd.DataFrame:
        """Return one row a simulation and moment that is kept: iteration, time and error e, beside the settings.

        Raises:
            SelectionError: a filter names no column.
            StoreError: the store cannot be read.
        """
        return self._read("trajectories", filters)

    def trajectory_layers(self, **filters: Any) -> pd.DataFrame:
        """Return one row a simulation, layer and moment: the correlation of W_l and R_lᵗ. BP, whose R is Wᵗ, has none.

        The correlation is empty where it is not defined: W starts at 0.

        Raises:
            SelectionError: a filter names no column.
            StoreError: the store cannot be read.
        """
        return self._read("trajectory_layers", filters)

    def thumbnails(self, *, dataset: str) -> list[Thumbnail]:
        """Return the small pictures of a data set that are kept, by label and position; none if there are none."""
        import numpy as np

        columns = tables.thumbnail.c
        query = select(tables.thumbnail).where(columns.dataset == dataset).order_by(columns.label, columns.position)
        with self._reading() as connection:
            rows = connection.execute(query).all()
        return [
            Thumbnail(
                row.dataset, row.label, row.position, row.label_name,
                np.frombuffer(row.image, dtype=np.uint8).reshape(row.height, row.width, 3),
            )
            for row in rows
        ]  # fmt: skip

    def filters(self, run: str) -> list[LocatedFilters]:
        """Return the filters W that a run's untied first layer had at some locations, first and last (Figure 8).

        Args:
            run: its identity, or the beginning of it.

        Raises:
            SelectionError: there is no such run.
        """
        import numpy as np

        columns = tables.filters.c
        query = (
            select(tables.filters)
            .join(tables.run, tables.run.c.id == columns.run_id)
            .where(tables.run.c.identity == self.spec(run).identity)
            .order_by(columns.epoch, columns.layer, columns.row, columns.column)
        )
        with self._reading() as connection:
            rows = connection.execute(query).all()
        return [
            LocatedFilters(
                row.epoch, row.layer, row.row, row.column,
                np.frombuffer(row.weights, dtype="<f4").reshape(row.filters, row.height, row.width, row.channels),
            )
            for row in rows
        ]  # fmt: skip

    def spec(self, run: str) -> RunSpec:
        """Return the spec of a stored run, its target of epochs being the farthest one asked for.

        Args:
            run: its identity, or the beginning of it.

        Raises:
            SelectionError: there is no such run, or more than one.
        """
        columns = tables.run.c
        with self._reading() as connection:
            rows = connection.execute(select(tables.run).where(columns.identity.startswith(run, autoescape=True))).all()
            if len(rows) > 1:
                found = ", ".join(row.identity for row in rows[:5])
                raise SelectionError(f"run '{run}': {len(rows)} runs begin so ({found}, …): give more of its identity")
            if not rows:
                identities = connection.execute(select(columns.identity).limit(5)).scalars().all()
                raise SelectionError(
                    f"there is no run '{run}' in {self.location} (there is: {', '.join(identities) or 'none'}); "
                    "`urfb results runs` lists them all"
                )
        (row,) = rows
        values = {name: getattr(row, name) for name in RunSpec.model_fields if name != "epochs"}
        return RunSpec(epochs=row.epochs_target, **values)

    def columns(self, view: str) -> dict[str, type]:
        """Return the columns of a view such as 'runs' or 'trajectories', with what they hold."""
        columns = tables.view_columns(view)
        names = [described["name"] for described in inspect(self._engine).get_columns(view)]
        return {name: columns[name].type.python_type for name in names}

    def _read(self, view: str, filters: dict[str, Any]) -> pd.DataFrame:
        from urfb.store.frames import read_view

        try:
            return read_view(self._engine, view, filters)
        except DBAPIError as error:
            raise unreadable(self.location, error) from error

    def progress(self) -> dict[str, tuple[str, int]]:
        """Return each run's state and number of stored epochs, by identity."""
        columns = tables.run.c
        query = select(
            columns.identity, columns.state, columns.epochs_done, columns.owner, columns.owner_process,
            columns.leased_until,
        )  # fmt: skip
        with self._reading() as connection:
            now = _clock(connection)
            return {
                row.identity: (_true_state(row.state, row.owner, row.owner_process, row.leased_until, now), row[2])
                for row in connection.execute(query)
            }

    def reasons(self) -> dict[str, str]:
        """Return why runs failed, and where others are being trained, in a few words and by identity."""
        columns, attempt = tables.run.c, tables.attempt
        last = (
            select(attempt.c.run_id, func.max(attempt.c.id).label("id"), func.count().label("attempts"))
            .group_by(attempt.c.run_id)
            .subquery()
        )
        query = (
            select(columns.identity, columns.state, columns.owner_host, attempt.c.reason, last.c.attempts)
            .join(last, last.c.run_id == columns.id)
            .join(attempt, attempt.c.id == last.c.id)
            .where(columns.state.in_(("failed", "running")))
        )
        told = {}
        with self._reading() as connection:
            for row in connection.execute(query):
                if row.state == "running":
                    told[row.identity] = f"is being trained on {row.owner_host}"
                else:
                    attempts = f"{row.attempts} attempt{'s' * (row.attempts > 1)}"
                    told[row.identity] = (
                        f"failed: {textwrap.shorten(row.reason or 'unknown', 80, placeholder='…')} ({attempts})"
                    )
        return told

    def epoch_seconds(self, device_name: str, threads: int) -> list[TimedEpochs]:
        """Return how long epochs took on such a device with so many threads, of each workload's latest executions."""
        run, attempt, epoch = tables.run.c, tables.attempt.c, tables.epoch.c
        later = tables.attempt.alias()
        columns = [run[name] for name in WORKLOAD_SETTINGS]
        # What an execution has trained ends where a later one of the same run began.
        end = (
            select(func.min(later.c.first_epoch))
            .where(later.c.run_id == attempt.run_id, later.c.id > attempt.id)
            .scalar_subquery()
        )
        latest = func.row_number().over(partition_by=columns, order_by=attempt.id.desc())
        executions = (
            select(attempt.run_id, attempt.first_epoch, end.label("end"), latest.label("number"), *columns)
            .join(tables.run, run.id == attempt.run_id)
            .where(attempt.device_name == device_name, attempt.threads == threads)
            .where(attempt.first_epoch <= run.epochs_done, or_(end.is_(None), end > attempt.first_epoch))
            .subquery()
        )
        execution = executions.c
        in_last_stage = (epoch.epoch > execution.pretraining_epochs).label("in_last_stage")
        looked = epoch.training_error.is_not(None).label("looked")
        kinds = [*(execution[name] for name in WORKLOAD_SETTINGS), in_last_stage, looked]
        query = (
            select(*kinds, func.count().label("epochs"), func.sum(epoch.seconds).label("seconds"))
            .join(executions, execution.run_id == epoch.run_id)
            .where(execution.number <= TIMED_EXECUTIONS, epoch.epoch >= execution.first_epoch)
            .where(or_(execution.end.is_(None), epoch.epoch < execution.end))
            .group_by(*kinds)
        )
        with self._reading() as connection:
            return [
                TimedEpochs(workloads(row)[row.in_last_stage], bool(row.looked), row.epochs, row.seconds)
                for row in connection.execute(query)
            ]

    def bytes_per_epoch(self) -> float | None:
        """Return what an epoch takes on disk with all that belongs to it; None where there are too few to tell."""
        with self._reading() as connection:
            epochs = connection.execute(select(func.sum(tables.run.c.epochs_done))).scalar() or 0
            if epochs < EPOCHS_TO_TELL:
                return None
            return float(connection.execute(text(SIZES[self._engine.dialect.name])).scalar_one() / epochs)

    def failures(self) -> dict[str, int]:
        """Return how often each run has failed, by identity; a run that never did is left out."""
        columns = tables.attempt.c
        query = (
            select(tables.run.c.identity, func.count())
            .join(tables.attempt, columns.run_id == tables.run.c.id)
            .where(columns.outcome == "failed")
            .group_by(tables.run.c.identity)
        )
        with self._reading() as connection:
            return _lookup(connection, query)

    def chosen(self, runs: Sequence[str], conditions: Sequence[str]) -> list[str]:
        """Return the identities of runs, given by how they begin, that all conditions hold for.

        Args:
            runs: identities, or how they begin; none for all runs.
            conditions: such as 'rule=urfb'.

        Raises:
            SelectionError: neither is given, a run does not exist, or a condition cannot be read.
        """
        if not runs and not conditions:
            raise SelectionError("which runs? Give their identities, or conditions such as --where rule=frfb")
        frame = self.runs(**parse_filters(conditions, self.columns("runs")))
        named = {self.spec(run).identity for run in runs}
        return [identity for identity in frame["run"] if not runs or identity in named]

    def log(self, run: str, *, follow: bool = False) -> Iterator[str]:
        """Return the log of a run, piece by piece.

        Args:
            run: its identity, or the beginning of it.
            follow: whether to wait for more while the run is trained.

        Raises:
            SelectionError: there is no such run.
            StoreError: it has no log, or not on this machine.
        """
        identity = self.spec(run).identity
        query = (
            select(tables.attempt.c.log, tables.attempt.c.host)
            .join(tables.run, tables.run.c.id == tables.attempt.c.run_id)
            .where(tables.run.c.identity == identity, tables.attempt.c.log.is_not(None))
            .order_by(tables.attempt.c.id.desc())
        )
        with self._reading() as connection:
            attempts = connection.execute(query).all()
        # A worker that failed before it could tell where its log is has written it where they all are.
        written = [*(Path(one.log) for one in attempts), self.location.logs / f"{identity}.log"]
        here = next((path for path in written if path.exists()), None)
        if here is None and not attempts:
            raise StoreError(f"run {identity} has no log: it has not been trained by this version of urfb yet")
        if here is None:
            raise StoreError(f"the log of run {identity} is {attempts[0].log} on {attempts[0].host}, and not here")
        with here.open(encoding="utf-8", errors="replace") as file:
            while True:
                running = self.progress()[identity][0] == "running"  # asked first, so that the last words are read
                yield file.read()
                if not (follow and running):
                    return
                time.sleep(FOLLOW_SECONDS)

    def memberships(self) -> set[tuple[str, str]]:
        """Return each experiment's name with the identity of each run that it asks for."""
        query = (
            select(tables.experiment.c.name, tables.run.c.identity)
            .join(tables.experiment_run, tables.experiment_run.c.experiment_id == tables.experiment.c.id)
            .join(tables.run, tables.run.c.id == tables.experiment_run.c.run_id)
        )
        with self._reading() as connection:
            return {(row.name, row.identity) for row in connection.execute(query)}

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except DBAPIError as error:
            raise unreadable(self.location, error) from error


class Claim(NamedTuple):
    """What became of a run that was to be claimed.

    Attributes:
        became: 'claimed'; 'elsewhere', if another living process has it; 'done', if it has reached its target; or
            'cancelled'; or 'failed', if it has failed more often than it may.
        epochs_done: how many of its epochs are stored.
        threads: with how many CPU threads they were trained; None where there are none.
    """

    became: Literal["claimed", "elsewhere", "done", "cancelled", "failed"]
    epochs_done: int
    threads: int | None = None


class WritableStore(Store):
    """A store, open for one runner, which has a token of its own: a process number can come back.

    A run belongs to at most one runner. It is claimed by one statement, which holds only if the run still has the
    owner that was seen, and stays the runner's own for as long as its lease is renewed. What a runner records of a run
    that is no more its own is not stored. The rows of a run are whole epochs from the first on, and `epochs_done` says
    how many.

    Every method raises StoreError where the store cannot be written, a full disk for one; each is one transaction, so
    nothing of it is stored then.
    """

    def __init__(self, location: Location, engine: Engine) -> None:
        super().__init__(location, engine)
        self._token = f"{_machine()} {uuid.uuid4().hex}"

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """Open the one transaction of a method."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            raise StoreError(
                f"{self.location}: cannot be written ({cause(error)}); what is stored is safe, and running the command "
                "again goes on from there"
            ) from error

    def register(self, runs: Iterable[GridRun]) -> None:
        """Add the runs that are not there yet, and which experiments ask for them."""
        runs = list(runs)
        specs = [run.spec for run in runs]
        with self._writing() as connection:
            exclude_others(connection)
            _insert_new(connection, tables.run, [_row_of(spec) for spec in specs])
            names = {name for run in runs for name in run.experiments}
            _insert_new(connection, tables.experiment, [{"name": name} for name in sorted(names)])
            runs_there, experiments_there = tables.run.c, tables.experiment.c
            run_ids = _lookup(connection, select(runs_there.identity, runs_there.id))
            experiment_ids = _lookup(connection, select(experiments_there.name, experiments_there.id))
            memberships = [
                {"experiment_id": experiment_ids[name], "run_id": run_ids[run.spec.identity]}
                for run in runs
                for name in run.experiments
            ]
            _insert_new(connection, tables.experiment_run, memberships)

    def claim(self, spec: RunSpec, *, cancelled: bool = False, failures: int | None = None) -> Claim:
        """Make a run this process's own, unless another living process has it, it is done, or was cancelled.

        Args:
            spec: of the run.
            cancelled: whether to take it even if it was cancelled.
            failures: how often it may have failed, so that of many runners one tries again; None for any number.
        """
        columns, attempts = tables.run.c, tables.attempt.c
        with self._writing() as connection:
            now = _clock(connection)
            row = connection.execute(select(tables.run).where(columns.identity == spec.identity)).one()
            epochs_done = int(row.epochs_done)
            if row.state == "done" and epochs_done >= spec.epochs:
                return Claim("done", epochs_done)
            if row.state == "cancelled" and not cancelled:
                return Claim("cancelled", epochs_done)
            if row.state == "failed" and failures is not None:
                failed = select(func.count()).where(attempts.run_id == row.id, attempts.outcome == "failed")
                if connection.execute(failed).scalar_one() > failures:
                    return Claim("failed", epochs_done)
            is_ours = row.owner == self._token or (_is_here(row.owner) and row.owner_process == os.getpid())
            if row.owner is not None and not is_ours and _alive(row.owner, row.owner_process, row.leased_until, now):
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
            if claimed.rowcount == 0:  # another runner was faster
                return Claim("elsewhere", epochs_done)
            threads = connection.execute(_last_threads(row.id)).scalar() if epochs_done else None
            _end_attempt(connection, row.id, "interrupted", "its runner died")
            connection.execute(insert(tables.attempt).values(run_id=row.id, started=_now(), host=socket.gethostname()))
            return Claim("claimed", epochs_done, threads)

    def renew_leases(self) -> None:
        """Show that this process lives and still trains what it has claimed."""
        with self._writing() as connection:
            connection.execute(
                update(tables.run)
                .where(tables.run.c.owner == self._token)
                .values(leased_until=_clock(connection) + LEASE_SECONDS)
            )

    def release(self, reason: str) -> None:
        """Give back every run that this process has claimed: it was interrupted."""
        columns = tables.run.c
        with self._writing() as connection:
            own = select(columns.id).where(columns.owner == self._token).with_for_update()
            for run_id in connection.execute(own).scalars().all():
                _end_attempt(connection, run_id, "interrupted", reason)
                _end_run(connection, run_id, "unfinished")

    def keep_simulation(self, simulated: Simulated) -> bool:
        """Store a simulation whole; return whether there was none of its identity. One that is there stays."""
        with self._writing() as connection:
            return insert_simulation(connection, simulated)

    def keep_thumbnails(self, thumbnails: Iterable[Thumbnail]) -> None:
        """Store small pictures, in the place of those of the same data set, label and position.

        Raises:
            InputError: an image is not uint8 [height, width, 3]; none is stored then.
        """
        rows = []
        for one in thumbnails:
            shape = one.image.shape
            if one.image.dtype != "uint8" or len(shape) != 3 or shape[2] != 3:
                raise InputError(
                    f"thumbnail {one.position} of label {one.label} of {one.dataset}: is {one.image.dtype} "
                    f"{list(shape)}; give uint8 [height, width, 3]"
                )
            rows.append(one._asdict() | {"height": shape[0], "width": shape[1], "image": one.image.tobytes()})
        columns = tables.thumbnail.c
        with self._writing() as connection:
            for row in rows:
                connection.execute(
                    delete(tables.thumbnail).where(
                        *(columns[name] == row[name] for name in ("dataset", "label", "position"))
                    )
                )
                connection.execute(insert(tables.thumbnail).values(row))

    def cancel(self, identities: Iterable[str]) -> list[str]:
        """Let nobody train these runs any more, and return those that were not done; who trains one now drops it."""
        cancelled = []
        with self._writing() as connection:
            for identity in sorted(identities):  # all in one order, so that none waits for another that waits for it
                run = connection.execute(_of_identity(identity)).one()
                if run.state not in ("done", "cancelled"):
                    _end_attempt(connection, run.id, "cancelled", "cancelled")
                    _end_run(connection, run.id, "cancelled")
                    cancelled.append(identity)
        return cancelled

    def record(self, identity: str, event: Event) -> bool:
        """Store what a run has told, and return whether the run is still this process's own: if not, nothing is."""
        with self._writing() as connection:
            run = connection.execute(_of_identity(identity)).one()
            if run.owner != self._token:
                return False
            match event:
                case Started():
                    _record_start(connection, run.id, event)
                case EpochEnded():
                    _record_epoch(connection, run.id, event)
                case Finished():
                    # Again, if the run was closed here before: the same weights, the same error.
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
                    _end_attempt(connection, run.id, "interrupted", "stopped after its epoch, as asked")
                    _end_run(connection, run.id, "unfinished")
                case Lost():
                    _end_attempt(connection, run.id, "interrupted", event.reason)
                    _end_run(connection, run.id, "unfinished")
            return True


def _row_of(spec: RunSpec) -> dict[str, Any]:
    """Return the row of a run that is new."""
    return {
        "identity": spec.identity,
        "convention": spec.convention,
        "science_version": SCIENCE_VERSION,
        "epochs_target": spec.epochs,
        "state": "new",
        "epochs_done": 0,
        **spec.model_dump(exclude={"epochs"}),
    }


def _insert_new(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert rows, leaving out those that are there already."""
    if rows:
        dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
        connection.execute(dialect.insert(table).on_conflict_do_nothing(), rows)


def _lookup(connection: Connection, query: Select[Any]) -> dict[str, int]:
    return {name: int(number) for name, number in connection.execute(query)}


def _of_identity(identity: str) -> Select[Any]:
    """Select a run to be changed; on a server, nobody else changes it before this transaction ends."""
    columns = tables.run.c
    wanted = select(columns.id, columns.owner, columns.state, columns.epochs_done)
    return wanted.where(columns.identity == identity).with_for_update()


def _last_threads(run_id: int) -> Select[Any]:
    """Select how many CPU threads a run was last trained with."""
    columns = tables.attempt.c
    return (
        select(columns.threads)
        .where(columns.run_id == run_id, columns.threads.is_not(None))
        .order_by(columns.id.desc())
        .limit(1)
    )


def _record_start(connection: Connection, run_id: int, event: Started) -> None:
    """Say what the attempt runs on, and drop what is stored past the epoch from which it goes on."""
    for table in (tables.epoch, tables.test, tables.layer_alignment, tables.filters):
        past = table.c.epoch > event.epochs_done
        connection.execute(delete(table).where(table.c.run_id == run_id, past))
    if event.epochs_done == 0:
        for table in (tables.layer_alignment, tables.filters):  # which have rows of epoch 0
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
        .values(epochs_done=event.epoch, leased_until=_clock(connection) + LEASE_SECONDS)
    )


def _insert_alignment(connection: Connection, run_id: int, points: Sequence[AlignmentPoint]) -> None:
    if points:
        # A server keeps NaN as it is, and SQLite as NULL, which is what an undefined correlation is in both.
        rows = [{"run_id": run_id, **vars(point)} for point in points]
        rows = [{name: None if value != value else value for name, value in row.items()} for row in rows]
        connection.execute(insert(tables.layer_alignment), rows)


def _insert_filters(connection: Connection, run_id: int, saved: Sequence[SavedFilters]) -> None:
    for one in saved:
        values = vars(one) | dict(zip(("filters", "height", "width", "channels"), one.shape, strict=True))
        values["weights"] = values.pop("values")
        del values["shape"]
        connection.execute(insert(tables.filters).values(run_id=run_id, **values))


def _end_attempt(connection: Connection, run_id: int, outcome: str, reason: str | None, traceback: str = "") -> None:
    connection.execute(
        update(tables.attempt)
        .where(tables.attempt.c.id == _open_attempt(run_id))
        .values(outcome=outcome, reason=_storable(reason or ""), traceback=_storable(traceback), ended=_now())
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
    """Return a text that every database takes, whatever an exception had to say; None if it is empty."""
    return text.replace("\0", "").encode(errors="backslashreplace").decode() or None


def _clock(connection: Connection) -> float:
    """Return the seconds since 1970 by the clock that all runners on a store share: their host's, or the server's."""
    if connection.dialect.name == "sqlite":
        return time.time()
    return float(connection.execute(select(func.extract("epoch", func.clock_timestamp()))).scalar_one())


@cache
def _machine() -> str:
    """Return what only processes share that see each other's numbers; two containers may share their host's name."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:  # not Linux, where processes are not kept apart so
        return socket.gethostname()


def _is_here(owner: str | None) -> bool:
    """Whether a run's owner is, or was, a process that this one would see."""
    return owner is not None and owner.rpartition(" ")[0] == _machine()


def _alive(owner: str | None, process: int | None, leased_until: float | None, now: float) -> bool:
    """Whether a run's owner lives: its lease is renewed and, where this process would see it, it is there, too."""
    if leased_until is None or leased_until < now:
        return False
    return not _is_here(owner) or (process is not None and psutil.pid_exists(process))


def _true_state(state: str, owner: str | None, process: int | None, leased_until: float | None, now: float) -> str:
    """Return 'unfinished' for a run whose owner died while it was 'running'."""
    return "unfinished" if state == "running" and not _alive(owner, process, leased_until, now) else state


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
