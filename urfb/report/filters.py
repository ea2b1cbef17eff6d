"""Figure 8 and its control: filters of an untied layer at several locations, and their similarity."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from urfb.report.canvas import (
    GREY,
    NOTE_SIZE,
    PANEL_WIDTH,
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
from urfb.report.drawn import MEANING_ALONE, Drawn, by_moment, drawn_runs, explain, extent, shortfalls, stack, with_runs
from urfb.report.exhibits import Data
from urfb.report.selection import Panel
from urfb.report.styles import Style

FILTERS = 6
"""Number of filters drawn: the first ones, so that the selection cannot favour similar filters."""
PLACE_SIZE = 6.5  # points
GAP = 0.05  # inches between pictures
FILTERS_OF_A_START = 3  # fewer, because each start is drawn at two epochs

ABOUT_COLOURS = (
    "Each row is a filter and each column a location. Grey is a weight of 0, and each picture is scaled by its largest "
    "weight."
)
ABOUT_SEEDS = "Lines are means over seeds; bands span the smallest to the largest value."
ABOUT_SIMILARITY = (
    "Similarity across space is the correlation of a filter at two locations, averaged over all filters and all pairs "
    "of locations."
)
MEANING = (
    "quantity 'filter': the weights of one picture, in the order height, width, channel, of a single run; quantity "
    "'similarity': the correlation of a filter at two locations, averaged over filters and pairs of locations; "
    f"mean, low and high: the mean and the range over n seeds; {MEANING_ALONE}"
)
COLUMNS = ["panel", "quantity", "epoch", "filter", "row", "column", "weights", "mean", "low", "high", "n"]
COLUMNS += ["alone", "runs"]


def draw(data: Data) -> Drawn:
    """Draw the first filters at each location after the last epoch, with the similarity of all locations in words."""
    similarity = _similarity(data)
    reached = _reached(data, similarity)
    lacking = shortfalls(data.panels, reached, "no filters yet")
    panels = with_runs(data.panels, reached)
    if not panels:
        return Drawn(placeholder(), pd.DataFrame(columns=COLUMNS), drawn_runs(data.panels, {}), lacking, MEANING)

    tables: list[pd.DataFrame] = []
    about = [ABOUT_COLOURS, ABOUT_SIMILARITY]
    columns, lines = _abreast(panels, data.style)
    figure = page(columns, 5.2 * lines, lacking, data.style)
    for part, panel in zip(figure.subfigures(lines, columns, squeeze=False).flat, panels, strict=False):
        run, filters = _filters_of_lowest_seed(panel, data.measured["filters"])
        last = filters[(filters["epoch"] == filters["epoch"].max()) & (filters["filter"] <= FILTERS)]
        rows = _similarity_rows(panel, similarity)
        tables += [_filter_rows(panel, last), rows]
        shown = _run_in_words(panel, run, last) if run is not None else ""
        similar = _at_both_ends(rows)
        if data.style is Style.SCREEN:
            part.suptitle(f"{wrapped(panel.title, TITLE_WIDTH)}\n{shown}".strip())
            part.supxlabel(similar, fontsize=NOTE_SIZE + 0.5)
        elif title := heading(panel.title, len(panels), data.style):
            part.suptitle(wrapped(title, TITLE_WIDTH))
        words = "; ".join(filter(None, (f"filters: {shown}" if shown else "", similar.replace("\n", " "))))
        about.append(f"{panel.title}: {words}." if len(panels) > 1 else f"{words[:1].upper()}{words[1:]}.")
        _draw_filters(part, last)
    return Drawn(figure, stack(tables), drawn_runs(panels, reached), lacking, MEANING, " ".join(about))


def draw_starts(data: Data) -> Drawn:
    """Draw, for each start of the untied layer, filters at the first and the last epoch; below, similarity by epoch."""
    similarity = _similarity(data)
    reached = _reached(data, similarity)
    lacking = shortfalls(data.panels, reached, "no filters yet")
    panels = with_runs(data.panels, reached)
    if not panels:
        return Drawn(placeholder(), pd.DataFrame(columns=COLUMNS), drawn_runs(data.panels, {}), lacking, MEANING)

    tables: list[pd.DataFrame] = []
    rows_of = [_similarity_rows(panel, similarity) for panel in panels]
    explanation = f"{ABOUT_COLOURS} {ABOUT_SIMILARITY} {explain(rows_of, ABOUT_SEEDS)}".strip()
    columns, lines = _abreast(panels, data.style)
    width = max(columns, 2)
    key = _key(panels, reached, width * PANEL_WIDTH, data.style)
    titles = [wrapped(panel.title, TITLE_WIDTH) for panel in panels]
    heights = (lines * (2.05 + 0.15 * max(title.count("\n") for title in titles)), 2.0 + key.height)
    figure = page(width, sum(heights), lacking, data.style)
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, panel, title, rows in zip(
        above.subfigures(lines, columns, squeeze=False).flat, panels, titles, rows_of, strict=False
    ):
        run, filters = _filters_of_lowest_seed(panel, data.measured["filters"])
        filters = filters[filters["filter"] <= FILTERS_OF_A_START]
        tables += [_filter_rows(panel, filters), rows]
        part.suptitle(title)
        moments = sorted(filters["epoch"].unique())
        if run is None:
            _draw_filters(part, filters)
            continue
        for moment_part, epoch in zip(part.subfigures(1, len(moments), squeeze=False)[0], moments, strict=True):
            of_epoch = filters[filters["epoch"] == epoch]
            moment_part.suptitle(_run_in_words(panel, run, of_epoch))
            _draw_filters(moment_part, of_epoch)
    _draw_similarity(below.subplots(), panels, rows_of)
    below.legend(**key.options, loc="outside lower center")
    return Drawn(figure, stack(tables), drawn_runs(panels, reached), lacking, MEANING, explanation)


def _abreast(panels: Sequence[Panel], style: Style) -> tuple[int, int]:
    """Return the numbers of columns and lines of the panels: one line on a screen, two columns at most on paper."""
    columns = len(panels) if style is Style.SCREEN else min(len(panels), 2)
    return columns, -(-len(panels) // columns)


def picture(weights: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return a filter [height, width, channels] as a picture [height, width, 3] of numbers from 0 to 1.

    A weight of 0 becomes 0.5, and the weight of the largest magnitude 0 or 1. Three channels become red, green and
    blue; any other number of channels is averaged and becomes grey.
    """
    if weights.shape[2] != 3:
        weights = np.repeat(weights.mean(axis=2, keepdims=True), 3, axis=2)
    largest = np.abs(weights).max()
    shown: NDArray[np.floating] = 0.5 + weights / (2 * largest if largest > 0 else 1)
    return shown


def _similarity(data: Data) -> pd.DataFrame:
    """Return the similarity across space of the first layer, whose filters are stored, by run and epoch."""
    measured = data.measured["alignment"].dropna(subset=["filter_similarity"])
    return measured[measured["layer"] == 1][["run", "epoch", "filter_similarity"]]


def _reached(data: Data, similarity: pd.DataFrame) -> dict[str, int]:
    """Return the last epoch with filters or similarity, by run."""
    moments = pd.concat([data.measured["filters"][["run", "epoch"]], similarity[["run", "epoch"]]])
    return {str(run): int(epoch) for run, epoch in moments.groupby("run")["epoch"].max().items()}


def _filters_of_lowest_seed(panel: Panel, filters: pd.DataFrame) -> tuple[pd.Series[Any] | None, pd.DataFrame]:
    """Return the first protocol's run of the lowest seed with filters, or None, and its filters."""
    order = {protocol.name: number for number, protocol in enumerate(panel.protocols)}
    runs = panel.runs[panel.runs["run"].isin(filters["run"])]
    if runs.empty:
        return None, filters.head(0)
    runs = runs.assign(order=runs["protocol"].map(order)).sort_values(["order", "seed"], kind="stable")
    return runs.iloc[0], filters[filters["run"] == runs["run"].iloc[0]]


def _filter_rows(panel: Panel, filters: pd.DataFrame) -> pd.DataFrame:
    weights = [" ".join(f"{weight:.4g}" for weight in array.ravel()) for array in filters["weights"]]
    rows = filters.assign(panel=panel.title, quantity="filter", n=1, alone=False, runs=filters["run"], weights=weights)
    return rows.reindex(columns=COLUMNS)


def _similarity_rows(panel: Panel, similarity: pd.DataFrame) -> pd.DataFrame:
    first = panel.runs[panel.runs["protocol"].isin([protocol.name for protocol in panel.protocols[:1]])]
    values = first[["run", "seed"]].merge(similarity, on="run")
    rows = by_moment(values.assign(protocol=""), ["protocol"], "filter_similarity")
    return rows.assign(panel=panel.title, quantity="similarity").reindex(columns=COLUMNS)


def _at_both_ends(rows: pd.DataFrame) -> str:
    """Return the similarity before and after training, in words."""
    rows = rows[~rows["alone"].astype(bool)]
    if rows.empty:
        return ""
    words = []
    for row in (rows.iloc[0], rows.iloc[-1]):
        mean, low, high = (f"{round(row[name], 2) + 0:.2f}" for name in ("mean", "low", "high"))  # without -0.00
        spread = f" ({low} to {high})" if row["n"] > 1 else ""
        words.append(f"{mean}{spread} after epoch {row['epoch']:,.0f}")
    seeds = f"{row['n']} seed" + ("s" if row["n"] > 1 else "")
    return f"similarity across space: {words[0]},\n{words[1]}; {seeds}"


def _run_in_words(panel: Panel, run: pd.Series[Any], filters: pd.DataFrame) -> str:
    protocol = "" if len(panel.protocols) == 1 else f"{run['protocol']}, "
    return f"{protocol}seed {run['seed']}, epoch {filters['epoch'].iloc[0]:,}"


def _draw_filters(part: SubFigure, filters: pd.DataFrame) -> None:
    """Draw a row for each filter and a column for each location."""
    if filters.empty:
        part.text(0.5, 0.5, "no filters yet", ha="center", va="center", color=GREY, fontsize=7)
        return
    numbers = sorted(filters["filter"].unique())
    locations = filters[["row", "column"]].drop_duplicates().sort_values(["row", "column"]).to_numpy().tolist()
    width, height = part.get_figure(root=True).get_size_inches()  # constrained layout takes spaces as fractions
    close = {"wspace": GAP * len(locations) / width, "hspace": GAP * len(numbers) / height}
    grid = part.subplots(len(numbers), len(locations), squeeze=False, gridspec_kw=close)
    of_place = filters.set_index(["filter", "row", "column"])["weights"]
    for axes_of_filter, number in zip(grid, numbers, strict=True):
        for axes, (row, column) in zip(axes_of_filter, locations, strict=True):
            axes.imshow(picture(of_place[number, row, column]), interpolation="nearest", vmin=0, vmax=1)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        axes_of_filter[0].set_ylabel(f"filter {number}", fontsize=PLACE_SIZE, color=GREY)
    room = part.bbox.width / part.figure.dpi / (len(locations) + 1)  # inches, a picture with its gap
    place = "({}, {})" if text_width("(24, 24)", PLACE_SIZE) < room else "{}, {}"
    words: dict[str, Any] = {"fontsize": PLACE_SIZE, "color": GREY}
    for axes, (row, column) in zip(grid[0], locations, strict=True):
        axes.set_title("\n" + place.format(row, column), **words)  # the line above has the heading
    above = (0, 6 + 1.2 * PLACE_SIZE)  # points
    heading = grid[0][0].annotate("location (row, column)", (0, 1), above, "axes fraction", "offset points", **words)
    heading.set_in_layout(False)  # it is wider than its picture


STYLES: Sequence[Mapping[str, Any]] = (
    {"color": "0.1", "marker": "o", "linestyle": "-"},
    {"color": "0.5", "marker": "s", "linestyle": "--"},
    {"color": "0.3", "marker": "D", "linestyle": ":"},
    {"color": "0.7", "marker": "^", "linestyle": "-."},
)
"""How starts are drawn: in grey, because colours are for protocols."""


def _key(panels: Sequence[Panel], reached: Mapping[str, int], width: float, style: Style) -> Key:
    handles = []
    for panel, look in zip(panels, itertools.cycle(STYLES)):
        epochs = [reached[run] for run in panel.runs["run"] if run in reached]
        label = f"{panel.title} ({extent(epochs)})" if style is Style.SCREEN else panel.title
        handles.append(Line2D([], [], label=label, **look))
    return fitting_key(handles, width - 0.1, 1)


def _draw_similarity(axes: Axes, panels: Sequence[Panel], rows_of: Sequence[pd.DataFrame]) -> None:
    for number, (panel, rows, style) in enumerate(zip(panels, rows_of, itertools.cycle(STYLES))):
        curve(axes, rows, number, len(panels), label=panel.title, **style)
    epoch_axis(axes, max((rows["epoch"].max() for rows in rows_of if len(rows)), default=0) or 1)
    axes.set(ylabel="similarity across space", ylim=(min(-0.03, axes.get_ylim()[0]), 1.03))
