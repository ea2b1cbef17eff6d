"""What the multiple ε of W's increment that R takes does: FRFB is ε = 0, URFB ε = 1."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.lines import Line2D

from urfb.nn.rules import RULES
from urfb.report.alignment import LAYER_MARKERS, last_stage
from urfb.report.canvas import page
from urfb.report.drawn import Drawn, drawn_runs, explain, over_seeds, shortfalls, stack, students_interval
from urfb.report.exhibits import Data
from urfb.report.protocols import Protocol
from urfb.report.selection import Panel

COLUMNS = ["panel", "quantity", "protocol", "epsilon", "layer", "layer_name", "epoch", "mean", "low", "high", "n"]
COLUMNS += ["runs"]
MEANING = (
    "quantity 'error': the validation error in percent; quantity 'correlation': of W and Rᵗ of a layer; both after the "
    "same number of epochs; mean, low and high: the mean over n seeds and the 95 % interval of that mean (t)"
)
ABOUT_SEEDS = "Mean over seeds with its 95 % interval (Student's t); dots: seeds."


def draw(data: Data) -> Drawn:
    """Draw, left, the validation error against ε; right, the correlation of W and Rᵗ of each layer.

    All of a panel's are after the same epoch: the last that each ε has reached in some seed.
    """
    panels = data.panels
    tables, seeds = [], []
    reached: dict[str, int] = {}
    for panel in panels:
        values = _values(panel, data)
        seeds.append(values)
        tables.append(_table(panel, values))
        reached |= {str(run): int(epoch) for run, epoch in zip(values["run"], values["of_epoch"], strict=True)}
    lacking = shortfalls(panels, reached, "no epoch yet, or not as many as the others")

    figure = page(2, 2.7 * len(panels), explain(tables, ABOUT_SEEDS), lacking)
    parts = figure.subfigures(len(panels), 1, squeeze=False)[:, 0]
    for part, panel, table, values in zip(parts, panels, tables, seeds, strict=True):
        _draw_panel(part, panel, table, values)
    return Drawn(figure, stack(tables), drawn_runs(panels, reached), lacking, MEANING)


def _epsilon(protocol: Protocol) -> float | None:
    """Return a protocol's ε; None of rules of another kind, such as one without an R of its own."""
    if protocol.rule not in ("frfb", "interpolated", "urfb"):
        return None
    return RULES[protocol.rule].epsilon if protocol.epsilon is None else protocol.epsilon


def _values(panel: Panel, data: Data) -> pd.DataFrame:
    """Return one row a run and quantity, of the epoch that is shown; none before each ε with a run has an epoch."""
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


def _draw_panel(part: SubFigure, panel: Panel, table: pd.DataFrame, values: pd.DataFrame) -> None:
    left, right = part.subplots(1, 2, sharex=True)
    errors, correlations = (table[table["quantity"] == name] for name in ("error", "correlation"))
    after = f", epoch {errors['epoch'].iloc[0]:,.0f}" if len(errors) else ""
    part.suptitle(panel.title + after)
    _draw_line(left, errors, "validation error", color="0.2", marker="o")
    seeds = values[values["quantity"] == "error"]
    seeds = seeds[seeds.duplicated("protocol", keep=False)]
    # To the right of their mean, at places of their own.
    places = {seed: 0.015 + place for seed, place in zip(sorted(set(seeds["seed"])), _places(seeds), strict=True)}
    offsets = [places[seed] for seed in seeds["seed"]]
    left.plot(seeds["epsilon"] + offsets, seeds["value"], "o", markersize=2.2, mfc="white", mec="0.15", mew=0.5)
    names = correlations.drop_duplicates("layer").sort_values("layer", ascending=False)
    colours = sns.color_palette("viridis", len(names)).as_hex()
    for layer, name, colour in zip(names["layer"], names["layer_name"], colours, strict=True):
        style = {"color": colour, "marker": LAYER_MARKERS[layer % len(LAYER_MARKERS)]}
        _draw_line(right, correlations[correlations["layer"] == layer], f"layer {layer}: {name}", **style)
    left.set(xlabel="ε", ylabel="validation error (%)", xlim=(-0.06, 1.1))
    if errors.empty:
        left.set_ylim(0, 100)
    right.set(xlabel="ε", ylabel="correlation of W and Rᵗ", ylim=(min(-0.03, right.get_ylim()[0]), 1.02))
    for axes in (left, right):
        axes.set_xticks(sorted({0.0, 1.0, *errors["epsilon"]}))
        axes.xaxis.set_major_formatter("{x:g}")
    keys = [line for line in right.get_lines() if isinstance(line, Line2D)]
    if keys:
        part.legend(handles=keys, loc="outside lower center", ncols=min(len(keys), 4))


def _places(seeds: pd.DataFrame) -> list[float]:
    """Return where each seed's dot stands, in units of ε: 0.015 apart, or nearer where there are many."""
    count = seeds["seed"].nunique()
    return [min(0.015, 0.07 / count) * number for number in range(count)]


def _draw_line(axes: Axes, line: pd.DataFrame, label: str, **style: object) -> None:
    """Draw means by ε, joined, with their intervals."""
    axes.plot(line["epsilon"], line["mean"], label=label, **style)  # type: ignore[arg-type]
    repeated = line[line["n"] > 1]
    axes.vlines(repeated["epsilon"], repeated["low"], repeated["high"], color=str(style["color"]), linewidth=0.8)
