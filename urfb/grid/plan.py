"""Which runs of a grid are missing from a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from urfb.errors import SelectionError, nearest
from urfb.grid.expand import GridRun
from urfb.grid.spec import RunSpec

STATES = ("new", "running", "unfinished", "failed", "done")


@dataclass(frozen=True)
class PlannedRun:
    """A run of the grid, and what the store knows of it."""

    run: GridRun
    state: str
    epochs_done: int

    @property
    def missing(self) -> bool:
        """Whether `grid run` trains it."""
        return self.state != "done"


def plan(runs: Sequence[GridRun], progress: Mapping[str, tuple[str, int]]) -> list[PlannedRun]:
    """Compare a grid's runs with a store's.

    Args:
        runs: of the grid.
        progress: each stored run's state and number of epochs, by identity; empty where there is no store yet.
    """
    planned = []
    for run in runs:
        state, epochs_done = progress.get(run.spec.identity, ("new", 0))
        if state == "done" and epochs_done < run.spec.epochs:
            state = "unfinished"  # it has reached an earlier, nearer target
        planned.append(PlannedRun(run, state, epochs_done))
    return planned


def parse_filters(conditions: Sequence[str], columns: Sequence[str]) -> dict[str, list[Any]]:
    """Read conditions such as 'rule=urfb' and 'seed=0,1': all of them hold, and of the values of one, any.

    Raises:
        SelectionError: a condition cannot be read, or names no column.
    """
    filters: dict[str, list[Any]] = {}
    for condition in conditions:
        name, equals, values = condition.partition("=")
        name = name.strip()
        if not equals or not values.strip():
            raise SelectionError(f"--where '{condition}': a condition is written name=value, as in --where rule=urfb")
        if name not in columns:
            raise SelectionError(f"--where '{condition}': there is no '{name}': {nearest(name, columns)}")
        filters[name] = [_scalar(value) for value in values.split(",")]
    return filters


def select(runs: Sequence[GridRun], conditions: Sequence[str]) -> list[GridRun]:
    """Return the runs that all conditions hold for.

    Raises:
        SelectionError: a condition cannot be read, or names no setting of a run.
    """
    filters = parse_filters(conditions, list(RunSpec.model_fields))
    return [run for run in runs if all(getattr(run.spec, name) in values for name, values in filters.items())]


def _scalar(text: str) -> Any:
    """Read a value as YAML would: 0.5 is a number, true a truth value, urfb a word."""
    try:
        value = YAML(typ="safe", pure=True).load(text)
    except YAMLError:
        return text.strip()
    return value if isinstance(value, (bool, int, float, str)) else text.strip()
