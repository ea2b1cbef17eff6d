"""Sizes, fonts, legends and pages of figures, and the line on a figure that says that it is incomplete."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from math import ceil
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import rcParamsDefault
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.textpath import text_to_path
from matplotlib.ticker import MaxNLocator, StrMethodFormatter
from matplotlib.transforms import ScaledTranslation

from urfb.report.drawn import in_brief
from urfb.report.styles import Style

PANEL_WIDTH = 85 / 25.4  # inches: a column of the journal
PAGE_WIDTH = 180 / 25.4  # inches: two columns of the journal, and the gap between them
MARKERS = 5  # number on each line, evenly spaced, for any number of epochs
GREY = "0.35"

TITLE_SIZE = 7.68  # points
TITLE_WIDTH = 2.85  # inches, for a line above a panel
MANY = 30  # lines in one set of axes: with more, there are no bands
NOTE_SIZE = 6.0  # points
LEGEND_SIZE = 6.5  # points
THIN: Any = {"linewidth": 0.6, "marker": "", "alpha": 0.8}
"""The style of a line of a single seed with more epochs than others."""
OPEN: Any = {"markerfacecolor": "white", "markersize": 4.0, "markeredgewidth": 0.8}
"""The style of open markers, whose edge has the line's colour."""
STATUS_HEIGHT = 0.185  # inches

STYLE: Any = {
    **{name: value for name, value in rcParamsDefault.items() if not name.startswith("backend")},
    **sns.axes_style("ticks"),
    **{name: 0.8 * size for name, size in sns.plotting_context("paper").items()},  # text of 7 or 8 points
    "font.sans-serif": ["DejaVu Sans"],  # part of matplotlib, so figures look the same on every machine
    "figure.titlesize": TITLE_SIZE,
    "axes.titlesize": TITLE_SIZE,
    "axes.titley": 1.0,  # as usual, but without a search for artists in the way each time
    "legend.fontsize": LEGEND_SIZE,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "0.9",
    "lines.markersize": 4.8,
    "lines.markeredgecolor": "white",  # as in seaborn
    "lines.markeredgewidth": 0.75,
    "hatch.linewidth": 0.5,
    "pdf.fonttype": 42,  # TrueType, because journals refuse Type 3 fonts
    "ps.fonttype": 42,  # matplotlib 3.11 splits the fonts of PDF files by this, too: at 256 characters for Type 3
}
"""For `matplotlib.rc_context`: matplotlib's defaults, whatever the user's settings are, and what differs from them."""


def page(columns: int, height: float, shortfalls: Sequence[str], style: Style = Style.SCREEN) -> Figure:
    """Return an empty figure.

    On a screen, a line below the room for the panels says that the figure is incomplete; the caption says more.

    Args:
        columns: the number of panels next to each other; at most two fit a manuscript.
        height: the height of the panels, in inches.
        shortfalls: what the figure lacks.
        style: the style of the figure.
    """
    width = columns * PANEL_WIDTH
    if style is Style.PAPER:
        width = PANEL_WIDTH if columns == 1 else PAGE_WIDTH
    status = _status(shortfalls, width - 0.1) if style is Style.SCREEN else ""
    below = STATUS_HEIGHT if status else 0.0
    engine = ConstrainedLayoutEngine(rect=(0, below / (height + below), 1, height / (height + below)))
    figure = Figure(figsize=(width, height + below), layout=engine)
    if status:
        figure.text(0.5, 0.04 / (height + below), status, ha="center", va="bottom", fontsize=NOTE_SIZE, color=GREY)
    return figure


def heading(title: str, panels: int, style: Style) -> str:
    """Return the title of one of so many panels: empty where a manuscript's caption says the same."""
    return "" if panels == 1 and style is Style.PAPER else title


def _status(shortfalls: Sequence[str], inches: float) -> str:
    """Return one line that says that a figure is incomplete, and how if that fits; empty for a complete figure."""
    if not shortfalls:
        return ""
    whole = f"Incomplete: {in_brief(shortfalls)}. See the caption."
    return whole if text_width(whole, NOTE_SIZE) <= inches else "Incomplete. See the caption."


def placeholder(words: str = "No run of this figure is in the store.") -> Figure:
    """Return a small picture with these words, for a figure without runs."""
    figure = Figure(figsize=(PANEL_WIDTH, 0.5))
    figure.text(0.5, 0.5, words, ha="center", va="center", fontsize=TITLE_SIZE, color=GREY)
    return figure


def curve(axes: Axes, line: pd.DataFrame, number: int = 0, of: int = 1, **style: Any) -> None:
    """Draw a line's `mean` by `epoch` and, for several seeds, a band from `low` to `high`.

    A seed that is `alone` is a thin line without markers. The more lines there are, the paler are their bands.

    Args:
        axes: the axes to draw on.
        line: the rows of one line, as from `drawn.by_moment`.
        number: the position of the line among the lines of the axes, from 0, so that their markers do not coincide.
        of: the number of lines of the axes; if there are more than `MANY`, lines are thin and have no bands.
        style: matplotlib's options for the line; `color` is required.
    """
    shift = number / of
    some_alone = "alone" in line and bool(line["alone"].any())
    together = line[~line["alone"]] if some_alone else line
    if len(together):
        epochs = together["epoch"].to_numpy()
        marked = np.searchsorted(epochs, epochs[0] + np.ptp(epochs) * (np.arange(MARKERS) + shift) / MARKERS)
        own = {"markevery": sorted(set(marked.tolist()))} | style
        if of > MANY:
            own |= {"linewidth": 0.7}
        axes.plot(together["epoch"], together["mean"], **own)
    repeated = together[together["n"] > 1] if of <= MANY else together.head(0)
    if len(repeated):
        band: dict[str, Any] = {"color": style["color"], "alpha": 0.12 * min(1, 8 / of), "linewidth": 0}
        axes.fill_between(repeated["epoch"], repeated["low"], repeated["high"], **band)
    thin: dict[str, Any] = THIN | {name: style[name] for name in ("color", "linestyle") if name in style}
    if some_alone:
        for run, of_seed in line[line["alone"]].groupby("runs", sort=False):
            axes.plot(of_seed["epoch"], of_seed["mean"], label=f"{style.get('label')}, run {run}", **thin)
    axes.set_ylabel("")  # the caller labels one panel of a row


def epoch_axis(axes: Axes, last: float, first: float = 0, ticks: int = 5) -> None:
    """Set the horizontal axis from the first to the last epoch, with about `ticks` whole numbers."""
    margin = 0.02 * (last - first or 1)  # keeps the first and the last marker whole
    axes.set_xlabel("epoch")
    axes.set_xlim(first - margin, last + margin)
    axes.xaxis.set_major_locator(MaxNLocator(ticks, integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def by_rows(handles: Sequence[Artist], columns: int) -> list[Artist]:
    """Order a legend's entries row by row, because matplotlib fills a legend column by column."""
    return [handle for column in range(columns) for handle in handles[column::columns]]


@lru_cache(maxsize=10_000)
def text_width(text: str, size: float) -> float:
    """Return the width in inches of a text of one line, set in `size` points."""
    letters = FontProperties(family=["DejaVu Sans"], size=size)
    width, _, _ = text_to_path.get_text_width_height_descent(text, letters, ismath=False)
    return 1.04 * float(width) / 72  # glyphs in PNG files are placed at whole pixels


def wrapped(text: str, inches: float, size: float = TITLE_SIZE) -> str:
    """Break a text into lines of at most so many inches: at spaces, and in longer words after : _ . / or -."""
    lines: list[str] = []
    for word in re.split(r" (?!%|\d)", text):  # a number stays with the word before it
        if lines and text_width(f"{lines[-1]} {word}", size) <= inches:
            lines[-1] += f" {word}"
            continue
        lines.append(word)
        while text_width(lines[-1], size) > inches and len(lines[-1]) > 1:
            whole = lines.pop()
            fitting = next(
                end for end in range(len(whole) - 1, 0, -1) if end == 1 or text_width(whole[:end], size) <= inches
            )
            sign = max(whole.rfind(sign, 1, fitting) for sign in ":_./-") + 1
            lines += [whole[: sign or fitting], whole[sign or fitting :]]
    return "\n".join(lines)


class Key(NamedTuple):
    """A legend that fits: the options for `legend`, and its height in inches."""

    options: dict[str, Any]
    height: float


def fitting_key(handles: Sequence[Artist], inches: float, most: int = 99) -> Key:
    """Return a legend with as many columns as fit into so many inches, but at most `most`, and evenly filled rows."""
    em = LEGEND_SIZE / 72
    room = inches - 4 * em  # without the edges, a line's sample and the space after it
    for handle in handles:
        handle.set_label(wrapped(str(handle.get_label()), room, LEGEND_SIZE))
    labels = [str(handle.get_label()).split("\n") for handle in handles]
    widths = [max(text_width(line, LEGEND_SIZE) for line in lines) + 4 * em for lines in labels]
    columns = next(
        (
            count
            for count in range(min(most, len(widths)), 1, -1)
            if sum(max(widths[column::count]) for column in range(count)) <= inches + 0.4 * em
        ),
        1,
    )
    columns = ceil(len(labels) / ceil(len(labels) / columns)) if labels else 1
    rows = [max(len(lines) for lines in labels[start : start + columns]) for start in range(0, len(labels), columns)]
    height = em * (1.2 * sum(rows) + 0.5 * len(rows) + 1.5) if rows else 0.0
    return Key({"handles": by_rows(handles, columns), "ncols": columns, "columnspacing": 1.2}, height)


def legend_below(axes: Axes, key: Key) -> None:
    """Put a legend below the axes, their tick labels and their label."""
    below = axes.transAxes + ScaledTranslation(0, -28 / 72, axes.figure.dpi_scale_trans)
    place: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "bbox_transform": below}
    axes.legend(**key.options, **place, borderaxespad=0)
