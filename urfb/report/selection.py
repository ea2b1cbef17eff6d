"""Selects the runs of a figure and sorts them into panels.

A line or a bar averages over seeds only: runs that differ in any other field are in separate panels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import pandas as pd

from urfb.errors import SelectionError, nearest
from urfb.grid.naming import split_names
from urfb.grid.settings import CONVENTIONS, SETTINGS
from urfb.plugins import is_import_path
from urfb.report.protocols import (
    PAPER_EPOCHS,
    PAPER_SECOND_STAGE,
    SEEDS,
    Protocol,
    protocols_in,
    tied_and_untied,
)  # fmt: skip


def _comparing(*kinds: str) -> tuple[str, ...]:
    return tuple(name for name, setting in SETTINGS.items() if setting.use.compares in kinds)


PAPER: Mapping[str, Any] = {
    name: SETTINGS[name].paper for name in _comparing("panels", "untied") if SETTINGS[name].use.fixed
}
"""The settings that all of the paper's runs share; each figure adds its network and data set."""

# The fields that distinguish the protocols of a panel. All other fields except the seed distinguish panels.
PROTOCOL_FIELDS = _comparing("protocols")
HINGE_FIELDS = _comparing("hinge")  # have no meaning for softmax
# Further fields that distinguish protocols if tied and untied networks share a panel.
UNTIED_FIELDS = _comparing("untied")

# The fields that follow from a network's name and a convention.
CONVENTION_FIELDS = ("layers", *CONVENTIONS["paper"])

DATASET_NAMES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "mnist": "MNIST"}


@dataclass(frozen=True)
class Selection:
    """The runs that an exhibit shows.

    Args:
        panels: for each panel, the required values of its runs' fields: a value, or a list of allowed values.
        protocols: the protocols that each panel should have; None for the protocols that its runs have.
        experiment: the name of an experiment whose runs are shown instead, in the panels and protocols that they have.
        needs_bounds: whether runs of custom models are left out, because their units may have no bounds.
    """

    panels: tuple[Mapping[str, Any], ...] = ()
    protocols: tuple[Protocol, ...] | None = None
    experiment: str | None = None
    needs_bounds: bool = False

    def of_experiment(self, name: str | None) -> Selection:
        """Return the selection of an experiment's runs; without a name, this selection."""
        return self if name is None else replace(self, experiment=name)

    @property
    def compares_untied(self) -> bool:
        """Whether panels compare tied and untied networks."""
        return any(protocol.untied is not None for protocol in self.protocols or ())

    def concerns(self, runs: pd.DataFrame) -> bool:
        """Return whether the experiment has runs for the subject of a panel, such as untied layers for Figure 8."""
        runs = experiment_runs(runs, self.experiment)
        if not runs.empty and self.of(runs).empty:
            return False
        return any(
            all((~matching(runs, {name: usual})).any() for name, usual in unusual.items())
            for unusual in self._unusual()
        )

    def of(self, runs: pd.DataFrame) -> pd.DataFrame:
        """Return the runs of the experiment that can be shown."""
        runs = experiment_runs(runs, self.experiment)
        custom = [self.needs_bounds and is_import_path(str(layers)) for layers in runs["layers"]]
        return runs[~pd.Series(custom, runs.index, dtype=bool)]

    def _unusual(self) -> Iterator[dict[str, Any]]:
        """Yield, for each panel, the fields that differ from the paper's usual settings, with the usual values."""
        epsilon = {"epsilon": None} if any(protocol.epsilon is not None for protocol in self.protocols or ()) else {}
        for panel in self.panels:
            yield {name: usual for name, usual in PAPER.items() if panel.get(name, usual) != usual} | epsilon

    def describe(self) -> str:
        """Return the selection in words."""
        if self.experiment is not None:
            return f"the runs of the experiment {self.experiment}"
        if not self.panels:
            return ""
        shared = {
            name: value
            for name, value in self.panels[0].items()
            if all(name in panel and panel[name] == value for panel in self.panels)
        }
        if not any(self.panels):
            return "all runs"
        distinct = [{name: value for name, value in panel.items() if name not in shared} for panel in self.panels]
        return "; ".join(_in_words(part) for part in [*distinct, shared] if part)

    def check(self, runs: pd.DataFrame) -> None:
        """Check that the experiment and the fields exist.

        Raises:
            SelectionError: no run belongs to the experiment, or runs lack a field.
        """
        if self.experiment is None:
            unknown = {name for panel in self.panels for name in panel} - set(runs.columns)
            if unknown:
                name = min(unknown)
                raise SelectionError(f"runs have no field '{name}': {nearest(name, list(runs.columns))}")
            return
        existing = sorted({name for names in runs["experiments"] for name in split_names(names)})
        if not existing:
            raise SelectionError(f"no experiment '{self.experiment}': the store has no runs of any experiment yet")
        if self.experiment not in existing:
            raise SelectionError(
                f"no experiment '{self.experiment}' in the store: {nearest(self.experiment, existing)}"
            )
        if self.needs_bounds and self.of(runs).empty:
            raise SelectionError(f"all runs of '{self.experiment}' have custom models, whose units may have no bounds")


@dataclass(frozen=True)
class Panel:
    """Runs that can be compared in one set of axes.

    Attributes:
        network: the network's name, or its text if it has none.
        dataset: the data set's name.
        runs: one row for each run, with the store's columns and `protocol`, the protocol's name, and
            `expected_epochs`.
        protocols: the protocols that the panel should have.
        seeds: the number of seeds that each protocol should have.
        of_paper: whether the expected epochs and seeds are those of the paper's figures.
        where: the selection's conditions on fields.
        description: the data set, and the settings that distinguish the panel from others of its network.
    """

    network: str
    dataset: str
    runs: pd.DataFrame
    protocols: tuple[Protocol, ...]
    seeds: int
    of_paper: bool
    where: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""

    @property
    def title(self) -> str:
        """The network and the description."""
        return f"{self.network}, {self.description}"

    @property
    def has_paper_settings(self) -> bool:
        """Whether the selection asks for the paper's settings, unlike a control."""
        return all(self.where.get(name) == value for name, value in PAPER.items())

    def runs_of(self, protocol: Protocol) -> pd.DataFrame:
        """Return the rows of `runs` that one protocol has."""
        return self._runs_by_protocol.get(protocol.name, self.runs.head(0))

    @cached_property
    def _runs_by_protocol(self) -> dict[str, pd.DataFrame]:
        return {str(name): runs for name, runs in self.runs.groupby("protocol", sort=False)}


def paper_runs(network: str, dataset: str) -> dict[str, Any]:
    """Return the fields of the paper's runs of a network on a data set."""
    return {"network": network, "dataset": dataset, **PAPER}


def panels(runs: pd.DataFrame, selection: Selection) -> list[Panel]:
    """Return the selected runs, sorted into panels.

    Each panel of the selection gives at least one panel, which can be empty and expects all of the selection's
    protocols. The panels and protocols of an experiment follow from its runs.

    Raises:
        SelectionError: the experiment or a field does not exist.
    """
    selection.check(runs)
    runs = _newest_science(runs)
    fields = own_fields(runs)
    if selection.experiment is not None:
        runs = selection.of(runs)
        return _described([_observed_panel(group, selection) for group in _comparable(runs, selection)], fields)
    selected: list[Panel] = []
    named = runs if selection.protocols is None else _with_protocol(runs, selection.protocols)
    for where in selection.panels:
        chosen = named[matching(named, where)]
        if selection.protocols is None:
            selected += [_observed_panel(group, selection) for group in _comparable(chosen, selection)]
            continue
        groups = list(_comparable(chosen, selection)) or [chosen]
        selected += [_expected_panel(group, where, selection.protocols) for group in groups]
    return _described(selected, fields) or [_expected_panel(runs.head(0), where, ()) for where in selection.panels]


def experiment_runs(runs: pd.DataFrame, experiment: str | None) -> pd.DataFrame:
    """Return the runs that belong to an experiment; without a name, all runs."""
    belongs = [experiment is None or experiment in split_names(names) for names in runs["experiments"]]
    return runs[pd.Series(belongs, runs.index, dtype=bool)]  # an empty list would select columns


def matching(runs: pd.DataFrame, where: Mapping[str, Any]) -> pd.Series[bool]:
    """Return which runs have these values in these fields; a list allows several values, and None means no value."""
    chosen = pd.Series(True, index=runs.index)
    for name, wanted in where.items():
        allowed = list(wanted) if isinstance(wanted, (list, tuple)) else [wanted]
        values = [value for value in allowed if value is not None]
        fits = runs[name].isin(values)
        chosen &= fits | runs[name].isna() if None in allowed else fits
    return chosen


def own_fields(runs: pd.DataFrame) -> list[str]:
    """Return the columns with a run's identity and its settings."""
    return [name for name in runs.columns if name == "run" or name in SETTINGS]


def protocol_names(runs: pd.DataFrame) -> dict[str, str]:
    """Return the name of each run's protocol, by the run's identity."""
    names: dict[str, str] = {}
    for _, group in runs.groupby(list(PROTOCOL_FIELDS), dropna=False):
        names |= dict.fromkeys(group["run"], protocols_in(group.head(1))[0].name)
    return names


def _newest_science(runs: pd.DataFrame) -> pd.DataFrame:
    """Leave out runs of older science versions, which count as missing; a seed can have a run of each version."""
    if "science_version" not in runs:
        return runs
    newest: pd.Series[bool] = runs["science_version"] == runs["science_version"].max()
    return runs[newest]


def _with_protocol(runs: pd.DataFrame, protocols: Iterable[Protocol]) -> pd.DataFrame:
    """Return the runs that have one of the protocols, with its name in the column `protocol`."""
    names = pd.Series(None, index=runs.index, dtype=object)
    for protocol in protocols:
        names[protocol.matches(runs)] = protocol.name
    named: pd.DataFrame = runs.assign(protocol=names)
    return named.dropna(subset=["protocol"])


def _comparable(runs: pd.DataFrame, selection: Selection) -> Iterable[pd.DataFrame]:
    """Split the runs into groups that differ only in protocol and seed."""
    varying = {"run", "seed", "source", *PROTOCOL_FIELDS, *HINGE_FIELDS}
    varying |= set(UNTIED_FIELDS if selection.compares_untied else ())
    shared = [name for name in own_fields(runs) if name not in varying]
    for _, group in runs.groupby(shared, dropna=False, sort=True):
        for part in _split(group, ["source"], meaningless=group["source"].isna()):
            yield from _split(part, HINGE_FIELDS, meaningless=part["loss"] == "softmax")


def _split(runs: pd.DataFrame, fields: Sequence[str], meaningless: pd.Series[bool]) -> Iterable[pd.DataFrame]:
    """Split the runs by fields; every part also gets the runs for which the fields are meaningless."""
    meaningful = runs[~meaningless]
    parts = [part for _, part in meaningful.groupby(list(fields), dropna=False)]
    if len(parts) < 2:
        yield runs
        return
    for part in parts:
        yield runs[meaningless | runs.index.isin(part.index)]


def _observed_panel(runs: pd.DataFrame, selection: Selection) -> Panel:
    """Return a panel with the protocols that the runs have, which are expected to reach their targets."""
    protocols = protocols_in(runs)
    if selection.compares_untied:
        protocols = tuple(protocol for protocol in tied_and_untied(protocols) if protocol.matches(runs).any())
    return Panel(
        network=_network_name(runs),
        dataset=str(runs["dataset"].iloc[0]),
        runs=_with_protocol(runs, protocols).assign(expected_epochs=runs["epochs_target"]),
        protocols=protocols,
        seeds=runs["seed"].nunique(),
        of_paper=False,
    )


def _expected_panel(runs: pd.DataFrame, where: Mapping[str, Any], protocols: Sequence[Protocol]) -> Panel:
    """Return a panel that should have these protocols, each with the paper's epochs and the seeds of our grid file."""
    network = str(where.get("network", ""))
    if network in PAPER_EPOCHS:
        second = runs["pretraining_epochs"] + PAPER_SECOND_STAGE
        expected = second.where(runs["pretraining_epochs"] > 0, PAPER_EPOCHS[network])
    else:
        expected = runs["epochs_target"]
    return Panel(
        network=network,
        dataset=str(where.get("dataset", "")),
        runs=runs.assign(expected_epochs=expected),
        protocols=tuple(protocols),
        seeds=len(SEEDS),
        of_paper=network in PAPER_EPOCHS,
        where=where,
    )


def _network_name(runs: pd.DataFrame) -> str:
    """Return the network's name, or its text if it has no name."""
    name = runs["network"].iloc[0]
    return name if isinstance(name, str) and name else str(runs["layers"].iloc[0])


def _described(panels: Sequence[Panel], fields: Sequence[str]) -> list[Panel]:
    """Describe each panel by its data set and by the settings that differ among panels of its network and data set."""
    described = []
    all_values = [{name: _value(panel, name) for name in fields if name not in ("run", "seed")} for panel in panels]
    for panel, own in zip(panels, all_values, strict=True):
        group = [
            values
            for values, peer in zip(all_values, panels, strict=True)
            if (peer.network, peer.dataset) == (panel.network, panel.dataset)
        ]
        conventions = {peer["convention"] for peer in group} - {None}
        implied = CONVENTION_FIELDS if len(conventions) > 1 and "custom" not in conventions else ()
        words = [DATASET_NAMES.get(panel.dataset, panel.dataset)]
        for name in fields:
            if name in ("run", "seed", "network", *PROTOCOL_FIELDS):
                continue
            if name in UNTIED_FIELDS and any(protocol.untied is not None for protocol in panel.protocols):
                continue
            value = own[name]
            values = {peer[name] for peer in group} - {None}
            if name in implied or (name in UNTIED_FIELDS and name != "untied" and value == "none"):
                continue  # the convention implies it, or nothing is untied
            if name == "convention" and "custom" in values:
                continue  # its fields are listed instead
            if value is not None and len(values) > 1:
                words.append(f"{name.replace('_', ' ')} {value}")
        described.append(replace(panel, description=", ".join(words)))
    return described


def _in_words(where: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {_listed(wanted)}" for name, wanted in where.items())


def _listed(wanted: object) -> str:
    if isinstance(wanted, (list, tuple)):
        return " or ".join(_listed(value) for value in wanted)
    if pd.isna(wanted):  # type: ignore[call-overload]
        return "none"
    return f"{wanted:g}" if isinstance(wanted, float) else str(wanted)


def _value(panel: Panel, name: str) -> str | None:
    """Return the single value of a field in a panel; None without a run and without a condition on the field.

    Runs with softmax have no values in the hinge's fields, and runs without a user's code none in `source`.
    """
    column = panel.runs[name]
    if name in HINGE_FIELDS:
        column = column[panel.runs["loss"] != "softmax"]
    elif name == "source":
        column = column.dropna()
    values = column.unique()
    if len(values) == 0:
        return _listed(panel.where[name]) if name in panel.where else None
    return _listed(values[0])
