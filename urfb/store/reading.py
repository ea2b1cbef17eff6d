"""Reads a store: DataFrames for users, and plain values for the code that plans, runs and shows grids."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, Engine, func, inspect, or_, select, text
from sqlalchemy.exc import DBAPIError

from urfb.errors import SelectionError, StoreError, counted
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
"""The number of executions per workload whose epochs are timed, so that a store of any size is fast."""
MIN_EPOCHS_FOR_SIZE = 1000
"""With fewer epochs, the empty tables take more space than the rows."""
SIZES = {
    "sqlite": "SELECT (page_count - freelist_count) * page_size "
    "FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()",
    "postgresql": "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' "
    "AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) "
    "AND relname NOT IN ('simulation', 'trajectory', 'trajectory_layer')",
}
"""For each database, the query for its size in bytes; PostgreSQL's leaves out the tables of simulations."""


class LocatedFilters(NamedTuple):
    """The filters of an untied layer at one location: `weights` is float32 [filters, height, width, channels]."""

    epoch: int
    layer: int
    row: int
    column: int
    weights: np.ndarray


class EpochTimes(NamedTuple):
    """The time that epochs of similar runs took.

    Attributes:
        settings: the runs' values of `WORKLOAD_SETTINGS`, by name.
        in_last_stage: whether the epochs belong to the runs' last stage; most runs have only one stage.
        evaluated: whether the training images were evaluated after each epoch, or after none.
        epochs: the number of epochs.
        seconds: the total time of the epochs.
    """

    settings: dict[str, Any]
    in_last_stage: bool
    evaluated: bool
    epochs: int
    seconds: float


class Store:
    """A store that is open for reading. Many processes can read a store, even while a runner writes to it.

    The frames are the views of the database. A filter is a column's name with a value or a list of allowed values:
    `store.runs(rule="urfb", seed=[0, 1])`. The frames of runs can also be filtered by `state`, and by `experiments`,
    which selects the runs that at least one of the given experiments asks for.

    Attributes:
        location: the store's location, which also names the folders of its checkpoints and logs.
    """

    def __init__(self, location: Location, engine: Engine) -> None:
        self.location = location
        self.engine = engine  # raises the database's errors; `reading` turns them into StoreErrors

    def close(self) -> None:
        """Close the open connections; the next use opens new ones. A garbage-collected store closes itself."""
        self.engine.dispose()

    def runs(self, **filters: Any) -> pd.DataFrame:
        """Return one row per run: its settings, state, latest errors (fractions) and the machine that trained it.

        `test_error` is empty until the run has reached its target. A run whose process died is 'unfinished', not
        'running'. `experiments` lists the names of all experiments that ask for the run.

        Raises:
            SelectionError: a filter is not a column, or no row can have its value.
            StoreError: the store cannot be read.
        """
        return self._read("runs", filters)

    def epochs(self, **filters: Any) -> pd.DataFrame:
        """Return one row per run and epoch: the run's settings, and the epoch's losses and errors (fractions).

        The loss and error on all training images are empty after most epochs.

        Raises:
            SelectionError: a filter is not a column, or no row can have its value.
            StoreError: the store cannot be read.
        """
        return self._read("epochs", filters)

    def alignment(self, **filters: Any) -> pd.DataFrame:
        """Return one row per run, layer and step: correlation (−1 to 1) and angle (degrees) of W and Rᵗ, and more.

        Raises:
            SelectionError: a filter is not a column, or no row can have its value.
            StoreError: the store cannot be read.
        """
        return self._read("alignment", filters)

    def simulations(self, **filters: Any) -> pd.DataFrame:
        """Return one row per simulation of section 5: its settings, last error e = tr(EᵗE), host and versions.

        `diverged_at` is the iteration at which the simulation diverged; it is empty if it did not.

        Raises:
            SelectionError: a filter is not a column, or no row can have its value.
            StoreError: the store cannot be read.
        """
        return self._read("simulations", filters)

    def trajectories(self, **filters: Any) -> pd.DataFrame:
        """Return one row per simulation and stored iteration: the settings, the iteration, its time and its error e.

        Raises:
            SelectionError: a filter is not a column, or no row can have its value.
            StoreError: the store cannot be read.
        """
        return self._read("trajectories", filters)

    def trajectory_layers(self, **filters: Any) -> pd.DataFrame:
        """Return one row per simulation, layer and stored iteration: the correlation of W_l and R_lᵗ.

        BP has no rows, because its R is Wᵗ. The correlation is empty where it is undefined: W starts at 0.

        Raises:
            SelectionError: a filter is not a column, or no row can have its value.
            StoreError: the store cannot be read.
        """
        return self._read("trajectory_layers", filters)

    def filters(self, run: str) -> list[LocatedFilters]:
        """Return the filters W of a run's untied first layer at some locations, before and after training (Figure 8).

        Args:
            run: the run's identity or its first characters.

        Raises:
            SelectionError: there is no such run, or more than one.
            StoreError: the store cannot be read.
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
        """Return the spec of a stored run; its number of epochs is the largest target that was asked for.

        Args:
            run: the run's identity or its first characters.

        Raises:
            SelectionError: there is no such run, or more than one.
            StoreError: the store cannot be read.
        """
        columns = tables.run.c
        with self.reading() as connection:
            rows = connection.execute(select(tables.run).where(columns.identity.startswith(run, autoescape=True))).all()
            if len(rows) > 1:
                first = ", ".join(row.identity for row in rows[:5])
                raise SelectionError(
                    f"run '{run}': {len(rows)} identities begin with this ({first}, …); give more characters"
                )
            if not rows:
                identities = connection.execute(select(columns.identity).limit(5)).scalars().all()
                raise SelectionError(
                    f"there is no run '{run}' in {self.location} (its first runs: {', '.join(identities) or 'none'}); "
                    "`urfb results runs` lists all runs"
                )
        (row,) = rows
        values = {name: getattr(row, name) for name in RunSpec.model_fields if name != "epochs"}
        return RunSpec(epochs=row.epochs_target, **values)

    def columns(self, view: str) -> dict[str, type]:
        """Return the columns of a view such as 'runs' or 'trajectories', with the Python types of their values."""
        columns = tables.view_columns(view)
        names = [described["name"] for described in inspect(self.engine).get_columns(view)]
        return {name: columns[name].type.python_type for name in names}

    def filterable(self, view: str) -> dict[str, type]:
        """Return the names that can filter a view, with the types of their values.

        These are the view's columns and, for views of runs, `experiments` and `state`.
        """
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
        """Return short texts by identity: why a run failed, or on which host it is being trained."""
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
                    attempts = counted(row.attempts, "attempt")
                    reasons[row.identity] = (
                        f"failed: {textwrap.shorten(row.reason or 'unknown', 80, placeholder='…')} ({attempts})"
                    )
        return reasons

    def epoch_seconds(self, device_name: str, threads: int) -> list[EpochTimes]:
        """Return how long the epochs of each workload's latest executions took.

        Args:
            device_name: the processor or GPU that trained them.
            threads: the number of CPU threads that trained them.
        """
        run, attempt, epoch = tables.run.c, tables.attempt.c, tables.epoch.c
        later = tables.attempt.alias()
        columns = [run[name] for name in WORKLOAD_SETTINGS]
        # The epochs of an execution end where a later execution of the run began.
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
        """Return an epoch's bytes on disk with its measurements; None if the store has too few epochs."""
        with self.reading() as connection:
            epochs = connection.execute(select(func.sum(tables.run.c.epochs_done))).scalar() or 0
            if epochs < MIN_EPOCHS_FOR_SIZE:
                return None
            return float(connection.execute(text(SIZES[self.engine.dialect.name])).scalar_one() / epochs)

    def failures(self) -> dict[str, int]:
        """Return how often each run has failed, by identity; runs that never failed are left out."""
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
        """Return the identities of the runs that match all conditions.

        Args:
            runs: identities or their first characters; empty for all runs.
            conditions: conditions such as 'rule=urfb'.

        Raises:
            SelectionError: both are empty, a run does not exist, or a condition is invalid.
            StoreError: the store cannot be read.
        """
        if not runs and not conditions:
            raise SelectionError("which runs? Give their identities, or conditions such as --where rule=frfb")
        return list(self.selected_runs(runs, conditions)["run"])

    def selected_runs(
        self, runs: Sequence[str] = (), conditions: Sequence[str] = (), not_in: Sequence[Path] = ()
    ) -> pd.DataFrame:
        """Return the rows of `runs()` that match all criteria.

        Args:
            runs: identities or their first characters; empty for all runs.
            conditions: conditions such as 'rule=urfb'.
            not_in: grid files; runs that one of them asks for are left out.

        Raises:
            SelectionError: a run does not exist, or a condition is invalid.
            GridError: a grid file has mistakes.
            StoreError: the store cannot be read.
        """
        frame = self.runs(**parse_filters(conditions, self.filterable("runs")))
        if runs:
            frame = frame[frame["run"].isin({self.spec(run).identity for run in runs})]
        if not_in:
            frame = frame[~frame["run"].isin({run.spec.identity for run in load_grids(not_in).runs})]
        return frame

    def log(self, run: str, *, follow: bool = False) -> Iterator[str]:
        """Yield the log of a run in parts.

        Args:
            run: the run's identity or its first characters.
            follow: whether to wait for more text while the run is being trained.

        Raises:
            SelectionError: there is no such run, or more than one.
            StoreError: the run has no log on this machine, or the store cannot be read.
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
        # A worker that fails before it reports the path of its log has written to the store's folder of logs.
        paths = [*(Path(attempt.log) for attempt in attempts), self.location.logs / f"{identity}.log"]
        log = next((path for path in paths if path.exists()), None)
        if log is None and not attempts:
            raise StoreError(f"run {identity} has no log: this version of urfb has not trained it yet")
        if log is None:
            raise StoreError(
                f"run {identity} has no log on this machine; it was written to {attempts[0].log} on {attempts[0].host}"
            )
        with log.open(encoding="utf-8", errors="replace") as file:
            while True:
                # Read the state before the file, so that the end of the log is not lost.
                state, _ = self.progress().get(identity, ("removed", 0))
                yield file.read()
                if not (follow and state == "running"):
                    return
                time.sleep(FOLLOW_SECONDS)

    def memberships(self) -> set[tuple[str, str]]:
        """Return the pairs of an experiment's name and the identity of a run that it asks for."""
        query = (
            select(tables.experiment.c.name, tables.run.c.identity)
            .join(tables.experiment_run, tables.experiment_run.c.experiment_id == tables.experiment.c.id)
            .join(tables.run, tables.run.c.id == tables.experiment_run.c.run_id)
        )
        with self.reading() as connection:
            return {(row.name, row.identity) for row in connection.execute(query)}

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a connection that reads a snapshot of the store.

        Raises:
            StoreError: the store cannot be read.
        """
        try:
            with self.engine.connect() as connection:
                yield connection
        except DBAPIError as error:
            raise unreadable(self.location, error) from error
