"""The paper's figures: of each, what it shows, which runs, and what makes it."""

from __future__ import annotations

from urfb.report import alignment, alignment_and_error, epsilons, error_bars, error_curves, filters, simulations
from urfb.report.exhibits import Exhibit
from urfb.report.protocols import BP, BP_H, FRFB, INTERPOLATED, PROTOCOLS, TIED_AND_UNTIED, URFB
from urfb.report.selection import PAPER, Selection

SIMPNET10 = {"network": "simpnet", "dataset": "cifar10", **PAPER}
SIMPNET100 = {"network": "simpnet", "dataset": "cifar100", **PAPER}
DEEPNET = {"network": "deepnet", "dataset": "cifar100", **PAPER}
DEEPERNET = {"network": "deepernet", "dataset": "cifar100", **PAPER}
TIED_OR_UNTIED = {**SIMPNET10, "untied": ["none", "all"], "untied_start": [None, "independent"]}
UNTIED_SIMPNET = {**SIMPNET10, "untied": "all", "untied_start": "independent"}
# A start that is the author's code's in a run that is the paper's else: neither convention.
OF_PAPER = {"activation_slope": 1.0, "pool_padding": "centred"}
TIED_START = {**UNTIED_SIMPNET, "convention": "custom", **OF_PAPER, "untied_start": "tied-copy"}
UNTIED_DEEPNET_S = {
    **SIMPNET10,
    "network": "deepnet_s",
    "untied": "all",
    "untied_start": "independent",
    "pretraining_epochs": 100,
    "pretraining_rule": "urfb",
    "frozen": "1",
}
TIED_OR_UNTIED_DEEPNET_S = {
    **UNTIED_DEEPNET_S,
    "untied": ["none", "all"],
    "untied_start": [None, "independent"],
    "pretraining_epochs": [0, 100],
    "pretraining_rule": [None, "urfb"],
    "frozen": [None, "1"],
}

FIGURES: tuple[Exhibit, ...] = (
    Exhibit(
        "figure",
        "4",
        "simpnet, error by epoch",
        error_curves.draw,
        Selection((SIMPNET10,), (BP, BP_H, URFB, FRFB)),
        ("epochs",),
        "grid run experiments.yaml figure4",
    ),
    Exhibit(
        "figure",
        "5",
        "simpnet, test error of every protocol",
        error_bars.draw,
        Selection((SIMPNET10, SIMPNET100), PROTOCOLS),
        (),
        "grid run experiments.yaml figure5",
    ),
    Exhibit(
        "figure",
        "6",
        "deepnet and deepernet, test error of every protocol",
        error_bars.draw,
        Selection((DEEPNET, DEEPERNET), PROTOCOLS),
        (),
        "grid run experiments.yaml figure6",
    ),
    Exhibit(
        "figure",
        "7",
        "deepernet, error by epoch",
        error_curves.draw,
        Selection((DEEPERNET,), (BP, BP_H, URFB, FRFB)),
        ("epochs",),
        "grid run experiments.yaml figure7",
    ),
    Exhibit(
        "figure",
        "8",
        "filters of the untied simpnet at four locations",
        filters.draw,
        Selection((UNTIED_SIMPNET,), (URFB,)),
        ("filters", "alignment"),
        "grid run experiments.yaml figure8",
    ),
    Exhibit(
        "figure",
        "9",
        "convolutional layers against untied ones, test error",
        error_bars.draw,
        Selection((TIED_OR_UNTIED, TIED_OR_UNTIED_DEEPNET_S), TIED_AND_UNTIED),
        (),
        "grid run experiments.yaml figure9-simpnet figure9-deepnet_s figure9-deepnet_s-untied",
    ),
    Exhibit(
        "figure",
        "10",
        "simpnet, correlation of W and Rᵗ by epoch",
        alignment.draw,
        Selection((SIMPNET10,), (URFB, FRFB)),
        ("alignment",),
        "grid run experiments.yaml figure10",
    ),
    Exhibit(
        "figure",
        "11",
        "deepnet_s untied, correlation of W and Rᵗ by epoch",
        alignment.draw,
        Selection((UNTIED_DEEPNET_S,), (URFB, FRFB)),
        ("alignment",),
        "grid run experiments.yaml figure11",
    ),
    Exhibit(
        "figure",
        "12",
        "the simulation of section 5.1, error and correlation of W and Rᵗ by iteration",
        simulations.draw,
        measured=("simulations", "trajectories", "trajectory_layers"),
        completed_by="theory run",
    ),
    Exhibit(
        "figure",
        "8-start",
        "filters of untied simpnets that start from one filter or from many",
        filters.draw_starts,
        Selection((UNTIED_SIMPNET, TIED_START), (URFB,)),
        ("filters", "alignment"),
        "grid run experiments.yaml figure8-start",
    ),
    Exhibit(
        "figure",
        "9-batch",
        "convolutional layers against untied ones at like and at unlike batch sizes, test error",
        error_bars.draw_batches,
        Selection((TIED_OR_UNTIED, {**TIED_OR_UNTIED, "batch_size": 50}), TIED_AND_UNTIED),
        (),
        "grid run experiments.yaml figure9-simpnet figure9-batch",
    ),
    Exhibit(
        "figure",
        "alignment-and-error",
        "simpnet, errors while W and Rᵗ are not aligned yet",
        alignment_and_error.draw,
        Selection((SIMPNET10,), (BP_H, URFB, FRFB)),
        ("epochs", "alignment"),
        "grid run experiments.yaml figure4",
    ),
    Exhibit(
        "figure",
        "epsilon",
        "simpnet, error and correlation of W and Rᵗ between FRFB (ε = 0) and URFB (ε = 1)",
        epsilons.draw,
        Selection((SIMPNET10,), (FRFB, *INTERPOLATED, URFB)),
        ("epochs", "alignment"),
        "grid run experiments.yaml figure10 epsilon",
    ),
    Exhibit(
        "figure",
        "gradients",
        "simpnet, cosine of each layer's gradient with back-propagation's by epoch",
        alignment.draw_gradients,
        Selection(({**SIMPNET10, "gradient_batch": 500},), (URFB, FRFB)),
        ("alignment",),
        "grid run experiments.yaml gradients",
    ),
)
