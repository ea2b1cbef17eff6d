"""Figures 10 and 11: how far W and R of each layer agree; its gradients, with back-propagation's; its saturation."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.figure import FigureBase
from matplotlib.lines import Line2D

from urfb.nn.rules import RULES
from urfb.report.canvas import GREY, TITLE_CHARACTERS, by_rows, curve, epoch_axis, page
from urfb.report.drawn import Drawn, drawn_runs, explain, extent, over_seeds, shortfalls, stack
from urfb.report.exhibits import Data
from urfb.report.protocols import FRFB, URFB, Protocol
from urfb.report.selection import Panel

MOST_ABREAST = 4
"""Sets of axes in a row, so that it fits a page."""

LAYER_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


@dataclass(frozen=True)
class _Measure:
    """What is drawn of each layer by epoch.

    Attributes:
        columns: where it is in the alignment's frame, and what each is called in the figure's table.
        quantity: the vertical axis's label.
        about_lowest, about_highest: a sentence about that layer, if it needs one, with its number in braces.
        meaning: as of `Drawn`.
        losses_abreast: whether protocols that differ in loss stand side by side, too.
    """

    columns: Mapping[str, str]
    quantity: str
    about_lowest: str
    about_highest: str
    meaning: str
    losses_abreast: bool = False


# Of a sparse layer, the correlation over the connections that W and R both have is another number than over all.
STYLES: dict[str, Any] = {"all": "-", "shared": ":"}
WORDS = {"all": "all entries", "shared": "connections of both"}
CORRELATION = _Measure(
    {"correlation": "all", "correlation_shared": "shared"},
    "correlation of W and Rᵗ",
    "No error passes through R of layer {}.",
    "",
    "mean, low and high: the correlation of W and Rᵗ, its mean and its range over n seeds; entries: over which it is",
)
GRADIENT_COSINE = _Measure(
    {"gradient_cosine": "all"},
    "cosine with BP's gradient",
    "",
    "Of layer {}, the output, the gradient is BP's own.",
    "mean, low and high: the cosine of the angle between the rule's gradient of W and back-propagation's at the same "
    "weights, on a fixed set of training images, its mean and its range over n seeds; entries: over which it is",
)
SATURATION = _Measure(
    {"saturation": "all"},
    "saturated units",
    "A saturated unit is beyond the bounds of σ, where σ′ = 0 and it passes no error signal on; without dropout.",
    "",
    "mean, low and high: the fraction of a layer's units that are beyond the bounds of σ, over a fixed set of training "
    "images and before any pool, its mean and its range over n seeds; entries: all units",
    losses_abreast=True,
)
ABOUT_SEEDS = "Mean over seeds; the band goes from the smallest to the largest."


@dataclass(frozen=True, eq=False)
class _Row:
    """Protocols to set side by side: alike in connectivity, and for most measures in loss: only the rule differs."""

    title: str
    panel: Panel
    protocols: list[Protocol]
    sparse: bool
    table: pd.DataFrame  # its lines: one row for each protocol, layer, step and kind of correlation


def draw(data: Data) -> Drawn:
    """Draw corr(W, Rᵗ) by epoch: a row for each panel and connectivity, in it one set of axes for each rule.

    Of runs with a first stage, the second is drawn, without the layers that are frozen then: those do not learn.
    """
    return _draw(with_feedback(data.panels), data, CORRELATION)


def draw_gradients(data: Data) -> Drawn:
    """Draw the cosine of each layer's gradient with back-propagation's by epoch, as `draw` draws correlations."""
    return _draw(_without(["bp"], data.panels), data, GRADIENT_COSINE)


def draw_saturation(data: Data) -> Drawn:
    """Draw the fraction of each hidden layer's units that are saturated by epoch, as `draw` draws correlations."""
    return _draw(data.panels, data, SATURATION)


def _draw(panels: list[Panel], data: Data, measure: _Measure) -> Drawn:
    [column, *_] = measure.columns
    alignment = last_stage(data.measured["alignment"].dropna(subset=[column]), data.runs)
    last = alignment.groupby("run")["epoch"].max()
    reached = {str(run): int(epoch) for run, epoch in last.items()}
    layer_columns = ["run", "step", "epoch", "layer", "layer_name"]
    measured = alignment[[*layer_columns, *measure.columns]].rename(columns=measure.columns)
    measured = measured.melt(layer_columns, list(measure.columns.values()), "entries", "value").dropna(subset=["value"])
    first_stage = dict(zip(data.runs["run"], data.runs["pretraining_epochs"], strict=True))
    total = {run: epochs + int(first_stage[run]) for run, epochs in reached.items()}
    lacking = shortfalls(panels, total, "nothing measured yet")
    rows = [row for panel in panels for row in _rows(panel, measured, measure.losses_abreast)]

    columns = max(len(row.protocols) for row in rows)
    about = [explain([row.table for row in rows], ABOUT_SEEDS)]
    if reached:
        about.append(measure.about_lowest.format(min(measured["layer"])))
        about.append(measure.about_highest.format(max(measured["layer"])))
    explanation = " ".join(words for words in about if words)
    figure = page(columns, 2.6 * len(rows), explanation, lacking)
    parts = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
    for part, row in zip(parts, rows, strict=True):
        _draw_row(part, row, reached, columns, measure.quantity)
    shown = stack([row.table for row in rows])
    lowest = min(0.0, shown["low"].min()) if len(shown) else 0.0
    for axes in figure.get_axes():
        axes.set_ylim(1.05 * lowest - 0.02, 1.02)
    return Drawn(figure, shown, drawn_runs(panels, total), lacking, measure.meaning)


def last_stage(alignment: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return what was measured in each run's last stage, by that stage's own epochs, of the layers that learn in it."""
    stages = runs[["run", "pretraining_epochs", "frozen"]].drop_duplicates("run")
    rows = alignment.drop(columns=["pretraining_epochs", "frozen"], errors="ignore").merge(stages, on="run")
    pairs = zip(rows["layer"], rows["frozen"], strict=True)
    learning = pd.Series([str(layer) not in str(frozen).split() for layer, frozen in pairs], rows.index, dtype=bool)
    rows = rows[learning & ((rows["pretraining_epochs"] == 0) | (rows["epoch"] > rows["pretraining_epochs"]))]
    return rows.assign(epoch=rows["epoch"] - rows["pretraining_epochs"])


def with_feedback(panels: list[Panel]) -> list[Panel]:
    """Leave out rules without an R of W's shape: back-propagation's is Wᵗ by definition."""
    return _without(
        [name for name, rule in RULES.items() if rule.carrier is None and (rule.direct or not rule.separate)], panels
    )


def _without(rules: Sequence[str], panels: list[Panel]) -> list[Panel]:
    kept = []
    for panel in panels:
        protocols = tuple(protocol for protocol in panel.protocols if protocol.rule not in rules)
        kept.append(replace(panel, protocols=protocols, runs=panel.runs[~panel.runs["rule"].isin(rules)]))
    # A figure of nothing but such runs still says what it would show.
    return [panel for panel in kept if panel.protocols] or [replace(kept[0], protocols=(URFB, FRFB))]


def _rows(panel: Panel, measured: pd.DataFrame, losses_abreast: bool) -> list[_Row]:
    """Sort a panel's protocols into rows; where there are several, their titles say how they differ."""
    groups: dict[str, list[Protocol]] = {}
    for protocol in panel.protocols:
        words = f"connectivity {protocol.connectivity:g}"
        if not losses_abreast:
            words = f"{protocol.loss}, {words}"
        if protocol.feedback() != protocol.connectivity:
            words += f", feedback connectivity {protocol.feedback():g}"
        groups.setdefault(words, []).append(protocol)
    rows = []
    for words, protocols in ((words, part) for words, members in groups.items() for part in _parts(members)):
        sparse = min(protocols[0].connectivity, protocols[0].feedback()) < 1
        runs = pd.concat([panel.runs_of(protocol)[["run", "seed", "protocol"]] for protocol in protocols])
        values = runs.merge(measured if sparse else measured[measured["entries"] == "all"], on="run")
        title = f"{panel.title}, {words}" if len(groups) > 1 else panel.title
        rows.append(_Row(title, panel, protocols, sparse, _table(panel, values)))
    return rows


def _parts(protocols: list[Protocol]) -> list[list[Protocol]]:
    return [protocols[start : start + MOST_ABREAST] for start in range(0, len(protocols), MOST_ABREAST)]


def _table(panel: Panel, values: pd.DataFrame) -> pd.DataFrame:
    by = ["protocol", "layer", "layer_name", "step", "epoch", "entries"]
    table = over_seeds(values, by, "value").assign(panel=panel.title)
    return table[["panel", *by, "mean", "low", "high", "n", "runs"]]


def _draw_row(part: FigureBase, row: _Row, reached: Mapping[str, int], columns: int, quantity: str) -> None:
    names = row.table.drop_duplicates("layer").sort_values("layer", ascending=False)
    layers = [(int(layer), str(name)) for layer, name in zip(names["layer"], names["layer_name"], strict=True)]
    styles = {
        layer: {"color": colour, "marker": LAYER_MARKERS[layer % len(LAYER_MARKERS)]}
        for (layer, _), colour in zip(layers, sns.color_palette("viridis", len(layers)).as_hex(), strict=True)
    }
    grid = part.subplots(1, columns, squeeze=False, sharey=True)[0]
    for axes, protocol in zip(grid, row.protocols, strict=False):
        lines = row.table[row.table["protocol"] == protocol.name]
        for layer, name in layers:
            for kind, style in STYLES.items():
                line = lines[(lines["layer"] == layer) & (lines["entries"] == kind)]
                curve(axes, line, linestyle=style, label=f"{name}, {WORDS[kind]}", **styles[layer])
        epochs = [reached[run] for run in row.panel.runs_of(protocol)["run"] if run in reached]
        axes.set_title(f"{protocol.name} ({extent(epochs)})" if epochs else f"{protocol.name} (nothing measured)")
        epoch_axis(axes, max(row.table["epoch"], default=0) or 1)
    for unused in grid[len(row.protocols) :]:
        unused.remove()
    grid[0].set_ylabel(quantity)
    part.suptitle(textwrap.fill(row.title, columns * TITLE_CHARACTERS))

    keys = [Line2D([], [], label=f"layer {layer}: {name}", **styles[layer]) for layer, name in layers]
    kinds = sorted(set(row.table["entries"]))
    if len(kinds) > 1:
        keys += [Line2D([], [], color=GREY, linestyle=STYLES[kind], label=WORDS[kind]) for kind in kinds]
    if keys:
        across = min(len(layers), 2 * columns)
        part.legend(handles=by_rows(keys, across), loc="outside lower center", ncols=across)
