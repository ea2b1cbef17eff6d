"""Figure 10: how far the forward and the feedback weights of each layer agree."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import matplotlib
import pandas as pd
import seaborn as sns
from matplotlib.figure import FigureBase
from matplotlib.lines import Line2D

from urfb.nn.rules import RULES
from urfb.report.canvas import GREY, STYLE, TITLE_CHARACTERS, by_rows, curve, epoch_axis, page
from urfb.report.drawn import Drawn, drawn_runs, explain, extent, identities, over_seeds, shortfalls, stack
from urfb.report.protocols import FRFB, URFB, Protocol
from urfb.report.selection import Frames, Panel, Selection, panels

MOST_ABREAST = 4
"""Sets of axes in a row, so that it fits a page."""

LAYER_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# Of a sparse layer, the correlation over the connections that W and R both have is another number than over all.
STYLES: dict[str, Any] = {"all": "-", "shared": ":"}
WORDS = {"all": "all entries", "shared": "connections of both"}
MEANING = (
    "mean, low and high: the correlation of W and Rᵗ, its mean and its range over n seeds; entries: over which it is"
)
ABOUT_SEEDS = "Mean over seeds; the band goes from the smallest to the largest."
ABOUT_FIRST = "No error passes through R of layer 1."


@dataclass(frozen=True, eq=False)
class _Row:
    """Protocols to set side by side: alike in loss and connectivity, so that only the rule differs."""

    title: str
    panel: Panel
    protocols: list[Protocol]
    sparse: bool
    values: pd.DataFrame  # of each run, layer, step and kind of correlation


def figure10(frames: Frames, selection: Selection) -> Drawn:
    """Draw corr(W, Rᵗ) of every layer by epoch: simpnet on CIFAR-10, URFB left and FRFB right."""
    found = panels(frames.runs(), selection, ["cifar10"], (URFB, FRFB))
    with matplotlib.rc_context(STYLE):
        return draw(found, frames.alignment(run=identities(found)))


def draw(found: list[Panel], alignment: pd.DataFrame) -> Drawn:
    """Draw corr(W, Rᵗ) by epoch: a row for each panel and connectivity, in it one set of axes for each rule."""
    found = _with_feedback(found)
    alignment = alignment.dropna(subset=["correlation"])
    last = alignment.groupby("run")["epoch"].max()
    reached = {str(run): int(epoch + 1e-6) for run, epoch in last.items()}  # 25.0 may have been added up from steps
    measured = alignment.rename(columns={"correlation": "all", "correlation_shared": "shared"})
    measured = measured.melt(["run", "step", "epoch", "layer", "layer_name"], list(STYLES), "entries", "correlation")
    measured = measured.dropna(subset=["correlation"])
    lacking = shortfalls(found, reached, "no alignment measured yet")
    rows = [row for panel in found for row in _rows(panel, measured)]
    tables = [_table(row) for row in rows]

    columns = max(len(row.protocols) for row in rows)
    explanation = f"{explain(tables, ABOUT_SEEDS)} {ABOUT_FIRST}".strip() if reached else ""
    figure = page(columns, 2.6 * len(rows), explanation, lacking)
    parts = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
    for part, row in zip(parts, rows, strict=True):
        _draw_row(part, row, reached, columns)
    data = stack(tables)
    lowest = min(0.0, data["low"].min()) if len(data) else 0.0
    for axes in figure.get_axes():
        axes.set_ylim(1.05 * lowest - 0.02, 1.02)
    return Drawn(figure, data, drawn_runs(found, reached), lacking, MEANING)


def _with_feedback(found: list[Panel]) -> list[Panel]:
    """Leave out rules without an R of W's shape: back-propagation's is Wᵗ by definition."""
    without = [name for name, rule in RULES.items() if rule.carrier is None and (rule.direct or not rule.separate)]
    kept = []
    for panel in found:
        protocols = tuple(protocol for protocol in panel.protocols if protocol.rule not in without)
        runs = panel.runs[~panel.runs["rule"].isin(without)]
        kept.append(replace(panel, protocols=protocols, runs=runs))
    # A figure of nothing but such runs still says what it would show.
    return [panel for panel in kept if panel.protocols] or [replace(kept[0], protocols=(URFB, FRFB))]


def _rows(panel: Panel, measured: pd.DataFrame) -> list[_Row]:
    """Sort a panel's protocols into rows; where there are several, their titles say how they differ."""
    alike: dict[str, list[Protocol]] = {}
    for protocol in panel.protocols:
        words = f"{protocol.loss}, connectivity {protocol.connectivity:g}"
        if protocol.feedback() != protocol.connectivity:
            words += f", feedback connectivity {protocol.feedback():g}"
        alike.setdefault(words, []).append(protocol)
    rows = []
    for words, protocols in ((words, part) for words, every in alike.items() for part in _parts(every)):
        sparse = min(protocols[0].connectivity, protocols[0].feedback()) < 1
        runs = pd.concat([panel.runs_of(protocol)[["run", "seed", "protocol"]] for protocol in protocols])
        values = runs.merge(measured if sparse else measured[measured["entries"] == "all"], on="run")
        title = f"{panel.title}, {words}" if len(alike) > 1 else panel.title
        rows.append(_Row(title, panel, protocols, sparse, values))
    return rows


def _parts(protocols: list[Protocol]) -> list[list[Protocol]]:
    return [protocols[start : start + MOST_ABREAST] for start in range(0, len(protocols), MOST_ABREAST)]


def _table(row: _Row) -> pd.DataFrame:
    """Return the row's lines, one row for each protocol, layer, step and kind of correlation."""
    by = ["protocol", "layer", "layer_name", "step", "epoch", "entries"]
    table = over_seeds(row.values, by, "correlation").assign(panel=row.panel.title)
    return table[["panel", *by, "mean", "low", "high", "n", "runs"]]


def _draw_row(part: FigureBase, row: _Row, reached: Mapping[str, int], columns: int) -> None:
    names = row.values.drop_duplicates("layer").sort_values("layer", ascending=False)
    layers = [(int(layer), str(name)) for layer, name in zip(names["layer"], names["layer_name"], strict=True)]
    looks = {
        layer: {"color": colour, "marker": LAYER_MARKERS[layer % len(LAYER_MARKERS)]}
        for (layer, _), colour in zip(layers, sns.color_palette("viridis", len(layers)).as_hex(), strict=True)
    }
    grid = part.subplots(1, columns, squeeze=False, sharey=True)[0]
    for axes, protocol in zip(grid, row.protocols, strict=False):
        lines = row.values[row.values["protocol"] == protocol.name]
        for layer, name in layers:
            for kind, style in STYLES.items():
                line = lines[(lines["layer"] == layer) & (lines["entries"] == kind)]
                curve(axes, line, "correlation", linestyle=style, label=f"{name}, {WORDS[kind]}", **looks[layer])
        epochs = [reached[run] for run in row.panel.runs_of(protocol)["run"] if run in reached]
        axes.set_title(f"{protocol.name} ({extent(epochs)})" if epochs else f"{protocol.name} (nothing measured)")
        epoch_axis(axes, max(row.values["epoch"], default=0) or 1)
    for unused in grid[len(row.protocols) :]:
        unused.remove()
    grid[0].set_ylabel("correlation of W and Rᵗ")
    part.suptitle(textwrap.fill(row.title, columns * TITLE_CHARACTERS))

    keys = [Line2D([], [], label=f"layer {layer}: {name}", **looks[layer]) for layer, name in layers]
    if row.sparse and keys:
        keys += [Line2D([], [], color=GREY, linestyle=STYLES[kind], label=words) for kind, words in WORDS.items()]
    if keys:
        across = min(len(layers), 2 * columns)
        part.legend(handles=by_rows(keys, across), loc="outside lower center", ncols=across)
