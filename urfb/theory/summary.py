"""Summarize stored simulations in a few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

MOMENTS = (0.2, 0.4, 1.0)
"""The fractions of a simulation's iterations after which its error is reported: 200, 400 and 1,000 of 1,000."""


class Spread(NamedTuple):
    """Mean, lowest and highest value over draws."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """Return the spread of the finite values; None if there are none."""
        finite = [value for value in values if np.isfinite(value)]
        return cls(float(np.mean(finite)), min(finite), max(finite)) if finite else None


class Summary(NamedTuple):
    """The summary of one rule under one method.

    Attributes:
        rule, epsilon, method: the settings of the simulations; ε is None under BP.
        draws: the number of draws that did not diverge.
        diverged: the iteration at which each of the other draws diverged, by draw.
        errors: log₁₀ e over the draws, by iteration, for the iterations of `MOMENTS`.
        correlations: the correlation of W_l and R_lᵗ at the end over the draws, by layer; None if it is undefined.
        method_gap: the largest difference in log₁₀ e between the two methods, over all draws and kept iterations at
            which e exceeds the solver's error; None if there is only one method.
    """

    rule: str
    epsilon: float | None
    method: str
    draws: int
    diverged: dict[int, int]
    errors: dict[int, Spread | None]
    correlations: dict[int, Spread | None]
    method_gap: float | None


def summarize(trajectories: pd.DataFrame, layers: pd.DataFrame) -> list[Summary]:
    """Return a summary for each rule and method of simulations that agree in all other settings.

    Args:
        trajectories: the frame of the simulations from `Store.trajectories`.
        layers: the frame of the simulations from `Store.trajectory_layers`.
    """
    trajectories = trajectories.assign(
        significant=trajectories["error"] > _solver_error(trajectories),
        error=np.log10(trajectories["error"].clip(lower=np.finfo(float).tiny)),
    )
    kept, last = trajectories["iteration"].unique(), trajectories["iterations"].max()
    iterations = sorted({int(kept[np.abs(kept - part * last).argmin()]) for part in MOMENTS})
    return [
        _summary(rows, layers[layers["simulation"].isin(rows["simulation"])], trajectories, iterations)
        for _, rows in trajectories.groupby(["rule", "epsilon", "method"], dropna=False)
    ]


def _solver_error(trajectories: pd.DataFrame) -> pd.Series[float]:
    """Return the e below which the solver's error dominates, given its relative tolerance of W: 10⁶ tolerance² e(0)."""
    start = trajectories.groupby("simulation")["error"].transform("first")
    limit: pd.Series[float] = start * (1e6 * trajectories["tolerance"].max() ** 2)
    return limit


def _summary(
    rows: pd.DataFrame, layers: pd.DataFrame, trajectories: pd.DataFrame, iterations: Sequence[int]
) -> Summary:
    first = rows.iloc[0]
    ended = rows[rows["diverged_at"].isna()]
    final = layers[layers["diverged_at"].isna() & (layers["iteration"] == layers["iterations"])]
    diverged = rows.dropna(subset="diverged_at").drop_duplicates("draw")
    same_rule = (trajectories["rule"] == first["rule"]) & (
        (trajectories["epsilon"] == first["epsilon"]) | trajectories["epsilon"].isna()
    )
    methods = trajectories[same_rule & trajectories["significant"]].pivot(
        index=["draw", "iteration"], columns="method", values="error"
    )
    return Summary(
        rule=first["rule"],
        epsilon=None if np.isnan(first["epsilon"]) else float(first["epsilon"]),
        method=first["method"],
        draws=ended["draw"].nunique(),
        diverged=dict(zip(diverged["draw"].tolist(), diverged["diverged_at"].tolist(), strict=True)),
        errors={
            iteration: Spread.of(ended[ended["iteration"] == iteration]["error"].tolist()) for iteration in iterations
        },
        correlations={
            layer: Spread.of(final[final["layer"] == layer]["correlation"].tolist())
            for layer in sorted(final["layer"].unique().tolist())
        },
        method_gap=float((methods["ode"] - methods["discrete"]).abs().max()) if len(methods.columns) == 2 else None,
    )
