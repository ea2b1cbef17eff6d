"""What a claim reads of one run, and the three settings in which it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
from scipy import stats

from urfb.data.catalog import CATALOG
from urfb.grid.expand import resolve
from urfb.grid.spec import RunSpec
from urfb.report.claims.statistics import LEAST_SEEDS
from urfb.report.protocols import PAPER_EPOCHS, PAPER_SECOND_STAGE, Protocol
from urfb.report.selection import DATASET_NAMES

PRETRAINING_EPOCHS = 100
"""The first stage of deepnet_s with untied layers."""

INITIAL_EPOCHS = 3
"""The initial iterations of claim 6."""


@dataclass(frozen=True)
class Cell:
    """Runs that differ in nothing but the seed: a network on a data set, trained one way."""

    network: str
    dataset: str
    protocol: Protocol
    untied: bool = False

    @property
    def where(self) -> str:
        """The network and the data set, in words."""
        untied = " untied" if self.untied else ""
        return f"{self.network}{untied}, {DATASET_NAMES.get(self.dataset, self.dataset)}"

    def spec(self) -> RunSpec:
        """Return the run with seed 0; everything that is not said here is the paper's."""
        settings: dict[str, Any] = {"untied": "all"} if self.untied else {}
        if self.untied and self.network == "deepnet_s":
            settings |= {"pretraining_epochs": PRETRAINING_EPOCHS, "frozen": "1"}
        settings |= {"network": self.network, "dataset": self.dataset}
        settings |= {"rule": self.protocol.rule, "loss": self.protocol.loss}
        return resolve(settings, {})


@dataclass(frozen=True, eq=False)
class Trained:
    """One run, as far as its setting goes.

    Attributes:
        spec: what it is.
        test_error: at its end; NaN if it has not got there.
        epochs: one row an epoch, from the first to the setting's last.
        alignment: one row for each measured step and layer of the last stage.
    """

    spec: RunSpec
    test_error: float
    epochs: pd.DataFrame
    alignment: pd.DataFrame

    def layers(self, *, output: bool = True) -> pd.DataFrame:
        """Return the correlations of W and Rᵗ: a row for each measured epoch, a column a layer.

        Layer 1 is left out, for no error signal passes through its R; the output layer if it is not asked for.
        """
        numbers = self.alignment["layer"]
        last = numbers.max() if output else numbers.max() - 1
        chosen = self.alignment[(numbers >= 2) & (numbers <= last)]
        table: pd.DataFrame = chosen.pivot(index="epoch", columns="layer", values="correlation")
        return table


Measure = Callable[[Trained], float]
"""One number of one run; NaN where the run does not have it."""


def test_error(run: Trained) -> float:
    """Return the error on the test set when the run was done."""
    return run.test_error


def last_validation_error(epochs: int) -> Measure:
    """Return the measure that is the mean of the validation errors of the setting's last so many epochs."""

    def measure(run: Trained) -> float:
        return float(run.epochs["validation_error"].tail(epochs).mean(skipna=False))

    return measure


def area(run: Trained) -> float:
    """Return the mean of the validation errors of all epochs: the smaller, the faster the run converges."""
    return float(run.epochs["validation_error"].mean(skipna=False))


def training_decrease(run: Trained) -> float:
    """Return by how much the training error falls below chance in the initial epochs."""
    return _decrease(run, "training_error")


def validation_decrease(run: Trained) -> float:
    """Return by how much the validation error falls below chance in the initial epochs."""
    return _decrease(run, "validation_error")


def _decrease(run: Trained, error: str) -> float:
    chance = 1 - 1 / CATALOG[run.spec.dataset].classes
    return chance - float(run.epochs[error].head(INITIAL_EPOCHS).mean(skipna=False))


def initial_correlation(run: Trained) -> float:
    """Return the correlation after the initial epochs of the most aligned of the layers 2 to L − 1."""
    return float(_at(run.layers(output=False), INITIAL_EPOCHS).max(skipna=False))


def initial_output_correlation(run: Trained) -> float:
    """Return the correlation of the output layer after the initial epochs."""
    return float(_at(run.layers(), INITIAL_EPOCHS).iloc[-1:].max(skipna=False))


def starting_correlation(run: Trained) -> float:
    """Return the correlation before training that is farthest from 0, of the layers from 2."""
    start = _at(run.layers(), run.spec.pretraining_epochs)
    return float(start.iloc[start.abs().argmax()]) if len(start) and start.notna().all() else float("nan")


def largest_correlation(run: Trained) -> float:
    """Return the largest correlation of any layer from 2 at any epoch."""
    return float(run.layers().max(skipna=False).max(skipna=False))


def rise(run: Trained) -> float:
    """Return Spearman's rank correlation of a layer's correlation and the epoch, the smallest of the layers from 2."""
    layers = run.layers()
    if len(layers) < 2 or layers.isna().any(axis=None) or (layers.nunique() < 2).any():
        return float("nan")
    ranks = [float(stats.spearmanr(layers.index, layers[layer]).statistic) for layer in layers]
    return min(ranks, default=float("nan"))


def _at(layers: pd.DataFrame, epoch: int) -> pd.Series[float]:
    """Return the layers' values after an epoch."""
    rows = layers[layers.index == epoch]
    return rows.iloc[0] if len(rows) else pd.Series(dtype=float)


@dataclass(frozen=True)
class Setting:
    """How long runs are, which of them are tested, and what counts as their final error.

    Attributes:
        name: as the command line has it.
        experiment: the one of experiments.yaml whose runs these are.
        title: in words, told with every verdict.
        last_epoch: of a run that is read; None for the last epoch that the paper has.
        final, final_name: the final error, and what it is called.
        to_the_end: whether a run has to have reached its target, and not only the setting's last epoch.
        has: whether the runs of a cell are tested.
        seeds: those that are tested, and no others; None for all that there are.
    """

    name: str
    experiment: str
    title: str
    last_epoch: int | None
    final: Measure
    final_name: str
    to_the_end: bool
    has: Callable[[Cell], bool]
    seeds: tuple[int, ...] | None = None

    @property
    def least_seeds(self) -> tuple[int, ...]:
        """The seeds that are trained first: as few as can decide anything."""
        return self.seeds or tuple(range(LEAST_SEEDS))

    def epochs(self, spec: RunSpec) -> int:
        """Return the last epoch of a run that is read."""
        if self.last_epoch is not None:
            return self.last_epoch
        if spec.pretraining_epochs:
            return spec.pretraining_epochs + PAPER_SECOND_STAGE
        return PAPER_EPOCHS[spec.network]


PAPER = Setting(
    "paper",
    experiment="claims",
    title="the paper's length, test error",
    last_epoch=None,
    final=test_error,
    final_name="test error",
    to_the_end=True,
    has=lambda cell: True,
)
MEDIUM = Setting(
    "medium",
    experiment="medium",
    title="the first 200 epochs of one-stage networks, validation error",
    last_epoch=200,
    final=last_validation_error(10),
    final_name="validation error, mean of epochs 191 to 200",
    to_the_end=False,
    has=lambda cell: cell.network != "deepnet_s",
    seeds=(1, 2, 3, 4, 5),
)
SHORT = Setting(
    "short",
    experiment="short",
    title="the first 10 epochs of simpnet on CIFAR-10, validation error",
    last_epoch=10,
    final=last_validation_error(3),
    final_name="validation error, mean of epochs 8 to 10",
    to_the_end=False,
    has=lambda cell: (cell.network, cell.dataset, cell.untied) == ("simpnet", "cifar10", False),
)
SETTINGS = {setting.name: setting for setting in (PAPER, MEDIUM, SHORT)}
"""By name, the longest runs first."""
