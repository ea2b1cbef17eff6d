"""Figure 10: how far the forward and the feedback weights of each layer agree."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import FigureBase
from matplotlib.lines import Line2D

from urfb.report.canvas import GREY, notes_of, page
from urfb.report.drawn import Drawn, drawn_runs, extent, identities, over_seeds, shortfalls, stack
from urfb.report.protocols import FRFB, URFB, Protocol
from urfb.report.selection import Frames, Panel, Selection, panels

MARKERS = 8  # on each line, however many measurements it has
LAYER_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# Of a sparse layer, the correlation over the connections that W and R both have is another number than over all.
STYLES: dict[str, Any] = {"all": "-", "shared": ":"}
WORDS = {"all": "all entries", "shared": "connections that W and R share"}
EXPLANATION = "Mean over seeds; the band goes from the smallest to the largest. No error passes through R of layer 1."


@dataclass(frozen=True, eq=False)
class _Row:
    """Protocols to set side by side: alike in loss and connectivity, so that only the rule differs."""

    panel: Panel
    protocols: list[Protocol]
    sparse: bool


def figure10(frames: Frames, selection: Selection) -> Drawn:
    """Draw corr(W, Rᵗ) of every layer by epoch: simpnet on CIFAR-10, URFB left and FRFB right."""
    found = panels(frames.runs(), selection, ["cifar10"], (URFB, FRFB))
    return draw(found, frames.alignment(run=identities(found)))


def draw(found: list[Panel], alignment: pd.DataFrame) -> Drawn:
    """Draw corr(W, Rᵗ) by epoch: a row for each panel and connectivity, in it one set of axes for each rule."""
    found = _with_feedback(found)
    measured = alignment.dropna(subset=["correlation"])
    last = measured.groupby("run")["epoch"].max()
    reached = {str(run): int(epoch + 1e-6) for run, epoch in last.items()}  # 25.0 may have been added up from steps
    lacking = shortfalls(found, reached, "no alignment measured yet")
    rows = [row for panel in found for row in _rows(panel)]
    tables = [_table(row, measured) for row in rows]

    columns = max(len(row.protocols) for row in rows)
    figure = page(columns, 2.9 * len(rows), notes_of(EXPLANATION, lacking))
    parts = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
    for part, row, table in zip(parts, rows, tables, strict=True):
        _draw_row(part, row, table, reached, columns)
    data = stack(tables)
    lowest = min(0.0, data["low"].min()) if len(data) else 0.0
    for axes in figure.get_axes():
        axes.set_ylim(1.05 * lowest - 0.02, 1.02)
    return Drawn(figure, data, drawn_runs(found, reached), lacking, EXPLANATION)


def _with_feedback(found: list[Panel]) -> list[Panel]:
    """Leave out back-propagation, whose R is Wᵗ by definition."""
    kept = []
    for panel in found:
        protocols = tuple(protocol for protocol in panel.protocols if protocol.rule != "bp")
        runs = panel.runs[panel.runs["rule"] != "bp"]
        kept.append(replace(panel, protocols=protocols, runs=runs))
    # A figure of nothing but BP runs still says what it would show.
    return [panel for panel in kept if panel.protocols] or [replace(kept[0], protocols=(URFB, FRFB))]


def _rows(panel: Panel) -> list[_Row]:
    rows: dict[tuple[str, float, float], list[Protocol]] = {}
    for protocol in panel.protocols:
        rows.setdefault((protocol.loss, protocol.connectivity, protocol.feedback()), []).append(protocol)
    return [_Row(panel, protocols, min(forward, feedback) < 1) for (_, forward, feedback), protocols in rows.items()]


def _table(row: _Row, alignment: pd.DataFrame) -> pd.DataFrame:
    """Return the row's lines, one row for each protocol, layer, step and kind of correlation."""
    columns = ["run", "step", "epoch", "layer", "layer_name", "correlation", "correlation_shared"]
    runs = row.panel.runs[row.panel.runs["protocol"].isin([protocol.name for protocol in row.protocols])]
    measured = runs[["run", "seed", "protocol"]].merge(alignment[columns], on="run")
    by = ["protocol", "layer", "layer_name", "step", "epoch"]
    parts = [over_seeds(measured, by, "correlation").assign(entries="all")]
    if row.sparse:
        parts.append(over_seeds(measured, by, "correlation_shared").assign(entries="shared"))
    table = stack(parts).assign(panel=row.panel.title)
    return table[["panel", *by, "entries", "mean", "low", "high", "n", "runs"]]


def _draw_row(part: FigureBase, row: _Row, table: pd.DataFrame, reached: Mapping[str, int], columns: int) -> None:
    names = table.drop_duplicates("layer").sort_values("layer", ascending=False)
    layers = [(int(layer), str(name)) for layer, name in zip(names["layer"], names["layer_name"], strict=True)]
    colours = [to_hex(colour) for colour in matplotlib.colormaps["viridis"](np.linspace(0, 0.85, len(layers)))]
    grid = part.subplots(1, columns, squeeze=False, sharey=True)[0]
    for axes, protocol in zip(grid, row.protocols, strict=False):
        lines = table[table["protocol"] == protocol.name]
        for (layer, _), colour in zip(layers, colours, strict=True):
            for kind in STYLES:
                _draw_line(axes, lines[(lines["layer"] == layer) & (lines["entries"] == kind)], layer, colour)
        epochs = [reached[run] for run in row.panel.runs_of(protocol)["run"] if run in reached]
        axes.set_title(f"{protocol.name} ({extent(epochs)})" if epochs else f"{protocol.name} (nothing measured)")
        axes.set_xlabel("epoch")
        axes.set_xlim(0, max(table["epoch"], default=0) or 1)
    for unused in grid[len(row.protocols) :]:
        unused.remove()
    grid[0].set_ylabel("correlation of W and Rᵗ")
    part.suptitle(row.panel.title)

    keys = [
        Line2D([], [], color=colour, marker=_marker(layer), label=f"layer {layer}: {name}")
        for (layer, name), colour in zip(layers, colours, strict=True)
    ]
    if row.sparse and keys:
        keys += [Line2D([], [], color=GREY, linestyle=STYLES[kind], label=words) for kind, words in WORDS.items()]
    if keys:
        part.legend(handles=keys, loc="outside lower center", ncols=min(len(keys), 2 * columns))


def _draw_line(axes: Axes, line: pd.DataFrame, layer: int, colour: str) -> None:
    if line.empty:
        return
    line = line.sort_values("step")
    kind = line["entries"].iloc[0]
    step = math.ceil(len(line) / MARKERS)
    look = {"color": colour, "linestyle": STYLES[kind], "marker": _marker(layer), "markevery": step}
    axes.plot(line["epoch"], line["mean"], label=f"{line['layer_name'].iloc[0]}, {WORDS[kind]}", **look)
    if (line["n"] > 1).any():
        axes.fill_between(line["epoch"], line["low"], line["high"], color=colour, alpha=0.2, linewidth=0)


def _marker(layer: int) -> str:
    return LAYER_MARKERS[layer % len(LAYER_MARKERS)]
