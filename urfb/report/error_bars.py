"""Figures 5, 6 and 9: the error of each protocol after training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from urfb.report.canvas import (
    GREY,
    PANEL_WIDTH,
    TITLE_WIDTH,
    fitting_key,
    heading,
    legend_below,
    page,
    placeholder,
    text_width,
    wrapped,
)
from urfb.report.colours import UNTIED
from urfb.report.drawn import (
    Drawn,
    drawn_runs,
    explain,
    longest,
    over_seeds,
    shortfalls,
    stack,
    students_interval,
)
from urfb.report.exhibits import Data
from urfb.report.protocols import Protocol
from urfb.report.selection import DATASET_NAMES, Panel
from urfb.report.styles import Style

MEANING = (
    "mean: the mean over n seeds of the error in percent on the images of column `set`; low, high: the 95 % interval "
    "of that mean (Student's t), from three seeds on"
)
ABOUT_TEST = "Each bar is the test error after training; the number at its end is the error in percent."
ABOUT_VALIDATION = (
    "The runs have different numbers of epochs, so each bar is the validation error after the last epoch that all bars "
    "of its network and data set share, instead of the test error, which is measured only at the end of a run. The "
    "number at the end of a bar is its error in percent."
)
ABOUT_UNEQUAL = f"{ABOUT_TEST} Bars with different numbers of epochs are not comparable."
ABOUT_SEEDS = (
    "Bars are means over seeds and dots are seeds; bars of three or more seeds have the 95 % interval of the mean "
    "(Student's t)."
)
NUMBER_SIZE = 6.5  # points
NOTE_SIZES = (6, 5.5)  # points, of the numbers of seeds and epochs: single bars, pairs of bars
NAME_SIZE = 7.04  # points
NAME_WIDTH = 1.45  # inches, for the names of horizontal bars
SPREAD = (0.14, 0.42)  # distance of the seeds' dots from the middle of a bar, in widths of the bar
CLEARANCE = 3.5  # points between the highest dot or whisker of a bar and its number


def draw(data: Data) -> Drawn:
    """Draw the error of each protocol, one set of axes for each panel that has finished runs.

    The bars show the test error. If unfinished training makes the bars of a network and data set differ in epochs,
    all bars of the figure show the validation error instead, after the last epoch that these bars share.
    """
    return _draw(data.panels, data.panels, data)


def draw_batches(data: Data) -> Drawn:
    """Draw as `draw` does, with a last panel of tied runs of the largest batch size and untied runs of the smallest.

    The author's code compares these.
    """
    networks = {(panel.network, panel.dataset): panel for panel in data.panels}
    mixed = [
        panel
        for network in networks
        for panel in _mixed_batches([panel for panel in data.panels if (panel.network, panel.dataset) == network])
    ]
    return _draw([*data.panels, *mixed], data.panels, data)


def _mixed_batches(panels: list[Panel]) -> list[Panel]:
    """Return a panel of tied runs of the largest batch size and untied runs of the smallest, if batch sizes differ."""
    by_size = {int(size): panel for panel in panels for size in panel.runs["batch_size"].unique()}
    if not 1 < len(by_size) == len(panels):
        return []
    (small, with_small), *_, (large, with_large) = sorted(by_size.items())
    tied, untied = (panel.runs["untied"] == "none" for panel in (with_large, with_small))
    runs = pd.concat([with_large.runs[tied], with_small.runs[~untied]])
    dataset = DATASET_NAMES.get(with_large.dataset, with_large.dataset)
    description = f"{dataset}, batch size {large} tied, {small} untied"
    return [replace(with_large, description=description, runs=runs)]


def _draw(panels: list[Panel], expected: list[Panel], data: Data) -> Drawn:
    """Draw one set of axes for each panel with errors; the shortfalls are those of the `expected` panels."""
    kind, errors, about = _errors(panels, data)
    reached = {
        str(run): int(epochs) for rows in errors for run, epochs in zip(rows["run"], rows["epochs"], strict=True)
    }
    lacking = shortfalls(expected, reached, "no test error yet")
    tables = [_table(panel, rows, kind) for panel, rows in zip(panels, errors, strict=True)]
    count = sum(len(rows) > 0 for rows in errors)
    bars = [
        _Bars(panel, heading(panel.title, count, data.style), table, rows, data.style)
        for panel, table, rows in zip(panels, tables, errors, strict=True)
        if len(rows)
    ]
    if not bars:
        return Drawn(placeholder(), stack(tables), drawn_runs(panels, reached), lacking, MEANING)

    horizontal = not all(shown.fit_vertical for shown in bars)
    columns = min(len(bars), 2)
    rows = [bars[start : start + columns] for start in range(0, len(bars), columns)]
    lengths = [max(shown.length for shown in row) if horizontal else 1.75 for row in rows]
    height = sum(lengths) + sum(max(shown.margins for shown in row) for row in rows)
    explanation = f"{about} {explain(tables, ABOUT_SEEDS)}".strip()
    figure = page(columns, height, lacking, data.style)
    grid = list(figure.subplots(len(rows), columns, squeeze=False, height_ratios=lengths).flat)
    # Room for the numbers at the ends of the bars and, above vertical bars, for the legend.
    room = 120 if horizontal else 125 if any(shown.paired for shown in bars) else 112
    end = min(room / 100 * max(shown.highest for shown in bars), room)
    for number, (axes, shown) in enumerate(zip(grid, bars, strict=False)):
        _draw_panel(axes, shown, horizontal)
        if horizontal:
            axes.set(xlim=(0, end), xlabel=f"{kind} error (%)")
        else:
            axes.set(ylim=(0, end), ylabel="" if number % columns else f"{kind} error (%)")
    for unused in grid[len(bars) :]:
        unused.remove()
    return Drawn(figure, stack(tables), drawn_runs(panels, reached), lacking, MEANING, explanation)


def tested(panel: Panel) -> pd.DataFrame:
    """Return the runs whose test errors the panel's bars show, with `epochs` and `error` in percent."""
    runs = panel.runs[panel.runs["test_error"].notna()]
    runs = runs.assign(epochs=runs["test_epoch"].fillna(runs["epochs_done"]), error=100 * runs["test_error"])
    return longest(runs)


def _errors(panels: Sequence[Panel], data: Data) -> tuple[str, list[pd.DataFrame], str]:
    """Return 'test' or 'validation', the runs with their errors for each panel, and sentences for the caption."""
    errors = [tested(panel) for panel in panels]
    last: dict[tuple[str, str], int] = {}  # the last epoch that all bars of a network and data set have reached
    differ = False
    for panel, rows in zip(panels, errors, strict=True):
        for epochs in rows["epochs"].astype(int).unique():
            shared = last.setdefault((panel.network, panel.dataset), epochs)
            last[panel.network, panel.dataset] = min(shared, epochs)
            differ |= shared != epochs
    if not differ:
        return "test", errors, ABOUT_TEST
    as_in_paper = all(
        panel.of_paper and (rows["epochs"] >= rows["expected_epochs"]).all()
        for panel, rows in zip(panels, errors, strict=True)
    )
    if not as_in_paper and "epochs" in data.measured:
        validated = [
            _validated(panel, data.measured["epochs"], last.get((panel.network, panel.dataset))) for panel in panels
        ]
        # A bar lacks runs if the epoch belongs to a first stage, which is not comparable, or is not in the store.
        if all(set(rows["protocol"]) == set(other["protocol"]) for rows, other in zip(errors, validated, strict=True)):
            return "validation", validated, ABOUT_VALIDATION
    return "test", errors, ABOUT_UNEQUAL


def _validated(panel: Panel, epochs: pd.DataFrame, last: int | None) -> pd.DataFrame:
    """Return the panel's finished runs with their validation `error` in percent after an epoch of their last stage."""
    runs = panel.runs[panel.runs["test_error"].notna()].drop(columns="validation_error")
    runs = runs[(runs["pretraining_epochs"] < last) if last else runs["run"].isna()]
    rows = runs.merge(epochs.loc[epochs["epoch"] == last, ["run", "epoch", "validation_error"]].dropna(), on="run")
    return rows.rename(columns={"epoch": "epochs"}).assign(error=100 * rows["validation_error"])


def _table(panel: Panel, errors: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Return the panel's bars, in percent, one row a protocol; a protocol without a finished run has n = 0."""
    table = over_seeds(errors, ["protocol", "epochs"], "error", students_interval)
    protocols = [protocol.name for protocol in panel.protocols]
    table = pd.DataFrame({"panel": panel.title, "set": kind, "protocol": protocols}).merge(
        table, on="protocol", how="left"
    )
    table = table.fillna({"n": 0, "runs": ""}).astype({"n": int, "epochs": "Int64"})
    return table[["panel", "protocol", "set", "epochs", "mean", "low", "high", "n", "runs"]]


@dataclass(frozen=True, eq=False)
class _Bars:
    """The bars of a panel, and how much room they need.

    Attributes:
        panel: the panel.
        title: the panel's title; empty for none.
        table: one row for each bar.
        errors: one row for each run.
        style: the style of the figure. A manuscript has seeds and epochs in the caption.
    """

    panel: Panel
    title: str
    table: pd.DataFrame
    errors: pd.DataFrame
    style: Style

    @cached_property
    def order(self) -> list[str]:
        """The protocols' names, with a blank name between pairs of a tied and an untied protocol."""
        order: list[str] = []
        for before, protocol in zip((None, *self.panel.protocols), self.panel.protocols, strict=False):
            if before is not None and protocol.tying and before.bare_name != protocol.bare_name:
                order.append(" " * len(order))
            order.append(protocol.name)
        return order

    @property
    def paired(self) -> bool:
        """Whether the panel has pairs of tied and untied bars."""
        return any(protocol.tying for protocol in self.panel.protocols)

    @property
    def positions(self) -> list[int]:
        """The position of each protocol's bar."""
        return [self.order.index(protocol.name) for protocol in self.panel.protocols]

    def ticks(self, horizontal: bool) -> dict[str, float]:
        """Return the names of the bars, broken into lines, with their positions."""
        places: dict[str, list[int]] = {}
        for position, protocol in zip(self.positions, self.panel.protocols, strict=True):
            name = protocol.bare_name
            name = wrapped(name, NAME_WIDTH, NAME_SIZE) if horizontal else name.replace(" ", "\n", 1)
            places.setdefault(name, []).append(position)
        return {name: sum(where) / len(where) for name, where in places.items()}

    @property
    def known(self) -> list[tuple[int, Protocol, dict[Any, Any]]]:
        """The position, the protocol and the row of each bar that has a run."""
        rows = zip(self.positions, self.panel.protocols, self.table.to_dict("records"), strict=True)
        return [bar for bar in rows if bar[2]["n"]]

    @property
    def highest(self) -> float:
        """The largest error that a bar, whisker or dot of the panel reaches, in percent."""
        return max(self.ends.values())

    @cached_property
    def ends(self) -> dict[str, float]:
        """The largest error that each bar reaches with its whisker and dots: 100 % at most."""
        largest = self.errors.groupby("protocol")["error"].max()
        high = self.table.set_index("protocol")["high"].clip(upper=100)
        return {str(name): float(end) for name, end in largest.combine(high, np.fmax).dropna().items()}

    def dots(self, thickness: float) -> np.ndarray:
        """Return the position and the error of each seed, for bars of several seeds, on both sides of the whisker."""
        dots = []
        for position, protocol, _ in self.known:
            of_bar = self.errors[self.errors["protocol"] == protocol.name].sort_values("seed")["error"].to_list()
            left = np.linspace(*SPREAD, (len(of_bar) + 1) // 2)[::-1]
            right = np.linspace(*SPREAD, len(of_bar) // 2)
            places = position + thickness * np.concatenate((-left, right))
            dots += [*zip(places, of_bar, strict=True)] if len(of_bar) > 1 else []
        return np.array(dots).reshape(-1, 2)

    def place(self, horizontal: bool) -> float:
        """Return the width of a bar with the gap after it, in points."""
        return 72 * (self.length if horizontal else PANEL_WIDTH - 0.55) / (len(self.order) + 0.2)

    @property
    def fit_vertical(self) -> bool:
        """Whether the texts above and below vertical bars fit without overlap."""
        place = self.place(horizontal=False) / 72
        numbers = [f"{mean:.1f}" for mean in self.table["mean"].dropna()]
        epochs = [f"{epochs:,}" for epochs in self.table["epochs"].dropna()]
        widest = max((text_width(text, NUMBER_SIZE) for text in numbers), default=0)
        widest = max([widest, *(text_width(text, NOTE_SIZES[self.paired]) for text in epochs)])
        ticks = self.ticks(horizontal=False)
        names = max((text_width(line, NAME_SIZE) for name in ticks for line in name.split("\n")), default=0)
        return widest + 0.02 < place and names + 0.03 < place * len(self.order) / max(len(ticks), 1)

    @property
    def length(self) -> float:
        """The height of the panel's horizontal bars in inches."""
        lines = max((name.count("\n") + 1 for name in self.ticks(horizontal=True)), default=1)
        bars = len(self.order) / max(len(self.ticks(horizontal=True)), 1)  # a name, with the gap after a pair
        return max(max(0.15, (0.115 * lines + 0.03) / bars) * len(self.order), 0.6)

    @property
    def margins(self) -> float:
        """The height of title, names and legend in inches."""
        return 0.95 + 0.2 * self.paired + 0.11 * wrapped(self.title, TITLE_WIDTH).count("\n")


def _draw_panel(axes: Axes, bars: _Bars, horizontal: bool) -> None:
    """Draw the bars with their whiskers, dots and numbers, in pairs if the panel has tied and untied protocols."""
    thickness = 0.9 if bars.paired else 0.72
    whisker: dict[str, Any] = {
        "color": "0.15",
        "linewidth": 0.8,
        "capsize": 0.08 * bars.place(horizontal),
        "capthick": 0.8,
    }
    for position, protocol, bar in bars.known:
        hatch: dict[str, Any] = {"hatch": protocol.hatch, "edgecolor": "white", "linewidth": 0}  # bars have no edge
        low, high = max(bar["low"], 0), min(bar["high"], max(bar["mean"], 100))
        if horizontal:
            axes.barh(position, bar["mean"], thickness, color=protocol.colour, **hatch)
        else:
            axes.bar(position, bar["mean"], thickness, color=protocol.colour, **hatch)
        if not np.isnan(bar["low"]):
            lengths = [[bar["mean"] - low], [high - bar["mean"]]]
            if horizontal:
                axes.errorbar(bar["mean"], position, xerr=lengths, **whisker)
            else:
                axes.errorbar(position, bar["mean"], yerr=lengths, **whisker)
    dots = bars.dots(thickness)
    look: dict[str, Any] = {"s": 2.2**2, "facecolor": "white", "edgecolor": "0.15", "linewidth": 0.5, "zorder": 3}
    axes.scatter(*(dots[:, ::-1] if horizontal else dots).T, **look)
    _write_numbers(axes, bars, horizontal)
    axes.set_title(wrapped(bars.title, TITLE_WIDTH), pad=14 if horizontal and bars.style is Style.SCREEN else None)
    ticks = bars.ticks(horizontal)
    ends = (len(bars.order) - 0.4, -0.6)
    if horizontal:
        axes.set(ylim=ends, yticks=list(ticks.values()), yticklabels=list(ticks))
    else:
        axes.set(xlim=ends[::-1], xticks=list(ticks.values()), xticklabels=list(ticks))
    axes.tick_params(axis="y" if horizontal else "x", length=0)
    axes.grid(visible=False, axis="y" if horizontal else "x")
    if bars.paired:
        kinds = {protocol.tying: UNTIED if protocol.untied else "" for protocol in bars.panel.protocols}
        handles = [Patch(fc=GREY, hatch=hatch, ec="white", lw=0, label=kind) for kind, hatch in kinds.items()]
        if horizontal:
            legend_below(axes, fitting_key(handles, TITLE_WIDTH))
        else:
            axes.legend(handles=handles, loc="upper left", ncols=2, borderaxespad=0)


def _write_numbers(axes: Axes, bars: _Bars, horizontal: bool) -> None:
    """Write the mean at the end of each bar, and seeds and epochs below, or to the right of horizontal bars."""
    axes_end: Any = axes.get_yaxis_transform() if horizontal else axes.get_xaxis_transform()
    at_end: dict[str, Any] = {"ha": "left", "va": "center"} if horizontal else {"ha": "center", "va": "baseline"}
    at_side: dict[str, Any] = {"ha": "right", "va": "center"} if horizontal else {"ha": "center", "va": "top"}
    two_lines = not horizontal and any("\n" in name for name in bars.ticks(horizontal))
    first = 23 if two_lines else 15  # points from the axes
    second = first + (28 if horizontal else 8)

    def write(text: str, position: float, value: float, points: float, size: float, **style: Any) -> None:
        """Write a text so many points away from a value of a bar."""
        place, offset = ((value, position), (points, 0)) if horizontal else ((position, value), (0, points))
        axes.annotate(text, place, offset, textcoords="offset points", fontsize=size, **style)

    for position, protocol, bar in zip(
        bars.positions, bars.panel.protocols, bars.table.to_dict("records"), strict=True
    ):
        if bar["n"]:
            end = bars.ends[bar["protocol"]]
            backed = {"bbox": {"facecolor": "white", "edgecolor": "none", "pad": 0.3}}  # hides the grid
            write(f"{bar['mean']:.1f}", position, end, CLEARANCE, NUMBER_SIZE, xycoords="data", **at_end, **backed)
        else:
            why = "no run" if bars.panel.runs_of(protocol).empty else "no test error yet"
            turned = {} if horizontal else {"rotation": 90}
            write(why, position, 0.03, 0, NUMBER_SIZE, xycoords=axes_end, color=GREY, **turned, **at_end)
        if bars.style is Style.PAPER:
            continue
        for text, points, size in (
            (f"{bar['n'] or '–'}", first, NOTE_SIZES[0]),
            (f"{bar['epochs']:,}" if bar["n"] else "–", second, NOTE_SIZES[bars.paired]),
        ):
            outwards = points if horizontal else -points
            write(text, position, 1 if horizontal else 0, outwards, size, xycoords=axes_end, **at_side)
    for points, head in ((first, "seeds"), (second, "epochs")) if bars.style is Style.SCREEN else ():
        place, offset = ((1, 1), (points, 1)) if horizontal else ((0, 0), (-4, -points))
        va = "bottom" if horizontal else "top"
        axes.annotate(head, place, offset, "axes fraction", "offset points", ha="right", va=va, fontsize=NOTE_SIZES[0])
