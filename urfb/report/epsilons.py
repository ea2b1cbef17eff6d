"""Error and correlation by ε, the fraction of W's increment that R takes: 0 is FRFB, 1 is URFB."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.lines import Line2D

from urfb.nn.rules import RULES
from urfb.report.alignment import last_stage
from urfb.report.canvas import GREY, PANEL_WIDTH, Key, fitting_key, heading, page, placeholder, text_width, wrapped
from urfb.report.colours import layer_looks
from urfb.report.drawn import Drawn, drawn_runs, explain, over_seeds, shortfalls, stack, students_interval
from urfb.report.exhibits import Data
from urfb.report.protocols import Protocol
from urfb.report.selection import Panel

COLUMNS = ["panel", "quantity", "protocol", "epsilon", "layer", "layer_name", "epoch", "mean", "low", "high", "n"]
COLUMNS += ["runs"]
MEANING = (
    "quantity 'error': the validation error in percent; quantity 'correlation': that of W and Rᵗ in a layer; "
    "mean: the mean over n seeds; low, high: the 95 % interval of that mean (Student's t), from three seeds on"
)
ABOUT = "Left: the validation error against ε. Right: the correlation of W and Rᵗ of each layer."
ABOUT_COLOURS = "Filled markers have the looks of other figures; open markers are layers."
ABOUT_SEEDS = (
    "Markers are means over seeds and dots are seeds; means of three or more seeds have their 95 % interval "
    "(Student's t)."
)
TICK_SIZE = 7.04


def draw(data: Data) -> Drawn:
    """Draw, left, the validation error against ε; right, the correlation of W and Rᵗ of each layer.

    All values of a panel are of the same epoch: the last that every ε has reached in at least one seed.
    """
    shown = [(panel, _values(panel, data)) for panel in data.panels]
    reached = {
        str(run): int(epoch)
        for _, values in shown
        for run, epoch in zip(values["run"], values["of_epoch"], strict=True)
    }
    lacking = shortfalls(data.panels, reached, "no epoch yet, or not as many as the others")
    shown = [(panel, values) for panel, values in shown if len(values)]
    if not shown:
        return Drawn(placeholder(), pd.DataFrame(columns=COLUMNS), drawn_runs(data.panels, {}), lacking, MEANING)
    panels, seeds = [panel for panel, _ in shown], [values for _, values in shown]
    tables = [_table(panel, values) for panel, values in shown]

    depths = [int(_depth(panel, data.measured["alignment"])) for panel in panels]
    keys = [_key(table, depth) for table, depth in zip(tables, depths, strict=True)]
    heights = [2.45 + key.height for key in keys]
    about = [ABOUT, explain(tables, ABOUT_SEEDS), ABOUT_COLOURS]
    figure = page(2, sum(heights), lacking, data.style)
    parts = figure.subfigures(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for number, part in enumerate(parts):
        after = f"epoch {seeds[number]['of_epoch'].iloc[0]:,.0f}"
        if title := heading(f"{panels[number].title}, {after}", len(panels), data.style):
            part.suptitle(wrapped(title, 2 * PANEL_WIDTH - 0.4))
        else:
            about.insert(1, f"All values are after {after}.")
        _draw_panel(part, panels[number], tables[number], seeds[number], depths[number])
        if keys[number].height:
            part.legend(**keys[number].options, loc="outside lower center")
    return Drawn(
        figure,
        stack(tables),
        drawn_runs(panels, reached),
        lacking,
        MEANING,
        " ".join(words for words in about if words),
    )


def _epsilon(protocol: Protocol) -> float | None:
    """Return a protocol's ε, or None if its rule has no ε between those of FRFB and URFB."""
    if protocol.rule not in ("frfb", "interpolated", "urfb"):
        return None
    return RULES[protocol.rule].epsilon if protocol.epsilon is None else protocol.epsilon


def _values(panel: Panel, data: Data) -> pd.DataFrame:
    """Return one row for each run and quantity at the drawn epoch; no rows if an ε has runs but no epoch yet."""
    known = {protocol.name: _epsilon(protocol) for protocol in panel.protocols if _epsilon(protocol) is not None}
    runs = panel.runs.loc[panel.runs["protocol"].isin(known), ["run", "seed", "protocol"]]
    runs = runs.assign(epsilon=runs["protocol"].map(known))
    errors = runs.merge(data.measured["epochs"][["run", "epoch", "validation_error"]].dropna(), on="run")
    shown = errors.groupby("protocol")["epoch"].max().min() if len(errors) else np.nan
    errors = errors[errors["epoch"] == shown]
    errors = errors.assign(quantity="error", value=100 * errors["validation_error"], of_epoch=errors["epoch"])
    alignment = last_stage(data.measured["alignment"].dropna(subset=["correlation"]), data.runs)
    measured = errors[["run", "seed", "protocol", "epsilon", "of_epoch"]].merge(
        alignment[["run", "epoch", "layer", "layer_name", "correlation"]], on="run"
    )
    measured = measured[measured["epoch"] <= shown]
    common = measured.groupby("epoch")["run"].nunique() == measured["run"].nunique()
    measured = measured[measured["epoch"] == common.index[common].max()]
    measured = measured.assign(quantity="correlation", value=measured["correlation"])
    values = pd.concat([errors, measured]) if len(measured) else errors
    return values.reindex(columns=[*errors, "layer", "layer_name"])


def _table(panel: Panel, values: pd.DataFrame) -> pd.DataFrame:
    by = ["quantity", "protocol", "epsilon", "layer", "layer_name", "epoch"]
    filled = values.assign(layer=values["layer"].fillna(0), layer_name=values["layer_name"].fillna(""))
    table = over_seeds(filled, by, "value", students_interval).assign(panel=panel.title)
    table["layer"] = table["layer"].where(table["layer"] > 0).astype("Int64")
    return table.sort_values(["quantity", "layer", "epsilon"], ascending=[False, True, True], kind="stable")[COLUMNS]


def _depth(panel: Panel, alignment: pd.DataFrame) -> float:
    """Return the highest layer that a panel's runs have measurements of."""
    layers = alignment.loc[alignment["run"].isin(panel.runs["run"]), "layer"]
    return float(layers.max()) if len(layers) else 0


def _names(table: pd.DataFrame) -> dict[int, str]:
    """Return the name of each layer whose correlation is drawn, the highest layer first."""
    named = table.dropna(subset=["layer"]).drop_duplicates("layer").sort_values("layer", ascending=False)
    return {int(layer): str(name) for layer, name in zip(named["layer"], named["layer_name"], strict=True)}


def _looks(table: pd.DataFrame, depth: int) -> dict[int, dict[str, Any]]:
    """Return the looks of layers, with open markers so that they do not look like protocols."""
    looks = layer_looks(_names(table), depth)
    return {layer: {**look, "mfc": "white", "mec": look["color"]} for layer, look in looks.items()}


def _key(table: pd.DataFrame, depth: int) -> Key:
    names, looks = _names(table), _looks(table, depth)
    handles = [Line2D([], [], label=f"layer {layer}: {name}", **looks[layer]) for layer, name in names.items()]
    return fitting_key(handles, 2 * PANEL_WIDTH - 0.1, 4)


def _draw_panel(part: SubFigure, panel: Panel, table: pd.DataFrame, values: pd.DataFrame, depth: int) -> None:
    left, right = part.subplots(1, 2, sharex=True)
    errors, correlations = (table[table["quantity"] == name] for name in ("error", "correlation"))
    left.plot(errors["epsilon"], errors["mean"], label="validation error", color=GREY)
    for protocol in panel.protocols:
        point = errors[errors["protocol"] == protocol.name]
        look: dict[str, Any] = {"color": protocol.colour, "marker": protocol.marker, "linestyle": ""}
        left.plot(point["epsilon"], point["mean"], label=protocol.name, **look)
    _draw_intervals(left, errors, GREY)
    _draw_seeds(left, values[values["quantity"] == "error"], "0.15")
    looks = _looks(table, depth)
    for layer, name in _names(table).items():
        line = correlations[correlations["layer"] == layer]
        right.plot(line["epsilon"], line["mean"], label=f"layer {layer}: {name}", **looks[layer])
        _draw_intervals(right, line, looks[layer]["color"])
        _draw_seeds(right, values[values["layer"] == layer], looks[layer]["color"])
    first, last = _ends(errors["epsilon"])
    margin = 0.06 * (last - first)
    left.set(xlabel="ε", ylabel="validation error (%)", xlim=(first - margin, last + 1.9 * margin))
    right.set(xlabel="ε", ylabel="correlation of W and Rᵗ", ylim=(min(-0.03, right.get_ylim()[0]), 1.04))
    for axes in (left, right):
        axes.set_xticks(_ticks(errors["epsilon"]))
        axes.xaxis.set_major_formatter("{x:g}")


def _ends(epsilons: pd.Series[float]) -> tuple[float, float]:
    """Return the ends of the axis: the smallest and largest ε, or 0 and 1 if there are fewer than two."""
    return (epsilons.min(), epsilons.max()) if epsilons.nunique() > 1 else (0.0, 1.0)


def _ticks(epsilons: pd.Series[float]) -> list[float]:
    """Return the ticks: both ends and as many other values of ε as have room, the roundest first."""
    first, last = _ends(epsilons)
    inch = (last - first) / 2.2
    room = {epsilon: 0.55 * inch * text_width(f"{epsilon:g}", TICK_SIZE) for epsilon in {first, last, *epsilons}}
    kept: list[float] = []
    for epsilon in sorted(room, key=lambda epsilon: (first < epsilon < last, len(f"{epsilon:g}"), epsilon)):
        if all(abs(epsilon - other) > room[epsilon] + room[other] for other in kept):
            kept.append(epsilon)
    return sorted(kept)


def _draw_seeds(axes: Axes, seeds: pd.DataFrame, colour: str) -> None:
    """Draw a dot for each of several seeds, to the right of their mean and closer to it than to the next ε."""
    repeated = seeds[seeds.duplicated("protocol", keep=False)]
    numbers = sorted(set(repeated["seed"]))
    first, last = _ends(repeated["epsilon"])
    nearest = min(np.diff(sorted(set(repeated["epsilon"]))), default=last - first)
    room = min(0.1 * (last - first), 0.5 * nearest)
    apart = min(0.015 * (last - first), 0.7 * room / max(len(numbers), 1))
    offsets = [0.25 * room + apart * numbers.index(seed) for seed in repeated["seed"]]
    dots: dict[str, Any] = {"markersize": 2.2, "mfc": "white", "mec": colour, "mew": 0.5}
    axes.plot(repeated["epsilon"] + offsets, repeated["value"], "o", **dots)


def _draw_intervals(axes: Axes, line: pd.DataFrame, colour: str) -> None:
    """Draw the intervals of the means."""
    known = line[line["high"].notna()]
    axes.vlines(known["epsilon"], known["low"], known["high"], color=colour, linewidth=0.8)
