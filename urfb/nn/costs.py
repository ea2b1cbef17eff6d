"""The number of weights and operations of a network, computed without building it. Plain Python, no torch."""

from __future__ import annotations

import math
from collections.abc import Set
from dataclasses import dataclass

from urfb.nn.notation import Conv, Full, Output, Shape, Statement, parse, shapes
from urfb.nn.rules import Rule


@dataclass(frozen=True)
class StatementCosts:
    """The costs of one statement.

    Attributes:
        statement: the statement in the paper's notation.
        untied: whether it is a conv layer with separate filters at every location.
        shape: the shape of its output, for one image.
        weights, feedback: the number of entries of W and of R.
        forward: the floating-point operations of a forward pass of one image; a multiplication and an addition count
            as two.
        step: the operations of a training step for one image: the forward pass, the increment, and the error signal
            for the layer below.
    """

    statement: str
    untied: bool
    shape: Shape
    weights: int
    feedback: int
    forward: int
    step: int


@dataclass(frozen=True)
class NetworkCosts:
    """The costs of a network."""

    statements: tuple[StatementCosts, ...]

    @property
    def weights(self) -> int:
        """The number of entries of all W."""
        return sum(statement.weights for statement in self.statements)

    @property
    def feedback(self) -> int:
        """The number of entries of all R."""
        return sum(statement.feedback for statement in self.statements)

    @property
    def forward(self) -> int:
        """The operations of a forward pass of one image."""
        return sum(statement.forward for statement in self.statements)

    @property
    def step(self) -> int:
        """The operations of a training step, for one image."""
        return sum(statement.step for statement in self.statements)


def network_costs(
    text: str, input_shape: Shape, classes: int, rule: Rule, untied: Set[int] = frozenset()
) -> NetworkCosts:
    """Count the weights and operations of a network.

    Args:
        text: the network in the paper's notation.
        input_shape: (channels, height, width).
        classes: the number of classes, which is the number of output units.
        rule: the rule, on which the number of feedback weights and of learning layers depends.
        untied: the numbers of the untied conv layers, counted from 1.

    Raises:
        NotationError: the text does not parse, or its sizes do not fit.
    """
    costs: list[StatementCosts] = []
    below, conv_layers = input_shape, 0
    for statement, shape in zip(parse(text), shapes(text, input_shape, classes), strict=True):
        conv_layers += isinstance(statement, Conv)
        is_untied = isinstance(statement, Conv) and conv_layers in untied
        first = not any(layer.weights for layer in costs)
        costs.append(_count(statement, below, shape, classes, rule, is_untied=is_untied, first=first))
        below = shape
    return NetworkCosts(tuple(costs))


def _count(
    statement: Statement, below: Shape, shape: Shape, classes: int, rule: Rule, *, is_untied: bool, first: bool
) -> StatementCosts:
    units_below = math.prod(below)
    weights = multiplications = 0
    match statement:
        case Conv(filters, height, width):
            fan_in = below[0] * height * width
            multiplications = fan_in * filters * math.prod(shape[1:])
            weights = multiplications if is_untied else fan_in * filters
        case Full() | Output():
            weights = multiplications = units_below * math.prod(shape)
    direct = classes * units_below if weights else 0
    feedback = direct if rule.direct else weights if rule.separate else 0
    carrying = direct if rule.direct else multiplications
    learns = not rule.output_only or isinstance(statement, Output)
    return StatementCosts(
        statement=str(statement),
        untied=is_untied,
        shape=shape,
        weights=weights,
        feedback=feedback,
        forward=2 * multiplications,
        step=2 * (multiplications + learns * multiplications + (not first and not rule.output_only) * carrying),
    )
