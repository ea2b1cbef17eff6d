"""The paper's figures, their controls, and those beyond it: what each shows, which runs, and what makes it."""

from __future__ import annotations

from urfb.report import (
    alignment,
    alignment_and_error,
    dataset_samples,
    epsilons,
    error_bars,
    error_curves,
    filters,
    schematics,
    simulations,
)
from urfb.report.exhibits import Exhibit
from urfb.report.protocols import BP, BP_H, FRFB, INTERPOLATED, PROTOCOLS, TIED_AND_UNTIED, URFB
from urfb.report.selection import Selection, paper_runs

SIMPNET10 = paper_runs("simpnet", "cifar10")
SIMPNET100 = paper_runs("simpnet", "cifar100")
DEEPNET = paper_runs("deepnet", "cifar100")
DEEPERNET = paper_runs("deepernet", "cifar100")
PIXELS_AND_CENTRED = tuple({**net, "input_offset": offset} for net in (SIMPNET10, DEEPERNET) for offset in (0, 0.5))
AUTHORS_DEEPERNET = {**DEEPERNET, "convention": "author-code"}
TIED_OR_UNTIED = {**SIMPNET10, "untied": ["none", "all"], "untied_start": [None, "independent"]}
TIED_AND_UNTIED_BY_BATCH = (TIED_OR_UNTIED, {**TIED_OR_UNTIED, "batch_size": 50})
UNTIED_SIMPNET = {**SIMPNET10, "untied": "all", "untied_start": "independent"}
# The author's code's start in a run that is otherwise the paper's: neither convention.
PAPER_READING = {"activation_slope": 1.0, "pool_padding": "centred"}
TIED_START = {**UNTIED_SIMPNET, "convention": "custom", **PAPER_READING, "untied_start": "tied-copy"}
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
        kind="figure",
        paper_figure=1,
        shows="the computations in a feedforward network",
        make=schematics.feedforward,
        says="Each unit sums the units below it, weighted by W, and passes the sum through σ; the output layer leaves "
        "σ out (equation 1).",
    ),
    Exhibit(
        kind="figure",
        paper_figure=2,
        shows="the feedback signal and the updates that it makes",
        make=schematics.feedback,
        says="The feedback signals of the layer above are combined through R and multiplied by σ′ to give a unit's "
        "own. Then the feedforward weights into the unit and the feedback weights out of it take the same increment.",
    ),
    Exhibit(
        kind="figure",
        paper_figure=3,
        shows="images of CIFAR-10 and CIFAR-100",
        make=dataset_samples.draw,
        says="The classes are broad: a bird may be of any kind, at any angle and size. Each data set has 50,000 "
        "training and 10,000 test images.",
    ),
    Exhibit(
        kind="figure",
        paper_figure=4,
        subject="simpnet",
        shows="error by epoch",
        make=error_curves.draw,
        selection=Selection((SIMPNET10,), (BP, BP_H, URFB, FRFB)),
        measured=("epochs",),
        completed_by="grid run experiments.yaml figure4",
        says="URFB does somewhat better than FRFB but mainly converges faster; it never does as well as "
        "back-propagation, but comes close (claim 2).",
    ),
    Exhibit(
        kind="figure",
        paper_figure=5,
        subject="simpnet",
        shows="error of every protocol",
        make=error_bars.draw,
        selection=Selection((SIMPNET10, SIMPNET100), PROTOCOLS),
        measured=("epochs",),
        completed_by="grid run experiments.yaml figure5",
        says="The hinge loss costs back-propagation little against softmax (claim 1). On CIFAR-10 URFB and FRFB differ "
        "little; with half of the connections, or on CIFAR-100, they differ more.",
    ),
    Exhibit(
        kind="figure",
        paper_figure=6,
        subject="deepnet and deepernet",
        shows="error of every protocol",
        make=error_bars.draw,
        selection=Selection((DEEPNET, DEEPERNET), PROTOCOLS),
        measured=("epochs",),
        completed_by="grid run experiments.yaml figure6",
        says="Back-propagation's error falls from 50 % with deepnet to 42 % with deepernet, with softmax as with "
        "hinge. URFB's falls, too; FRFB does very poorly.",
    ),
    Exhibit(
        kind="figure",
        paper_figure=7,
        subject="deepernet",
        shows="error by epoch",
        make=error_curves.draw,
        selection=Selection((DEEPERNET,), (BP, BP_H, URFB, FRFB)),
        measured=("epochs",),
        completed_by="grid run experiments.yaml figure7",
        says="In deeper networks URFB again stays close to back-propagation, while FRFB degrades significantly (claim "
        "3).",
    ),
    Exhibit(
        kind="figure",
        paper_figure=8,
        subject="the untied simpnet",
        shows="filters of an untied layer at four locations",
        title_format="filters of {subject} at four locations",
        make=filters.draw,
        selection=Selection((UNTIED_SIMPNET,), (URFB,)),
        measured=("filters", "alignment"),
        completed_by="grid run experiments.yaml figure8",
        says="Untied filters that were updated independently at each location still look alike across space after "
        "1,000 iterations, presumably because local structure in the data is the same everywhere.",
    ),
    Exhibit(
        kind="figure",
        paper_figure=9,
        shows="convolutional layers against untied ones, error",
        make=error_bars.draw,
        selection=Selection((TIED_OR_UNTIED, TIED_OR_UNTIED_DEEPNET_S), TIED_AND_UNTIED),
        measured=("epochs",),
        completed_by="grid run experiments.yaml figure9-simpnet figure9-deepnet_s figure9-deepnet_s-untied",
        says="Untied layers do slightly worse than convolutional ones, and the protocols keep their order (claim 4). "
        "In the deeper network FRFB again does much worse.",
    ),
    Exhibit(
        kind="figure",
        paper_figure=10,
        subject="simpnet",
        shows="correlation of W and Rᵗ by epoch",
        make=alignment.draw,
        selection=Selection((SIMPNET10,), (URFB, FRFB)),
        measured=("alignment",),
        completed_by="grid run experiments.yaml figure10",
        says="The output layer reaches high correlations under both rules, but W and R align much more strongly under "
        "URFB (claim 5); a network with highly correlated weights in effect does back-propagation.",
    ),
    Exhibit(
        kind="figure",
        paper_figure=11,
        subject="deepnet_s untied",
        shows="correlation of W and Rᵗ by epoch",
        make=alignment.draw,
        selection=Selection((UNTIED_DEEPNET_S,), (URFB, FRFB)),
        measured=("alignment",),
        completed_by="grid run experiments.yaml figure11",
        says="Some layers end with correlations very close to 1 and others do not, in no monotone order of depth. "
        "Errors fall fast in the first iterations, when correlations are very low.",
    ),
    Exhibit(
        kind="figure",
        paper_figure=12,
        shows="the simulation of section 5.1, error and correlation of W and Rᵗ by iteration",
        make=simulations.draw,
        measured=("simulations", "trajectories", "trajectory_layers"),
        completed_by="theory run",
        says="The error converges the faster, the larger ε is. The top layer's correlation comes close to 1; the lower "
        "ones stay below, higher with larger ε, and that of the input layer slightly above the middle one's.",
    ),
    Exhibit(
        kind="figure",
        name="7-alignment",
        subject="deepernet",
        shows="correlation of W and Rᵗ by epoch",
        make=alignment.draw,
        selection=Selection((DEEPERNET,), (URFB, FRFB)),
        measured=("alignment",),
        completed_by="grid run experiments.yaml figure7",
        says="Nothing of this network; Figure 11 has deepnet_s. A signal that passes ten layers is the nearer to "
        "back-propagation's, the more of their weights align, so this tells why Figure 7 looks as it does.",
    ),
    Exhibit(
        kind="figure",
        name="7-author",
        subject="deepernet",
        shows="error by epoch in the paper's reading and in that of its author's code",
        make=error_curves.draw,
        selection=Selection((DEEPERNET, AUTHORS_DEEPERNET), (BP_H, URFB, FRFB)),
        measured=("epochs",),
        completed_by="grid run experiments.yaml figure7 figure7-author",
        says="Nothing: it leaves open what its code has, a slope of ½ in σ, the place of a pool's zeros, a smaller "
        "filter, and, on CIFAR-100, wrong classes that weigh ten times as much. These tell what hangs on them.",
    ),
    Exhibit(
        kind="figure",
        name="8-start",
        shows="filters of untied simpnets that start from one filter or from many",
        make=filters.draw_starts,
        selection=Selection((UNTIED_SIMPNET, TIED_START), (URFB,)),
        measured=("filters", "alignment"),
        completed_by="grid run experiments.yaml figure8-start",
        says="Nothing: the author's code starts all locations from one filter, so that similarity across space is "
        "partly its start. Independent starts tell how much.",
    ),
    Exhibit(
        kind="figure",
        name="9-batch",
        shows="convolutional layers against untied ones at like and at unlike batch sizes, error",
        make=error_bars.draw_batches,
        selection=Selection(TIED_AND_UNTIED_BY_BATCH, TIED_AND_UNTIED),
        measured=("epochs",),
        completed_by="grid run experiments.yaml figure9-simpnet figure9-batch",
        says="Nothing: the author's code trains untied layers with a batch of 50 and convolutional ones with 500. Like "
        "batches tell what untying alone does; dropout is the same in all of them.",
    ),
    Exhibit(
        kind="figure",
        name="alignment-and-error",
        subject="simpnet",
        shows="errors while W and Rᵗ are not aligned yet",
        make=alignment_and_error.draw,
        selection=Selection((SIMPNET10,), (BP_H, URFB, FRFB)),
        measured=("epochs", "alignment"),
        completed_by="grid run experiments.yaml figure4",
        says="Its sixth claim: even in the first iterations, when W and R are far from aligned, errors fall at a rate "
        "similar to back-propagation's.",
    ),
    Exhibit(
        kind="figure",
        name="epsilon",
        subject="simpnet",
        shows="error and correlation of W and Rᵗ between FRFB (ε = 0) and URFB (ε = 1)",
        make=epsilons.draw,
        selection=Selection((SIMPNET10,), (FRFB, *INTERPOLATED, URFB)),
        measured=("epochs", "alignment"),
        completed_by="grid run experiments.yaml figure10 epsilon",
        says="Only of linear networks (section 5): the error converges the faster, the larger ε is. This is the same "
        "question put to simpnet.",
    ),
    Exhibit(
        kind="figure",
        name="gradients",
        subject="simpnet",
        shows="cosine of each layer's gradient with back-propagation's by epoch",
        make=alignment.draw_gradients,
        selection=Selection(({**SIMPNET10, "gradient_batch": 500},), (URFB, FRFB)),
        measured=("alignment",),
        completed_by="grid run experiments.yaml gradients",
        says="Nothing of gradients themselves, but that a network with highly correlated weights in effect does "
        "back-propagation. This is how near its gradients come to that.",
    ),
    Exhibit(
        kind="figure",
        name="saturation",
        shows="units beyond the bounds of σ, which pass no error signal on, by epoch",
        make=alignment.draw_saturation,
        selection=Selection(PIXELS_AND_CENTRED, (BP, BP_H, URFB, FRFB)),
        measured=("alignment",),
        completed_by="grid run experiments.yaml figure4 figure7 input-offset",
        says="Of saturation, that σ′ is 0 there (Remark 2). How many units it takes from which rule may tell why one "
        "stays behind another.",
    ),
    Exhibit(
        kind="figure",
        name="input-offset",
        subject="simpnet and deepernet",
        shows="error by epoch with pixels from 0 to 1 and with centred ones",
        make=error_curves.draw,
        selection=Selection(PIXELS_AND_CENTRED, (BP_H, URFB, FRFB)),
        measured=("epochs",),
        completed_by="grid run experiments.yaml figure4 figure7 input-offset",
        says="Nothing of centring: its inputs are pixels from 0 to 1, which drive units into saturation. How far URFB "
        "and FRFB are apart may hang on that.",
    ),
)
