"""Declarations of all figures, the paper's and others: the title, the runs and the function that draws them."""

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
# The start of the author's code with the paper's other settings: a custom convention.
PAPER_SETTINGS = {"activation_slope": 1.0, "pool_padding": "centred"}
TIED_START = {**UNTIED_SIMPNET, "convention": "custom", **PAPER_SETTINGS, "untied_start": "tied-copy"}
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
        says="Each unit sums the units of the layer below, weighted by W, and applies σ to the sum. The output layer "
        "does not apply σ (equation 1).",
    ),
    Exhibit(
        kind="figure",
        paper_figure=2,
        shows="the feedback signal and the updates of W and R",
        make=schematics.feedback,
        says="The feedback signals of the layer above are combined through R and multiplied by σ′, which gives a "
        "unit's own signal. Then the feedforward weights into the unit and the feedback weights out of it take "
        "the same increment.",
    ),
    Exhibit(
        kind="figure",
        paper_figure=3,
        shows="images of CIFAR-10 and CIFAR-100",
        make=dataset_samples.draw,
        says="The classes are broad: a bird may be of any kind, at any angle and scale. Each data set has 50,000 "
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
        says="URFB does somewhat better than FRFB, but its main advantage is that it converges faster. It never does "
        "as well as back-propagation, but comes close (claim 2).",
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
        says="With back-propagation, the hinge loss has only slightly larger errors than softmax (claim 1). On "
        "CIFAR-10 the difference between URFB and FRFB is small; it is larger with half of the connections and on "
        "CIFAR-100.",
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
        says="The error of back-propagation falls from 50 % with deepnet to 42 % with deepernet, with softmax and with "
        "the hinge loss. The error of URFB falls, too. FRFB does very poorly.",
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
        says="In deeper networks URFB again stays close to back-propagation, while FRFB is significantly worse (claim "
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
        says="Untied filters that were updated independently at each location are still similar across space after "
        "1,000 iterations, presumably because local structures in the data are the same everywhere.",
    ),
    Exhibit(
        kind="figure",
        paper_figure=9,
        shows="convolutional and untied layers, error",
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
        says="The output layer reaches high correlations with both rules, but W and R align much more strongly with "
        "URFB (claim 5). A network with highly correlated weights in effect implements back-propagation.",
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
        says="Some layers end with correlations very close to 1 and others do not, and the correlation is not a "
        "monotone function of depth. The errors fall fast in the first iterations, when correlations are very "
        "low.",
    ),
    Exhibit(
        kind="figure",
        paper_figure=12,
        shows="the simulation of section 5.1, error and correlation of W and Rᵗ by iteration",
        make=simulations.draw,
        measured=("simulations", "trajectories", "trajectory_layers"),
        completed_by="theory run",
        says="The error converges faster with larger ε. The correlation of the top layer comes close to 1. The lower "
        "layers stay below that, higher with larger ε, and the input layer slightly higher than the middle one.",
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
        says="The paper does not show the correlations of deepernet; Figure 11 shows those of deepnet_s. The feedback "
        "signal passes ten layers and is closer to that of back-propagation the more of these layers align, so "
        "this figure helps to explain Figure 7.",
    ),
    Exhibit(
        kind="figure",
        name="7-author",
        subject="deepernet",
        shows="error by epoch with the paper's settings and with those of the author's code",
        make=error_curves.draw,
        selection=Selection((DEEPERNET, AUTHORS_DEEPERNET), (BP_H, URFB, FRFB)),
        measured=("epochs",),
        completed_by="grid run experiments.yaml figure7 figure7-author",
        says="The paper does not mention some settings of its author's code: a slope of ½ in σ, the padding of pools, "
        "a smaller filter and, on CIFAR-100, a ten times larger weight of the wrong classes. This figure shows "
        "how much depends on them.",
    ),
    Exhibit(
        kind="figure",
        name="8-start",
        shows="filters of untied simpnets that start from one filter or from independent filters",
        make=filters.draw_starts,
        selection=Selection((UNTIED_SIMPNET, TIED_START), (URFB,)),
        measured=("filters", "alignment"),
        completed_by="grid run experiments.yaml figure8-start",
        says="The paper does not say how untied filters start. The author's code starts all locations from one filter, "
        "so similarity across space is partly due to the start. Independent starts show how much.",
    ),
    Exhibit(
        kind="figure",
        name="9-batch",
        shows="convolutional and untied layers with equal and with different batch sizes, error",
        make=error_bars.draw_batches,
        selection=Selection(TIED_AND_UNTIED_BY_BATCH, TIED_AND_UNTIED),
        measured=("epochs",),
        completed_by="grid run experiments.yaml figure9-simpnet figure9-batch",
        says="The paper gives one batch size, 500. The author's code trains untied layers with a batch size of 50 and "
        "convolutional ones with 500. Equal batch sizes show the effect of untying alone; dropout is the same in "
        "all runs.",
    ),
    Exhibit(
        kind="figure",
        name="alignment-and-error",
        subject="simpnet",
        shows="errors before W and Rᵗ are aligned",
        make=alignment_and_error.draw,
        selection=Selection((SIMPNET10,), (BP_H, URFB, FRFB)),
        measured=("epochs", "alignment"),
        completed_by="grid run experiments.yaml figure4",
        says="Even in the first iterations, when W and R are far from aligned, the errors fall at a rate similar to "
        "that of back-propagation (claim 6).",
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
        says="The paper varies ε only in linear networks (section 5), where the error converges faster with larger ε. "
        "This figure varies ε in simpnet.",
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
        says="The paper does not measure gradients, but says that a network with highly correlated weights in effect "
        "implements back-propagation. This figure shows how close its gradients are to those of back-propagation.",
    ),
    Exhibit(
        kind="figure",
        name="saturation",
        shows="units beyond the bounds of σ by epoch",
        make=alignment.draw_saturation,
        selection=Selection(PIXELS_AND_CENTRED, (BP, BP_H, URFB, FRFB), needs_bounds=True),
        measured=("alignment",),
        completed_by="grid run experiments.yaml figure4 figure7 input-offset",
        says="The paper only notes that σ′ is 0 beyond the bounds of σ (Remark 2), so that these units pass no error "
        "signal on. A rule that saturates more units may learn less.",
    ),
    Exhibit(
        kind="figure",
        name="input-offset",
        subject="simpnet and deepernet",
        shows="error by epoch with pixels from 0 to 1 and with centred pixels",
        make=error_curves.draw,
        selection=Selection(PIXELS_AND_CENTRED, (BP_H, URFB, FRFB)),
        measured=("epochs",),
        completed_by="grid run experiments.yaml figure4 figure7 input-offset",
        says="The paper does not mention centred inputs. Its inputs are pixels from 0 to 1, which drive units into "
        "saturation. The difference between URFB and FRFB may depend on that.",
    ),
)
