"""Figure 4: training and validation error by epoch."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from urfb.report.canvas import GREY, notes_of, page
from urfb.report.drawn import Drawn, drawn_runs, extent, identities, over_seeds, shortfalls, stack
from urfb.report.protocols import BP, BP_H, FRFB, URFB, Protocol
from urfb.report.selection import Frames, Panel, Selection, panels

SETS: dict[str, Any] = {"training": "-", "validation": ":"}  # the paper's line styles
MARKERS = 8  # on each line, however many epochs it has
EXPLANATION = "Mean over seeds; the band goes from the smallest to the largest."


def figure4(frames: Frames, selection: Selection) -> Drawn:
    """Draw training and validation error by epoch: simpnet on CIFAR-10 under BP, BP-H, URFB and FRFB."""
    found = panels(frames.runs(), selection, ["cifar10"], (BP, BP_H, URFB, FRFB))
    return draw(found, frames.epochs(run=identities(found)))


def draw(found: list[Panel], epochs: pd.DataFrame) -> Drawn:
    """Draw training and validation error by epoch, one set of axes for each panel."""
    measured = epochs[["run", "epoch", "training_error", "validation_error"]].dropna(
        how="all", subset=["training_error", "validation_error"]
    )
    reached = {str(run): int(last) for run, last in measured.groupby("run")["epoch"].max().items()}
    tables = [_table(panel, measured) for panel in found]
    lacking = shortfalls(found, reached, "no epoch yet")

    columns = min(len(found), 2)
    rows = math.ceil(len(found) / columns)
    figure = page(columns, 2.9 * rows, notes_of(EXPLANATION, lacking))
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, panel, table in zip(grid, found, tables, strict=False):
        _draw_panel(axes, panel, table, reached)
    for unused in grid[len(found) :]:
        unused.remove()
    return Drawn(figure, stack(tables), drawn_runs(found, reached), lacking, EXPLANATION)


def _table(panel: Panel, measured: pd.DataFrame) -> pd.DataFrame:
    """Return the panel's lines, in percent, one row for each protocol, set and epoch."""
    rows = panel.runs[["run", "seed", "protocol"]].merge(measured, on="run")
    parts = []
    for name in SETS:
        part = over_seeds(rows.assign(error=100 * rows[f"{name}_error"]), ["protocol", "epoch"], "error")
        parts.append(part.assign(set=name))
    table = stack(parts).assign(panel=panel.title)
    return table[["panel", "protocol", "set", "epoch", "mean", "low", "high", "n", "runs"]]


def _draw_panel(axes: Axes, panel: Panel, table: pd.DataFrame, reached: Mapping[str, int]) -> None:
    entries = [Line2D([], [], color=GREY, linestyle=style, label=name) for name, style in SETS.items()]
    for position, protocol in enumerate(panel.protocols):
        lines = table[table["protocol"] == protocol.name]
        for name, style in SETS.items():
            _draw_line(axes, protocol, lines[lines["set"] == name], style, position / len(panel.protocols))
        epochs = [reached[run] for run in panel.runs_of(protocol)["run"] if run in reached]
        if epochs:
            label = f"{protocol.name} ({extent(epochs)})"
            entries.append(Line2D([], [], color=protocol.colour, marker=protocol.marker, label=label))
    axes.set_title(textwrap.fill(panel.title, 60))
    axes.set_xlabel("epoch")
    axes.set_ylabel("error (%)")
    axes.set_xlim(0, max(table["epoch"], default=1))
    axes.set_ylim(0, None if len(table) else 100)
    row_by_row = entries[0::2] + entries[1::2]  # legends are filled column by column
    axes.legend(handles=row_by_row, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.18), columnspacing=1.2)


def _draw_line(axes: Axes, protocol: Protocol, line: pd.DataFrame, style: Any, shift: float) -> None:
    """Draw one protocol's error on one set; `shift` keeps the markers of different lines apart."""
    if line.empty:
        return
    line = line.sort_values("epoch")
    step = math.ceil(len(line) / MARKERS)
    axes.plot(
        line["epoch"],
        line["mean"],
        color=protocol.colour,
        linestyle=style,
        marker=protocol.marker,
        markevery=(int(shift * step), step),
        label=f"{protocol.name}, {line['set'].iloc[0]}",
    )
    if (line["n"] > 1).any():
        axes.fill_between(line["epoch"], line["low"], line["high"], color=protocol.colour, alpha=0.2, linewidth=0)
