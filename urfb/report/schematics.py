"""Figures 1 and 2: the feedforward and feedback computations, with the numbers of a worked example."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch

from urfb.report.canvas import PANEL_WIDTH, TITLE_SIZE, page
from urfb.report.drawn import Drawn
from urfb.report.exhibits import Data
from urfb.report.styles import Style
from urfb.report.worked_example import MEANING, UNITS, Example, example, sigma, sigma_prime, table

Point = tuple[float, float]
"""Inches from the lower left corner."""

CHOSEN = 1  # unit (2, 2) of the paper's captions; units are counted from 0 here
RADIUS = 0.23  # inches, of a unit
ACROSS = (0.85, 1.65, 2.45)  # inches, the centres of the units of a layer
RIGHT = 2.82  # inches, the left end of the equations
LETTERS = 6.5  # points
RED = sns.color_palette("colorblind").as_hex()[3]
SATURATED = "0.82"
FAINT = "0.78"
LAYER_NAMES = {0: "input", 1: "layer 1", 2: "layer 2", 3: "layer 3\n(output)"}

ABOUT_FORWARD = (
    "The numbers are of one example in a small network with random weights. They are rounded; the CSV file has all of "
    "them, exactly. Grey units are saturated: |h| > 1."
)
ABOUT_FEEDBACK = (
    "The numbers are of the example of Figure 1 with URFB and the hinge loss; unit 1 is the true class. Solid arrows "
    "are W, dashed arrows are R, and red numbers show the order of computation. The grey unit is saturated. The "
    "increments are multiplied by the step size η before they are added."
)


def feedforward(data: Data) -> Drawn:
    """Draw the feedforward computation: every activity, and the sum and σ of unit (2, 2)."""
    sample = example()
    figure, axes = _canvas(4.66, data.style)
    heights = {0: 1.28, 1: 2.26, 2: 3.24, 3: 4.22}
    places = {layer: [(across, height) for across in ACROSS] for layer, height in heights.items()}
    for layer in (1, 2, 3):
        for below in places[layer - 1]:
            for above in places[layer]:
                _arrow(axes, below, above, color=FAINT)
        _write(axes, (RIGHT, heights[layer] - 0.49), f"$h_{layer} = W_{layer} x_{layer - 1}$", ha="left")
    for j, below in enumerate(places[1]):
        _arrow(axes, below, places[2][CHOSEN], linewidth=1.3, zorder=3)
        weight = f"{_name('W', 2, CHOSEN, j)}\n{_number(sample.W[2][CHOSEN, j])}"
        _write(axes, _between(below, places[2][CHOSEN], 0.42), weight, backed=True)
    equations = {0: "$x_0$", 1: r"$x_1 = \sigma(h_1)$", 2: r"$x_2 = \sigma(h_2)$", 3: "$x_3 = h_3$"}
    for layer, height in heights.items():
        _write(axes, (0.03, height), LAYER_NAMES[layer], ha="left")
        _write(axes, (RIGHT, height), equations[layer], ha="left")
        for i, place in enumerate(places[layer]):
            value = f"$x$ {_rounded(sample.x[layer][i])}"
            text = f"$h$ {_rounded(sample.h[layer][i])}\n{value}" if layer in (1, 2) else value
            _unit(axes, place, text, saturated=_saturated(sample, layer, i), emphasised=(layer, i) == (2, CHOSEN))
    _write(axes, (0.03, 0.48), _sum_in_words(sample), ha="left", linespacing=1.6)
    _draw_sigma(axes, sample)
    return Drawn(figure, table(sample, ("h", "x", "W")), pd.DataFrame(), [], MEANING, ABOUT_FORWARD)


def feedback(data: Data) -> Drawn:
    """Draw the feedback: left, δ₂,₂ computed from δ₃ through R₃; right, the increments of W and R from δ₂,₂."""
    sample = example()
    figure, axes = _canvas(3.2, data.style, 2)
    for part, title in enumerate(("(a) feedback signal of unit (2, 2)", "(b) updates of W and R at unit (2, 2)")):
        _write(axes, (part * PANEL_WIDTH + 0.03, 3.1), title, ha="left", fontsize=TITLE_SIZE)
    _draw_combination(axes, sample)
    _draw_updates(axes, sample)
    return Drawn(figure, table(sample), pd.DataFrame(), [], MEANING, ABOUT_FEEDBACK)


def _draw_combination(axes: Axes, sample: Example) -> None:
    """Draw steps 1 and 2: the signals of layer 3 combined through R₃, times σ′, at unit (2, 2)."""
    above = [(across, 2.45) for across in (0.62, 1.7, 2.78)]
    units = [(across, 0.6) for across in (0.62, 1.7, 2.78)]
    chosen = units[CHOSEN]
    combined = (chosen[0], 1.4)
    for i, unit in enumerate(units):
        if i != CHOSEN:
            for source in above:
                _arrow(axes, source, unit, color=FAINT, linestyle="--")
    for k, source in enumerate(above):
        _arrow(axes, source, combined, until=0.1, linestyle="--", linewidth=1.1, zorder=3)
        outwards = 0.09 if k == UNITS - 1 else -0.09
        begin = (RADIUS + 0.12) / np.hypot(*np.subtract(source, combined))
        _order(axes, _offset(source, combined, begin, outwards), _offset(source, combined, 0.72, outwards), 1)
        weight = f"{_name('R', 3, CHOSEN, k)}\n{_number(sample.R[3][CHOSEN, k])}"
        _write(axes, _offset(source, combined, 0.38, 0.22 if k != UNITS - 1 else -0.22), weight, backed=True)
    axes.add_patch(Circle(combined, 0.1, facecolor="white", edgecolor="black", linewidth=0.9, zorder=5))
    _write(axes, combined, "+", zorder=6, fontsize=8)
    _arrow(axes, combined, chosen, from_=0.1, linewidth=1.1, zorder=3)
    _order(axes, _offset(combined, chosen, 0.25, -0.12), _offset(combined, chosen, 0.68, -0.12), 2)
    total = _number(float(sample.R[3][CHOSEN] @ sample.delta[3]))
    right = combined[0] + 0.16
    _write(axes, (right, 1.4), rf"$\Sigma_k\, R_{{3,2k}} \delta_{{3,k}}$ = {total}", ha="left", backed=True)
    factor = rf"× $\sigma$′$(h_{{2,2}})$ = {_number(sigma_prime(sample.h[2])[CHOSEN])}"
    _write(axes, (right, 1.09), factor, ha="left", backed=True)
    for place, value in zip(above, sample.delta[3], strict=True):
        _unit(axes, place, f"$\\delta$ {_rounded(value)}", saturated=False, emphasised=False)
    for i, (place, value) in enumerate(zip(units, sample.delta[2], strict=True)):
        saturated = _saturated(sample, 2, i)
        _unit(axes, place, f"$\\delta$ {_rounded(value)}", saturated=saturated, emphasised=i == CHOSEN)
        if saturated:
            _write(axes, (place[0], place[1] - 0.34), rf"$\sigma$′$(h_{{2,{i + 1}}})$ = 0")
    _write(axes, (0.03, 2.82), r"layer 3 (output): $\delta_3$ is the derivative of the loss", ha="left")
    _write(axes, (0.03, 0.97), "layer 2", ha="left", backed=True)


def _draw_updates(axes: Axes, sample: Example) -> None:
    """Draw step 3: W into unit (2, 2) and R out of it take the same increment."""
    chosen = (1.5 * PANEL_WIDTH, 2.45)
    for j, across in enumerate((-1.15, 0, 1.15)):
        below = (chosen[0] + across, 0.95)
        _arrow(axes, _offset(below, chosen, 0, -0.07), _offset(below, chosen, 1, -0.07), linewidth=1.1, zorder=3)
        _arrow(
            axes, _offset(below, chosen, 1, 0.07), _offset(below, chosen, 0, 0.07),
            linewidth=1.1, linestyle="--", zorder=3,
        )  # fmt: skip
        W = f"{_name('W', 2, CHOSEN, j)}\n{_number(sample.W[2][CHOSEN, j])}"
        R = f"{_name('R', 2, j, CHOSEN)}\n{_number(sample.R[2][j, CHOSEN])}"
        _write(axes, _offset(below, chosen, 0.3, -0.26), W)
        _write(axes, _offset(below, chosen, 0.3, 0.26), R)
        _unit(axes, below, f"$x$ {_rounded(sample.x[1][j])}", saturated=False, emphasised=False)
        increment = _number(sample.W_increment[2][CHOSEN, j])
        product = f"−{_factor(sample.delta[2][CHOSEN])}·{_factor(sample.x[1][j])} = {increment}"
        _write(axes, (below[0], 0.6), product)
    _unit(axes, chosen, f"$\\delta$ {_rounded(sample.delta[2][CHOSEN])}", saturated=False, emphasised=True)
    _step(axes, (chosen[0] - 0.72, 0.3), 3)
    equation = r"$\Delta W_{2,2j} = \Delta R_{2,j2} = -\delta_{2,2}\, x_{1,j}$"
    _write(axes, (chosen[0] - 0.58, 0.3), equation, ha="left")
    _write(axes, (PANEL_WIDTH + 0.03, 2.82), "layer 2", ha="left")
    _write(axes, (PANEL_WIDTH + 0.03, 1.32), "layer 1", ha="left")


def _order(axes: Axes, start: Point, end: Point, number: int) -> None:
    """Draw a red arrow with the number of its step at its beginning."""
    _arrow(axes, start, end, from_=0, until=0, color=RED, linewidth=1.6, zorder=5)
    _step(axes, start, number)


def _step(axes: Axes, place: Point, number: int) -> None:
    """Draw the number of a step."""
    axes.add_patch(Circle(place, 0.07, facecolor=RED, edgecolor="white", linewidth=0.6, zorder=6))
    _write(axes, place, str(number), color="white", fontsize=6, zorder=7)


def _sum_in_words(sample: Example) -> str:
    """Return the computation of unit (2, 2), with symbols and with numbers."""
    products = zip(sample.W[2][CHOSEN], sample.x[1], strict=True)
    numbers = " + ".join(f"{_factor(weight)}·{_factor(activity)}" for weight, activity in products)
    h = _name("h", 2, CHOSEN)
    return "\n".join(
        (
            rf"{h} $= \Sigma_j\, W_{{2,2j}} x_{{1,j}}$",
            f"= {numbers}",
            f"= {_number(sample.h[2][CHOSEN])}",
            rf"{_name('x', 2, CHOSEN)} $= \sigma(${h}$)$ = {_number(sample.x[2][CHOSEN])}",
        )
    )


def _draw_sigma(axes: Axes, sample: Example) -> None:
    """Draw σ with a marker for each hidden unit."""
    inset = axes.inset_axes((2.3, 0.26, 0.95, 0.55), transform=axes.transData)
    h = np.linspace(-1.6, 1.6, 101)
    inset.plot(h, sigma(h), color="black", linewidth=0.9)
    for layer in (1, 2):
        for i, input_ in enumerate(sample.h[layer]):
            emphasised = (layer, i) == (2, CHOSEN)
            fill = "black" if emphasised else SATURATED if _saturated(sample, layer, i) else "white"
            inset.plot(
                input_, sample.x[layer][i], "o", markersize=4.2, markerfacecolor=fill, markeredgecolor="black",
                markeredgewidth=0.7, clip_on=False, zorder=4 if emphasised else 3,
            )  # fmt: skip
    inset.grid(False)
    inset.set(xticks=[-1, 0, 1], yticks=[-1, 0, 1], xlim=(-1.6, 1.6), ylim=(-1.2, 1.2))
    inset.tick_params(labelsize=6, length=2, pad=1.5)
    inset.set_xlabel("$h$", fontsize=LETTERS, labelpad=0)
    inset.set_ylabel(r"$\sigma(h)$", fontsize=LETTERS, labelpad=0)


def _canvas(height: float, style: Style, columns: int = 1) -> tuple[Figure, Axes]:
    """Return a page of this height in inches, and axes in inches whose panels are in its middle."""
    figure = page(columns, height, [], style)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    margin = (figure.get_size_inches()[0] - columns * PANEL_WIDTH) / 2
    axes.set(xlim=(-margin, columns * PANEL_WIDTH + margin), ylim=(0, height))
    axes.set_axis_off()
    return figure, axes


def _unit(axes: Axes, place: Point, text: str, *, saturated: bool, emphasised: bool) -> None:
    face = SATURATED if saturated else "white"
    circle = Circle(place, RADIUS, facecolor=face, edgecolor="black", linewidth=1.6 if emphasised else 0.7, zorder=5)
    axes.add_patch(circle)
    _write(axes, place, text, fontsize=6, zorder=6, linespacing=1.15)


def _arrow(axes: Axes, start: Point, end: Point, *, from_: float = RADIUS, until: float = RADIUS, **style: Any) -> None:
    """Draw an arrow between the edges of two circles, of the radii `from_` and `until` inches."""
    inch = 72  # points
    usual: Any = {"color": "black", "linewidth": 0.6, "zorder": 2}
    arrow = FancyArrowPatch(
        start, end, arrowstyle="-|>,head_length=2.4,head_width=1.3",
        shrinkA=from_ * inch, shrinkB=until * inch, **usual | style,
    )  # fmt: skip
    axes.add_patch(arrow)


def _write(axes: Axes, place: Point, text: str, *, backed: bool = False, **style: Any) -> None:
    """Write a text at a place, on a white background if it is `backed`."""
    usual: Any = {"ha": "center", "va": "center", "fontsize": LETTERS, "zorder": 4}
    box: Any = {"facecolor": "white", "edgecolor": "none", "pad": 0.6} if backed else None
    axes.text(*place, text, bbox=box, **usual | style)


def _between(start: Point, end: Point, part: float) -> Point:
    return start[0] + part * (end[0] - start[0]), start[1] + part * (end[1] - start[1])


def _offset(start: Point, end: Point, part: float, right: float) -> Point:
    """Return a point at a fraction of a line, moved `right` inches at a right angle to it, as seen going up."""
    x, y = _between(start, end, part)
    way = np.subtract(end, start) * (1 if end[1] > start[1] else -1)
    across = np.array((way[1], -way[0])) / np.hypot(*way)
    return float(x + right * across[0]), float(y + right * across[1])


def _saturated(sample: Example, layer: int, unit: int) -> bool:
    return layer in (1, 2) and sigma_prime(sample.h[layer])[unit] == 0


def _name(letter: str, layer: int, unit: int, second_unit: int | None = None) -> str:
    """Return a symbol with the paper's indices, which count units from 1."""
    return f"${letter}_{{{layer},{unit + 1}{'' if second_unit is None else second_unit + 1}}}$"


def _number(value: float) -> str:
    """Return a number with at most three digits and a minus sign in place of a hyphen."""
    return f"{round(value, 3) + 0.0:.3g}".replace("-", "−")


def _rounded(value: float) -> str:
    """Return a number with at most two decimals, as it is written into a unit."""
    return _number(round(value, 2))


def _factor(value: float) -> str:
    return f"({_number(value)})" if value < 0 else _number(value)
