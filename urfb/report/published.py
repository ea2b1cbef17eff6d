"""Published results with their sources, and the table of those in settings unlike the paper's."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from urfb.report.drawn import Tabulated
from urfb.report.exhibits import Data
from urfb.report.selection import DATASET_NAMES
from urfb.report.texts import number


class Bar(NamedTuple):
    """A bar of the paper whose height the paper's text gives: the test error in percent."""

    network: str
    dataset: str
    protocol: str
    error: float


BARS = (
    Bar("deepnet", "cifar100", "BP", 50),
    Bar("deepnet", "cifar100", "BP-H", 50),
    Bar("deepernet", "cifar100", "BP", 42),
    Bar("deepernet", "cifar100", "BP-H", 42),
)
BARS_SOURCE = (
    "Published: Amit (2019), Frontiers in Computational Neuroscience 13:18, text on Figure 6: BP with softmax or hinge "
    "loss has 50 % with deepnet and 42 % with deepernet. The paper shows the other bars without numbers. The data set "
    "is very likely CIFAR-100, but the paper does not say so."
)


class Source(NamedTuple):
    """The source of published results and the settings that produced them."""

    name: str
    where: str
    setting: str


BIOTORCH = Source("biotorch", "https://github.com/jsalbert/biotorch", "SGD")
MAKROUT = Source(
    "makrout",
    "https://github.com/makrout/Deep-Learning-without-Weight-Transport",
    "NumPy, 400 epochs; its KP runs have no decay, which makes them URFB; published as accuracies, shown as errors",
)
POZZI = Source("Pozzi 2020", "https://github.com/isapome/BrainProp", "BrainProp is Pozzi et al.'s own rule")
NAKAJIMA = Source(
    "Nakajima 2022", "https://doi.org/10.1038/s41467-022-35216-2", "shallow: only the last layer is trained"
)
SOURCES = (BIOTORCH, MAKROUT, POZZI, NAKAJIMA)


class Published(NamedTuple):
    """Published results of one network, by rule.

    Attributes:
        source: the source.
        dataset, network: the data set and the network.
        measure: the kind of result: 'error' or 'accuracy' in percent, or 'angle' of W and R in degrees.
        of: the epoch or layer of the result; empty if there is only one.
        seeds: the number of runs behind each result; None if the source does not give it.
        values: the results, by urfb's name of the rule.
    """

    source: Source
    dataset: str
    network: str
    measure: str
    of: str
    seeds: int | None
    values: dict[str, float]


PUBLISHED = (
    Published(
        BIOTORCH, "cifar10", "LeNet", "error", "", None,
        {"BP": 14.23, "FRFB": 46.69, "DFA": 54.21, "uSF": 16.22, "brSF": 16.02, "frSF": 16.86},
    ),
    Published(
        BIOTORCH, "cifar10", "ResNet-20", "error", "", None,
        {"BP": 8.63, "FRFB": 32.16, "DFA": 45.94, "uSF": 10.05, "brSF": 11.02, "frSF": 11.20},
    ),
    Published(
        BIOTORCH, "cifar10", "ResNet-56", "error", "", None,
        {"BP": 8.30, "FRFB": 34.88, "DFA": 38.01, "uSF": 8.20, "brSF": 8.69, "frSF": 9.49},
    ),
    Published(
        BIOTORCH, "ImageNet", "ResNet-18", "error", "", None,
        {"BP": 30.39, "FRFB": 85.25, "DFA": 82.45, "uSF": 34.97, "brSF": 37.21, "frSF": 36.50},
    ),
    Published(
        MAKROUT, "cifar10", "MLP 3072-1000-10", "accuracy", "last epoch", 1,
        {"BP": 48.2, "FRFB": 43.0, "WM": 46.2, "URFB": 47.6},
    ),
    Published(
        MAKROUT, "cifar10", "MLP 3072-1000-10", "accuracy", "best epoch", 1,
        {"BP": 52.0, "FRFB": 49.5, "WM": 52.4, "URFB": 50.7},
    ),
    Published(
        MAKROUT, "cifar10", "MLP 3072-1000-10", "angle", "first layer", 1, {"FRFB": 90, "WM": 20, "URFB": 10},
    ),
    Published(
        MAKROUT, "cifar10", "MLP 3072-1000-10", "angle", "last layer", 1, {"FRFB": 46, "WM": 10, "URFB": 2},
    ),
    Published(POZZI, "cifar10", "deep CNN", "error", "", 10, {"BrainProp": 11.12}),
    Published(POZZI, "cifar100", "deep CNN", "error", "", 10, {"BrainProp": 40.42}),
    Published(NAKAJIMA, "cifar10", "ResNet-18", "error", "", None, {"BP": 8.14, "DFA": 18.32, "shallow": 65.08}),
)  # fmt: skip

MEASURES = {
    ("error", ""): "error (%)",
    ("accuracy", "last epoch"): "error (%)",
    ("accuracy", "best epoch"): "best (%)",
    ("angle", "first layer"): "angle, first (°)",
    ("angle", "last layer"): "angle, last (°)",
}
"""The name of a column, by a result's `measure` and `of`. An accuracy becomes an error."""

ABOUT_SETTINGS = (
    "Most of these networks use batch normalization, momentum, augmentation and ReLU. The paper's networks use none of "
    "them, so these results are not comparable with its runs. FRFB is feedback alignment (FA), WM weight mirrors. The "
    "column 'best' is the error at the best epoch, not the last; 'angle' is that between W and Rᵗ of the first and of "
    "the last layer."
)
"""The note below the table on how to read it."""


class Reproduced(NamedTuple):
    """The results of an independent integration of section 5.1, means over six draws; the paper has no numbers.

    Attributes:
        epsilon: ε; None for BP.
        errors: log₁₀ e after 200, 400 and all iterations.
        correlations: the correlations of W and Rᵗ at the end, lowest layer first; None if not recorded.
    """

    epsilon: float | None
    errors: tuple[float, float, float]
    correlations: tuple[float | None, float | None, float | None] = (None, None, None)


REPRODUCED = (
    Reproduced(None, (0.24, -1.34, -4.94)),
    Reproduced(0, (2.16, 1.35, -3.22)),
    Reproduced(0.25, (2.13, 1.28, -3.99)),
    Reproduced(0.5, (2.10, 1.22, -4.75), (0.35, 0.43, None)),
    Reproduced(1, (2.05, 1.12, -6.28), (0.64, 0.53, 0.98)),
)
REPRODUCED_DRAWS = 6
REPRODUCED_SOURCE = (
    "Independent: Euler steps of 5e-4 by a program that shares no code and no draws with urfb. Another six draws of it "
    "differed by at most 0.1 after 200 and 400 iterations and by at most 0.9 at the end. The paper has no numbers."
)


def bar_of(network: str, dataset: str, protocol: str) -> float:
    """Return the test error that the paper's text gives for a bar, in percent; NaN if it gives none."""
    return next((bar.error for bar in BARS if bar[:3] == (network, dataset, protocol)), float("nan"))


def tabulate(_: Data) -> Tabulated:
    """Return the table of published results, one row per network and rule."""
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    data = []
    for figures in PUBLISHED:
        decimals = max(len(f"{value:g}".partition(".")[2]) for value in figures.values.values())
        for rule, value in figures.values.items():
            what = {
                "source": figures.source.name,
                "data set": DATASET_NAMES.get(figures.dataset, figures.dataset),
                "network": figures.network,
                "rule": rule,
            }
            row = rows.setdefault(tuple(what.values()), {**what, **dict.fromkeys(MEASURES.values(), "")})
            measured = 100 - value if figures.measure == "accuracy" else value
            row[MEASURES[figures.measure, figures.of]] = number(measured, decimals)
            row["seeds"] = "" if figures.seeds is None else str(figures.seeds)
            unit = {"measure": MEASURES[figures.measure, figures.of], "value": measured, "n": figures.seeds}
            data.append({**what, **unit, "where": figures.source.where})
    notes = [ABOUT_SETTINGS, *(f"{source.name}: {source.where} ({source.setting})." for source in SOURCES)]
    frame = pd.DataFrame(data).astype({"n": "Int64"})
    return Tabulated(
        pd.DataFrame(rows.values()), frame, pd.DataFrame(), [], "n: seeds, if the source gives them", notes
    )
