"""Runs told apart by the settings in which they differ. Plain Python; a run is its settings by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

from urfb.grid.settings import SETTINGS
from urfb.grid.spec import RunSpec

if TYPE_CHECKING:
    import pandas as pd

BARE = ("network", "dataset", "rule", "loss")
"""Settings whose values say by themselves what they are."""
SYMBOLS = {"epsilon": "ε", "decay": "λ"}
"""Settings of a rule, and how they are written after it."""
ALONE = ("network", "dataset", "rule")
"""What names a run that differs from no other."""


def settings_of(spec: RunSpec) -> dict[str, Any]:
    """Return a run's settings by name, but for its target of epochs."""
    return {name: getattr(spec, name) for name in SETTINGS if name != "epochs"}


def settings_in(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the settings of each run in a frame of a store; None where there is no value."""
    runs = frame.drop_duplicates("run")[[name for name in SETTINGS if name in frame]].astype(object)
    return [
        {str(name): value for name, value in run.items()} for run in runs.where(runs.notna(), None).to_dict("records")
    ]


def differing(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the settings in which runs differ, in the order of their declarations.

    One whose value follows from others is left out where these tell as much: a batch size that the data set implies.
    """
    values = {name: [run[name] for run in runs] for name in SETTINGS if runs and name in runs[0] and name != "epochs"}
    names = [name for name, column in values.items() if len(set(column)) > 1]
    return [name for name in names if not _is_implied(values, name, names)]


def distinguishing(shown: Iterable[Set[str]], runs: Iterable[tuple[Set[str], Mapping[str, Any]]]) -> list[str]:
    """Return the settings that tell some runs from all runs of their experiments, which may have ended long ago.

    Args:
        shown: the experiments of each of these runs.
        runs: all runs, each with its experiments and its settings.
    """
    asking = set().union(*shown)
    return differing([run for experiments, run in runs if experiments & asking]) or list(ALONE)


def shared(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the settings that say what all of the runs are: those in which none differs, without the usual ones."""
    return [
        name
        for name, setting in SETTINGS.items()
        if runs and name in runs[0] and not setting.use.follows and name not in ("seed", "epochs")
        if len({run[name] for run in runs}) == 1 and runs[0][name] != setting.usual
    ]


def in_words(run: Mapping[str, Any], names: Iterable[str]) -> str:
    """Return some settings of a run in a few words, such as 'urfb step_size 0.1 seed 0'."""
    words = []
    for name in names:
        value = run[name]
        if value is None and (name in SYMBOLS or SETTINGS[name].use.follows):
            continue  # it does not apply, as ε under a rule that fixes it
        words.append(value_text(value) if name in BARE else f"{SYMBOLS.get(name, name)} {value_text(value)}")
    return " ".join(words)


def named(specs: Sequence[RunSpec]) -> dict[str, str]:
    """Return a name for each run, by its identity: the settings in which it differs from the others."""
    runs = [settings_of(spec) for spec in specs]
    names = differing(runs) or ALONE
    return {spec.identity: in_words(run, names) for spec, run in zip(specs, runs, strict=True)}


def value_text(value: object) -> str:
    """Return a value as a grid file has it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value)


def _is_implied(values: Mapping[str, Sequence[Any]], name: str, names: Iterable[str]) -> bool:
    """Whether a setting's value follows from those settings, of `names`, that it follows from by default."""
    causes = [values[cause] for cause in SETTINGS[name].use.follows if cause in names]
    if not causes:
        return False
    pairs = set(zip(*causes, values[name], strict=True))
    return len(pairs) == len({pair[:-1] for pair in pairs})
