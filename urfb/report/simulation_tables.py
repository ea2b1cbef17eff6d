"""Table 12: the numbers of section 5's simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd

from urfb.report.drawn import Tabulated, over_seeds, students_interval
from urfb.report.exhibits import Data
from urfb.report.published import REPRODUCED, REPRODUCED_DRAWS, REPRODUCED_SOURCE
from urfb.report.simulations import DRAWS, KINDS, of_paper
from urfb.report.texts import NONE, number, with_interval
from urfb.theory.spec import METHODS, SimulationSpec

MOMENTS = (200, 400, SimulationSpec.iterations)
EPSILONS = tuple(kind.epsilon for kind in KINDS)
"""The values of ε in Figure 12; None is BP."""
LAYERS = range(1, len(SimulationSpec.layers))

BY = {"discrete": "discrete steps", "ode": "ODE solver"}
MEANING = (
    "mean, low and high: the mean of the measure over n draws and, with at least three draws, the 95 % interval of "
    "that mean (t); measure: log10 of e = tr(EᵗE) at an iteration, or a layer's correlation of W and Rᵗ at the last one"
)
ABOUT_INTERVALS = (
    "Mean over draws ± half-width of its 95 % interval (Student's t), with at least three draws. log₁₀ e, 200 is the "
    "value after 200 iterations."
)
SETTINGS = (
    f"Layers {'-'.join(map(str, SimulationSpec.layers))}, standard deviations {SimulationSpec.weight_scale:g}, "
    f"steps of {SimulationSpec.step_size:g}. The paper gives neither the scale of R nor the step, so both are urfb's."
)
DECIMALS = 2


def tabulate(data: Data) -> Tabulated:
    """Return a table of log₁₀ e and final correlations by rule and method, with those of an independent program.

    The table leaves out diverged simulations and those with settings other than urfb's for section 5.1.
    """
    simulations = of_paper(data.measured["simulations"])
    kept = simulations[simulations["diverged_at"].isna()]
    rules = [_rule(epsilon) for epsilon in kept["epsilon"].astype(float)]
    values = pd.concat([_errors(data.measured["trajectories"]), _correlations(data.measured["trajectory_layers"])])
    values = values[values["simulation"].isin(kept["simulation"])].rename(columns={"simulation": "run", "draw": "seed"})
    values["epsilon"] = values["epsilon"].astype(float)
    # BP has no ε, and groupby would drop its rows.
    values = values.assign(rule=[_rule(epsilon) for epsilon in values["epsilon"]])
    table = over_seeds(values, ["method", "rule", "measure"], "value", students_interval)

    by_place = {(row["method"], row["rule"], row["measure"]): row for row in table.to_dict("records")}
    rows = []
    for method in METHODS:
        column = kept.loc[kept["method"] == method, "epsilon"].astype(float)
        epsilons = [None if np.isnan(epsilon) else epsilon for epsilon in column]
        expected = EPSILONS if method == "discrete" else ()
        for epsilon in sorted({*expected, *epsilons}, key=lambda epsilon: -1 if epsilon is None else epsilon):
            cells = {
                measure: with_interval(by_place.get((method, _rule(epsilon), measure)), DECIMALS)
                for measure in _measures()
            }
            rows.append({"by": BY[method], "rule": _rule(epsilon), "draws": str(epsilons.count(epsilon)), **cells})
    rows += [
        {"by": "independent", "rule": _rule(reference.epsilon), "draws": str(REPRODUCED_DRAWS)}
        | {
            measure: NONE if value is None else number(value, DECIMALS)
            for measure, value in zip(_measures(), (*reference.errors, *reference.correlations), strict=True)
        }
        for reference in REPRODUCED
    ]
    notes = [ABOUT_INTERVALS, SETTINGS, REPRODUCED_SOURCE]
    return Tabulated(pd.DataFrame(rows), table, kept.assign(rule=rules), _shortfalls(simulations), MEANING, notes)


def _measures() -> list[str]:
    return [*(f"log₁₀ e, {moment:,}" for moment in MOMENTS), *(_correlation_name(layer) for layer in LAYERS)]


def _correlation_name(layer: int) -> str:
    index = str(layer).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))
    return f"corr(W{index}, R{index}ᵗ)"


def _errors(trajectories: pd.DataFrame) -> pd.DataFrame:
    rows = trajectories[trajectories["iteration"].isin(MOMENTS)]
    measure = [f"log₁₀ e, {iteration:,}" for iteration in rows["iteration"]]
    rows = rows.assign(measure=measure, value=np.log10(rows["error"].astype(float)))
    return rows[["simulation", "method", "epsilon", "draw", "measure", "value"]]


def _correlations(layers: pd.DataFrame) -> pd.DataFrame:
    rows = layers[layers["iteration"] == layers["iterations"]].dropna(subset=["correlation"])
    rows = rows.assign(measure=[_correlation_name(layer) for layer in rows["layer"]], value=rows["correlation"])
    return rows[["simulation", "method", "epsilon", "draw", "measure", "value"]]


def _rule(epsilon: float | None) -> str:
    return "BP" if epsilon is None or np.isnan(epsilon) else f"ε = {epsilon:g}"


def _shortfalls(simulations: pd.DataFrame) -> list[str]:
    """Return the draws that the paper's discrete steps lack, and the simulations that diverged by any method."""
    if simulations.empty:
        return ["no simulation in the store"]
    rules = [_rule(epsilon) for epsilon in simulations["epsilon"].astype(float)]
    draws = simulations.assign(rule=rules)
    lines = []
    ended = draws[(draws["method"] == "discrete") & draws["diverged_at"].isna()]
    for rule in map(_rule, EPSILONS):
        count = int((ended["rule"] == rule).sum())
        if count < DRAWS:
            lines.append(f"{rule}: {f'{count} of {DRAWS} draws' if count else 'no simulation'}")
    for row in draws.dropna(subset=["diverged_at"]).to_dict("records"):
        at = f"diverged at iteration {row['diverged_at']:,}"
        lines.append(f"{row['rule']}, draw {row['draw']}, {BY[row['method']]}: {at}")
    return lines
