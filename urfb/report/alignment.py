"""Figures 10 and 11 and others of each layer by epoch: the correlation of W and Rᵗ, gradients, saturation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from urfb.nn.rules import RULES
from urfb.report.canvas import (
    GREY,
    PANEL_WIDTH,
    TITLE_SIZE,
    TITLE_WIDTH,
    Key,
    curve,
    epoch_axis,
    fitting_key,
    heading,
    page,
    placeholder,
    text_width,
    wrapped,
)
from urfb.report.colours import layer_looks
from urfb.report.drawn import MEANING_ALONE, Drawn, by_moment, drawn_runs, explain, extent, listed, shortfalls, stack
from urfb.report.exhibits import Data
from urfb.report.protocols import FRFB, URFB, Protocol
from urfb.report.selection import Panel
from urfb.report.styles import Style

MOST_ABREAST = 4
"""The most protocols in a row, so that it fits on a page."""


@dataclass(frozen=True)
class _Measure:
    """A quantity that is drawn for each layer by epoch.

    Attributes:
        columns: its columns in the frame of alignments, each with its value of `entries` in the figure's table.
        quantity: the label of the vertical axis.
        about: a sentence that says what is drawn.
        about_lowest, about_highest: a sentence about the lowest or highest layer, with `{}` for its number; empty for
            none.
        meaning: the meaning of the numbers, as in `Drawn`.
        losses_abreast: whether protocols with different losses share a row.
    """

    columns: Mapping[str, str]
    quantity: str
    about: str
    about_lowest: str
    about_highest: str
    meaning: str
    losses_abreast: bool = False


# A sparse layer has two correlations: over all entries and over the connections that both W and R have.
STYLES: dict[str, Any] = {"all": "-", "shared": ":"}
WORDS = {"all": "all entries", "shared": "connections of both"}
CORRELATION = _Measure(
    {"correlation": "all", "correlation_shared": "shared"},
    "correlation of W and Rᵗ",
    "Each line is the correlation between the entries of W and Rᵗ in one layer.",
    "No error passes through R of layer {}.",
    "",
    "mean, low and high: the mean and the range over n seeds of the correlation of W and Rᵗ; entries: the entries that "
    f"it is over; {MEANING_ALONE}",
)
GRADIENT_COSINE = _Measure(
    {"gradient_cosine": "all"},
    "cosine with BP's gradient",
    "Each line is the cosine of the angle between one layer's gradient of W and back-propagation's gradient at the "
    "same weights.",
    "",
    "The gradient of layer {}, the output, equals that of back-propagation.",
    "mean, low and high: the mean and the range over n seeds of the cosine of the angle between the rule's gradient of "
    "W and back-propagation's at the same weights, on a fixed set of training images; entries: all entries of W; "
    f"{MEANING_ALONE}",
)
SATURATION = _Measure(
    {"saturation": "all"},
    "saturated units",
    "Each line is the fraction of saturated units in one layer.",
    "A saturated unit is beyond the bounds of σ: σ′ is 0 and the unit passes no error signal on. Dropout is off.",
    "",
    "mean, low and high: the mean and the range over n seeds of the fraction of a layer's units that are beyond the "
    "bounds of σ, on a fixed set of training images and before any pool; entries: all units; "
    f"{MEANING_ALONE}",
    losses_abreast=True,
)
COLUMNS = ["panel", "protocol", "layer", "layer_name", "step", "epoch", "entries", "mean", "low", "high", "n", "alone"]
COLUMNS += ["runs"]
ABOUT_SHARED = "Solid lines are over all entries, dotted lines over the connections that both W and R have."
ABOUT_SEEDS = "Lines are means over seeds; bands span the smallest to the largest value."


@dataclass(frozen=True, eq=False)
class _Row:
    """Protocols side by side: of equal connectivity and, for most measures, equal loss.

    Attributes:
        title: the title above the row.
        panel: the panel that the row is part of.
        protocols: the protocols, each with its own axes.
        depth: the highest layer that learns.
        table: the lines: one row for each protocol, layer, step and value of `entries`.
    """

    title: str
    panel: Panel
    protocols: list[Protocol]
    depth: int
    table: pd.DataFrame

    @property
    def looks(self) -> dict[int, dict[str, Any]]:
        """The colour and the marker of each layer, the highest layer first."""
        return layer_looks(sorted({int(layer) for layer in self.table["layer"]}, reverse=True), self.depth)

    def key(self, width: float) -> Key:
        """Return the row's legend, which is at most `width` inches wide."""
        names = dict(zip(self.table["layer"], self.table["layer_name"], strict=True))
        handles = [Line2D([], [], label=f"layer {layer}: {names[layer]}", **look) for layer, look in self.looks.items()]
        across = min(len(handles), round(2 * width / PANEL_WIDTH))
        kinds = sorted(set(self.table["entries"]))
        if len(kinds) > 1:
            handles += [Line2D([], [], color=GREY, linestyle=STYLES[kind], label=WORDS[kind]) for kind in kinds]
        return fitting_key(handles, width - 0.1, across)


def draw(data: Data) -> Drawn:
    """Draw corr(W, Rᵗ) by epoch: a row for each panel and connectivity, and one set of axes for each rule.

    Runs with two stages are drawn from the start of the second, without the layers that it freezes.
    """
    panels = with_feedback(data.panels)
    shown = {protocol.name for protocol in _protocols(panels)}
    others = [protocol for protocol in _protocols(data.panels) if protocol.rule != "bp"]
    without = [protocol.name for protocol in others if protocol.name not in shown]
    computed = [protocol.name for protocol in _protocols(panels) if _may_compute_carrier(protocol.rule)]
    notes = []
    if computed:
        notes.append(f"For {listed(computed)}, R is the tensor that carries the error signal; it may depend on W.")
    if without:
        notes.append(f"Rules without an R of Wᵗ's shape are not shown: {listed(without)}.")
    return _draw(panels, data, CORRELATION, " ".join(notes))


def draw_gradients(data: Data) -> Drawn:
    """Draw the cosine of each layer's gradient with back-propagation's by epoch, as `draw` draws correlations."""
    return _draw(_without(["bp"], data.panels), data, GRADIENT_COSINE)


def draw_saturation(data: Data) -> Drawn:
    """Draw the fraction of each hidden layer's units that are saturated by epoch, as `draw` draws correlations."""
    return _draw(data.panels, data, SATURATION)


def _draw(panels: list[Panel], data: Data, measure: _Measure, note: str = "") -> Drawn:
    """Draw a measure of the panels; the note is the last sentence of the caption."""
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
    depths = data.measured["alignment"].groupby("run")["layer"].max()
    rows = [row for panel in panels for row in _rows(panel, measured, depths, measure.losses_abreast)]
    if not rows:
        return Drawn(placeholder(), pd.DataFrame(columns=COLUMNS), drawn_runs(panels, total), lacking, measure.meaning)

    columns = max(len(row.protocols) for row in rows)
    width = min(columns, 2) * PANEL_WIDTH
    lowest_layer, highest_layer = min(measured["layer"]), max(measured["layer"])
    about = [measure.about, explain([row.table for row in rows], ABOUT_SEEDS)]
    if any((row.table["entries"] == "shared").any() for row in rows):
        about.append(ABOUT_SHARED)
    about += [measure.about_lowest.format(lowest_layer), measure.about_highest.format(highest_layer), note]
    explanation = " ".join(words for words in about if words)
    headings = [wrapped(heading(row.title, len(rows), data.style), width - 0.4) for row in rows]
    titles = [_titles(row, reached, width / columns, data.style) for row in rows]
    keys = [row.key(width) for row in rows]
    heights = [
        (2.35 if columns < 3 else 1.95) + 0.12 * (words.count("\n") + lines) + key.height
        for words, lines, key in zip(
            headings, (max(text.count("\n") for text in texts) for texts in titles), keys, strict=True
        )
    ]
    figure = page(min(columns, 2), sum(heights), lacking, data.style)
    parts = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    places = _places(rows, columns)
    for part, row, words, texts, key in zip(parts, rows, headings, titles, keys, strict=True):
        if words:
            part.suptitle(words)
        grid = list(part.subplots(1, columns, squeeze=False, sharey=True)[0])
        taken = [places.get(protocol.name, number) for number, protocol in enumerate(row.protocols)]
        _draw_row([grid[place] for place in taken], row, texts, ticks=5 if columns < 3 else 3)
        grid[min(taken)].set_ylabel(measure.quantity)
        grid[min(taken)].tick_params(labelleft=True)
        for place in set(range(columns)) - set(taken):
            grid[place].remove()
        part.legend(**key.options, loc="outside lower center")
    shown = stack([row.table for row in rows])
    lowest = min(0.0, shown["low"].min())
    for axes in figure.get_axes():
        axes.set_ylim(1.05 * lowest - 0.02, 1.04)  # so that markers at 1 are whole
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    return Drawn(figure, shown, drawn_runs(panels, total), lacking, measure.meaning, explanation)


def last_stage(alignment: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the measurements in each run's last stage, counted in epochs of that stage, of the layers that learn."""
    stages = runs[["run", "pretraining_epochs", "frozen"]].drop_duplicates("run")
    rows = alignment.drop(columns=["pretraining_epochs", "frozen"], errors="ignore").merge(stages, on="run")
    pairs = zip(rows["layer"], rows["frozen"], strict=True)
    learning = pd.Series([str(layer) not in str(frozen).split() for layer, frozen in pairs], rows.index, dtype=bool)
    rows = rows[learning & ((rows["pretraining_epochs"] == 0) | (rows["epoch"] > rows["pretraining_epochs"]))]
    return rows.assign(epoch=rows["epoch"] - rows["pretraining_epochs"])


def _protocols(panels: Sequence[Panel]) -> list[Protocol]:
    """Return the protocols of the panels, each name once."""
    return list({protocol.name: protocol for panel in panels for protocol in panel.protocols}.values())


def _may_compute_carrier(rule: str) -> bool:
    """Return whether a rule computes the tensor that carries the error signal; custom rules may."""
    return rule not in RULES or RULES[rule].carrier is not None


def with_feedback(panels: list[Panel]) -> list[Panel]:
    """Leave out protocols whose rule has no R of W's shape; back-propagation's R is Wᵗ by definition."""
    return _without(
        [name for name, rule in RULES.items() if rule.carrier is None and (rule.direct or not rule.separate)], panels
    )


def _without(rules: Sequence[str], panels: list[Panel]) -> list[Panel]:
    kept = []
    for panel in panels:
        protocols = tuple(protocol for protocol in panel.protocols if protocol.rule not in rules)
        kept.append(replace(panel, protocols=protocols, runs=panel.runs[~panel.runs["rule"].isin(rules)]))
    # A figure without any other runs still lists the protocols that it lacks.
    return [panel for panel in kept if panel.protocols] or [replace(kept[0], protocols=(URFB, FRFB))]


def _rows(panel: Panel, measured: pd.DataFrame, depths: pd.Series[int], losses_abreast: bool) -> list[_Row]:
    """Sort a panel's measured protocols into rows; several rows have titles that say how they differ."""
    groups: dict[str, list[Protocol]] = {}
    for protocol in panel.protocols:
        words = f"connectivity {protocol.connectivity:g}"
        if not losses_abreast:
            words = f"{protocol.loss}, {words}"
        if protocol.feedback() != protocol.connectivity:
            words += f", feedback connectivity {protocol.feedback():g}"
        groups.setdefault(words, []).append(protocol)
    rows = []
    known = set(measured["run"])
    drawn = {
        words: [protocol for protocol in members if not known.isdisjoint(panel.runs_of(protocol)["run"])]
        for words, members in groups.items()
    }
    for words, protocols in ((words, part) for words, members in drawn.items() for part in _parts(members)):
        sparse = min(protocols[0].connectivity, protocols[0].feedback()) < 1
        runs = pd.concat([panel.runs_of(protocol)[["run", "seed", "protocol"]] for protocol in protocols])
        values = runs.merge(measured if sparse else measured[measured["entries"] == "all"], on="run")
        title = f"{panel.title}, {words}" if len(groups) > 1 else panel.title
        depth = int(depths.reindex(panel.runs["run"]).max())
        rows.append(_Row(title, panel, protocols, depth, _table(panel, values)))
    return rows


def _parts(protocols: list[Protocol]) -> list[list[Protocol]]:
    return [protocols[start : start + MOST_ABREAST] for start in range(0, len(protocols), MOST_ABREAST)]


def _table(panel: Panel, values: pd.DataFrame) -> pd.DataFrame:
    line = ["protocol", "layer", "layer_name", "entries"]
    table = by_moment(values, line, "value", ["step", "epoch"]).assign(panel=panel.title)
    return table[COLUMNS]


def _titles(row: _Row, reached: Mapping[str, int], width: float, style: Style) -> list[str]:
    """Return the title of each of a row's axes, which are `width` inches wide."""
    words = []
    for protocol in row.protocols:
        epochs = [reached[run] for run in row.panel.runs_of(protocol)["run"] if run in reached]
        words.append((protocol.name, f"({extent(epochs)})"))
    room = width - (PANEL_WIDTH - TITLE_WIDTH if width > 2 else 0.1)
    if style is Style.PAPER:
        return [wrapped(name, room) for name, _ in words]
    if all(text_width(" ".join(pair), TITLE_SIZE) <= room for pair in words):
        return [" ".join(pair) for pair in words]
    return ["\n".join(wrapped(text, room) for text in pair) for pair in words]


def _places(rows: Sequence[_Row], columns: int) -> dict[str, int]:
    """Return the column of each protocol; empty if the rows have more protocols than columns.

    Protocols that more rows have come first, so that the gaps are at the end of a row.
    """
    names = [protocol.name for row in rows for protocol in row.protocols]
    order = sorted(dict.fromkeys(names), key=names.count, reverse=True)
    return {name: column for column, name in enumerate(order)} if len(order) <= columns else {}


def _draw_row(grid: Sequence[Axes], row: _Row, titles: Sequence[str], ticks: int) -> None:
    """Draw a row's lines, each protocol on its axes."""
    looks = row.looks
    names = dict(zip(row.table["layer"], row.table["layer_name"], strict=True))
    for axes, protocol, title in zip(grid, row.protocols, titles, strict=True):
        axes.set_title(title)
        lines = dict(iter(row.table[row.table["protocol"] == protocol.name].groupby(["layer", "entries"])))
        for number, (layer, look) in enumerate(looks.items()):
            for kind, style in STYLES.items():
                if (layer, kind) in lines:
                    label = f"{names[layer]}, {WORDS[kind]}"
                    curve(axes, lines[layer, kind], number, len(looks), linestyle=style, label=label, **look)
        epoch_axis(axes, max(row.table["epoch"]) or 1, ticks=ticks)
