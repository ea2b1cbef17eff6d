"""Errors before W and Rᵗ are aligned: a figure for the sixth of the paper's claims."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox

from urfb.report.alignment import last_stage, with_feedback
from urfb.report.canvas import (
    GREY,
    MANY,
    MARKERS,
    NOTE_SIZE,
    PANEL_WIDTH,
    THIN,
    Key,
    curve,
    fitting_key,
    heading,
    page,
    placeholder,
    text_width,
    wrapped,
)
from urfb.report.drawn import MEANING_ALONE, Drawn, by_moment, drawn_runs, explain, extent, shortfalls, stack, with_runs
from urfb.report.exhibits import Data
from urfb.report.protocols import Protocol
from urfb.report.selection import Panel
from urfb.report.styles import Style

EARLY = 100  # steps
MOMENTS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Epochs with a marker."""
APART = 0.045  # of the height of the axes, between two lines of BP, so that their epochs can be read

HALO = 1.5  # points
AXES_SIZE = (2.6, 1.6)  # inches, about
LAYER_STYLES: Any = ("-", "--", ":", "-.")
COLUMNS = ["panel", "quantity", "protocol", "layer", "layer_name", "step", "epoch", "correlation"]
COLUMNS += ["mean", "low", "high", "n", "alone", "runs"]
MEANING = (
    "quantity 'correlation': the correlation of W and Rᵗ by step, in a layer whose R carries the error; quantity "
    "'error': the validation error in percent by epoch, with the correlation at that epoch averaged over these layers; "
    f"mean, low and high: the mean and the range over n seeds; {MEANING_ALONE}"
)
ABOUT = (
    "Left: the correlation of W and Rᵗ by step, with a line style for each layer. Right: the validation error against "
    "the mean of these correlations; numbers are epochs."
)
ABOUT_LAYERS = "Layers whose R carries no error are left out."
ABOUT_SEEDS = "Lines are means over seeds; bands and bars span the smallest to the largest value."
ABOUT_MANY = "Lines are means over seeds; bars span the smallest to the largest value."
ABOUT_REFERENCE = "Horizontal lines are the error of {}, whose correlation is always 1, after some epochs."


def draw(data: Data) -> Drawn:
    """Draw, left, corr(W, Rᵗ) by step; right, the validation error against it, with the error of back-propagation."""
    alignment = _carrying(data)
    errors = data.measured["epochs"][["run", "epoch", "validation_error"]].dropna()
    errors = errors.assign(error=100 * errors["validation_error"]).drop(columns="validation_error")
    reached = {str(run): int(last) for run, last in errors.groupby("run")["epoch"].max().items()}
    lacking = shortfalls(data.panels, reached, "no epoch yet")
    panels = with_runs(data.panels, reached)
    if not panels:
        return Drawn(placeholder(), pd.DataFrame(columns=COLUMNS), drawn_runs(data.panels, {}), lacking, MEANING)
    pairs = [[_by_step(panel, alignment), _by_epoch(panel, alignment, errors)] for panel in panels]
    # pandas 2 warns about empty parts and columns, so empty parts are left out and columns are added later.
    tables = [pd.concat([table for table in pair if len(table)] or pair).reindex(columns=COLUMNS) for pair in pairs]
    references = [_reference(panel) for panel in panels]
    most = max(_lines(panel, table) for panel, table in zip(panels, tables, strict=True))
    about = [ABOUT, explain(tables, ABOUT_SEEDS if most <= MANY else ABOUT_MANY)]
    if len(alignment):
        about.append(ABOUT_LAYERS)
    names = [
        reference.name
        for reference, panel in zip(references, panels, strict=True)
        if reference and len(panel.runs_of(reference))
    ]
    about += [ABOUT_REFERENCE.format(names[0])] if names else []
    keys = [_key(*of_panel, reached, data.style) for of_panel in zip(panels, tables, references, strict=True)]
    heights = [2.3 + key.height for key in keys]
    figure = page(2, sum(heights), lacking, data.style)
    parts = figure.subfigures(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, panel, table, reference, key in zip(parts, panels, tables, references, keys, strict=True):
        if title := heading(panel.title, len(panels), data.style):
            part.suptitle(wrapped(title, 2 * PANEL_WIDTH - 0.4))
        _draw_panel(part, panel, table, reference)
        part.legend(**key.options, loc="outside lower center")
    return Drawn(
        figure,
        stack(tables),
        drawn_runs(panels, reached),
        lacking,
        MEANING,
        " ".join(words for words in about if words),
    )


def _carrying(data: Data) -> pd.DataFrame:
    """Return the correlations of the layers whose R carries the error: all but the lowest that learns."""
    alignment = last_stage(data.measured["alignment"].dropna(subset=["correlation"]), data.runs)
    return alignment[alignment["layer"] > alignment.groupby("run")["layer"].transform("min")]


def _reference(panel: Panel) -> Protocol | None:
    """Return the protocol of back-propagation, with the hinge loss if the panel has that."""
    candidates = [protocol for protocol in panel.protocols if protocol.rule == "bp"]
    return min(candidates, key=lambda protocol: protocol.loss, default=None)


def _by_step(panel: Panel, alignment: pd.DataFrame) -> pd.DataFrame:
    values = panel.runs[["run", "seed", "protocol"]].merge(alignment.drop(columns=["seed"]), on="run")
    table = by_moment(values, ["protocol", "layer", "layer_name"], "correlation", ["step", "epoch"])
    table = table.astype({"layer": "Int64", "step": "Int64"})  # errors have none
    return table.assign(panel=panel.title, quantity="correlation")


def _by_epoch(panel: Panel, alignment: pd.DataFrame, errors: pd.DataFrame) -> pd.DataFrame:
    whole = alignment[alignment["epoch"] % 1 == 0]
    mean = whole.groupby(["run", "epoch"], as_index=False)["correlation"].mean()
    values = panel.runs[["run", "seed", "protocol", "rule"]].merge(errors, on="run")
    values = values.merge(mean, on=["run", "epoch"], how="left")
    values = values[values["correlation"].notna() | (values["rule"] == "bp")]
    table = by_moment(values, ["protocol"], "error")
    correlation = by_moment(values, ["protocol"], "correlation").rename(columns={"mean": "correlation"})
    of_row = ["protocol", "epoch", "runs", "alone"]
    table = table.merge(correlation[[*of_row, "correlation"]], on=of_row)
    return table.assign(panel=panel.title, quantity="error")


def _names(table: pd.DataFrame) -> dict[int, str]:
    """Return the name of each layer whose correlation is drawn, the highest layer first."""
    named = table.dropna(subset=["layer"]).drop_duplicates("layer").sort_values("layer", ascending=False)
    return {int(layer): str(name) for layer, name in zip(named["layer"], named["layer_name"], strict=True)}


def _lines(panel: Panel, table: pd.DataFrame) -> int:
    """Return the number of lines in the left axes of a panel."""
    return len(with_feedback([panel])[0].protocols) * len(_names(table))


def _draw_panel(part: SubFigure, panel: Panel, table: pd.DataFrame, reference: Protocol | None) -> None:
    left, right = part.subplots(1, 2)
    correlations, errors = (table[table["quantity"] == name] for name in ("correlation", "error"))
    [shown] = with_feedback([panel])
    count = _lines(panel, table)
    for protocol in shown.protocols:
        lines = correlations[correlations["protocol"] == protocol.name]
        for layer, style in zip(_names(table), itertools.cycle(LAYER_STYLES)):
            line = lines[lines["layer"] == layer]
            by_step = line.drop(columns="epoch").rename(columns={"step": "epoch"}).astype({"epoch": float})
            appearance: dict[str, Any] = {"color": protocol.colour, "marker": protocol.marker, "linestyle": style}
            marked = _marked(line.loc[~line["alone"], "step"])
            curve(left, by_step, of=count, label=f"{protocol.name}, layer {layer}", markevery=marked, **appearance)
        _draw_course(right, errors[errors["protocol"] == protocol.name], protocol)
    _finish_steps(left, correlations)
    if reference is not None:
        _draw_reference(right, errors[errors["protocol"] == reference.name], reference)
    _name_epochs(right, [errors[errors["protocol"] == protocol.name] for protocol in shown.protocols])
    right.set(xlabel="mean correlation of W and Rᵗ over these layers", ylabel="validation error (%)")


def _key(
    panel: Panel, table: pd.DataFrame, reference: Protocol | None, reached: Mapping[str, int], style: Style
) -> Key:
    handles = []
    [shown] = with_feedback([panel])
    for protocol in (*([reference] if reference else []), *shown.protocols):
        epochs = [reached[run] for run in panel.runs_of(protocol)["run"] if run in reached]
        label = f"{protocol.name} ({extent(epochs) if epochs else 'nothing measured'})"
        if style is Style.PAPER:
            label = protocol.name
        marker = "" if protocol is reference else protocol.marker
        handles.append(Line2D([], [], color=protocol.colour, marker=marker, label=label))
    for (layer, name), dashes in zip(_names(table).items(), itertools.cycle(LAYER_STYLES)):
        handles.append(Line2D([], [], color=GREY, linestyle=dashes, label=f"layer {layer}: {name}"))
    return fitting_key(handles, 2 * PANEL_WIDTH - 0.1, 3)


def _marked(steps: pd.Series[Any]) -> list[int]:
    """Return which steps have a marker, evenly spaced on the logarithmic axis."""
    if steps.empty:
        return []
    even = np.geomspace(1, max(steps.max(), 1), 2 * MARKERS)
    return sorted({int(position) for position in steps.searchsorted(even.round()) if position < len(steps)})


def _finish_steps(axes: Axes, correlations: pd.DataFrame) -> None:
    """Make the horizontal axis logarithmic from step 1, and mark the first 100 steps and the first epoch."""
    last = max(correlations["step"].max() if len(correlations) else EARLY, EARLY)
    axes.axvspan(0, EARLY, color="0.95", zorder=0)
    axes.set_xscale("symlog", linthresh=1, linscale=0.4)
    axes.set_xlim(-0.05, 1.3 * last)
    axes.set(xlabel=f"step (the first {EARLY} are shaded)", ylabel="correlation of W and Rᵗ")
    lowest = correlations["low"].min() if len(correlations) else 0.0
    axes.set_ylim(min(lowest, 0.0) - 0.03, 1.02)
    first = correlations[correlations["epoch"] == 1]
    if len(first):
        axes.axvline(first["step"].iloc[0], color=GREY, linewidth=0.6, linestyle=":")
        where = (first["step"].iloc[0], 1.0)
        axes.annotate("epoch 1", where, (2, -1), axes.get_xaxis_transform(), "offset points", va="top", fontsize=6)


def _draw_course(axes: Axes, errors: pd.DataFrame, protocol: Protocol) -> None:
    """Draw errors against correlations."""
    together = errors[~errors["alone"].astype(bool)]
    marked = together["epoch"].isin(MOMENTS).to_numpy()
    appearance: dict[str, Any] = {"color": protocol.colour, "marker": protocol.marker, "label": protocol.name}
    axes.plot(together["correlation"], together["mean"], markevery=marked.nonzero()[0].tolist(), **appearance)
    repeated = together[marked & (together["n"] > 1)]
    axes.vlines(repeated["correlation"], repeated["low"], repeated["high"], color=protocol.colour, linewidth=0.7)
    for run, alone in errors[errors["alone"].astype(bool)].groupby("runs", sort=False):
        label = f"{protocol.name}, run {run}"
        axes.plot(alone["correlation"], alone["mean"], color=protocol.colour, label=label, **THIN)
    axes.margins(x=0.1)


def _name_epochs(axes: Axes, lines: Sequence[pd.DataFrame]) -> None:
    """Write epochs next to the lines, alternately above and below, unless they would overlap."""
    placed: list[Bbox] = []
    axes.autoscale_view()  # the limits are needed now
    for number, errors in enumerate(lines):
        above = number % 2 == 0
        side: dict[str, Any] = {"ha": "left", "va": "bottom"} if above else {"ha": "right", "va": "top"}
        offset = (2.5, 1.5) if above else (-2.5, -1.5)
        marked = errors[~errors["alone"].astype(bool) & errors["epoch"].isin(MOMENTS)]
        for point in marked.to_dict("records"):
            where, words = (point["correlation"], point["mean"]), f"{point['epoch']:,.0f}"
            x, y = axes.transLimits.transform(where) * AXES_SIZE + np.array(offset) / 72  # inches
            width, height = np.array((text_width(words, NOTE_SIZE), NOTE_SIZE / 72)) * (1 if above else -1)
            box = Bbox.from_extents(min(x, x + width), min(y, y + height), max(x, x + width), max(y, y + height))
            if any(box.padded(HALO / 72).overlaps(other) for other in placed):
                continue
            placed.append(box)
            text = axes.annotate(words, where, offset, "data", "offset points", fontsize=NOTE_SIZE, color=GREY, **side)
            text.set_path_effects([withStroke(linewidth=HALO, foreground="white")])  # a line may be behind it


def _draw_reference(axes: Axes, errors: pd.DataFrame, reference: Protocol) -> None:
    """Draw the error of back-propagation after some epochs as horizontal lines, with their epochs."""
    bottom, top = axes.get_ylim()
    marked = errors[~errors["alone"].astype(bool) & errors["epoch"].isin(MOMENTS)]
    if len(marked):
        bottom, top = min(bottom, 0.97 * marked["mean"].min()), max(top, 1.03 * marked["mean"].max())
        axes.set_ylim(bottom, top)
        style: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": NOTE_SIZE, "color": GREY}
        axes.annotate("epoch", (1.0, 1.0), (4, 1), "axes fraction", "offset points", **style)
    placed: list[float] = []
    for point in marked.to_dict("records"):
        if any(abs(point["mean"] - level) < APART * (top - bottom) for level in placed):
            continue
        placed.append(point["mean"])
        label = f"{reference.name}, epoch {point['epoch']:.0f}"
        axes.axhline(point["mean"], color=reference.colour, linewidth=0.8, zorder=1, label=label)
        where = (1.0, point["mean"])
        words = f"{point['epoch']:,.0f}"
        axes.annotate(
            words, where, (2, 0), axes.get_yaxis_transform(), "offset points",
            va="center", fontsize=NOTE_SIZE, color=GREY,
        )  # fmt: skip
