"""Figures 4 and 7: training and validation error by epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from urfb.errors import counted
from urfb.report.canvas import (
    GREY,
    MANY,
    OPEN,
    PANEL_WIDTH,
    TITLE_SIZE,
    TITLE_WIDTH,
    Key,
    curve,
    epoch_axis,
    fitting_key,
    heading,
    legend_below,
    page,
    placeholder,
    text_width,
    wrapped,
)
from urfb.report.drawn import (
    MEANING_ALONE,
    Drawn,
    by_moment,
    drawn_runs,
    explain,
    extent,
    shortfalls,
    stack,
    with_runs,
)
from urfb.report.exhibits import Data
from urfb.report.selection import Panel
from urfb.report.styles import Style

SETS: dict[str, Any] = {"training": "-", "validation": ":"}  # the paper's line styles
MEANING = f"mean, low and high: the mean and the range of the error in percent over n seeds; {MEANING_ALONE}"
CROWD = 12
"""The most protocols that fit into a panel of single width."""
TICKS = MaxNLocator(5, steps=[1, 2, 5, 10])
FROM_ZERO = 20
"""Errors below this, in percent, make the vertical axis start at 0."""
ABOUT = "Solid lines and filled markers are training errors, dotted lines and open markers validation errors."
ABOUT_LIMITS = "The vertical axes do not start at 0."
ABOUT_MANY = "Lines are means over seeds. There are too many lines to draw their ranges, which are in the CSV file."
ABOUT_SEEDS = "Lines are means over seeds; bands span the smallest to the largest value."


def draw(data: Data) -> Drawn:
    """Draw training and validation error by epoch, one set of axes for each panel that has epochs."""
    panels, epochs = data.panels, data.measured["epochs"]
    measured = epochs.rename(columns={f"{name}_error": name for name in SETS})
    measured = measured.melt(["run", "epoch"], list(SETS), "set", "error").dropna(subset=["error"])
    measured = measured.assign(error=100 * measured["error"])
    reached = {str(run): int(last) for run, last in measured.groupby("run")["epoch"].max().items()}
    lacking = shortfalls(panels, reached, "no epoch yet")
    panels = with_runs(panels, reached)
    tables = [_table(panel, measured) for panel in panels]
    if not panels:
        return Drawn(placeholder(), _table(data.panels[0], measured), drawn_runs(data.panels, {}), lacking, MEANING)

    most = max(len(panel.protocols) for panel in panels)
    crowded = most > CROWD
    columns = 1 if crowded else min(len(panels), 2)
    width = 2 if crowded else 1
    rows = math.ceil(len(panels) / columns)
    about_seeds = explain(tables, ABOUT_SEEDS if len(SETS) * most <= MANY else ABOUT_MANY)
    headings = [heading(panel.title, len(panels), data.style) for panel in panels]
    titles, keys = zip(
        *(
            _in_words(panel, words, reached, width * PANEL_WIDTH, data.style)
            for panel, words in zip(panels, headings, strict=True)
        ),
        strict=True,
    )
    heights = [
        (3.4 if crowded else 2.45) + 0.11 * title.count("\n") + key.height
        for title, key in zip(titles, keys, strict=True)
    ]
    height = sum(max(heights[start : start + columns]) for start in range(0, len(panels), columns))
    figure = page(columns * width, height, lacking, data.style)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for number, (axes, panel, title, key) in enumerate(zip(grid, panels, titles, keys, strict=False)):
        _draw_panel(axes, panel, tables[number])
        axes.set_title(title)
        legend_below(axes, key)
        compared = [table for table, other in zip(tables, panels, strict=True) if other.dataset == panel.dataset]
        _set_limits(axes, stack(compared))
        if number % columns == 0:
            axes.set_ylabel("error (%)")
    for unused in grid[len(panels) :]:
        unused.remove()
    about_limits = ABOUT_LIMITS if any(axes.get_ylim()[0] > 0 for axes in figure.axes) else ""
    explanation = " ".join(words for words in (ABOUT, about_seeds, about_limits) if words)
    return Drawn(figure, stack(tables), drawn_runs(panels, reached), lacking, MEANING, explanation)


def _table(panel: Panel, measured: pd.DataFrame) -> pd.DataFrame:
    """Return the panel's lines, in percent, one row for each protocol, set and epoch."""
    values = panel.runs[["run", "seed", "protocol"]].merge(measured, on="run")
    table = by_moment(values, ["protocol", "set"], "error").assign(panel=panel.title)
    return table[["panel", "protocol", "set", "epoch", "mean", "low", "high", "n", "alone", "runs"]]


def _draw_panel(axes: Axes, panel: Panel, table: pd.DataFrame) -> None:
    lines = [(protocol, name) for protocol in panel.protocols for name in SETS]
    for number, (protocol, name) in enumerate(lines):
        line = table[(table["protocol"] == protocol.name) & (table["set"] == name)]
        look: dict[str, Any] = {"color": protocol.colour, "marker": protocol.marker, "linestyle": SETS[name]}
        if name == "validation":
            look |= OPEN | {"markeredgecolor": protocol.colour}
        curve(axes, line, number, len(lines), label=f"{protocol.name}, {name}", **look)


def _set_limits(axes: Axes, compared: pd.DataFrame) -> None:
    """Let the axes span the compared lines, with the lower end of the vertical axis at a tick."""
    epoch_axis(axes, compared["epoch"].max(), compared["epoch"].min())
    lowest, highest = compared["low"].min(), compared["high"].max()
    if lowest < FROM_ZERO:
        lowest = 0.0
    ticks = np.asarray(TICKS.tick_values(lowest, max(highest, lowest + 1)))
    axes.set_yticks(ticks[ticks <= 100])
    axes.set_ylim(ticks[0], min(highest + 0.04 * (highest - ticks[0]), 102))


def _in_words(panel: Panel, title: str, reached: Mapping[str, int], width: float, style: Style) -> tuple[str, Key]:
    """Return a panel's title and legend.

    Seeds and epochs are in the title if all protocols have the same; otherwise the legend has the seeds.
    """
    epochs = {
        protocol: [reached[run] for run in panel.runs_of(protocol)["run"] if run in reached]
        for protocol in panel.protocols
    }
    seen = {protocol: of_protocol for protocol, of_protocol in epochs.items() if of_protocol}
    extents = {extent(of_protocol) for of_protocol in seen.values()} if style is Style.SCREEN else set()
    handles = [Line2D([], [], color=GREY, linestyle=style, label=name) for name, style in SETS.items()]
    handles[1].set(marker="o", **OPEN, markeredgecolor=GREY)
    for protocol, of_protocol in seen.items():
        seeds = f" ({counted(len(of_protocol), 'seed')})" if len(extents) > 1 else ""
        handles.append(Line2D([], [], color=protocol.colour, marker=protocol.marker, label=f"{protocol.name}{seeds}"))
    room = width - PANEL_WIDTH + TITLE_WIDTH
    if len(extents) == 1:
        words = f"({extents.pop()})"
        separator = " " if text_width(f"{title} {words}", TITLE_SIZE) <= room else "\n"
        return f"{wrapped(title, room)}{separator}{words}", fitting_key(handles, width - 0.02)
    return wrapped(title, room), fitting_key(handles, width - 0.02)
