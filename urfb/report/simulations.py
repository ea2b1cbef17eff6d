"""Figure 12: the error and the correlation of W and Rᵗ by iteration in the simulation of section 5.1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from urfb.report.canvas import by_rows, curve, epoch_axis, page, placeholder
from urfb.report.colours import epsilon_look
from urfb.report.drawn import Drawn
from urfb.report.exhibits import Data
from urfb.report.protocols import BP, FRFB, URFB
from urfb.theory.spec import SimulationSpec

LAYERS = SimulationSpec.layers
CORRELATIONS = [f"correlation_{layer}" for layer in range(1, len(LAYERS))]
DRAWS = 3
NAMES = {1: "layer 1, input", len(LAYERS) - 1: f"layer {len(LAYERS) - 1}, output"}
VISIBLE = 0.01  # smallest visible difference, in heights of the axes

MEANING = (
    "log10_error: the logarithm of e = tr(EᵗE), E = Σ − W_L…W₁; correlation_l: the correlation of the entries of W_l "
    "and R_lᵗ; each line is one simulation; method: 'discrete', the paper's iterations, or 'ode', the differential "
    "equations, which are only listed if they differ visibly"
)


@dataclass(frozen=True)
class _Kind:
    """One of the compared algorithms, and how it is drawn; ε is None for BP."""

    name: str
    epsilon: float | None
    style: Mapping[str, Any]

    def of(self, simulations: pd.DataFrame) -> pd.DataFrame:
        if self.epsilon is None:
            return simulations[simulations["rule"] == "bp"]
        return simulations[(simulations["rule"] == "feedback") & (simulations["epsilon"] == self.epsilon)]


def _between(epsilon: float, linestyle: Any) -> _Kind:
    colour, marker = epsilon_look(epsilon)
    return _Kind(f"ε = {epsilon:g}", epsilon, {"color": colour, "marker": marker, "linestyle": linestyle})


KINDS = (
    _Kind("BP", None, {"color": BP.colour, "marker": BP.marker, "linestyle": (0, (4, 1.5))}),
    _Kind("ε = 0 (FRFB)", 0.0, {"color": FRFB.colour, "marker": FRFB.marker, "linestyle": ":"}),
    _between(0.25, "-."),
    _between(0.5, (0, (6, 1, 1, 1, 1, 1))),
    _Kind("ε = 1 (URFB)", 1.0, {"color": URFB.colour, "marker": URFB.marker, "linestyle": "-"}),
)


def draw(data: Data) -> Drawn:
    """Draw a column for each of the first three draws: log error on top, then the correlation of each layer."""
    simulations = of_paper(data.measured["simulations"])
    discrete = simulations[simulations["method"] == "discrete"]
    draws = sorted(discrete["draw"].unique())[:DRAWS]
    rows = _rows(simulations[simulations["draw"].isin(draws)], data)
    lacking = _shortfalls(discrete, draws)
    if not draws:
        return Drawn(placeholder("No simulation of this figure is in the store."), rows, simulations, lacking, MEANING)
    limits = _limits(rows)
    visible, largest = _visibly_different(rows, limits)
    rows = rows[(rows["method"] == "discrete") | rows["simulation"].isin(visible)]

    figure = page(2, 6.6, lacking, data.style)
    grid = figure.subplots(len(LAYERS), len(draws), sharex=True, sharey="row", squeeze=False)
    quantities = ["log10_error", *reversed(CORRELATIONS)]
    for draw_number, column in zip(draws, grid.T, strict=True):
        of_draw = rows[rows["draw"] == draw_number]
        column[0].set_title(f"draw {draw_number}")
        for axes, quantity in zip(column, quantities, strict=True):
            _draw_lines(axes, of_draw, quantity)
            axes.set_ylim(limits[quantity])
        epoch_axis(column[-1], SimulationSpec.iterations)
        for axes in column:
            axes.set_xlabel("iteration" if axes is column[-1] else "")
    grid[0, 0].set_ylabel("log₁₀ error")
    for axes, layer in zip(grid[1:, 0], range(len(LAYERS) - 1, 0, -1), strict=True):
        axes.set_ylabel(f"corr(W, Rᵗ)\n{NAMES.get(layer, f'layer {layer}, middle')}")
    keys = [Line2D([], [], label=kind.name, **kind.style) for kind in KINDS]
    if len(visible):
        keys.append(Line2D([], [], color="0.1", linewidth=0.5, label="the ODE"))
    grid[0, -1].legend(handles=by_rows(keys, 1), loc="lower left", borderaxespad=0.2)
    drawn = simulations[simulations["simulation"].isin(rows["simulation"])]
    return Drawn(
        figure, rows, drawn.assign(rule=_named(drawn)), lacking, MEANING, _explanation(simulations, visible, largest)
    )


def of_paper(simulations: pd.DataFrame) -> pd.DataFrame:
    """Return the simulations with the settings of section 5.1, and defaults for open settings; with any ε and draw."""
    standard = [
        SimulationSpec(
            rule=simulation["rule"],
            epsilon=None if simulation["rule"] == "bp" else simulation["epsilon"],
            draw=simulation["draw"],
            method=simulation["method"],
            start="random" if simulation["rule"] == "bp" else SimulationSpec.start,
        ).identity
        for simulation in simulations.to_dict("records")
    ]
    chosen: pd.DataFrame = simulations[simulations["simulation"] == pd.Series(standard, simulations.index, dtype=str)]
    return chosen


def _rows(simulations: pd.DataFrame, data: Data) -> pd.DataFrame:
    """Return one row for each simulation and iteration, with the log error and the correlation of each layer."""
    errors = data.measured["trajectories"][["simulation", "iteration", "error"]]
    layers = data.measured["trajectory_layers"]
    layers = layers[layers["simulation"].isin(simulations["simulation"])]
    wide = layers.pivot_table(index=["simulation", "iteration"], columns="layer", values="correlation")
    wide = wide.reindex(columns=range(1, len(LAYERS))).set_axis(CORRELATIONS, axis="columns")
    known = simulations[["simulation", "draw", "rule", "epsilon", "method"]]
    rows = known.merge(errors, on="simulation").merge(wide.reset_index(), on=["simulation", "iteration"], how="left")
    # An error that is 0 in float64 has no logarithm.
    rows = rows.assign(log10_error=np.log10(rows["error"].where(rows["error"] > 0)))
    rows["protocol"] = _named(rows)
    columns = ["draw", "protocol", "method", "iteration", "log10_error", *CORRELATIONS, "simulation"]
    return rows.dropna(subset=["protocol"])[columns].reset_index(drop=True)


def _named(simulations: pd.DataFrame) -> pd.Series[str]:
    """Return the name of each simulation's kind; None if it is not drawn."""
    names = pd.Series(None, simulations.index, dtype=object)
    for kind in KINDS:
        names[kind.of(simulations).index] = kind.name
    return names


def _limits(rows: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """Return the ends of the vertical axis of each quantity."""
    discrete = rows[rows["method"] == "discrete"]
    limits = {}
    for name in ("log10_error", *CORRELATIONS):
        unmeasured = discrete[name].isna().all()
        lowest, highest = (0.0, 1.0) if unmeasured else discrete[name].agg(["min", "max"])
        if name != "log10_error":
            lowest, highest = min(lowest, 0.0), 1.0
        margin = 0.03 * (highest - lowest or 1.0)
        limits[name] = (lowest - margin, highest + margin)
    return limits


def _visibly_different(rows: pd.DataFrame, limits: Mapping[str, tuple[float, float]]) -> tuple[set[str], float]:
    """Return the ODE's simulations that differ visibly from the discrete ones, and the largest difference in log e."""
    pairs = rows[rows["method"] == "ode"].merge(
        rows[rows["method"] == "discrete"], on=["draw", "protocol", "iteration"], suffixes=("", "_discrete")
    )
    seen: set[str] = set()
    for name, (lowest, highest) in limits.items():
        difference = (pairs[name] - pairs[f"{name}_discrete"]).abs()
        seen |= set(pairs.loc[difference > VISIBLE * (highest - lowest), "simulation"])
    return seen, float((pairs["log10_error"] - pairs["log10_error_discrete"]).abs().max())


def _draw_lines(axes: Axes, of_draw: pd.DataFrame, quantity: str) -> None:
    values = of_draw.rename(columns={"iteration": "epoch", quantity: "mean"}).dropna(subset=["mean"]).assign(n=1)
    for number, kind in enumerate(KINDS):
        of_kind = values[values["protocol"] == kind.name]
        label = f"{kind.name}, {quantity}"
        curve(axes, of_kind[of_kind["method"] == "discrete"], number, len(KINDS), label=label, **kind.style)
        ode = of_kind[of_kind["method"] == "ode"]
        if len(ode):
            axes.plot(ode["epoch"], ode["mean"], color="0.1", linewidth=0.5, label=f"{label}, ODE")


def _explanation(simulations: pd.DataFrame, visible: set[str], largest: float) -> str:
    words = (
        "Each column is one random draw, and each line is one simulation. W starts at 0, and at random with BP. R of "
        "layer 1 carries no error."
    )
    if not np.isnan(largest):
        hidden = "" if visible else ", which is too little to be drawn"
        words += f" The log₁₀ errors of the discrete steps and of the ODE differ by at most {largest:.2f}{hidden}."
    return words


def _shortfalls(discrete: pd.DataFrame, draws: list[int]) -> list[str]:
    if not draws:
        return ["no simulation of the paper's setting in the store"]
    lacking = [f"{len(draws)} of {DRAWS} draws"] if len(draws) < DRAWS else []
    for kind in KINDS:
        of_kind = kind.of(discrete[discrete["draw"].isin(draws)])
        absent = [str(number) for number in draws if number not in set(of_kind["draw"])]
        if absent:
            lacking.append(f"{kind.name}: no simulation of draw{'s' * (len(absent) > 1)} {', '.join(absent)}")
        for simulation in of_kind.dropna(subset=["diverged_at"]).to_dict("records"):
            lacking.append(
                f"{kind.name}, draw {simulation['draw']}: diverged at iteration {simulation['diverged_at']:,}"
            )
    return lacking
