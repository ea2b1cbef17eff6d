"""Figure 5: test error by protocol."""

from __future__ import annotations

import math
import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy.special import stdtrit  # type: ignore[import-untyped, unused-ignore]

from urfb.report.canvas import GREY, notes_of, page
from urfb.report.drawn import Drawn, drawn_runs, over_seeds, shortfalls, stack
from urfb.report.protocols import PROTOCOLS, Protocol
from urfb.report.selection import Frames, Panel, Selection, panels

EXPLANATION = "Bars: mean over seeds; lines: its 95 % interval (Student's t); dots: each seed."


def figure5(frames: Frames, selection: Selection) -> Drawn:
    """Draw the test error of the six protocols at their last epoch: simpnet on CIFAR-10 and on CIFAR-100."""
    return draw(panels(frames.runs(), selection, ["cifar10", "cifar100"], PROTOCOLS))


def draw(found: list[Panel]) -> Drawn:
    """Draw test error by protocol, one set of axes for each panel.

    The seeds of a bar have the same number of epochs, the largest that any of them has a test error for; the others
    are left out, since a mean over different epochs is nobody's error.
    """
    measured = [_measured(panel) for panel in found]
    reached = {
        str(run): int(epochs) for rows in measured for run, epochs in zip(rows["run"], rows["epochs"], strict=True)
    }
    tables = [_table(panel, rows) for panel, rows in zip(found, measured, strict=True)]
    lacking = shortfalls(found, reached, "no test error yet")

    columns = min(len(found), 2)
    rows = math.ceil(len(found) / columns)
    figure = page(columns, 2.7 * rows, notes_of(EXPLANATION, lacking))
    grid = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
    for axes, panel, table, seeds in zip(grid, found, tables, measured, strict=False):
        _draw_panel(axes, panel, table, seeds)
    data = stack(tables)
    highest = data[["mean", "high"]].max().max() if data["n"].any() else 100
    grid[0].set_ylim(0, min(1.12 * highest, 112))  # room for the numbers above the bars
    for unused in grid[len(found) :]:
        unused.remove()
    return Drawn(figure, data, drawn_runs(found, reached), lacking, EXPLANATION)


def _measured(panel: Panel) -> pd.DataFrame:
    """Return the runs behind the panel's bars, with their `epochs` and their `error` in percent."""
    runs = panel.runs[panel.runs["test_error"].notna()]
    runs = runs.assign(epochs=runs["test_epoch"].fillna(runs["epochs_done"]), error=100 * runs["test_error"])
    return runs[runs["epochs"] == runs.groupby("protocol")["epochs"].transform("max")]


def _table(panel: Panel, measured: pd.DataFrame) -> pd.DataFrame:
    """Return the panel's bars, in percent, one row a protocol; one without a test error has n = 0."""
    table = over_seeds(measured, ["protocol", "epochs"], "error").drop(columns=["low", "high"])
    deviation = table["protocol"].map(measured.groupby("protocol")["error"].std())
    half = stdtrit(table["n"] - 1, 0.975) * deviation / np.sqrt(table["n"])  # NaN for one seed
    table = table.assign(low=table["mean"] - half, high=table["mean"] + half)
    every = pd.DataFrame({"panel": panel.title, "protocol": [protocol.name for protocol in panel.protocols]})
    table = every.merge(table, on="protocol", how="left").fillna({"n": 0, "runs": ""})
    table = table.astype({"n": int, "epochs": "Int64"})
    return table[["panel", "protocol", "epochs", "mean", "low", "high", "n", "runs"]]


def _draw_panel(axes: Axes, panel: Panel, table: pd.DataFrame, measured: pd.DataFrame) -> None:
    for position, protocol in enumerate(panel.protocols):
        bar = table[table["protocol"] == protocol.name].iloc[0]
        if bar["n"] == 0:
            why = "no run" if panel.runs_of(protocol).empty else "no test error yet"
            axes.text(position, 0.03, why, transform=axes.get_xaxis_transform(), rotation=90, color=GREY, ha="center")
            continue
        errors = measured.loc[measured["protocol"] == protocol.name, "error"]
        _draw_bar(axes, position, protocol, bar, errors)
        _below(axes, position, 20, str(bar["n"]))
        _below(axes, position, 28, f"{bar['epochs']:,}")
    for points, head in ((20, "seeds"), (28, "epochs")):
        axes.annotate(head, (0, 0), (-4, -points), "axes fraction", "offset points", ha="right", va="top", fontsize=6)
    axes.set_title(textwrap.fill(panel.title, 60))
    axes.set_ylabel("test error (%)")
    axes.set_xlim(-0.6, len(panel.protocols) - 0.4)
    axes.set_xticks(range(len(panel.protocols)), [protocol.name.replace(" ", "\n", 1) for protocol in panel.protocols])
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")


def _draw_bar(axes: Axes, position: int, protocol: Protocol, bar: pd.Series[Any], errors: pd.Series[float]) -> None:
    """Draw a bar with its number above and, of several seeds, the interval and each seed."""
    axes.bar(
        position, bar["mean"], width=0.72, color=protocol.colour, hatch=protocol.hatch, edgecolor="white", linewidth=0
    )
    top = bar["mean"]
    if bar["n"] > 1:
        half = bar["high"] - bar["mean"]
        axes.errorbar(position, bar["mean"], yerr=half, color="0.15", elinewidth=0.8, capsize=2, capthick=0.8)
        beside = position + 0.24 * np.linspace(-1, 1, len(errors))
        axes.plot(beside, errors, "o", color="white", markeredgecolor="0.15", markeredgewidth=0.5, markersize=2.4)
        top = max(bar["high"], errors.max())
    axes.annotate(f"{bar['mean']:.1f}", (position, top), (0, 2), "data", "offset points", ha="center", fontsize=6.5)


def _below(axes: Axes, position: int, points: float, text: str) -> None:
    """Write below a bar's name."""
    where = axes.get_xaxis_transform()
    axes.annotate(text, (position, 0), (0, -points), where, "offset points", ha="center", va="top", fontsize=6)
