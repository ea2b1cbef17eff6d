"""The paper's notation for networks: "Conv 32 5x5; Maxpool 3; Drop .8; Full 500; Drop .3; Output".

Semicolons separate the statements. Upper and lower case are the same. Plain Python, no torch.

    Conv F HxW              A convolutional layer of F filters of H×W, which keeps the size of the grid, then σ.
    Full N                  A fully connected layer of N units, then σ.
    Output                  The linear output layer, with one unit per class. Always the last statement.
    Maxpool K[, stride S]   The maximum over K×K windows; S is 2 by default. Overlapping windows (K > S, K odd) include
                            zeros outside the grid, and are centred unless `pool_padding` is `end`. Disjoint windows
                            (K = S) include no zeros; the last one may be cut short.
    Drop P                  Dropout: zeroes the fraction P of the units and scales the rest by 1/(1−P).
    SUM                     The sum of the outputs of the two conv layers right before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import get_args

from urfb.errors import NotationError

Shape = tuple[int, ...]
"""(channels, height, width) of a grid of units, or (units,) of a full layer."""


@dataclass(frozen=True)
class Conv:
    """A convolutional layer followed by σ."""

    filters: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"Conv {self.filters} {self.height}x{self.width}"


@dataclass(frozen=True)
class Full:
    """A fully connected layer followed by σ."""

    units: int

    def __str__(self) -> str:
        return f"Full {self.units}"


@dataclass(frozen=True)
class Output:
    """The linear output layer, with one unit per class."""

    def __str__(self) -> str:
        return "Output"


@dataclass(frozen=True)
class Maxpool:
    """The maximum over square windows."""

    size: int
    stride: int

    @property
    def overlapping(self) -> bool:
        """Whether the windows overlap; if so, the maximum includes zeros outside the grid."""
        return self.size > self.stride

    def pooled(self, length: int) -> int:
        """Return the number of windows along a side of `length` units."""
        return -(-length // self.stride)

    def __str__(self) -> str:
        return f"Maxpool {self.size}" if self.stride == 2 else f"Maxpool {self.size}, stride {self.stride}"


@dataclass(frozen=True)
class Drop:
    """Dropout: a random `fraction` of each sample's units are zeroed."""

    fraction: float

    def __str__(self) -> str:
        digits = format(Decimal(repr(self.fraction)), "f")  # never 1e-05, which is not in the notation
        return f"Drop {digits.removeprefix('0') if self.fraction else 0}"


@dataclass(frozen=True)
class Sum:
    """The sum of the outputs of the two preceding conv layers."""

    def __str__(self) -> str:
        return "SUM"


Statement = Conv | Full | Output | Maxpool | Drop | Sum

GRAMMAR = (
    (re.compile(r"conv (\d+) (\d+) ?x ?(\d+)"), lambda m: Conv(int(m[1]), int(m[2]), int(m[3]))),
    (re.compile(r"full (?:conn\. ?)?(\d+)"), lambda m: Full(int(m[1]))),
    (re.compile(r"output"), lambda m: Output()),
    (re.compile(r"maxpool (\d+)(?: ?,? ?stride (\d+))?"), lambda m: Maxpool(int(m[1]), int(m[2] or 2))),
    (re.compile(r"drop (0?\.\d+|0)"), lambda m: Drop(float(m[1]))),
    (re.compile(r"sum"), lambda m: Sum()),
)
ALLOWED = "Conv F HxW, Full N, Output, Maxpool K[, stride S], Drop .P, SUM"


def is_notation(text: str) -> bool:
    """Return whether a text looks like the paper's notation, even with mistakes, rather than like a name."""
    first, *_ = text.lower().split() or [""]
    return ";" in text or first in {statement.__name__.lower() for statement in get_args(Statement)}


@lru_cache(maxsize=4096)
def parse(text: str) -> tuple[Statement, ...]:
    """Return the statements of a network's text.

    Raises:
        NotationError: a statement is wrong, which the message names, or the last one is not the only Output.
    """
    statements: list[Statement] = []
    pieces = [" ".join(piece.split()) for piece in text.strip().rstrip(";").split(";")]
    for number, piece in enumerate(pieces, start=1):
        for pattern, build in GRAMMAR:
            match = pattern.fullmatch(piece.lower())
            if match:
                statements.append(build(match))
                break
        else:
            raise NotationError(f"statement {number}, '{piece}', is not in the paper's notation (allowed: {ALLOWED})")
        statement = statements[-1]
        if any(value == 0 for value in vars(statement).values() if isinstance(value, int)):
            raise NotationError(f"statement {number}, '{piece}': sizes must be at least 1")
        if isinstance(statement, Maxpool) and not (
            statement.size == statement.stride or (statement.overlapping and statement.size % 2 == 1)
        ):
            raise NotationError(
                f"statement {number}, '{piece}': windows must be disjoint, with a stride equal to their size, or "
                "overlap and have an odd size, so that they have a centre"
            )
    if Output() not in statements:
        raise NotationError(f"a network ends with 'Output', as in '{'; '.join([*pieces, 'Output'])}'")
    outputs = [number for number, statement in enumerate(statements, start=1) if isinstance(statement, Output)]
    if outputs != [len(statements)]:
        raise NotationError("a network has exactly one 'Output', at its end")
    return tuple(statements)


def saturated(text: str) -> tuple[bool, ...]:
    """Return for each statement whether σ is applied to its output.

    σ is applied after conv and full layers. If a pool follows a conv layer, σ is applied after the pool instead: the
    result is the same, and a pool has fewer units.
    """
    statements = parse(text)
    pairs = zip((None, *statements[:-1]), statements, (*statements[1:], None), strict=True)
    return tuple(
        isinstance(statement, Full)
        or (isinstance(statement, Conv) and not isinstance(above, Maxpool))
        or (isinstance(statement, Maxpool) and isinstance(below, Conv))
        for below, statement, above in pairs
    )


def canonical(text: str) -> str:
    """Return a network's text in canonical form, which is part of a run's identity."""
    return "; ".join(str(statement) for statement in parse(text))


@lru_cache(maxsize=4096)
def shapes(text: str, input_shape: Shape, classes: int) -> tuple[Shape, ...]:
    """Return each statement's output shape, for an input of `input_shape` (channels, height, width).

    Raises:
        NotationError: the sizes of a statement do not fit; the message names the first one.
    """
    return tuple(_shapes(parse(text), input_shape, classes))


def _shapes(statements: tuple[Statement, ...], shape: Shape, classes: int) -> Iterator[Shape]:
    for number, statement in enumerate(statements, start=1):
        where = f"statement {number}, '{statement}'"
        if isinstance(statement, (Conv, Maxpool, Sum)) and len(shape) == 1:
            raise NotationError(f"{where}: comes after a full layer, whose units have no grid")
        match statement:
            case Conv(filters, height, width):
                if height > 2 * shape[1] or width > 2 * shape[2]:
                    raise NotationError(f"{where}: the filter is larger than its grid of {shape[1]}x{shape[2]}")
                shape = (filters, *shape[1:])
            case Maxpool(size):
                if not statement.overlapping and size > min(shape[1:]):
                    raise NotationError(f"{where}: the window is larger than its grid of {shape[1]}x{shape[2]}")
                shape = (shape[0], statement.pooled(shape[1]), statement.pooled(shape[2]))
            case Sum():
                before = [layer.filters for layer in statements[:number][-3:-1] if isinstance(layer, Conv)]
                if len(before) < 2 or before[0] != before[1]:
                    raise NotationError(f"{where}: needs two conv layers with equal numbers of filters right before it")
            case Full(units):
                shape = (units,)
            case Output():
                shape = (classes,)
        yield shape
