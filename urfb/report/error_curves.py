"""Figures 4 and 7: training and validation error by epoch."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

from urfb.report.canvas import GREY, TITLE_CHARACTERS, by_rows, curve, epoch_axis, page
from urfb.report.drawn import Drawn, drawn_runs, explain, extent, over_seeds, shortfalls, stack
from urfb.report.exhibits import Data
from urfb.report.selection import Panel

SETS: dict[str, Any] = {"training": "-", "validation": ":"}  # the paper's line styles
MEANING = "mean, low and high: the error in percent, its mean and its range over the n seeds that have this epoch"
LABEL_CHARACTERS = 26
"""Of the longest label of which two fit below a panel."""
ABOUT_SEEDS = "Mean over seeds; the band goes from the smallest to the largest."


def draw(data: Data) -> Drawn:
    """Draw training and validation error by epoch, one set of axes for each panel."""
    panels, epochs = data.panels, data.measured["epochs"]
    measured = epochs.rename(columns={f"{name}_error": name for name in SETS})
    measured = measured.melt(["run", "epoch"], list(SETS), "set", "error").dropna(subset=["error"])
    measured = measured.assign(error=100 * measured["error"])
    reached = {str(run): int(last) for run, last in measured.groupby("run")["epoch"].max().items()}
    lines = [panel.runs[["run", "seed", "protocol"]].merge(measured, on="run") for panel in panels]
    tables = [_table(panel, rows) for panel, rows in zip(panels, lines, strict=True)]
    lacking = shortfalls(panels, reached, "no epoch yet")

    columns = min(len(panels), 2)
    rows = math.ceil(len(panels) / columns)
    explanation = explain(tables, ABOUT_SEEDS)
    figure = page(columns, 2.9 * rows, explanation, lacking)
    grid = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
    for axes, panel, table in zip(grid, panels, tables, strict=False):
        _draw_panel(axes, panel, table, reached)
    top = max((table["high"].max() for table in tables if len(table)), default=100)
    grid[0].set_ylim(0, min(1.05 * top, 102))
    for leftmost in grid[::columns]:
        leftmost.set_ylabel("error (%)")
    for unused in grid[len(panels) :]:
        unused.remove()
    return Drawn(figure, stack(tables), drawn_runs(panels, reached), lacking, MEANING)


def _table(panel: Panel, values: pd.DataFrame) -> pd.DataFrame:
    """Return the panel's lines, in percent, one row for each protocol, set and epoch."""
    table = over_seeds(values, ["protocol", "set", "epoch"], "error").assign(panel=panel.title)
    return table[["panel", "protocol", "set", "epoch", "mean", "low", "high", "n", "runs"]]


def _draw_panel(axes: Axes, panel: Panel, table: pd.DataFrame, reached: Mapping[str, int]) -> None:
    extents = {}
    lines = [(protocol, name) for protocol in panel.protocols for name in SETS]
    for position, (protocol, name) in enumerate(lines):
        line = table[(table["protocol"] == protocol.name) & (table["set"] == name)]
        appearance = {"color": protocol.colour, "marker": protocol.marker, "linestyle": SETS[name]}
        curve(axes, line, position / len(lines), label=f"{protocol.name}, {name}", **appearance)
    for protocol in panel.protocols:
        epochs = [reached[run] for run in panel.runs_of(protocol)["run"] if run in reached]
        if epochs:
            extents[protocol] = extent(epochs)

    # What all the lines have in common is said once, in the title.
    distinct = set(extents.values())
    common = f" ({distinct.pop()})" if len(distinct) == 1 else ""
    keys = [Line2D([], [], color=GREY, linestyle=style, label=name) for name, style in SETS.items()]
    for protocol, words in extents.items():
        label = protocol.name if common else f"{protocol.name} ({words})"
        keys.append(Line2D([], [], color=protocol.colour, marker=protocol.marker, label=label))
    axes.set_title(textwrap.fill(panel.title + common, TITLE_CHARACTERS))
    epoch_axis(axes, max(table["epoch"], default=1))
    below = axes.transAxes + ScaledTranslation(0, -28 / 72, axes.figure.dpi_scale_trans)
    abreast = 2 if all(len(str(key.get_label())) <= LABEL_CHARACTERS for key in keys) else 1
    axes.legend(
        handles=by_rows(keys, abreast),
        ncols=abreast,
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        bbox_transform=below,
        borderaxespad=0,
        columnspacing=1.2,
    )
