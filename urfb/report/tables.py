"""The tables behind the paper's figures, and one of published figures: of each, which runs, and what makes it."""

from __future__ import annotations

from urfb.report import alignment_tables, error_tables, published, run_tables, simulation_tables
from urfb.report.exhibits import Exhibit
from urfb.report.figures import (
    DEEPERNET,
    DEEPNET,
    PIXELS_AND_CENTRED,
    SIMPNET10,
    SIMPNET100,
    TIED_AND_UNTIED_BY_BATCH,
    TIED_OR_UNTIED,
    TIED_OR_UNTIED_DEEPNET_S,
    UNTIED_DEEPNET_S,
)
from urfb.report.protocols import BP_H, FRFB, FRFB_SPARSE, PROTOCOLS, TIED_AND_UNTIED, URFB, URFB_SPARSE
from urfb.report.selection import Selection

TABLES: tuple[Exhibit, ...] = (
    Exhibit(
        "table",
        "5",
        "error rates of every protocol",
        error_tables.tabulate,
        Selection((SIMPNET10, SIMPNET100), PROTOCOLS),
        ("epochs",),
        "grid run experiments.yaml figure5",
    ),
    Exhibit(
        "table",
        "6",
        "error rates of every protocol",
        error_tables.tabulate,
        Selection((DEEPNET, DEEPERNET), PROTOCOLS),
        ("epochs",),
        "grid run experiments.yaml figure6",
    ),
    Exhibit(
        "table",
        "9",
        "error rates with convolutional layers and with untied ones",
        error_tables.tabulate,
        Selection((TIED_OR_UNTIED, TIED_OR_UNTIED_DEEPNET_S), TIED_AND_UNTIED),
        ("epochs",),
        "grid run experiments.yaml figure9-simpnet figure9-deepnet_s figure9-deepnet_s-untied",
    ),
    Exhibit(
        "table",
        "10",
        "final correlation of W and Rᵗ, also with half of the connections",
        alignment_tables.tabulate,
        Selection((SIMPNET10,), (URFB, FRFB, URFB_SPARSE, FRFB_SPARSE)),
        ("alignment",),
        "grid run experiments.yaml figure5 --where dataset=cifar10 --where rule=urfb,frfb",
    ),
    Exhibit(
        "table",
        "11",
        "final correlation of W and Rᵗ in untied layers",
        alignment_tables.tabulate,
        Selection((UNTIED_DEEPNET_S,), (URFB, FRFB)),
        ("alignment",),
        "grid run experiments.yaml figure11",
    ),
    Exhibit(
        "table",
        "12",
        "error and final correlation of W and Rᵗ in the linear simulation",
        simulation_tables.tabulate,
        measured=("simulations", "trajectories", "trajectory_layers"),
        completed_by="theory run",
    ),
    Exhibit(
        "table",
        "9-batch",
        "error rates of convolutional layers and of untied ones at like and at unlike batch sizes",
        error_tables.tabulate,
        Selection(TIED_AND_UNTIED_BY_BATCH, TIED_AND_UNTIED),
        ("epochs",),
        "grid run experiments.yaml figure9-simpnet figure9-batch",
    ),
    Exhibit(
        "table",
        "input-offset",
        "error rates with pixels from 0 to 1 and with centred ones",
        error_tables.tabulate,
        Selection(PIXELS_AND_CENTRED, (BP_H, URFB, FRFB)),
        ("epochs",),
        "grid run experiments.yaml figure4 figure7 input-offset",
    ),
    Exhibit(
        "table",
        "runs",
        "what was trained, and how long it took",
        run_tables.tabulate,
        Selection(({},)),
        completed_by="grid run experiments.yaml",
    ),
    Exhibit("table", "published", "what others have published, in settings unlike the paper's", published.tabulate),
)
