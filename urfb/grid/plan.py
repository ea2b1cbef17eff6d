"""Which runs of a grid are missing from a store."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from urfb.errors import SelectionError, nearest
from urfb.grid.expand import GridRun
from urfb.grid.naming import value_text
from urfb.grid.settings import SETTINGS
from urfb.grid.spec import RunSpec

CONDITION = re.compile(r"\s*([^\s=!<>:]+)\s*(==?(?!=)|!=|<>|[<>]=?|:|\s(?=[^\s=]+\s*$))\s*(.*\S)\s*", re.DOTALL)
"""A name, an operator and values: more operators than are allowed, so that the answer to a mistake fits it."""
STATES = ("new", "running", "unfinished", "failed", "cancelled", "done")


@dataclass(frozen=True)
class PlannedRun:
    """A run of the grid.

    Attributes:
        run: with its experiments.
        state: in the store.
        epochs_done: how many are stored.
        reason: for the state, in a few words.
        goes_on_after: the epoch after which training goes on; 0 if no checkpoint is here.
    """

    run: GridRun
    state: str
    epochs_done: int
    reason: str
    goes_on_after: int

    @property
    def missing(self) -> bool:
        """Whether `grid run` trains it."""
        return self.state not in ("cancelled", "done")


def plan(
    runs: Sequence[GridRun],
    progress: Mapping[str, tuple[str, int]],
    reasons: Mapping[str, str] = MappingProxyType({}),
    *,
    checkpoints: Set[str],
) -> list[PlannedRun]:
    """Compare a grid's runs with a store's.

    Args:
        runs: of the grid.
        progress: each stored run's state and number of epochs, by identity; empty where there is no store yet.
        reasons: why runs failed, or where they are being trained, by identity.
        checkpoints: the identities of the runs that have one here.
    """
    planned = []
    for run in runs:
        identity, target = run.spec.identity, run.spec.epochs
        state, epochs_done = progress.get(identity, ("new", 0))
        if state == "done" and epochs_done < target:
            state = "unfinished"  # a nearer target was reached earlier
        match state:
            case "new":
                reason = "never trained"
            case "unfinished" if epochs_done < target:
                reason = f"trained {epochs_done} of {target} epochs"
            case "unfinished":
                reason = f"trained {epochs_done} epochs, but not tested"
            case "failed" | "running":
                reason = reasons.get(identity, state)
            case _:
                reason = state
        goes_on_after = epochs_done
        if state in ("unfinished", "failed") and epochs_done and identity not in checkpoints:
            goes_on_after = 0
            reason += "; no checkpoint is here, so it starts over"
        planned.append(PlannedRun(run, state, epochs_done, reason, goes_on_after))
    return planned


def one_seed_first(planned: Sequence[PlannedRun]) -> list[PlannedRun]:
    """Return runs in the order of training: a seed of everything, then the next, so that every part is a whole grid."""
    names = [name for name in RunSpec.model_fields if name not in ("seed", "epochs")]
    earlier: Counter[tuple[Any, ...]] = Counter()
    rounds = []
    for planned_run in planned:
        protocol = tuple(getattr(planned_run.run.spec, name) for name in names)
        rounds.append(earlier[protocol])
        earlier[protocol] += 1
    return [planned_run for _, planned_run in sorted(zip(rounds, planned, strict=True), key=lambda pair: pair[0])]


def parse_filters(conditions: Sequence[str], columns: Mapping[str, type]) -> dict[str, list[Any]]:
    """Read conditions such as 'rule=urfb' and 'seed=0,1': all conditions hold, and of a condition's values, any.

    Args:
        conditions: as the user writes them.
        columns: the allowed names, with the type of their values.

    Raises:
        SelectionError: a condition cannot be read, names no column, or repeats one.
    """
    filters: dict[str, list[Any]] = {}
    for condition in conditions:
        name, values = _name_and_values(condition)
        if name not in columns:
            raise SelectionError(f"--where '{condition}': there is no '{name}': {nearest(name, columns)}")
        if name in filters:
            raise SelectionError(
                f"--where '{condition}': there is a condition on {name} already; for any of several values, write "
                f"{name}=A,B"
            )
        try:
            filters[name] = [_value(value.strip(), columns[name]) for value in values.split(",")]
        except ValueError as error:
            kind = "true or false" if columns[name] is bool else f"a number; for any of several, write {name}=A,B"
            raise SelectionError(f"--where '{condition}': {name} is {kind}") from error
    return filters


def select(runs: Sequence[GridRun], conditions: Sequence[str]) -> list[GridRun]:
    """Return the runs that all conditions hold for.

    Raises:
        SelectionError: a condition cannot be read, names no setting of a run, or holds for no run.
    """
    for condition in conditions:
        if condition.partition("=")[0].strip() in ("experiment", "experiments"):
            raise SelectionError(
                f"--where '{condition}': experiments are named after the grid file, as in "
                "`urfb grid plan experiments.yaml figure4`"
            )
    kinds = {"run": str} | {name: setting.kind for name, setting in SETTINGS.items()}
    filters = parse_filters(conditions, kinds)
    for name, values in filters.items():
        present = {getattr(run.spec, name) for run in runs}
        for value in values:
            if runs and value not in present:
                texts = sorted(value_text(value) for value in present)
                raise SelectionError(
                    f"--where {name}={value_text(value)}: no run has that: {nearest(value_text(value), texts)}"
                )
    selected = [run for run in runs if all(getattr(run.spec, name) in values for name, values in filters.items())]
    if runs and not selected:
        raise SelectionError(f"no run agrees with all of these conditions: {', '.join(conditions)}")
    return selected


def _name_and_values(condition: str) -> tuple[str, str]:
    """Return a condition's name, and its values as they are written; == is = here.

    Raises:
        SelectionError: it is written in another way; where it is clear what is meant, the message has it.
    """
    match = CONDITION.fullmatch(condition)
    name, operator, values = (match[1], match[2].strip(), match[3]) if match else ("rule", "", "urfb")
    if operator in ("=", "=="):
        return name, values
    if operator in ("", ":"):
        example = f"{name}={values}"
        raise SelectionError(f"--where '{condition}': a condition is written name=value, as in --where {example}")
    raise SelectionError(
        f"--where '{condition}': a condition has no '{operator}': name all the values that are wanted, as in "
        f"--where {name}=A,B"
    )


def _value(text: str, kind: type) -> Any:
    """Read a value of one kind; whole numbers are numbers, too."""
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(text)
        return text.lower() == "true"
    value = kind(text)
    if isinstance(value, int) and abs(value) >= 2**63:  # more than a database can compare
        raise ValueError(text)
    if isinstance(value, str):
        value.encode()
    return value
