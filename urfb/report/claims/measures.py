"""The measures that claims take from a run, and the three settings in which claims are tested."""

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
"""The length of the first stage of deepnet_s with untied layers."""

INITIAL_EPOCHS = 3
"""The length of the "initial iterations" of claim 6."""


@dataclass(frozen=True)
class Cell:
    """A network, a data set and a protocol: runs that differ only in the seed."""

    network: str
    dataset: str
    protocol: Protocol
    untied: bool = False

    @property
    def where(self) -> str:
        """The names of the network and the data set."""
        untied = " untied" if self.untied else ""
        return f"{self.network}{untied}, {DATASET_NAMES.get(self.dataset, self.dataset)}"

    def spec(self) -> RunSpec:
        """Return the run with seed 0; all other settings have the paper's values."""
        settings: dict[str, Any] = {"untied": "all"} if self.untied else {}
        if self.untied and self.network == "deepnet_s":
            settings |= {"pretraining_epochs": PRETRAINING_EPOCHS, "frozen": "1"}
        settings |= {"network": self.network, "dataset": self.dataset}
        settings |= {"rule": self.protocol.rule, "loss": self.protocol.loss}
        return resolve(settings, {})


@dataclass(frozen=True, eq=False)
class Trained:
    """One run up to the last epoch of the setting.

    Attributes:
        spec: the run's settings.
        test_error: the test error at the end of the run; NaN before the end.
        epochs: one row per epoch, from the first to the setting's last.
        alignment: one row per measured step and layer of the last stage.
    """

    spec: RunSpec
    test_error: float
    epochs: pd.DataFrame
    alignment: pd.DataFrame

    def layers(self, *, output: bool = True) -> pd.DataFrame:
        """Return the correlations of W and Rᵗ: one row per measured epoch, one column per layer.

        Layer 1 is left out because no error signal passes through its R.

        Args:
            output: whether to include the output layer.
        """
        numbers = self.alignment["layer"]
        last = numbers.max() if output else numbers.max() - 1
        chosen = self.alignment[(numbers >= 2) & (numbers <= last)]
        table: pd.DataFrame = chosen.pivot(index="epoch", columns="layer", values="correlation")
        return table


Measure = Callable[[Trained], float]
"""A function from a run to one number; NaN if the run lacks the data."""


def test_error(run: Trained) -> float:
    """Return the error on the test set at the end of the run."""
    return run.test_error


def last_validation_error(epochs: int) -> Measure:
    """Return a measure: the mean validation error of the setting's last `epochs` epochs."""

    def measure(run: Trained) -> float:
        return float(run.epochs["validation_error"].tail(epochs).mean(skipna=False))

    return measure


def area(run: Trained) -> float:
    """Return the mean validation error over all epochs, which is smaller if the run converges faster."""
    return float(run.epochs["validation_error"].mean(skipna=False))


def training_decrease(run: Trained) -> float:
    """Return how far the training error falls below chance in the initial epochs."""
    return _decrease(run, "training_error")


def validation_decrease(run: Trained) -> float:
    """Return how far the validation error falls below chance in the initial epochs."""
    return _decrease(run, "validation_error")


def _decrease(run: Trained, error: str) -> float:
    chance = 1 - 1 / CATALOG[run.spec.dataset].classes
    return chance - float(run.epochs[error].head(INITIAL_EPOCHS).mean(skipna=False))


def initial_correlation(run: Trained) -> float:
    """Return the largest correlation of the layers 2 to L − 1 after the initial epochs."""
    return float(_at(run.layers(output=False), INITIAL_EPOCHS).max(skipna=False))


def initial_output_correlation(run: Trained) -> float:
    """Return the correlation of the output layer after the initial epochs."""
    return float(_at(run.layers(), INITIAL_EPOCHS).iloc[-1:].max(skipna=False))


def starting_correlation(run: Trained) -> float:
    """Return the correlation before training that is largest in absolute value, over layers 2 and up."""
    start = _at(run.layers(), run.spec.pretraining_epochs)
    return float(start.iloc[start.abs().argmax()]) if len(start) and start.notna().all() else float("nan")


def largest_correlation(run: Trained) -> float:
    """Return the largest correlation over layers 2 and up and all epochs."""
    return float(run.layers().max(skipna=False).max(skipna=False))


def rise(run: Trained) -> float:
    """Return the smallest rank correlation (Spearman) of correlation and epoch over layers 2 and up."""
    layers = run.layers()
    if len(layers) < 2 or layers.isna().any(axis=None) or (layers.nunique() < 2).any():
        return float("nan")
    ranks = [float(stats.spearmanr(layers.index, layers[layer]).statistic) for layer in layers]
    return min(ranks, default=float("nan"))


def _at(layers: pd.DataFrame, epoch: int) -> pd.Series[float]:
    """Return the correlation of each layer after an epoch."""
    rows = layers[layers.index == epoch]
    return rows.iloc[0] if len(rows) else pd.Series(dtype=float)


@dataclass(frozen=True)
class Setting:
    """The length of the tested runs, the networks and seeds, and the definition of the final error.

    Attributes:
        name: the name on the command line.
        experiment: the experiment in experiments.yaml that trains the runs.
        title: a description, shown with every verdict.
        last_epoch: the last epoch that is read; None for the paper's last epoch.
        final, final_name: the final error and its name.
        to_the_end: whether a run must have reached its target, not only the setting's last epoch.
        has: whether the runs of a cell are tested.
        seeds: the only seeds that are tested; None for all stored seeds.
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
        """The seeds to train first: the fewest that can decide anything."""
        return self.seeds or tuple(range(LEAST_SEEDS))

    def epochs(self, spec: RunSpec) -> int:
        """Return the last epoch that is read from a run."""
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
"""All settings by name, the longest runs first."""
