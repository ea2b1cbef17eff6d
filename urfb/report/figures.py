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
from urfb.report.selection import PAPER, Selection

SIMPNET10 = {"network": "simpnet", "dataset": "cifar10", **PAPER}
SIMPNET100 = {"network": "simpnet", "dataset": "cifar100", **PAPER}
DEEPNET = {"network": "deepnet", "dataset": "cifar100", **PAPER}
DEEPERNET = {"network": "deepernet", "dataset": "cifar100", **PAPER}
PIXELS_AND_CENTRED = tuple({**net, "input_offset": offset} for net in (SIMPNET10, DEEPERNET) for offset in (0, 0.5))
AUTHORS_DEEPERNET = {**DEEPERNET, "convention": "author-code"}
TIED_OR_UNTIED = {**SIMPNET10, "untied": ["none", "all"], "untied_start": [None, "independent"]}
TIED_AND_UNTIED_BY_BATCH = (TIED_OR_UNTIED, {**TIED_OR_UNTIED, "batch_size": 50})
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
        "1",
        "the computations in a feedforward network",
        schematics.feedforward,
        says="Each unit sums the units below it, weighted by W, and passes the sum through σ; the output layer leaves "
        "σ out (equation 1).",
    ),
    Exhibit(
        "figure",
        "2",
        "the feedback signal and the updates that it makes",
        schematics.feedback,
        says="The feedback signals of the layer above are combined through R and multiplied by σ′ to give a unit's "
        "own. Then the feedforward weights into the unit and the feedback weights out of it take the same increment.",
    ),
    Exhibit(
        "figure",
        "3",
        "images of CIFAR-10 and CIFAR-100",
        dataset_samples.draw,
        says="The classes are broad: a bird may be of any kind, at any angle and size. Each data set has 50,000 "
        "training and 10,000 test images.",
    ),
    Exhibit(
        "figure",
        "4",
        "simpnet, error by epoch",
        error_curves.draw,
        Selection((SIMPNET10,), (BP, BP_H, URFB, FRFB)),
        ("epochs",),
        "grid run experiments.yaml figure4",
        says="URFB does somewhat better than FRFB but mainly converges faster; it never does as well as "
        "back-propagation, but comes close (claim 2).",
    ),
    Exhibit(
        "figure",
        "5",
        "simpnet, test error of every protocol",
        error_bars.draw,
        Selection((SIMPNET10, SIMPNET100), PROTOCOLS),
        (),
        "grid run experiments.yaml figure5",
        says="The hinge loss costs back-propagation little against softmax (claim 1). On CIFAR-10 URFB and FRFB differ "
        "little; with half of the connections, or on CIFAR-100, they differ more.",
    ),
    Exhibit(
        "figure",
        "6",
        "deepnet and deepernet, test error of every protocol",
        error_bars.draw,
        Selection((DEEPNET, DEEPERNET), PROTOCOLS),
        (),
        "grid run experiments.yaml figure6",
        says="Back-propagation's error falls from 50 % with deepnet to 42 % with deepernet, with softmax as with "
        "hinge. URFB's falls, too; FRFB does very poorly.",
    ),
    Exhibit(
        "figure",
        "7",
        "deepernet, error by epoch",
        error_curves.draw,
        Selection((DEEPERNET,), (BP, BP_H, URFB, FRFB)),
        ("epochs",),
        "grid run experiments.yaml figure7",
        says="In deeper networks URFB again stays close to back-propagation, while FRFB degrades significantly (claim "
        "3).",
    ),
    Exhibit(
        "figure",
        "8",
        "filters of the untied simpnet at four locations",
        filters.draw,
        Selection((UNTIED_SIMPNET,), (URFB,)),
        ("filters", "alignment"),
        "grid run experiments.yaml figure8",
        says="Untied filters that were updated independently at each location still look alike across space after "
        "1,000 iterations, presumably because local structure in the data is the same everywhere.",
    ),
    Exhibit(
        "figure",
        "9",
        "convolutional layers against untied ones, test error",
        error_bars.draw,
        Selection((TIED_OR_UNTIED, TIED_OR_UNTIED_DEEPNET_S), TIED_AND_UNTIED),
        (),
        "grid run experiments.yaml figure9-simpnet figure9-deepnet_s figure9-deepnet_s-untied",
        says="Untied layers do slightly worse than convolutional ones, and the protocols keep their order (claim 4). "
        "In the deeper network FRFB again does much worse.",
    ),
    Exhibit(
        "figure",
        "10",
        "simpnet, correlation of W and Rᵗ by epoch",
        alignment.draw,
        Selection((SIMPNET10,), (URFB, FRFB)),
        ("alignment",),
        "grid run experiments.yaml figure10",
        says="The output layer reaches high correlations under both rules, but W and R align much more strongly under "
        "URFB (claim 5); a network with highly correlated weights in effect does back-propagation.",
    ),
    Exhibit(
        "figure",
        "11",
        "deepnet_s untied, correlation of W and Rᵗ by epoch",
        alignment.draw,
        Selection((UNTIED_DEEPNET_S,), (URFB, FRFB)),
        ("alignment",),
        "grid run experiments.yaml figure11",
        says="Some layers end with correlations very close to 1 and others do not, in no monotone order of depth. "
        "Errors fall fast in the first iterations, when correlations are very low.",
    ),
    Exhibit(
        "figure",
        "12",
        "the simulation of section 5.1, error and correlation of W and Rᵗ by iteration",
        simulations.draw,
        measured=("simulations", "trajectories", "trajectory_layers"),
        completed_by="theory run",
        says="The error converges the faster, the larger ε is. The top layer's correlation comes close to 1; the lower "
        "ones stay below, higher with larger ε, and that of the input layer slightly above the middle one's.",
    ),
    Exhibit(
        "figure",
        "7-alignment",
        "deepernet, correlation of W and Rᵗ by epoch",
        alignment.draw,
        Selection((DEEPERNET,), (URFB, FRFB)),
        ("alignment",),
        "grid run experiments.yaml figure7",
        says="Nothing of this network; Figure 11 has deepnet_s. A signal that passes ten layers is the nearer to "
        "back-propagation's, the more of their weights align, so this tells why Figure 7 looks as it does.",
    ),
    Exhibit(
        "figure",
        "7-author",
        "deepernet, error by epoch in the paper's reading and in that of its author's code",
        error_curves.draw,
        Selection((DEEPERNET, AUTHORS_DEEPERNET), (BP_H, URFB, FRFB)),
        ("epochs",),
        "grid run experiments.yaml figure7 figure7-author",
        says="Nothing: it leaves open what its code has, a slope of ½ in σ, the place of a pool's zeros, a smaller "
        "filter, and, on CIFAR-100, wrong classes that weigh ten times as much. These tell what hangs on them.",
    ),
    Exhibit(
        "figure",
        "8-start",
        "filters of untied simpnets that start from one filter or from many",
        filters.draw_starts,
        Selection((UNTIED_SIMPNET, TIED_START), (URFB,)),
        ("filters", "alignment"),
        "grid run experiments.yaml figure8-start",
        says="Nothing: the author's code starts all locations from one filter, so that similarity across space is "
        "partly its start. Independent starts tell how much.",
    ),
    Exhibit(
        "figure",
        "9-batch",
        "convolutional layers against untied ones at like and at unlike batch sizes, test error",
        error_bars.draw_batches,
        Selection(TIED_AND_UNTIED_BY_BATCH, TIED_AND_UNTIED),
        (),
        "grid run experiments.yaml figure9-simpnet figure9-batch",
        says="Nothing: the author's code trains untied layers with a batch of 50 and convolutional ones with 500. Like "
        "batches tell what untying alone does; dropout is the same in all of them.",
    ),
    Exhibit(
        "figure",
        "alignment-and-error",
        "simpnet, errors while W and Rᵗ are not aligned yet",
        alignment_and_error.draw,
        Selection((SIMPNET10,), (BP_H, URFB, FRFB)),
        ("epochs", "alignment"),
        "grid run experiments.yaml figure4",
        says="Its sixth claim: even in the first iterations, when W and R are far from aligned, errors fall at a rate "
        "similar to back-propagation's.",
    ),
    Exhibit(
        "figure",
        "epsilon",
        "simpnet, error and correlation of W and Rᵗ between FRFB (ε = 0) and URFB (ε = 1)",
        epsilons.draw,
        Selection((SIMPNET10,), (FRFB, *INTERPOLATED, URFB)),
        ("epochs", "alignment"),
        "grid run experiments.yaml figure10 epsilon",
        says="Only of linear networks (section 5): the error converges the faster, the larger ε is. This is the same "
        "question put to simpnet.",
    ),
    Exhibit(
        "figure",
        "gradients",
        "simpnet, cosine of each layer's gradient with back-propagation's by epoch",
        alignment.draw_gradients,
        Selection(({**SIMPNET10, "gradient_batch": 500},), (URFB, FRFB)),
        ("alignment",),
        "grid run experiments.yaml gradients",
        says="Nothing of gradients themselves, but that a network with highly correlated weights in effect does "
        "back-propagation. This is how near its gradients come to that.",
    ),
    Exhibit(
        "figure",
        "saturation",
        "units beyond the bounds of σ, which pass no error signal on, by epoch",
        alignment.draw_saturation,
        Selection(PIXELS_AND_CENTRED, (BP, BP_H, URFB, FRFB)),
        ("alignment",),
        "grid run experiments.yaml figure4 figure7 input-offset",
        says="Of saturation, that σ′ is 0 there (Remark 2). How many units it takes from which rule may tell why one "
        "stays behind another.",
    ),
    Exhibit(
        "figure",
        "input-offset",
        "simpnet and deepernet, error by epoch with pixels from 0 to 1 and with centred ones",
        error_curves.draw,
        Selection(PIXELS_AND_CENTRED, (BP_H, URFB, FRFB)),
        ("epochs",),
        "grid run experiments.yaml figure4 figure7 input-offset",
        says="Nothing of centring: its inputs are pixels from 0 to 1, which drive units into saturation. How far URFB "
        "and FRFB are apart may hang on that.",
    ),
)
