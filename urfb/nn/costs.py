"""What a network costs: weights, arithmetic and memory, counted without building it. Plain Python, no torch."""

from __future__ import annotations

import math
from collections.abc import Set
from dataclasses import dataclass

from urfb.nn.notation import Conv, Drop, Full, Maxpool, Output, Shape, Statement, Sum, parse, saturated, shapes
from urfb.nn.rules import Rule

INDEX_BYTES = 8
"""A pool notes in int64 which unit of each window was the largest."""
MASK_BYTES = 1
"""Dropout notes whether it kept a unit."""
LIBRARY_BYTES = 70 * 2**20
"""Of the libraries that convolve and multiply: their code for these sizes, and room that they work in."""
BETWEEN_BLOCKS = 0.42
"""What lies unused between blocks of memory, as a part of what is used.

Both are fitted to what processes took that trained the paper's networks, tied and untied, in float32 and bfloat16: a
fifth off at most, by which such processes differ among themselves; a few later ones a quarter."""


@dataclass(frozen=True)
class StatementCosts:
    """One statement's costs.

    Attributes:
        statement: in the paper's notation.
        untied: whether it is a conv layer with filters of its own at every location.
        shape: of its output, for one image.
        weights, feedback: entries of W and of R.
        forward: floating-point operations for one image, a multiplication and an addition counting as two.
        step: of a whole training step: forward, the increment, and the error signal for the layer below.
        gradients: entries of the gradients: of W, and of R where it takes another multiple than W.
        carriers: entries of what a rule makes of W and R to carry the error signal, kept for the backward pass.
        kept: numbers kept for the backward pass, for one image.
        noted: bytes of indices and masks kept beside them, for one image.
        passing: numbers that are there only while the error signal goes down through the statement, for one image.
        patches: those beside them that an untied layer needs for each of its rows, or on a GPU for all at a time.
        rows: of the statement's grid of units; 1 without.
    """

    statement: str
    untied: bool
    shape: Shape
    weights: int
    feedback: int
    forward: int
    step: int
    gradients: int
    carriers: int
    kept: int
    noted: int
    passing: int
    patches: int
    rows: int


@dataclass(frozen=True)
class NetworkCosts:
    """A network's costs."""

    statements: tuple[StatementCosts, ...]

    @property
    def weights(self) -> int:
        """Entries of all W."""
        return sum(one.weights for one in self.statements)

    @property
    def feedback(self) -> int:
        """Entries of all R."""
        return sum(one.feedback for one in self.statements)

    @property
    def forward(self) -> int:
        """Operations of a forward pass of one image."""
        return sum(one.forward for one in self.statements)

    @property
    def step(self) -> int:
        """Operations of a training step, for each image of its batch."""
        return sum(one.step for one in self.statements)

    def memory(self, batch_size: int, precision: str, masks: int = 0, *, on_gpu: bool = False) -> dict[str, int]:
        """Return the bytes that a training step needs in a run's precision, by what they are for.

        `masks` says how many there are for each layer: one where W or R lack connections, two where both do.

        weights (W, R and masks), gradients (of what learns; R shares W's where it takes the same), activity (what each
        statement keeps for the backward pass), passing (what is there beside it when most is: the error signals of a
        statement whose activity, and that of those below it, is still kept), and on a CPU overhead (of libraries, and
        between blocks). PyTorch itself and the data set are left out.
        """
        of_weight = 8 if precision == "float64" else 4
        of_activity = 2 if precision == "bfloat16" else of_weight
        carriers = sum(one.carriers for one in self.statements) * of_activity
        if of_activity != of_weight and not carriers:
            carriers = self.weights * of_activity  # W or R, made shorter
        kept = peak = carriers
        for one in self.statements:
            kept += batch_size * (one.kept * of_activity + one.noted)
            patches = one.patches if on_gpu else one.patches // one.rows
            peak = max(peak, kept + batch_size * (one.passing + patches) * of_activity)
        needed = {
            "weights": (self.weights + self.feedback + masks * self.weights) * of_weight,
            "gradients": sum(one.gradients for one in self.statements) * of_weight,
            "activity": kept,
            "passing": max(peak - kept, 0),
        }
        if not on_gpu:
            needed["overhead"] = LIBRARY_BYTES + round(BETWEEN_BLOCKS * sum(needed.values()))
        return needed


def network_costs(
    text: str, input_shape: Shape, classes: int, rule: Rule, untied: Set[int] = frozenset()
) -> NetworkCosts:
    """Count a network.

    Args:
        text: the network in the paper's notation.
        input_shape: (channels, height, width).
        classes: units of the output layer.
        rule: says how many feedback weights there are, and what learns.
        untied: numbers of the conv layers, from 1, that are untied.

    Raises:
        NotationError: the text does not parse, or its sizes do not fit.
    """
    counted: list[StatementCosts] = []
    below, conv_layers = input_shape, 0
    of_each = zip(parse(text), shapes(text, input_shape, classes), saturated(text), strict=True)
    for statement, shape, takes_sigma in of_each:
        conv_layers += isinstance(statement, Conv)
        is_untied = isinstance(statement, Conv) and conv_layers in untied
        first = not any(one.weights for one in counted)
        counted.append(
            _count(statement, below, shape, classes, rule, takes_sigma=takes_sigma, is_untied=is_untied, first=first)
        )
        below = shape
    return NetworkCosts(tuple(counted))


def _count(
    statement: Statement,
    below: Shape,
    shape: Shape,
    classes: int,
    rule: Rule,
    *,
    takes_sigma: bool,
    is_untied: bool,
    first: bool,
) -> StatementCosts:
    units_below, units = math.prod(below), math.prod(shape)
    weights = multiplications = patches = 0
    # A layer with weights keeps its input, σ h, a pool its input and where the maxima are, dropout its mask.
    # On the way back, an error signal comes in, and goes out through σ′ and R.
    kept, noted, passing = 0, 0, (1 + takes_sigma) * units + (not first) * units_below
    match statement:
        case Conv(filters, height, width):
            fan_in = below[0] * height * width
            locations = math.prod(shape[1:])
            multiplications = fan_in * filters * locations
            weights = multiplications if is_untied else fan_in * filters
            kept = units_below + takes_sigma * units
            if is_untied:
                # Patches of the input, and on the way back those of the error signal.
                patches = (1 if first else 2) * locations * fan_in
        case Full() | Output():
            weights = multiplications = units_below * units
            kept = units_below + takes_sigma * units
        case Maxpool():
            kept = units_below + (takes_sigma or statement.overlapping) * units
            noted = INDEX_BYTES * units
        case Drop():
            noted = MASK_BYTES * units
        case Sum():
            pass
    direct = classes * units_below if weights else 0
    feedback = direct if rule.direct else weights if rule.separate else 0
    carrying = direct if rule.direct else multiplications
    learns = not rule.output_only or isinstance(statement, Output)
    if not learns:
        kept = noted = 0
    shared = rule.epsilon in (0, 1) and "epsilon" not in rule.required
    return StatementCosts(
        statement=str(statement),
        untied=is_untied,
        shape=shape,
        weights=weights,
        feedback=feedback,
        forward=2 * multiplications,
        step=2 * (multiplications + learns * multiplications + (not first and not rule.output_only) * carrying),
        gradients=weights * learns * (1 if shared else 2),
        carriers=weights if rule.carrier is not None else 0,
        kept=kept,
        noted=noted,
        passing=passing,
        patches=patches,
        rows=shape[1] if len(shape) == 3 else 1,
    )
