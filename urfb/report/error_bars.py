"""Figures 5, 6 and 9: test error by protocol."""

from __future__ import annotations

import math
import textwrap
from dataclasses import replace

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from urfb.report.canvas import GREY, TITLE_CHARACTERS, page
from urfb.report.drawn import Drawn, drawn_runs, explain, longest, over_seeds, shortfalls, stack, students_interval
from urfb.report.exhibits import Data
from urfb.report.selection import DATASET_NAMES, Panel

MEANING = "mean, low and high: the test error in percent, its mean over n seeds and the 95 % interval of that mean (t)"
ABOUT_SEEDS = "Bars: mean over seeds, with its 95 % interval (Student's t); dots: seeds."


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

    columns = min(len(panels), 2)
    rows = math.ceil(len(panels) / columns)
    explanation = explain(tables, ABOUT_SEEDS)
    figure = page(columns, 2.7 * rows, explanation, lacking)
    grid = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
    for axes, panel, table, seeds in zip(grid, panels, tables, measured, strict=False):
        _draw_panel(axes, panel, table, seeds)
    shown = stack(tables)
    highest = shown[["mean", "high"]].max().max() if shown["n"].any() else 100
    # Room for the numbers above the bars and, where there is one, the legend.
    room = 125 if any(protocol.tying for panel in panels for protocol in panel.protocols) else 112
    grid[0].set_ylim(0, min(room / 100 * highest, room))
    for leftmost in grid[::columns]:
        leftmost.set_ylabel("test error (%)")
    for unused in grid[len(panels) :]:
        unused.remove()
    return Drawn(figure, shown, drawn_runs(panels, reached), lacking, MEANING)


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


def _draw_panel(axes: Axes, panel: Panel, table: pd.DataFrame, measured: pd.DataFrame) -> None:
    """Draw each bar and, of several seeds, the interval and each seed; with numbers above and below.

    Tied and untied bars of a protocol stand together, with a gap after them.
    """
    names = [protocol.name for protocol in panel.protocols]
    order = _with_gaps(panel)
    positions = [order.index(name) for name in names]
    where = {"x": "protocol", "y": "error", "order": order, "ax": axes, "legend": False}
    colours = {"hue": "protocol", "hue_order": names, "palette": [protocol.colour for protocol in panel.protocols]}
    width = 0.72 if order == names else 0.9
    style = {"saturation": 1, "width": width, "edgecolor": "white", "linewidth": 0}  # white hatches, no edges
    whiskers = {"capsize": 0.15, "err_kws": {"color": "0.15", "linewidth": 0.8}}
    sns.barplot(measured, errorbar=students_interval, **where, **colours, **style, **whiskers)
    for bars, protocol in zip(axes.containers, panel.protocols, strict=False):
        for bar in bars:
            bar.set_hatch(protocol.hatch)
    repeated = measured[measured.duplicated("protocol", keep=False)]
    places = sorted(set(repeated["seed"]))
    places += [-1] * (len(places) % 2)  # an even number, so that no seed is behind the whisker
    white = {"palette": dict.fromkeys(places, "white"), "edgecolor": "0.15", "linewidth": 0.5, "size": 2.2}
    sns.stripplot(repeated, hue="seed", hue_order=places, dodge=True, jitter=False, **where, **white)

    labels = [(position, protocol.bare_name) for position, protocol in zip(positions, panel.protocols, strict=True)]
    ticks = pd.DataFrame(labels, columns=["position", "name"]).groupby("name", sort=False)["position"].mean()
    first = 23 if any(" " in name for name in ticks.index) else 15  # points below the axes
    largest = measured.groupby("protocol")["error"].max()
    across = axes.get_xaxis_transform()
    for position, protocol, bar in zip(positions, panel.protocols, table.to_dict("records"), strict=True):
        if bar["n"]:
            # An interval of few seeds may leave the axes, its number not.
            above = (position, min(max(largest[bar["protocol"]], bar["high"]), 100))
            axes.annotate(f"{bar['mean']:.1f}", above, (0, 2), "data", "offset points", ha="center", fontsize=6.5)
        else:
            why = "no run" if panel.runs_of(protocol).empty else "no test error yet"
            axes.text(position, 0.03, why, transform=across, rotation=90, color=GREY, ha="center", fontsize=7)
        _below(axes, position, first, f"{bar['n'] or '–'}")
        _below(axes, position, first + 8, f"{bar['epochs']:,}" if bar["n"] else "–", 5.5 if protocol.tying else 6)
    for points, head in ((first, "seeds"), (first + 8, "epochs")):
        axes.annotate(head, (0, 0), (-4, -points), "axes fraction", "offset points", ha="right", va="top", fontsize=6)
    axes.set(title=textwrap.fill(panel.title, TITLE_CHARACTERS), xlabel="", ylabel="", xlim=(-0.6, len(order) - 0.4))
    axes.set_xticks(ticks, [name.replace(" ", "\n", 1) for name in ticks.index])
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")
    kinds = {protocol.tying: protocol for protocol in panel.protocols if protocol.tying}
    if kinds:
        keys = [
            Patch(fc=protocol.colour, hatch=protocol.hatch, ec="white", lw=0, label=kind)
            for kind, protocol in kinds.items()
        ]
        axes.legend(handles=keys, loc="upper left", ncols=2, borderaxespad=0)


def _with_gaps(panel: Panel) -> list[str]:
    """Return the protocols' names with an empty place between pairs of tied and untied ones."""
    order: list[str] = []
    for before, protocol in zip((None, *panel.protocols), panel.protocols, strict=False):
        if before is not None and protocol.tying and before.bare_name != protocol.bare_name:
            order.append(" " * len(order))
        order.append(protocol.name)
    return order


def _below(axes: Axes, position: int, points: float, text: str, size: float = 6) -> None:
    """Write below a bar's name."""
    where = axes.get_xaxis_transform()
    axes.annotate(text, (position, 0), (0, -points), where, "offset points", ha="center", va="top", fontsize=size)
