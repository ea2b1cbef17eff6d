"""Figures 4 and 7: training and validation error by epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from urfb.report.canvas import (
    GREY,
    MANY,
    PANEL_WIDTH,
    TITLE_WIDTH,
    Key,
    curve,
    epoch_axis,
    fitting_key,
    legend_below,
    page,
    wrapped,
)
from urfb.report.drawn import MEANING_ALONE, Drawn, by_moment, drawn_runs, explain, extent, shortfalls, stack
from urfb.report.exhibits import Data
from urfb.report.selection import Panel

SETS: dict[str, Any] = {"training": "-", "validation": ":"}  # the paper's line styles
MEANING = f"mean, low and high: the error in percent, its mean and its range over n seeds; {MEANING_ALONE}"
CROWD = 12
"""Protocols of which more need a panel of double width."""
ABOUT = "Solid lines are training errors, dotted lines validation errors."
ABOUT_MANY = "Lines are means over seeds; the CSV file has the ranges, which are too many to draw."
ABOUT_SEEDS = "Lines are means over seeds; bands span the smallest to the largest value."


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

    most = max(len(panel.protocols) for panel in panels)
    crowded = most > CROWD
    columns = 1 if crowded else min(len(panels), 2)
    width = 2 if crowded else 1
    rows = math.ceil(len(panels) / columns)
    explanation = f"{ABOUT} {explain(tables, ABOUT_SEEDS if len(SETS) * most <= MANY else ABOUT_MANY)}".strip()
    titles, keys = zip(*(_in_words(panel, reached, width * PANEL_WIDTH) for panel in panels), strict=True)
    heights = [
        (3.4 if crowded else 2.25) + 0.11 * title.count("\n") + key.height
        for title, key in zip(titles, keys, strict=True)
    ]
    height = sum(max(heights[start : start + columns]) for start in range(0, len(panels), columns))
    figure = page(columns * width, height, lacking)
    grid = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
    for axes, panel, table, title, key in zip(grid, panels, tables, titles, keys, strict=False):
        _draw_panel(axes, panel, table)
        axes.set_title(title)
        legend_below(axes, key)
    top = max((table["high"].max() for table in tables if len(table)), default=100)
    grid[0].set_ylim(0, min(1.05 * top, 102))
    for leftmost in grid[::columns]:
        leftmost.set_ylabel("error (%)")
    for unused in grid[len(panels) :]:
        unused.remove()
    return Drawn(figure, stack(tables), drawn_runs(panels, reached), lacking, MEANING, explanation)


def _table(panel: Panel, values: pd.DataFrame) -> pd.DataFrame:
    """Return the panel's lines, in percent, one row for each protocol, set and epoch."""
    table = by_moment(values, ["protocol", "set"], "error").assign(panel=panel.title)
    return table[["panel", "protocol", "set", "epoch", "mean", "low", "high", "n", "alone", "runs"]]


def _draw_panel(axes: Axes, panel: Panel, table: pd.DataFrame) -> None:
    lines = [(protocol, name) for protocol in panel.protocols for name in SETS]
    for number, (protocol, name) in enumerate(lines):
        line = table[(table["protocol"] == protocol.name) & (table["set"] == name)]
        appearance = {"color": protocol.colour, "marker": protocol.marker, "linestyle": SETS[name]}
        curve(axes, line, number, len(lines), label=f"{protocol.name}, {name}", **appearance)
    epoch_axis(axes, max(table["epoch"], default=1))


def _in_words(panel: Panel, reached: Mapping[str, int], width: float) -> tuple[str, Key]:
    """Return a panel's title and legend; what all its lines have in common is said once, in the title."""
    extents = {}
    for protocol in panel.protocols:
        epochs = [reached[run] for run in panel.runs_of(protocol)["run"] if run in reached]
        if epochs:
            extents[protocol] = extent(epochs)
    distinct = set(extents.values())
    common = f" ({distinct.pop()})" if len(distinct) == 1 else ""
    handles = [Line2D([], [], color=GREY, linestyle=style, label=name) for name, style in SETS.items()]
    for protocol, words in extents.items():
        label = protocol.name if common else f"{protocol.name} ({words})"
        handles.append(Line2D([], [], color=protocol.colour, marker=protocol.marker, label=label))
    return wrapped(panel.title + common, width - PANEL_WIDTH + TITLE_WIDTH), fitting_key(handles, width - 0.02)
