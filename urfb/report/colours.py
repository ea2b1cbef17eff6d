"""Colours, markers and hatches: a protocol, an ε or a layer has the same look in every figure.

Green, blue and red are the paper's colours, in shades that colour-blind readers can distinguish. The colours of the
other rules are far from these and from each other, for normal, red-blind and green-blind sight.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple
from zlib import crc32

import seaborn as sns
from matplotlib.colors import to_hex

_blue, _, _green, _red, *_ = sns.color_palette("colorblind").as_hex()

RULE_LOOKS = {
    "bp": (_green, "o"),
    "urfb": (_blue, "^"),
    "frfb": (_red, "s"),
    "zipser-rumelhart": ("#889ffa", "X"),
    "kolen-pollack": ("#851ddc", "v"),
    "usf": ("#d9be00", "p"),
    "brsf": ("#1f4307", "<"),
    "frsf": ("#618896", ">"),
    "dfa": ("#1a1a1a", "h"),
    "sham": ("#555555", "d"),
    "shallow": ("#949494", "H"),
}
"""The colour and the marker of each rule. Those of `interpolated` depend on ε, those of a user's rule on its name."""

BETWEEN = sns.blend_palette([_red, "#86317b", _blue], as_cmap=True)
"""The colours from ε = 0 (FRFB) to ε = 1 (URFB)."""

MARKERS = ("v", "P", "X", "D", "p", "<", ">", "h", "d")
"""The markers for values such as ε. There are nine, so that even steps of a value have different markers."""

SPARSE = "////"
UNTIED = "\\\\\\\\"
"""The hatches of bars; both together form a lattice."""

LAYER_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


class Look(NamedTuple):
    """The look of a protocol: the colour of its lines and bars, the marker of lines and the hatch of bars."""

    colour: str
    marker: str
    hatch: str = ""


def look_of(
    rule: str,
    loss: str,
    connectivity: float = 1.0,
    feedback: float = 1.0,
    epsilon: float | None = None,
    decay: float | None = None,
) -> Look:
    """Return the look of a protocol: its rule's, lighter for another loss, fewer connections or a smaller λ."""
    if rule == "interpolated" and epsilon is not None:
        colour, marker = epsilon_look(epsilon)
    else:
        colour, marker = RULE_LOOKS.get(rule) or _look_of_name(rule)
    strength = 1.0
    if loss != ("softmax" if rule == "bp" else "hinge"):
        strength *= 0.5
    sparse = min(connectivity, feedback) < 1
    if sparse:
        strength *= 0.46 + 0.32 * (connectivity + feedback) / 2
    if decay is not None:
        strength *= 1 - 0.15 * min(max(-math.log10(max(decay, 1e-9)) - 1, 0), 4)
    if strength < 1:
        colour = lighter(colour, strength)
        marker = MARKERS[crc32(f"{marker} {loss} {connectivity} {feedback} {decay}".encode()) % len(MARKERS)]
    return Look(colour, marker, SPARSE if sparse else "")


def epsilon_look(epsilon: float) -> tuple[str, str]:
    """Return the colour and the marker of a rule between FRFB and URFB."""
    return to_hex(BETWEEN(float(min(max(epsilon, 0), 1)))), MARKERS[round(1000 * epsilon) % len(MARKERS)]


def lighter(colour: str, strength: float) -> str:
    """Return a lighter shade of a colour: the colour itself at strength 1, almost white at 0."""
    return to_hex(sns.light_palette(colour, as_cmap=True)(strength))


def layer_looks(layers: Iterable[int], depth: int) -> dict[int, dict[str, Any]]:
    """Return the colour and marker of each layer's line in a network with `depth` layers that learn."""
    colours = sns.color_palette("viridis", depth).as_hex()
    return {
        layer: {"color": colours[depth - layer], "marker": LAYER_MARKERS[layer % len(LAYER_MARKERS)]}
        for layer in layers
    }


def _look_of_name(rule: str) -> tuple[str, str]:
    """Return a colour and a marker for a user's rule that depend on its name only, not on the other rules."""
    number = crc32(rule.encode())
    [colour] = sns.husl_palette(1, h=number % 360 / 360, s=0.8, l=0.35 + 0.1 * (number // 360 % 4)).as_hex()
    return str(colour), MARKERS[number % len(MARKERS)]
