"""Figures 5, 6 and 9: test error by protocol."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from urfb.report.canvas import GREY, PANEL_WIDTH, TITLE_WIDTH, fitting_key, legend_below, page, text_width, wrapped
from urfb.report.colours import UNTIED
from urfb.report.drawn import Drawn, drawn_runs, explain, longest, over_seeds, shortfalls, stack, students_interval
from urfb.report.exhibits import Data
from urfb.report.selection import DATASET_NAMES, Panel

MEANING = (
    "mean, low and high: the test error in percent, its mean over n seeds and, from three seeds on, the 95 % interval "
    "of that mean (t)"
)
ABOUT = "Each bar is the test error after the last epoch; the number at its end is the error in percent."
ABOUT_SEEDS = (
    "Bars are means over seeds, from three seeds on with the 95 % interval of the mean (Student's t); dots are seeds."
)
NUMBER_SIZE = 6.5
NOTE_SIZES = (6, 5.5)  # of the numbers of seeds and epochs: usually, and where bars stand in pairs
NAME_SIZE = 7.04
NAME_WIDTH = 1.45  # inches, of names at the left


def draw(data: Data) -> Drawn:
    """Draw the test error of each protocol at its last epoch, one set of axes for each panel.

    The seeds of a bar have the same number of epochs, the largest that any of them has a test error for; the others
    are left out, since a mean over different epochs is nobody's error.
    """
    return _draw(data.panels, data.panels)


def draw_batches(data: Data) -> Drawn:
    """Draw as `draw` does and, last, what the author compared: tied runs of the largest batch, untied of the least."""
    networks = {(panel.network, panel.dataset): panel for panel in data.panels}
    mixed = [
        panel
        for network in networks
        for panel in _mixed_batches([panel for panel in data.panels if (panel.network, panel.dataset) == network])
    ]
    return _draw([*data.panels, *mixed], data.panels)


def _mixed_batches(panels: list[Panel]) -> list[Panel]:
    """Return a panel of the tied runs of the largest batch and the untied ones of the smallest, if batches differ."""
    by_size = {int(size): panel for panel in panels for size in panel.runs["batch_size"].unique()}
    if not 1 < len(by_size) == len(panels):
        return []
    (small, with_small), *_, (large, with_large) = sorted(by_size.items())
    tied, untied = (panel.runs["untied"] == "none" for panel in (with_large, with_small))
    runs = pd.concat([with_large.runs[tied], with_small.runs[~untied]])
    dataset = DATASET_NAMES.get(with_large.dataset, with_large.dataset)
    description = f"{dataset}, batch size {large} tied, {small} untied"
    return [replace(with_large, description=description, runs=runs)]


def _draw(panels: list[Panel], expected: list[Panel]) -> Drawn:
    """Draw one set of axes for each of `found`; of those of `expected`, say what they lack."""
    measured = [tested(panel) for panel in panels]
    reached = {
        str(run): int(epochs) for rows in measured for run, epochs in zip(rows["run"], rows["epochs"], strict=True)
    }
    tables = [_table(panel, rows) for panel, rows in zip(panels, measured, strict=True)]
    lacking = shortfalls(expected, reached, "no test error yet")

    bars = [_Bars(panel, table, seeds) for panel, table, seeds in zip(panels, tables, measured, strict=True)]
    lying = not all(one.fit_upright for one in bars)
    columns = min(len(panels), 2)
    rows = [bars[start : start + columns] for start in range(0, len(bars), columns)]
    lengths = [max(one.length for one in row) if lying else 1.75 for row in rows]
    height = sum(lengths) + sum(max(one.margins for one in row) for row in rows)
    shown = stack(tables)
    figure = page(columns, height, lacking)
    spread = figure.subplots(len(rows), columns, squeeze=False, height_ratios=lengths, sharex=lying, sharey=not lying)
    grid = list(spread.flat)
    for axes, one in zip(grid, bars, strict=False):
        _draw_panel(axes, one, lying)
    seeds = stack(measured)["error"]
    highest = (
        max(shown["high"].max(), seeds.max()) if shown["high"].notna().any() else seeds.max() if len(seeds) else 100
    )
    # Room for the numbers at the ends of the bars and, where it is above them, the legend.
    room = 120 if lying else 125 if any(one.paired for one in bars) else 112
    end = min(room / 100 * highest, room)
    for number, axes in enumerate(grid[: len(panels)]):
        if lying:
            axes.set_xlim(0, end)
            axes.set_xlabel("test error (%)")
            axes.xaxis.set_tick_params(labelbottom=True)
        else:
            axes.set_ylim(0, end)
            axes.set_ylabel("" if number % columns else "test error (%)")
    for unused in grid[len(panels) :]:
        unused.remove()
    return Drawn(
        figure, shown, drawn_runs(panels, reached), lacking, MEANING, f"{ABOUT} {explain(tables, ABOUT_SEEDS)}".strip()
    )


def tested(panel: Panel) -> pd.DataFrame:
    """Return the runs behind the panel's bars, with their `epochs` and their `error` in percent."""
    runs = panel.runs[panel.runs["test_error"].notna()]
    runs = runs.assign(epochs=runs["test_epoch"].fillna(runs["epochs_done"]), error=100 * runs["test_error"])
    return longest(runs)


def _table(panel: Panel, measured: pd.DataFrame) -> pd.DataFrame:
    """Return the panel's bars, in percent, one row a protocol; one without a test error has n = 0."""
    table = over_seeds(measured, ["protocol", "epochs"], "error", students_interval)
    protocols = pd.DataFrame({"panel": panel.title, "protocol": [protocol.name for protocol in panel.protocols]})
    table = protocols.merge(table, on="protocol", how="left").fillna({"n": 0, "runs": ""})
    table = table.astype({"n": int, "epochs": "Int64"})
    return table[["panel", "protocol", "epochs", "mean", "low", "high", "n", "runs"]]


@dataclass(frozen=True, eq=False)
class _Bars:
    """The bars of a panel, and how much room they need."""

    panel: Panel
    table: pd.DataFrame  # one row a bar
    seeds: pd.DataFrame  # one row a run

    @cached_property
    def order(self) -> list[str]:
        """The protocols' names, with an empty place between pairs of tied and untied ones."""
        order: list[str] = []
        for before, protocol in zip((None, *self.panel.protocols), self.panel.protocols, strict=False):
            if before is not None and protocol.tying and before.bare_name != protocol.bare_name:
                order.append(" " * len(order))
            order.append(protocol.name)
        return order

    @property
    def paired(self) -> bool:
        """Whether tied and untied bars stand together."""
        return any(protocol.tying for protocol in self.panel.protocols)

    @property
    def positions(self) -> list[int]:
        """Where the protocols' bars stand."""
        return [self.order.index(protocol.name) for protocol in self.panel.protocols]

    def ticks(self, lying: bool) -> dict[str, float]:
        """Return the names of bars, broken into lines, and where each stands."""
        places: dict[str, list[int]] = {}
        for position, protocol in zip(self.positions, self.panel.protocols, strict=True):
            name = protocol.bare_name
            name = wrapped(name, NAME_WIDTH, NAME_SIZE) if lying else name.replace(" ", "\n", 1)
            places.setdefault(name, []).append(position)
        return {name: sum(where) / len(where) for name, where in places.items()}

    @property
    def fit_upright(self) -> bool:
        """Whether nothing below or above upright bars would lie on its neighbour."""
        place = (PANEL_WIDTH - 0.55) / (len(self.order) + 0.2)
        numbers = [f"{mean:.1f}" for mean in self.table["mean"].dropna()]
        epochs = [f"{epochs:,}" for epochs in self.table["epochs"].dropna()]
        widest = max((text_width(text, NUMBER_SIZE) for text in numbers), default=0)
        widest = max([widest, *(text_width(text, NOTE_SIZES[self.paired]) for text in epochs)])
        ticks = self.ticks(lying=False)
        names = max((text_width(line, NAME_SIZE) for name in ticks for line in name.split("\n")), default=0)
        return widest + 0.02 < place and names + 0.03 < place * len(self.order) / max(len(ticks), 1)

    @property
    def length(self) -> float:
        """How many inches the bars need below one another."""
        lines = max((name.count("\n") + 1 for name in self.ticks(lying=True)), default=1)
        bars = len(self.order) / max(len(self.ticks(lying=True)), 1)  # a name, with the gap after a pair
        return max(max(0.15, (0.115 * lines + 0.03) / bars) * len(self.order), 0.6)

    @property
    def margins(self) -> float:
        """How many inches title, names and legend need above and below the bars."""
        return 0.95 + 0.2 * self.paired + 0.11 * wrapped(self.panel.title, TITLE_WIDTH).count("\n")


def _draw_panel(axes: Axes, bars: _Bars, lying: bool) -> None:
    """Draw each bar and, of several seeds, each seed and the interval; with numbers at both ends.

    Bars stand or, where their names do not fit below, lie. Tied and untied bars of a protocol are together, with a gap
    after them.
    """
    panel, measured = bars.panel, bars.seeds
    names = [protocol.name for protocol in panel.protocols]
    where: dict[str, Any] = {"y": "protocol", "x": "error"} if lying else {"x": "protocol", "y": "error"}
    where |= {"order": bars.order, "ax": axes, "legend": False, "orient": "h" if lying else "v"}
    colours = {"hue": "protocol", "hue_order": names, "palette": [protocol.colour for protocol in panel.protocols]}
    style = {"saturation": 1, "width": 0.9 if bars.paired else 0.72, "edgecolor": "white", "linewidth": 0}
    whiskers = {"capsize": 0.15, "err_kws": {"color": "0.15", "linewidth": 0.8}}
    sns.barplot(measured, errorbar=students_interval, **where, **colours, **style, **whiskers)
    for drawn, protocol in zip(axes.containers, panel.protocols, strict=False):
        for bar in drawn:
            bar.set_hatch(protocol.hatch)  # white, without edges
    repeated = measured[measured.duplicated("protocol", keep=False)]
    places = sorted(set(repeated["seed"]))
    places += [-1] * (len(places) % 2)  # an even number, so that no seed is behind the whisker
    white = {"palette": dict.fromkeys(places, "white"), "edgecolor": "0.15", "linewidth": 0.5, "size": 2.2}
    sns.stripplot(repeated, hue="seed", hue_order=places, dodge=True, jitter=False, **where, **white)
    _write_numbers(axes, bars, lying)
    axes.set_title(wrapped(panel.title, TITLE_WIDTH), pad=14 if lying else None)
    axes.set(xlabel="", ylabel="")
    ticks = bars.ticks(lying)
    ends = (len(bars.order) - 0.4, -0.6)
    if lying:
        axes.set(ylim=ends, yticks=list(ticks.values()), yticklabels=list(ticks))
    else:
        axes.set(xlim=ends[::-1], xticks=list(ticks.values()), xticklabels=list(ticks))
    axes.tick_params(axis="y" if lying else "x", length=0)
    axes.grid(visible=False, axis="y" if lying else "x")
    if bars.paired:
        kinds = {protocol.tying: UNTIED if protocol.untied else "" for protocol in panel.protocols}
        handles = [Patch(fc=GREY, hatch=hatch, ec="white", lw=0, label=kind) for kind, hatch in kinds.items()]
        if lying:
            legend_below(axes, fitting_key(handles, TITLE_WIDTH))
        else:
            axes.legend(handles=handles, loc="upper left", ncols=2, borderaxespad=0)


def _write_numbers(axes: Axes, bars: _Bars, lying: bool) -> None:
    """Write the mean at the end of each bar, and seeds and epochs: below, or at the right of lying bars."""
    largest = bars.seeds.groupby("protocol")["error"].max()
    beside: Any = axes.get_yaxis_transform() if lying else axes.get_xaxis_transform()
    at_end: dict[str, Any] = {"ha": "left", "va": "center"} if lying else {"ha": "center", "va": "bottom"}
    at_side: dict[str, Any] = {"ha": "right", "va": "center"} if lying else {"ha": "center", "va": "top"}
    first = 23 if any("\n" in name for name in bars.ticks(lying)) and not lying else 15  # points from the axes
    second = first + (28 if lying else 8)

    def write(text: str, position: float, value: float, points: float, size: float, **style: Any) -> None:
        """Write so many points further on than a value of a bar, given in `style`'s units."""
        place, offset = ((value, position), (points, 0)) if lying else ((position, value), (0, points))
        axes.annotate(text, place, offset, textcoords="offset points", fontsize=size, **style)

    for position, protocol, bar in zip(
        bars.positions, bars.panel.protocols, bars.table.to_dict("records"), strict=True
    ):
        if bar["n"]:
            # An interval of few seeds may leave the axes, its number not.
            end = min(max(largest[bar["protocol"]], bar["high"]), 100)
            write(f"{bar['mean']:.1f}", position, end, 4 if lying else 2.5, NUMBER_SIZE, xycoords="data", **at_end)
        else:
            why = "no run" if bars.panel.runs_of(protocol).empty else "no test error yet"
            turned = {} if lying else {"rotation": 90}
            write(why, position, 0.03, 0, NUMBER_SIZE, xycoords=beside, color=GREY, **turned, **at_end)
        for text, points, size in (
            (f"{bar['n'] or '–'}", first, NOTE_SIZES[0]),
            (f"{bar['epochs']:,}" if bar["n"] else "–", second, NOTE_SIZES[bars.paired]),
        ):
            outwards = points if lying else -points
            write(text, position, 1 if lying else 0, outwards, size, xycoords=beside, **at_side)
    for points, head in ((first, "seeds"), (second, "epochs")):
        place, offset = ((1, 1), (points, 1)) if lying else ((0, 0), (-4, -points))
        va = "bottom" if lying else "top"
        axes.annotate(head, place, offset, "axes fraction", "offset points", ha="right", va=va, fontsize=NOTE_SIZES[0])
