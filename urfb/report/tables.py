"""The declarations of all tables: the runs that each shows and the function that makes it."""

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
        kind="table",
        paper_figure=5,
        shows="error rates of every protocol",
        make=error_tables.tabulate,
        selection=Selection((SIMPNET10, SIMPNET100), PROTOCOLS),
        measured=("epochs",),
        completed_by="grid run experiments.yaml figure5",
    ),
    Exhibit(
        kind="table",
        paper_figure=6,
        shows="error rates of every protocol",
        make=error_tables.tabulate,
        selection=Selection((DEEPNET, DEEPERNET), PROTOCOLS),
        measured=("epochs",),
        completed_by="grid run experiments.yaml figure6",
    ),
    Exhibit(
        kind="table",
        paper_figure=9,
        shows="error rates with convolutional and with untied layers",
        make=error_tables.tabulate,
        selection=Selection((TIED_OR_UNTIED, TIED_OR_UNTIED_DEEPNET_S), TIED_AND_UNTIED),
        measured=("epochs",),
        completed_by="grid run experiments.yaml figure9-simpnet figure9-deepnet_s figure9-deepnet_s-untied",
    ),
    Exhibit(
        kind="table",
        paper_figure=10,
        shows="final correlation of W and Rᵗ over all entries and over shared connections",
        make=alignment_tables.tabulate,
        selection=Selection((SIMPNET10,), (URFB, FRFB, URFB_SPARSE, FRFB_SPARSE)),
        measured=("alignment",),
        completed_by="grid run experiments.yaml figure5 --where dataset=cifar10 --where rule=urfb,frfb",
    ),
    Exhibit(
        kind="table",
        paper_figure=11,
        shows="final correlation of W and Rᵗ in untied layers",
        make=alignment_tables.tabulate,
        selection=Selection((UNTIED_DEEPNET_S,), (URFB, FRFB)),
        measured=("alignment",),
        completed_by="grid run experiments.yaml figure11",
    ),
    Exhibit(
        kind="table",
        paper_figure=12,
        shows="error and final correlation of W and Rᵗ in the linear simulation",
        make=simulation_tables.tabulate,
        measured=("simulations", "trajectories", "trajectory_layers"),
        completed_by="theory run",
    ),
    Exhibit(
        kind="table",
        name="9-batch",
        shows="error rates with convolutional and with untied layers at the same and at different batch sizes",
        make=error_tables.tabulate,
        selection=Selection(TIED_AND_UNTIED_BY_BATCH, TIED_AND_UNTIED),
        measured=("epochs",),
        completed_by="grid run experiments.yaml figure9-simpnet figure9-batch",
    ),
    Exhibit(
        kind="table",
        name="input-offset",
        shows="error rates with pixels from 0 to 1 and with centred pixels",
        make=error_tables.tabulate,
        selection=Selection(PIXELS_AND_CENTRED, (BP_H, URFB, FRFB)),
        measured=("epochs",),
        completed_by="grid run experiments.yaml figure4 figure7 input-offset",
    ),
    Exhibit(
        kind="table",
        name="runs",
        shows="trained runs and their times",
        make=run_tables.tabulate,
        selection=Selection(({},)),
        completed_by="grid run experiments.yaml",
    ),
    Exhibit(
        kind="table",
        name="published",
        shows="results published by others, in settings unlike the paper's",
        make=published.tabulate,
    ),
)
