"""Which runs a figure draws, and how they are kept apart.

A line or a bar averages over seeds and nothing else: runs that differ in any other field go into panels of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from typing import Protocol as Interface

import pandas as pd

from urfb.errors import SelectionError, nearest
from urfb.report.protocols import PAPER_EPOCHS, SEEDS, Protocol, protocols_in

PAPER: Mapping[str, Any] = {
    "network": "simpnet",
    "convention": "paper",
    "step_size": 0.1,
    "batch_size": 500,
    "input_offset": 0,
    "precision": "float32",
    "dense_output": True,
    "untied": "none",
    "pretraining_epochs": 0,
}
"""The runs of the paper's Figures 4, 5 and 10; the data set is the figure's own."""

# What tells the protocols of one panel apart. All other fields of a run, but its seed, tell panels apart.
PROTOCOL_FIELDS = ("rule", "epsilon", "decay", "loss", "connectivity", "feedback_connectivity")
HINGE_FIELDS = ("off_class_weight", "off_class_margin", "true_class_margin")  # mean nothing under softmax

DATASET_NAMES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "mnist": "MNIST"}


class Frames(Interface):
    """What a report reads: a results store, or anything with its three tidy frames."""

    def runs(self) -> pd.DataFrame:
        """Return one row a run."""
        ...

    def epochs(self, *, run: list[str]) -> pd.DataFrame:
        """Return one row for each epoch of these runs."""
        ...

    def alignment(self, *, run: list[str]) -> pd.DataFrame:
        """Return one row for each measured step and layer of these runs."""
        ...


@dataclass(frozen=True)
class Selection:
    """Which runs the figures draw: those of the paper, or all those of one experiment.

    Args:
        experiment: the name of an experiment of the grid; None for the paper's own runs.
        where: what the fields of the paper's runs must be; not used with an experiment.
    """

    experiment: str | None = None
    where: Mapping[str, Any] = field(default_factory=lambda: dict(PAPER))

    def describe(self) -> str:
        """Return the selection in words."""
        if self.experiment is not None:
            return f"the runs of the experiment {self.experiment}"
        return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in self.where.items())

    def check(self, runs: pd.DataFrame) -> None:
        """Make sure that the experiment exists.

        Raises:
            SelectionError: no run belongs to an experiment of that name.
        """
        if self.experiment is None:
            return
        existing = sorted({name for names in runs["experiments"] for name in split_names(names)})
        if not existing:
            raise SelectionError(f"no experiment '{self.experiment}': the store has no runs of any experiment yet")
        if self.experiment not in existing:
            raise SelectionError(
                f"no experiment '{self.experiment}' in the store: {nearest(self.experiment, existing)}"
            )


@dataclass(frozen=True)
class Panel:
    """The runs that may be compared in one set of axes.

    `runs` has one row a run, with two columns more than the store's: `protocol`, the protocol's name, and
    `expected_epochs`. `seeds` is how many each protocol should have.
    """

    title: str
    network: str
    dataset: str
    runs: pd.DataFrame
    protocols: tuple[Protocol, ...]
    seeds: int
    of_paper: bool

    def runs_of(self, protocol: Protocol) -> pd.DataFrame:
        """Return the rows of `runs` that one protocol has."""
        return self.runs[self.runs["protocol"] == protocol.name]


def split_names(names: object) -> list[str]:
    """Return the experiments in a comma-joined list, which may be empty or missing."""
    return [name.strip() for name in names.split(",") if name.strip()] if isinstance(names, str) else []


def panels(
    runs: pd.DataFrame, selection: Selection, datasets: Sequence[str], protocols: Sequence[Protocol]
) -> list[Panel]:
    """Sort the selected runs into panels.

    For the paper's own runs there is at least one panel for each of `datasets`, empty if need be, and each expects all
    of `protocols`. An experiment has the panels and the protocols that its runs have.

    Raises:
        SelectionError: the experiment does not exist.
    """
    selection.check(runs)
    runs = _of_newest_science(runs)
    fields = own_fields(runs)
    if selection.experiment is not None:
        belongs = [selection.experiment in split_names(names) for names in runs["experiments"]]
        return _titled([_experiment_panel(group) for group in _comparable(runs[belongs], fields)], fields)
    chosen = pd.Series(True, index=runs.index)
    for name, value in selection.where.items():
        chosen &= runs[name] == value
    found: list[Panel] = []
    for dataset in datasets:
        of_dataset = _with_protocol(runs[chosen & (runs["dataset"] == dataset)], protocols)
        network = str(selection.where.get("network", ""))
        groups = list(_comparable(of_dataset, fields)) or [of_dataset]
        found += [_paper_panel(group, network, dataset, protocols) for group in groups]
    return _titled(found, fields)


def own_fields(runs: pd.DataFrame) -> list[str]:
    """Return the columns that say what a run is: the store puts them first, before what became of it."""
    columns = list(runs.columns)
    return columns[: columns.index("state")]


def _of_newest_science(runs: pd.DataFrame) -> pd.DataFrame:
    """Leave out runs of an older science version: they count as missing, and one seed may have a run of each."""
    if "science_version" not in runs:
        return runs
    newest: pd.Series[bool] = runs["science_version"] == runs["science_version"].max()
    return runs[newest]


def _with_protocol(runs: pd.DataFrame, protocols: Iterable[Protocol]) -> pd.DataFrame:
    """Return the runs that have one of the protocols, with its name beside each."""
    names = pd.Series(None, index=runs.index, dtype=object)
    for protocol in protocols:
        names[protocol.matches(runs)] = protocol.name
    named: pd.DataFrame = runs.assign(protocol=names)
    return named.dropna(subset=["protocol"])


def _comparable(runs: pd.DataFrame, fields: Sequence[str]) -> Iterable[pd.DataFrame]:
    """Split the runs into groups that agree in everything but protocol and seed."""
    shared = [name for name in fields if name not in ("run", "seed", *PROTOCOL_FIELDS, *HINGE_FIELDS)]
    for _, group in runs.groupby(shared, dropna=False, sort=True):
        softmax = group[group["loss"] == "softmax"]
        hinge = [part for _, part in group.drop(softmax.index).groupby(list(HINGE_FIELDS), dropna=False)]
        for part in hinge or [group.drop(softmax.index)]:
            yield group.loc[group.index.isin(softmax.index) | group.index.isin(part.index)]


def _experiment_panel(runs: pd.DataFrame) -> Panel:
    protocols = protocols_in(runs)
    return Panel(
        title="",
        network=_network_name(runs),
        dataset=str(runs["dataset"].iloc[0]),
        runs=_with_protocol(runs, protocols).assign(expected_epochs=runs["epochs_target"]),
        protocols=protocols,
        seeds=runs["seed"].nunique(),
        of_paper=False,
    )


def _paper_panel(runs: pd.DataFrame, network: str, dataset: str, protocols: Sequence[Protocol]) -> Panel:
    return Panel(
        title="",
        network=network,
        dataset=dataset,
        runs=runs.assign(expected_epochs=PAPER_EPOCHS.get(network, runs["epochs_target"])),
        protocols=tuple(protocols),
        seeds=len(SEEDS),
        of_paper=network in PAPER_EPOCHS,
    )


def _network_name(runs: pd.DataFrame) -> str:
    """Return the network's name or, if it has none, its text."""
    name = runs["network"].iloc[0]
    return name if isinstance(name, str) and name else str(runs["layers"].iloc[0])


def _titled(untitled: Sequence[Panel], fields: Sequence[str]) -> list[Panel]:
    """Name each panel by network and data set, and by whatever else tells it from another of the same two."""
    titled = []
    for panel in untitled:
        alike = [other for other in untitled if (other.network, other.dataset) == (panel.network, panel.dataset)]
        words = [panel.network, DATASET_NAMES.get(panel.dataset, panel.dataset)]
        for name in fields:
            if name in ("run", "seed", "network", *PROTOCOL_FIELDS):
                continue
            if len({_value(other, name) for other in alike}) > 1:
                words.append(f"{name.replace('_', ' ')} {_value(panel, name)}")
        titled.append(replace(panel, title=", ".join(words)))
    return titled


def _value(panel: Panel, name: str) -> str:
    """Return the one value that a field has in a panel; the hinge's fields are missing from its softmax runs."""
    runs = panel.runs[panel.runs["loss"] != "softmax"] if name in HINGE_FIELDS else panel.runs
    values = runs[name].unique()
    if len(values) == 0:
        return "none"
    return f"{values[0]:g}" if isinstance(values[0], float) else str(values[0])
