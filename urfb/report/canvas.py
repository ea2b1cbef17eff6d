"""The page that figures are drawn on: sizes, type and the small lines below."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

PANEL_WIDTH = 3.4  # inches: one column of the journal
GREY = "0.35"

STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so that a figure looks the same on every machine
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "figure.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.2,
    "hatch.linewidth": 0.5,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "figure.facecolor": "white",
    "pdf.fonttype": 42,  # letters stay letters in the PDF
}
"""Given to `matplotlib.rc_context` around drawing and saving."""

NOTE_SIZE = 6.0
LINE_HEIGHT = 0.105  # inches a line of notes
CHARACTERS_PER_INCH = 20  # of notes, with a little to spare


def page(columns: int, height: float, notes: Sequence[str]) -> Figure:
    """Return an empty figure, `columns` panels wide, with the notes in small type below the room for the panels."""
    width = columns * PANEL_WIDTH
    lines = [line for note in notes for line in textwrap.wrap(note, int(width * CHARACTERS_PER_INCH))]
    below = len(lines) * LINE_HEIGHT + (0.08 if lines else 0)
    engine = ConstrainedLayoutEngine(rect=(0, below / (height + below), 1, height / (height + below)))
    figure = Figure(figsize=(width, height + below), layout=engine)
    if lines:
        text = figure.text(0.5, 0.04 / (height + below), "\n".join(lines), ha="center", va="bottom")
        text.set(fontsize=NOTE_SIZE, color=GREY, linespacing=1.25)
    return figure


def notes_of(explanation: str, shortfalls: Sequence[str]) -> list[str]:
    """Return the lines below a figure: what is drawn, and what it lacks."""
    return [explanation, *([" · ".join(shortfalls)] if shortfalls else [])]
