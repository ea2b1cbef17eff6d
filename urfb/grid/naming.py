"""Names for runs: the settings in which they differ. Plain Python; a run is a mapping of settings by name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

from urfb.grid.settings import SETTINGS
from urfb.grid.spec import RunSpec

if TYPE_CHECKING:
    import pandas as pd

BARE = ("network", "dataset", "rule", "loss")
"""Settings whose values are clear without the setting's name."""
SYMBOLS = {"epsilon": "ε", "decay": "λ"}
"""Symbols that replace the names of a rule's parameters."""
LONG = 10
"""The length, in characters, above which a number such as 1/9 is rounded to six digits."""
ALONE = ("network", "dataset", "rule")
"""The settings that name a run that differs from no other run."""


def settings_of(spec: RunSpec) -> dict[str, Any]:
    """Return a run's settings by name, without its target of epochs."""
    return {name: getattr(spec, name) for name in SETTINGS if name != "epochs"}


def settings_in(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the settings of each run in a frame from a store, with None for missing values."""
    runs = frame.drop_duplicates("run")[[name for name in SETTINGS if name in frame]].astype(object)
    return [
        {str(name): value for name, value in run.items()} for run in runs.where(runs.notna(), None).to_dict("records")
    ]


def split_names(names: object) -> list[str]:
    """Return the experiments in a comma-separated list, which may be empty or missing."""
    return [name.strip() for name in names.split(",") if name.strip()] if isinstance(names, str) else []


def differing(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the settings that distinguish any of the runs from the others, in the order of declaration."""
    needed = {name for names in differing_by_run(runs) for name in names}
    return [name for name in SETTINGS if name in needed]


def differing_by_run(runs: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return, for each run, the settings that distinguish it from the others, in the order of declaration.

    A setting that follows from others by default, as the batch size follows from the data set, is left out if all runs
    that agree in these others have the same value.
    """
    values = {name: [run[name] for run in runs] for name in SETTINGS if runs and name in runs[0] and name != "epochs"}
    names = [name for name, column in values.items() if len(set(column)) > 1]
    causes = {name: [cause for cause in SETTINGS[name].use.follows if cause in names] for name in names}

    def case(run: Mapping[str, Any], name: str) -> tuple[Any, ...]:
        return name, *(run[cause] for cause in causes[name])

    alternatives: defaultdict[tuple[Any, ...], set[Any]] = defaultdict(set)
    for run in runs:
        for name in names:
            alternatives[case(run, name)].add(run[name])
    return [[name for name in names if len(alternatives[case(run, name)]) > 1] for run in runs]


def distinguishing(experiments: Set[str], runs: Iterable[tuple[Set[str], Mapping[str, Any]]]) -> list[str]:
    """Return the settings that distinguish the runs of some experiments, or `ALONE` if none do.

    Args:
        experiments: the names of the experiments.
        runs: all runs, each with its experiments and its settings.
    """
    return differing([run for asking, run in runs if asking & experiments]) or list(ALONE)


def shared(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the settings in which all runs agree, without those that are as usual or follow from others."""
    return [
        name
        for name, setting in SETTINGS.items()
        if runs and name in runs[0] and not setting.use.follows and name not in ("seed", "epochs")
        if len({run[name] for run in runs}) == 1 and runs[0][name] != setting.usual
    ]


def in_words(run: Mapping[str, Any], names: Iterable[str]) -> str:
    """Return some settings of a run as a short text, such as 'urfb step_size 0.1 seed 0'."""
    words = []
    for name in names:
        value = run[name]
        if value is None and (name in SYMBOLS or SETTINGS[name].use.follows):
            continue  # it does not apply, like ε under a rule that fixes it
        words.append(value_text(value) if name in BARE else f"{SYMBOLS.get(name, name)} {value_text(value)}")
    return " ".join(words)


def named(specs: Sequence[RunSpec]) -> dict[str, str]:
    """Return a name for each run, by identity: the settings in which it differs from the others."""
    runs = [settings_of(spec) for spec in specs]
    named_by = [names or ALONE for names in differing_by_run(runs)]
    return {spec.identity: in_words(run, names) for spec, run, names in zip(specs, runs, named_by, strict=True)}


def value_text(value: object) -> str:
    """Return a value as it is written in a grid file."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        exact = repr(value)
        return f"{value:g}" if exact.endswith(".0") or len(exact) > LONG else exact
    return str(value)
