"""The plan of a grid: which of its runs are missing from a store, and why."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from urfb.errors import SelectionError, counted, nearest
from urfb.grid.expand import GridRun
from urfb.grid.naming import value_text
from urfb.grid.schema import seed_range
from urfb.grid.settings import SETTINGS
from urfb.grid.spec import RunSpec

CONDITION = re.compile(r"\s*([^\s=!<>:]+)\s*(==?(?!=)|!=|<>|[<>]=?|:|\s(?=[^\s=]+\s*$))\s*(.*\S)\s*", re.DOTALL)
"""A name, an operator and values. It also matches operators that are not allowed, so that a message can name them."""
MAX_SEEDS = 10_000
"""The largest number of seeds in a range of a condition."""
STATES = ("new", "running", "unfinished", "failed", "cancelled", "done")


@dataclass(frozen=True)
class PlannedRun:
    """A run of the grid.

    Attributes:
        run: the run, with its experiments.
        state: the run's state in the store, one of `STATES`.
        epochs_done: the number of stored epochs.
        reason: the reason for the state, in a few words; '' for done and cancelled runs.
        goes_on_after: the epoch after which training continues; 0 if there is no checkpoint.
        changed: whether the run is new only because its source or the science version has changed.
    """

    run: GridRun
    state: str
    epochs_done: int
    reason: str
    goes_on_after: int
    changed: bool = False

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
        runs: the runs of the grid.
        progress: each stored run's state and number of epochs, by identity; empty if there is no store yet.
        reasons: why runs failed, or where they are being trained, by identity.
        checkpoints: the identities of the runs whose checkpoints were found.
    """
    planned = []
    for run in runs:
        identity, target = run.spec.identity, run.spec.epochs
        state, epochs_done = progress.get(identity, ("new", 0))
        if state == "done" and epochs_done < target:
            state = "unfinished"  # an earlier grid had a smaller target
        match state:
            case "new":
                reason = "never trained"
            case "unfinished" if epochs_done == 0 and identity in checkpoints:
                reason = "interrupted in epoch 1"
            case "unfinished" if epochs_done < target:
                reason = f"trained {epochs_done} of {counted(target, 'epoch')}"
            case "unfinished":
                reason = f"trained {counted(epochs_done, 'epoch')}, but not tested"
            case "failed" | "running":
                reason = reasons.get(identity, state)
            case _:
                reason = ""
        goes_on_after = epochs_done
        interrupted = state == "unfinished" or (state == "failed" and epochs_done)
        if interrupted and identity not in checkpoints:
            goes_on_after = 0
            reason += "; no checkpoint was found, so it starts over"
        planned.append(PlannedRun(run, state, epochs_done, reason, goes_on_after))
    return planned


def one_seed_first(planned: Sequence[PlannedRun]) -> list[PlannedRun]:
    """Return runs in the order of training: one seed of every protocol, then the next seed of every protocol.

    So an interrupted grid is a complete smaller grid.
    """
    names = [name for name in RunSpec.model_fields if name not in ("seed", "epochs")]
    earlier: Counter[tuple[Any, ...]] = Counter()
    rounds = []
    for planned_run in planned:
        protocol = tuple(getattr(planned_run.run.spec, name) for name in names)
        rounds.append(earlier[protocol])
        earlier[protocol] += 1
    return [planned_run for _, planned_run in sorted(zip(rounds, planned, strict=True), key=lambda pair: pair[0])]


def parse_filters(conditions: Sequence[str], columns: Mapping[str, type]) -> dict[str, list[Any]]:
    """Read conditions such as 'rule=urfb', 'seed=0,1' and 'seed=0-9'.

    All conditions must hold. A condition holds if the setting has any of its values. 'experiment' means 'experiments'.

    Args:
        conditions: the conditions, as the user writes them.
        columns: the allowed names, with the types of their values.

    Returns:
        The values of each condition, by name.

    Raises:
        SelectionError: a condition cannot be read or names no column, or two conditions have the same name.
    """
    filters: dict[str, list[Any]] = {}
    for condition in conditions:
        name, values = _name_and_values(condition)
        if name == "experiment" and "experiments" in columns:
            name = "experiments"
        if name not in columns:
            raise SelectionError(f"--where '{condition}': there is no '{name}': {nearest(name, columns)}")
        if name in filters:
            raise SelectionError(
                f"--where '{condition}': there already is a condition on {name}; to allow several values, write "
                f"{name}=A,B"
            )
        try:
            filters[name] = [
                value for text in values.split(",") for value in _values(text.strip(), name, columns[name])
            ]
        except ValueError as error:
            kind = "true or false" if columns[name] is bool else f"a number; to allow several, write {name}=A,B"
            kind += " or seed=A-B" if name == "seed" else ""
            raise SelectionError(f"--where '{condition}': {name} is {kind}") from error
    return filters


def select(runs: Sequence[GridRun], conditions: Sequence[str]) -> list[GridRun]:
    """Return the runs for which all conditions hold.

    Raises:
        SelectionError: a condition cannot be read, names no setting of a run, or holds for no run.
    """
    for condition in conditions:
        if condition.partition("=")[0].strip() in ("experiment", "experiments"):
            raise SelectionError(
                f"--where '{condition}': write the names of experiments after the grid file, as in "
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
                    f"--where {name}={value_text(value)}: no run has this value: {nearest(value_text(value), texts)}"
                )
    selected = [run for run in runs if all(getattr(run.spec, name) in values for name, values in filters.items())]
    if runs and not selected:
        raise SelectionError(f"no run matches all of these conditions: {', '.join(conditions)}")
    return selected


def _name_and_values(condition: str) -> tuple[str, str]:
    """Return a condition's name, and its values as they are written; == is the same as =.

    Raises:
        SelectionError: the condition has another form; if its meaning is clear, the message has the correct form.
    """
    match = CONDITION.fullmatch(condition)
    name, operator, values = (match[1], match[2].strip(), match[3]) if match else ("rule", "", "urfb")
    if operator in ("=", "=="):
        return name, values
    if operator in ("", ":"):
        example = f"{name}={values}"
        raise SelectionError(f"--where '{condition}': write a condition as name=value, as in --where {example}")
    raise SelectionError(
        f"--where '{condition}': '{operator}' is not allowed in a condition: list the values to select, as in "
        f"--where {name}=A,B"
    )


def _values(text: str, name: str, kind: type) -> list[Any]:
    """Convert a text to a value of the type `kind`, or to the seeds of a range such as '0-9'.

    Raises:
        ValueError: the text is neither, or a range goes from a higher seed to a lower one or has too many seeds.
    """
    seeds = seed_range(text) if name == "seed" else None
    if seeds is None:
        return [_value(text, kind)]
    if not 0 < len(seeds) <= MAX_SEEDS:
        raise ValueError(text)
    return list(seeds)


def _value(text: str, kind: type) -> Any:
    """Convert a text to a value of the type `kind`.

    Raises:
        ValueError: the text is not such a value, or too large for a database.
    """
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(text)
        return text.lower() == "true"
    value = kind(text)
    if isinstance(value, int) and abs(value) >= 2**63:  # too large for a comparison in a database
        raise ValueError(text)
    if isinstance(value, str):
        value.encode()
    return value
