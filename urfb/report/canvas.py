"""The page that figures are drawn on: sizes, type and the small lines below."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import rcParamsDefault
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

PANEL_WIDTH = 3.4  # inches: one column of the journal
MARKERS = 5  # on each line, at even distances, however many epochs it has
GREY = "0.35"

STYLE: Any = {
    **{name: value for name, value in rcParamsDefault.items() if not name.startswith("backend")},
    **sns.axes_style("ticks"),
    **{name: 0.8 * size for name, size in sns.plotting_context("paper").items()},  # letters of 7 or 8 points
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so that a figure looks the same on every machine
    "figure.titlesize": "medium",
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "0.9",
    "lines.markersize": 4.8,
    "lines.markeredgecolor": "white",  # as seaborn draws them, for legends too
    "lines.markeredgewidth": 0.75,
    "hatch.linewidth": 0.5,
    "pdf.fonttype": 42,  # letters stay letters in the PDF
}
"""For `matplotlib.rc_context`: matplotlib's defaults, whatever the user's settings are, and what differs from them."""

TITLE_CHARACTERS = 52  # in a line above a panel
NOTE_SIZE = 6.0
LINE_HEIGHT = 0.105  # inches a line of notes
CHARACTERS_PER_INCH = 22  # of notes, with a little to spare


def page(columns: int, height: float, explanation: str, shortfalls: Sequence[str]) -> Figure:
    """Return an empty figure, `columns` panels wide.

    Below the room for the panels it says in small type what is drawn and what is lacking.
    """
    width = columns * PANEL_WIDTH
    characters = int(width * CHARACTERS_PER_INCH)
    # A line breaks between shortfalls where it can: spaces within one hold it together.
    whole = [text.replace(" ", "\N{NO-BREAK SPACE}") if len(text) < characters - 2 else text for text in shortfalls]
    lines = [
        line
        for words in (explanation, "\N{NO-BREAK SPACE}· ".join(whole))
        for line in textwrap.wrap(words, characters, break_on_hyphens=False)
    ]
    below = len(lines) * LINE_HEIGHT + (0.08 if lines else 0)
    engine = ConstrainedLayoutEngine(rect=(0, below / (height + below), 1, height / (height + below)))
    figure = Figure(figsize=(width, height + below), layout=engine)
    if lines:
        text = figure.text(0.5, 0.04 / (height + below), "\n".join(lines), ha="center", va="bottom")
        text.set(fontsize=NOTE_SIZE, color=GREY, linespacing=1.25)
    return figure


def curve(axes: Axes, line: pd.DataFrame, shift: float = 0.0, **style: Any) -> None:
    """Draw a line's `mean` by `epoch` and, where it is over several seeds, a band from `low` to `high`.

    A `shift`, from 0 to less than 1, keeps the markers of different lines apart.
    """
    if line.empty:
        return
    epochs = line["epoch"].to_numpy()
    marked = np.searchsorted(epochs, epochs[0] + np.ptp(epochs) * (np.arange(MARKERS) + shift) / MARKERS)
    style = {"markevery": sorted(set(marked.tolist())), "legend": False} | style
    # The table's own numbers: seaborn would work out means and ranges again, which takes seconds for long runs.
    sns.lineplot(line, x="epoch", y="mean", estimator=None, ax=axes, **style)
    repeated = line[line["n"] > 1]
    if len(repeated):
        band: dict[str, Any] = {"color": style["color"], "alpha": 0.2, "linewidth": 0}
        axes.fill_between(repeated["epoch"], repeated["low"], repeated["high"], **band)
    axes.set_ylabel("")  # to be said once


def epoch_axis(axes: Axes, last: float) -> None:
    """Let the horizontal axis go from epoch 0 to the last, with whole numbers on it."""
    axes.set_xlabel("epoch")
    axes.set_xlim(-0.02 * last, 1.02 * last)  # so that the first and the last marker are whole
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def by_rows(handles: Sequence[Artist], columns: int) -> list[Artist]:
    """Order a legend's entries so that they read row by row; matplotlib fills it column by column."""
    return [handle for column in range(columns) for handle in handles[column::columns]]
