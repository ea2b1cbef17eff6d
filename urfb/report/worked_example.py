"""The worked example of Figures 1 and 2: one example in a network of three layers, with numbers to check by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

Array = npt.NDArray[np.float64]

UNITS = 3  # in every layer, because Glorot's limit √(6/(fan_in + fan_out)) is 1 then
SEED = 33  # units (1, 3) and (2, 1) are saturated, and the example is classified wrongly
TRUE_CLASS = 0  # unit (3, 1): units are counted from 0 here, and from 1 in the paper and the CSV file

KINDS = ("h", "x", "δ", "W", "R", "ΔW", "ΔR")
MEANING = (
    "value: the value of unit `to` of a layer (h, x, δ), or of the connection from unit `from` to unit `to` (W from "
    "the layer below, R to the layer below; ΔW and ΔR: their increments, without the factor η, the step size)"
)


@dataclass(frozen=True, eq=False)
class Example:
    """The weights, activities, error signals and increments of one example, by layer l; `x` includes the input x₀.

    W[l] and its increment are [units of l, units of l−1]. R[l] and its increment are [units of l−1, units of l]. h, x
    and δ are [units of l]. The increments lack the factor η, the step size.
    """

    W: dict[int, Array]
    R: dict[int, Array]
    h: dict[int, Array]
    x: dict[int, Array]
    delta: dict[int, Array]
    W_increment: dict[int, Array]
    R_increment: dict[int, Array]


def sigma(h: Array) -> Array:
    """Return σ(h), the saturated linearity of section 3.1."""
    return np.clip(h, -1, 1)


def sigma_prime(h: Array) -> Array:
    """Return σ′(h): 1 for |h| ≤ 1, otherwise 0."""
    return np.where(np.abs(h) <= 1, 1.0, 0.0)


def example() -> Example:
    """Return the example, computed by equations 1 to 3 with the hinge loss of section 3.2 and URFB."""
    draw = np.random.default_rng(SEED).uniform
    x = {0: draw(0, 1, UNITS).round(1)}
    W = {layer: draw(-1, 1, (UNITS, UNITS)).round(1) for layer in (1, 2, 3)}
    R = {layer: draw(-1, 1, (UNITS, UNITS)).round(1) for layer in (1, 2, 3)}

    h = {}
    for layer in (1, 2, 3):
        h[layer] = W[layer] @ x[layer - 1]
        x[layer] = sigma(h[layer]) if layer < 3 else h[layer]

    mu = 1 / (UNITS - 1)
    on, off = np.where(x[3] < 1, -1.0, 0.0), np.where(x[3] > -1, mu, 0.0)
    delta = {3: np.where(np.arange(UNITS) == TRUE_CLASS, on, off)}
    for layer in (2, 1):
        delta[layer] = sigma_prime(h[layer]) * (R[layer + 1] @ delta[layer + 1])

    W_increment = {layer: -np.outer(delta[layer], x[layer - 1]) for layer in (1, 2, 3)}
    R_increment = {layer: -np.outer(x[layer - 1], delta[layer]) for layer in (1, 2, 3)}
    return Example(W, R, h, x, delta, W_increment, R_increment)


def table(sample: Example, kinds: Sequence[str] = KINDS) -> pd.DataFrame:
    """Return the numbers of an example, one in each row; `from` is empty for the number of a unit."""
    values = dict(
        zip(
            KINDS,
            (sample.h, sample.x, sample.delta, sample.W, sample.R, sample.W_increment, sample.R_increment),
            strict=True,
        )
    )
    rows = [
        (kind, layer, index[1] + 1 if len(index) == 2 else None, index[0] + 1, value)
        for kind in kinds
        for layer, array in sorted(values[kind].items())
        for index, value in np.ndenumerate(array)
    ]
    return pd.DataFrame(rows, columns=["kind", "layer", "from", "to", "value"]).astype({"from": "Int64"})
