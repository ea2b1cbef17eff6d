"""The paper's claims and the components that are tested; docs/claims.md explains them and gives the reasons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from urfb.report.claims import measures
from urfb.report.claims.measures import MEDIUM, PAPER, SHORT, Cell, Measure, Setting
from urfb.report.claims.statistics import Range
from urfb.report.protocols import BP, BP_H, FRFB, URFB, Protocol

MARGIN = 0.04
"""4 points of the error rate: half of the improvement of BP from deepnet to deepernet in the paper."""

CLOSE = Range(-MARGIN, MARGIN)
SLIGHTLY_WORSE = Range(0, MARGIN)
WORSE = Range(0)
MUCH_WORSE = Range(MARGIN)
SIMILAR_RATES = Range(0.8, 1.25)
FAR_FROM_ALIGNED = Range(high=0.5)
DIFFERENT_START = Range(-0.1, 0.1)
NEVER_THE_SAME = Range(high=0.9999)
INCREASES = Range(0)


@dataclass(frozen=True)
class Component:
    """One number per seed, computed from the runs with that seed, and the range that should contain its mean.

    Attributes:
        word: the paper's word, such as 'slightly worse'.
        what: a description of the number.
        where: the names of the network and the data set.
        claimed: the range.
        measure: the measure that is taken from each run.
        terms: the runs, each with the factor of its measure in the sum.
        divisor: the runs whose measure divides the sum.
        every: whether each seed must be in the range, not only the mean.
        points: whether the number is an error rate, shown in percentage points.
        remark: the name of another measure of the first term's runs and the measure, which is shown but not tested.
        unit: the unit of observation, 'seed' or 'draw'.
    """

    word: str
    what: str
    where: str
    claimed: Range
    measure: Measure
    terms: tuple[tuple[float, Cell], ...]
    divisor: Cell | None = None
    every: bool = False
    points: bool = True
    remark: tuple[str, Measure] | None = None
    unit: str = "seed"

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All runs that a seed needs."""
        return tuple(cell for _, cell in self.terms) + ((self.divisor,) if self.divisor else ())

    @property
    def is_difference(self) -> bool:
        """Whether the number is a difference of runs, so that the effect size d_z has a meaning."""
        return any(factor < 0 for factor, _ in self.terms)


@dataclass(frozen=True)
class Accelerated:
    """One number per draw of the linear simulation: mean log₁₀ e with a smaller ε minus that with a larger ε."""

    slower: float
    faster: float
    word: str = "faster"
    where: str = "layers 40-100-100-10, 1,000 iterations"
    claimed: Range = WORSE
    every: bool = False
    points: bool = False
    is_difference: bool = True
    unit: str = "draw"

    @property
    def what(self) -> str:
        """A description of the number."""
        return f"mean of log₁₀ e over the iterations, ε = {self.slower:g} minus ε = {self.faster:g}"


Form = Callable[[Setting], tuple[Component | Accelerated, ...]]
"""A function from a setting to a claim's components, which use the final error of that setting."""


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper and the components that test it.

    Attributes:
        name: the name on the command line.
        source: the place in the paper.
        sentence: the paper's words; [sic] follows its errors, […] replaces omitted words.
        form: the function that returns all components.
        settings: the settings in which the claim is tested.
    """

    name: str
    source: str
    sentence: str
    form: Form
    settings: tuple[Setting, ...] = (PAPER,)

    def title(self, setting: Setting) -> str:
        """Return a description of the data on which the claim is tested."""
        if any(isinstance(component, Accelerated) for component in self.components(setting)):
            return "the simulation of section 5.1, in discrete steps"
        return setting.title

    def components(self, setting: Setting) -> tuple[Component | Accelerated, ...]:
        """Return the components whose runs belong to the setting; none if the claim is not tested in it."""
        if setting not in self.settings:
            return ()
        return tuple(
            component
            for component in self.form(setting)
            if isinstance(component, Accelerated) or all(map(setting.has, component.cells))
        )


def _difference(
    word: str,
    claimed: Range,
    worse: Protocol,
    better: Protocol,
    cell: Callable[[Protocol], Cell],
    measure: tuple[str, Measure],
) -> Component:
    what = f"{measure[0]}, {worse.name} − {better.name}"
    return Component(word, what, cell(worse).where, claimed, measure[1], ((1, cell(worse)), (-1, cell(better))))


def _on(network: str, dataset: str, untied: bool = False) -> Callable[[Protocol], Cell]:
    return lambda protocol: Cell(network, dataset, protocol, untied)


SIMPNET, SIMPNET_100 = _on("simpnet", "cifar10"), _on("simpnet", "cifar100")
DEEPNET, DEEPERNET = _on("deepnet", "cifar100"), _on("deepernet", "cifar100")
DEEPNET_S = _on("deepnet_s", "cifar10")
SIMPNET_UNTIED, DEEPNET_S_UNTIED = _on("simpnet", "cifar10", True), _on("deepnet_s", "cifar10", True)
NETWORKS = (SIMPNET, SIMPNET_100, DEEPNET, DEEPERNET)
PAIRS = ((SIMPNET, SIMPNET_UNTIED), (DEEPNET_S, DEEPNET_S_UNTIED))
"""Tied networks and their untied counterparts."""

ALL_SETTINGS, LONG_SETTINGS = (PAPER, MEDIUM, SHORT), (PAPER, MEDIUM)

SPEED = ("validation error, mean of all epochs", measures.area)


def _final(setting: Setting) -> tuple[str, Measure]:
    return setting.final_name, setting.final


def _slightly_worse_loss(setting: Setting) -> tuple[Component, ...]:
    return tuple(_difference("slightly worse", SLIGHTLY_WORSE, BP_H, BP, cell, _final(setting)) for cell in NETWORKS)


def _shallow(setting: Setting) -> tuple[Component, ...]:
    return tuple(
        component
        for cell in (SIMPNET, SIMPNET_100)
        for component in (
            _difference("better", WORSE, FRFB, URFB, cell, _final(setting)),
            _difference("converges faster", WORSE, FRFB, URFB, cell, SPEED),
            _difference("not as well, but close", SLIGHTLY_WORSE, URFB, BP_H, cell, _final(setting)),
        )
    )


def _deeper(setting: Setting) -> tuple[Component, ...]:
    return tuple(
        _difference(word, claimed, rule, BP_H, cell, _final(setting))
        for cell in (DEEPNET, DEEPERNET)
        for word, claimed, rule in (("close", CLOSE, URFB), ("degrades significantly", MUCH_WORSE, FRFB))
    )


def _never_the_same(cell: Cell) -> tuple[Component, ...]:
    runs = ((1.0, cell),)
    where = f"URFB, {cell.where}"
    return (
        Component(
            "never the same", "largest correlation of W and Rᵗ over layers 2 and up and all epochs", where,
            NEVER_THE_SAME, measures.largest_correlation, runs, every=True, points=False,
        ),
        Component(
            "increases", "rank correlation of epoch and correlation of W and Rᵗ, smallest over layers 2 and up",
            where, INCREASES, measures.rise, runs, points=False,
        ),
    )  # fmt: skip


def _early(cell: Callable[[Protocol], Cell]) -> tuple[Component, ...]:
    where = cell(URFB).where
    rates = [
        Component(
            "similar rates", f"decrease of the {kind} error below chance in 3 epochs, URFB / BP-H", where,
            SIMILAR_RATES, measure, ((1, cell(URFB)),), cell(BP_H), points=False,
        )
        for kind, measure in (("training", measures.training_decrease), ("validation", measures.validation_decrease))
    ]  # fmt: skip
    alignment = Component(
        "far from aligned", "correlation of W and Rᵗ after 3 epochs, largest over layers 2 to L − 1",
        f"URFB, {where}", FAR_FROM_ALIGNED, measures.initial_correlation, ((1, cell(URFB)),), points=False,
        remark=("output layer (not tested):", measures.initial_output_correlation),
    )  # fmt: skip
    return (*rates, alignment)


def _untied(setting: Setting) -> tuple[Component, ...]:
    protocols = (BP, BP_H, URFB, FRFB)
    name, measure = _final(setting)
    what = f"{name}, untied − tied, mean of BP, BP-H, URFB and FRFB"
    components = []
    for tied, untied in PAIRS:
        terms = tuple(
            (sign / len(protocols), cell(protocol))
            for protocol in protocols
            for sign, cell in ((1, untied), (-1, tied))
        )
        components += [
            Component("slightly worse overall", what, tied(URFB).where, SLIGHTLY_WORSE, measure, terms),
            _difference("relationship: close", CLOSE, URFB, BP_H, untied, (name, measure)),
            _difference("relationship: better", WORSE, FRFB, URFB, untied, (name, measure)),
        ]
    return tuple(components)


def _same_untied(setting: Setting) -> tuple[Component, ...]:
    name, measure = _final(setting)
    what = f"{name} of URFB, untied − tied"
    return tuple(
        Component("similar", what, tied(URFB).where, CLOSE, measure, ((1, untied(URFB)), (-1, tied(URFB))))
        for tied, untied in PAIRS
    )


def _starts_different(cell: Cell) -> Component:
    return Component(
        "initialized differently", "correlation of W and Rᵗ before training, largest in size over layers 2 and up",
        f"URFB, {cell.where}", DIFFERENT_START, measures.starting_correlation, ((1, cell),), points=False,
    )  # fmt: skip


def _comparable(setting: Setting) -> tuple[Component, ...]:
    return tuple(
        component
        for cell in NETWORKS
        for component in (
            _difference("comparable", CLOSE, URFB, BP_H, cell, _final(setting)),
            _starts_different(cell(URFB)),
        )
    )


def _depth(setting: Setting) -> tuple[Component, ...]:
    name, measure = _final(setting)
    components = []
    for deep in (DEEPNET, DEEPERNET):
        terms = ((1, deep(FRFB)), (-1, deep(BP_H)), (-1, SIMPNET_100(FRFB)), (1, SIMPNET_100(BP_H)))
        where = f"{deep(FRFB).network} minus simpnet, CIFAR-100"
        components.append(Component("degrades quickly", f"{name}, FRFB − BP-H", where, MUCH_WORSE, measure, terms))
    return tuple(components)


def _comparable_loss(setting: Setting) -> tuple[Component, ...]:
    return tuple(_difference("comparable", CLOSE, BP_H, BP, cell, _final(setting)) for cell in NETWORKS)


CLAIMS: dict[str, Claim] = {
    claim.name: claim
    for claim in (
        Claim(
            "1",
            "section 4, claim 1",
            "With regular back-propagation (BP) hinge loss performs slightly worse than the softmax loss but results "
            "are comparable.",
            _slightly_worse_loss,
            ALL_SETTINGS,
        ),
        Claim(
            "2",
            "section 4, claim 2",
            "For shallow networks URFB performs somewhat better then [sic] FRFB but mainly converges faster. It never "
            "performs as well as BP but is close.",
            _shallow,
            ALL_SETTINGS,
        ),
        Claim(
            "3",
            "section 4, claim 3",
            "For deeper networks URFB again performs close to BP but FRFB performance degrades significantly.",
            _deeper,
            LONG_SETTINGS,
        ),
        Claim(
            "4",
            "section 4, claim 4",
            "With locally connected—untied—layers replacing convolutional layers results are slightly worse overall "
            "but the relationship between the different methods is maintained.",
            _untied,
            LONG_SETTINGS,
        ),
        Claim(
            "5",
            "section 4, claim 5",
            "In URFB the feedback weights are never the same as the feedforward weights, although the correlation "
            "between the two sets of weights increases as a function iteration [sic].",
            lambda setting: _never_the_same(SIMPNET(URFB)) + _never_the_same(DEEPNET_S_UNTIED(URFB)),
            ALL_SETTINGS,
        ),
        Claim(
            "6",
            "section 4, claim 6",
            "Even in initial iterations, when the weights are far from being aligned, training, and validation error "
            "rates decrease at similar rates to back propagation.",
            lambda setting: _early(SIMPNET) + _early(DEEPNET_S),
            (PAPER, SHORT),
        ),
        Claim(
            "comparable",
            "abstract",
            "We show that even when the weights are initialized differently and at random, and the algorithm is no "
            "longer performing back-propagation, performance is comparable on challenging datasets.",
            _comparable,
            LONG_SETTINGS,
        ),
        Claim(
            "depth",
            "abstract",
            "With fixed feedback weights as proposed in Lillicrap et al. (2016) performance degrades quickly as the "
            "depth of the network increases.",
            _depth,
            LONG_SETTINGS,
        ),
        Claim(
            "untied",
            "abstract",
            "We show that similar performance is achieved with untied layers, also known as locally connected layers "
            "[…].",
            _same_untied,
            LONG_SETTINGS,
        ),
        Claim(
            "local-loss",
            "abstract",
            "We also propose a cost function whose derivative can be represented as a local Hebbian update on the last "
            "layer.",
            _comparable_loss,
            LONG_SETTINGS,
        ),
        Claim(
            "linear",
            "abstract",
            "In the linear case we show theoretically that the convergence of the error to zero is accelerated by the "
            "update of the feedback weights.",
            lambda setting: (Accelerated(0, 1),),
        ),
        Claim(
            "epsilon",
            "section 5.1",
            "[…] clearly convergence rate increases with ϵ.",
            lambda setting: (Accelerated(0, 0.25), Accelerated(0.25, 0.5), Accelerated(0.5, 1)),
        ),
    )
}
"""All claims by name, in the paper's order."""
