"""Sums up stored simulations in a few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

MOMENTS = (0.2, 0.4, 1.0)
"""The parts of a simulation's iterations after which its error is reported: 200, 400 and all of 1,000."""


class Spread(NamedTuple):
    """Mean, lowest and highest value over draws."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """Summarize the finite values; None where there are none."""
        finite = [value for value in values if np.isfinite(value)]
        return cls(float(np.mean(finite)), min(finite), max(finite)) if finite else None


class Summary(NamedTuple):
    """One rule, by one method.

    Attributes:
        rule, epsilon, method: as of a simulation; ε is None under BP.
        draws: how many went to their end.
        diverged: the draws that did not, and at which iteration each diverged.
        errors: log₁₀ e at the iterations of `MOMENTS`, over the draws.
        correlations: of W_l and R_lᵗ at the end, a layer each, over the draws; None where it is not defined.
        method_gap: the largest difference of log₁₀ e between the two methods in any draw, at any kept iteration at
            which e is more than the solver's error; None where there is one method.
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
    """Return a summary for each rule and method of simulations, whose further settings are the same.

    Args:
        trajectories: of the simulations, as `Store.trajectories` gives them.
        layers: likewise, `Store.trajectory_layers`.
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
    """Return the e below which a solver of some relative tolerance of W says nothing: far above tolerance² e(0)."""
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
