"""A store as it is read: frames for people, and plain answers for what plans, runs and shows grids."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, Engine, func, inspect, or_, select, text
from sqlalchemy.exc import DBAPIError

from urfb.errors import SelectionError, StoreError
from urfb.grid.expand import load_grids
from urfb.grid.plan import parse_filters
from urfb.grid.settings import WORKLOAD_SETTINGS
from urfb.grid.spec import RunSpec
from urfb.store import tables
from urfb.store.engine import Location, unreadable
from urfb.store.liveness import clock, true_state

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

FOLLOW_SECONDS = 0.5
TIMED_EXECUTIONS = 5
"""Per workload, so that a store of any size answers at once."""
MIN_EPOCHS_FOR_SIZE = 1000
"""In fewer, the empty tables take more than the rows."""
SIZES = {
    "sqlite": "SELECT (page_count - freelist_count) * page_size "
    "FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()",
    "postgresql": "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' "
    "AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) "
    "AND relname NOT IN ('simulation', 'trajectory', 'trajectory_layer')",
}
"""Each database's query for its size in bytes, without tables of simulations where it can leave them out."""


class LocatedFilters(NamedTuple):
    """The filters of an untied layer at one location: `weights` is float32 [filters, height, width, channels]."""

    epoch: int
    layer: int
    row: int
    column: int
    weights: np.ndarray


class EpochTimes(NamedTuple):
    """Epochs of similar runs, and how long they took.

    Attributes:
        settings: of the runs, by the names in `WORKLOAD_SETTINGS`.
        in_last_stage: whether the epochs are of the runs' last stage, which is the only one of most.
        evaluated: whether the training images were evaluated after each of the epochs, or after none.
        epochs: their number.
        seconds: their total time.
    """

    settings: dict[str, Any]
    in_last_stage: bool
    evaluated: bool
    epochs: int
    seconds: float


class Store:
    """A store, open for reading, by one process or many, also while a runner writes to it.

    The frames are the views of the database. Filters are columns of the frame, each with a value or a list of values of
    which one must agree: `store.runs(rule="urfb", seed=[0, 1])`. Every frame of runs can also be filtered by `state`,
    and by `experiments`: the runs that one of these experiments asks for, whichever others do, too.

    Attributes:
        location: where it is, and the files that belong to it.
    """

    def __init__(self, location: Location, engine: Engine) -> None:
        self.location = location
        self.engine = engine  # raises the database's errors; `reading` makes them StoreErrors

    def close(self) -> None:
        """Close the connections that are open; the next use opens new ones. A store that is dropped closes itself."""
        self.engine.dispose()

    def runs(self, **filters: Any) -> pd.DataFrame:
        """Return one row a run: its settings, state, last errors (fractions) and where it ran.

        `test_error` is there once the run has reached its target. A run whose process has died is not `running` here.
        `experiments` names all that ask for a run.

        Raises:
            SelectionError: a filter names no column, or a value that no row can have.
            StoreError: the store cannot be read.
        """
        return self._read("runs", filters)

    def epochs(self, **filters: Any) -> pd.DataFrame:
        """Return one row a run and epoch, its losses and errors (fractions) beside the run's settings.

        Those of the training images are empty after most epochs.

        Raises:
            SelectionError: a filter names no column, or a value that no row can have.
            StoreError: the store cannot be read.
        """
        return self._read("epochs", filters)

    def alignment(self, **filters: Any) -> pd.DataFrame:
        """Return one row a run, layer and moment: correlation (−1 to 1) and angle (degrees) of W and R, and more.

        Raises:
            SelectionError: a filter names no column, or a value that no row can have.
            StoreError: the store cannot be read.
        """
        return self._read("alignment", filters)

    def simulations(self, **filters: Any) -> pd.DataFrame:
        """Return one row a simulation of section 5: its settings, last error e = tr(EᵗE), and what it ran on.

        `diverged_at` is the iteration at which one diverged, and empty for the others.

        Raises:
            SelectionError: a filter names no column, or a value that no row can have.
            StoreError: the store cannot be read.
        """
        return self._read("simulations", filters)

    def trajectories(self, **filters: Any) -> pd.DataFrame:
        """Return one row a simulation and moment that is kept: iteration, time and error e, beside the settings.

        Raises:
            SelectionError: a filter names no column, or a value that no row can have.
            StoreError: the store cannot be read.
        """
        return self._read("trajectories", filters)

    def trajectory_layers(self, **filters: Any) -> pd.DataFrame:
        """Return one row a simulation, layer and moment: the correlation of W_l and R_lᵗ. BP, whose R is Wᵗ, has none.

        The correlation is empty where it is not defined: W starts at 0.

        Raises:
            SelectionError: a filter names no column, or a value that no row can have.
            StoreError: the store cannot be read.
        """
        return self._read("trajectory_layers", filters)

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
        with self.reading() as connection:
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
        with self.reading() as connection:
            rows = connection.execute(select(tables.run).where(columns.identity.startswith(run, autoescape=True))).all()
            if len(rows) > 1:
                first = ", ".join(row.identity for row in rows[:5])
                raise SelectionError(f"run '{run}': {len(rows)} runs begin so ({first}, …): give more of its identity")
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
        names = [described["name"] for described in inspect(self.engine).get_columns(view)]
        return {name: columns[name].type.python_type for name in names}

    def filterable(self, view: str) -> dict[str, type]:
        """Return what can filter a view, with the types of values: its columns, and runs' `experiments` and `state`."""
        columns = self.columns(view)
        return columns | ({"experiments": str, "state": str} if "run" in columns else {})

    def _read(self, view: str, filters: dict[str, Any]) -> pd.DataFrame:
        from urfb.store.frames import read_view

        try:
            return read_view(self, view, filters)
        except DBAPIError as error:
            raise unreadable(self.location, error) from error

    def progress(self) -> dict[str, tuple[str, int]]:
        """Return each run's state and number of stored epochs, by identity."""
        columns = tables.run.c
        query = select(
            columns.identity, columns.state, columns.epochs_done, columns.owner, columns.owner_process,
            columns.leased_until,
        )  # fmt: skip
        with self.reading() as connection:
            now = clock(connection)
            return {
                row.identity: (true_state(row.state, row.owner, row.owner_process, row.leased_until, now), row[2])
                for row in connection.execute(query)
            }

    def reasons(self) -> dict[str, str]:
        """Return why runs failed, or where they are being trained, in a few words and by identity."""
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
        reasons = {}
        with self.reading() as connection:
            for row in connection.execute(query):
                if row.state == "running":
                    reasons[row.identity] = f"is being trained on {row.owner_host}"
                else:
                    attempts = f"{row.attempts} attempt{'s' * (row.attempts > 1)}"
                    reasons[row.identity] = (
                        f"failed: {textwrap.shorten(row.reason or 'unknown', 80, placeholder='…')} ({attempts})"
                    )
        return reasons

    def epoch_seconds(self, device_name: str, threads: int) -> list[EpochTimes]:
        """Return how long the epochs of each workload's latest executions took on a device with so many threads."""
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
        evaluated = epoch.training_error.is_not(None).label("evaluated")
        kinds = [*(execution[name] for name in WORKLOAD_SETTINGS), in_last_stage, evaluated]
        query = (
            select(*kinds, func.count().label("epochs"), func.sum(epoch.seconds).label("seconds"))
            .join(executions, execution.run_id == epoch.run_id)
            .where(execution.number <= TIMED_EXECUTIONS, epoch.epoch >= execution.first_epoch)
            .where(or_(execution.end.is_(None), epoch.epoch < execution.end))
            .group_by(*kinds)
        )
        with self.reading() as connection:
            rows = connection.execute(query).mappings().all()
        return [
            EpochTimes(
                {name: row[name] for name in WORKLOAD_SETTINGS}, bool(row["in_last_stage"]), bool(row["evaluated"]),
                row["epochs"], row["seconds"],
            )
            for row in rows
        ]  # fmt: skip

    def bytes_per_epoch(self) -> float | None:
        """Return an epoch's bytes on disk, measurements included; None where there are too few epochs to measure."""
        with self.reading() as connection:
            epochs = connection.execute(select(func.sum(tables.run.c.epochs_done))).scalar() or 0
            if epochs < MIN_EPOCHS_FOR_SIZE:
                return None
            return float(connection.execute(text(SIZES[self.engine.dialect.name])).scalar_one() / epochs)

    def failures(self) -> dict[str, int]:
        """Return how often each run has failed, by identity; a run that never did is left out."""
        columns = tables.attempt.c
        query = (
            select(tables.run.c.identity, func.count())
            .join(tables.attempt, columns.run_id == tables.run.c.id)
            .where(columns.outcome == "failed")
            .group_by(tables.run.c.identity)
        )
        with self.reading() as connection:
            return {identity: int(count) for identity, count in connection.execute(query)}

    def identities(self, runs: Sequence[str], conditions: Sequence[str]) -> list[str]:
        """Return the identities of the runs for which all conditions hold.

        Args:
            runs: identities, or how they begin; none for all runs.
            conditions: such as 'rule=urfb'.

        Raises:
            SelectionError: neither is given, a run does not exist, or a condition cannot be read.
        """
        if not runs and not conditions:
            raise SelectionError("which runs? Give their identities, or conditions such as --where rule=frfb")
        return list(self.selected_runs(runs, conditions)["run"])

    def selected_runs(
        self, runs: Sequence[str] = (), conditions: Sequence[str] = (), not_in: Sequence[Path] = ()
    ) -> pd.DataFrame:
        """Return the rows of `runs()` for which all holds.

        Args:
            runs: identities, or how they begin; none for all runs.
            conditions: such as 'rule=urfb'.
            not_in: grid files, none of which asks for the runs.

        Raises:
            SelectionError: a run does not exist, or a condition cannot be read.
            GridError: a grid file has mistakes.
        """
        frame = self.runs(**parse_filters(conditions, self.filterable("runs")))
        if runs:
            frame = frame[frame["run"].isin({self.spec(run).identity for run in runs})]
        if not_in:
            frame = frame[~frame["run"].isin({run.spec.identity for run in load_grids(not_in).runs})]
        return frame

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
        with self.reading() as connection:
            attempts = connection.execute(query).all()
        # A worker that failed before it reported the path of its log has written it to the store's folder of logs.
        paths = [*(Path(attempt.log) for attempt in attempts), self.location.logs / f"{identity}.log"]
        log = next((path for path in paths if path.exists()), None)
        if log is None and not attempts:
            raise StoreError(f"run {identity} has no log: it has not been trained by this version of urfb yet")
        if log is None:
            raise StoreError(f"the log of run {identity} is {attempts[0].log} on {attempts[0].host}, and not here")
        with log.open(encoding="utf-8", errors="replace") as file:
            while True:
                state, _ = self.progress().get(identity, ("removed", 0))  # asked first, so that the last words are read
                yield file.read()
                if not (follow and state == "running"):
                    return
                time.sleep(FOLLOW_SECONDS)

    def memberships(self) -> set[tuple[str, str]]:
        """Return each experiment's name with the identity of each run that it asks for."""
        query = (
            select(tables.experiment.c.name, tables.run.c.identity)
            .join(tables.experiment_run, tables.experiment_run.c.experiment_id == tables.experiment.c.id)
            .join(tables.run, tables.run.c.id == tables.experiment_run.c.run_id)
        )
        with self.reading() as connection:
            return {(row.name, row.identity) for row in connection.execute(query)}

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a connection, which reads one moment's tables.

        Raises:
            StoreError: the store cannot be read.
        """
        try:
            with self.engine.connect() as connection:
                yield connection
        except DBAPIError as error:
            raise unreadable(self.location, error) from error
