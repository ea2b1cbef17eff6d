"""What a network costs: parameters, arithmetic and memory, of each statement and in all. Plain Python, no torch."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from urfb.nn.notation import Conv, Drop, Full, Maxpool, Output, Shape, Statement, Sum, parse, shapes
from urfb.nn.rules import Rule

INDEX_BYTES = 8
"""A pool notes in int64 which unit of each window was the largest."""


@dataclass(frozen=True)
class StatementCensus:
    """What one statement of a network costs.

    Attributes:
        statement: in the paper's notation.
        untied: whether its every location has filters of its own.
        shape: of its output.
        weights, feedback: entries of W and of R.
        forward: FLOP of one image's forward pass: 2 for each multiplication with its addition. What σ, pools, dropout
            and sums take is little beside, and counts as 0.
        step: FLOP of one image's share of a training step: the forward pass, the increment δ xᵗ where the layer learns,
            and the error signal for the layer below where there is one.
    """

    statement: str
    untied: bool
    shape: Shape
    weights: int = 0
    feedback: int = 0
    forward: int = 0
    step: int = 0


@dataclass(frozen=True)
class Memory:
    """What a training step keeps in memory, in bytes.

    Attributes:
        weights, feedback: W and R.
        gradients: of W, and of R where it has one of its own.
        activity: what the forward pass leaves for the backward pass.
        peak: the most that there is at a time.
    """

    weights: int
    feedback: int
    gradients: int
    activity: int
    peak: int


@dataclass(frozen=True)
class Census:
    """What a network costs.

    Attributes:
        statements: in the order of the network.
        input_shape: (channels, height, width).
        rule: that it learns under.
    """

    statements: tuple[StatementCensus, ...]
    input_shape: Shape
    rule: Rule

    def total(self, what: str) -> int:
        """Return the sum over all statements of `weights`, `feedback`, `forward` or `step`."""
        return sum(getattr(statement, what) for statement in self.statements)
