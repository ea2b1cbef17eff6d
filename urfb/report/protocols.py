"""The learning protocols of the paper: their looks, and the epochs and seeds that they should have."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from urfb.report.colours import UNTIED, epsilon_look, look_of

# Epochs of tied training. simpnet: the paper, section 4. deepernet, deepnet_s: the author's code (github yaliamit/URFB,
# 9d59f23). deepnet: as deepernet, because both are in Figure 6.
PAPER_EPOCHS = {"simpnet": 1000, "deepnet": 1000, "deepernet": 1000, "deepnet_s": 500}
PAPER_SECOND_STAGE = 1000
"""Epochs after a first stage in the author's code."""

# The paper has one run for each line or bar; experiments.yaml has these seeds, so that figures can show a spread.
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Protocol:
    """A way of training: a rule with its loss and connectivity.

    Attributes:
        name: the name in figures and tables.
        rule: the rule's name.
        loss: 'hinge' or 'softmax'.
        connectivity: the fraction of W's connections that exist.
        colour, marker, hatch: the look, from `colours`; markers and hatches distinguish protocols in grey print.
        feedback_connectivity: the fraction of R's connections that exist; None for W's.
        epsilon, decay: the run's ε and λ; None if the rule itself defines them.
        untied: whether layers are untied; None if the protocol is not compared with an untied or tied one.
    """

    name: str
    rule: str
    loss: str
    connectivity: float
    colour: str
    marker: str
    hatch: str = ""
    feedback_connectivity: float | None = None
    epsilon: float | None = None
    decay: float | None = None
    untied: bool | None = None

    def matches(self, runs: pd.DataFrame) -> pd.Series[bool]:
        """Return which of the runs were trained this way."""
        matching = (runs["rule"] == self.rule) & (runs["loss"] == self.loss)
        matching &= runs["connectivity"] == self.connectivity
        if self.rule != "bp":  # under BP the feedback is Wᵗ and has no connectivity of its own
            matching &= runs["feedback_connectivity"] == self.feedback()
        for name, value in (("epsilon", self.epsilon), ("decay", self.decay)):
            matching &= runs[name].isna() if value is None else runs[name] == value
        if self.untied is not None:
            matching &= (runs["untied"] != "none") == self.untied
        return matching

    @property
    def tying(self) -> str:
        """'tied' or 'untied'; empty if the two are not compared."""
        return "" if self.untied is None else "untied" if self.untied else "tied"

    @property
    def bare_name(self) -> str:
        """The name without 'tied' or 'untied'."""
        return self.name.removesuffix(f" {self.tying}")

    def feedback(self) -> float:
        """Return the fraction of R's connections that exist."""
        return self.connectivity if self.feedback_connectivity is None else self.feedback_connectivity


def _of_paper(name: str, rule: str, marker: str, loss: str = "hinge", connectivity: float = 1.0) -> Protocol:
    look = look_of(rule, loss, connectivity, connectivity)
    return Protocol(name, rule, loss, connectivity, look.colour, marker, look.hatch)


BP = _of_paper("BP", "bp", "o", loss="softmax")
BP_H = _of_paper("BP-H", "bp", "D")
URFB = _of_paper("URFB", "urfb", "^")
FRFB = _of_paper("FRFB", "frfb", "s")
URFB_SPARSE = _of_paper("URFB 50 %", "urfb", "v", connectivity=0.5)
FRFB_SPARSE = _of_paper("FRFB 50 %", "frfb", "P", connectivity=0.5)

PROTOCOLS = (BP, BP_H, URFB, FRFB, URFB_SPARSE, FRFB_SPARSE)
"""The six protocols of Figure 5, in the figure's order."""


def tied_and_untied(protocols: Iterable[Protocol]) -> tuple[Protocol, ...]:
    """Return each protocol twice, as in Figure 9: with convolutional layers and, hatched, with untied layers."""
    return tuple(
        replace(protocol, name=f"{protocol.name} {word}", hatch=f"{protocol.hatch}{hatch}", untied=untied)
        for protocol in protocols
        for word, untied, hatch in (("tied", False, ""), ("untied", True, UNTIED))
    )


TIED_AND_UNTIED = tied_and_untied((BP, BP_H, URFB, FRFB))

INTERPOLATED = tuple(
    Protocol(f"interpolated ε {epsilon:g}", "interpolated", "hinge", 1.0, *epsilon_look(epsilon), epsilon=epsilon)
    for epsilon in (0.25, 0.5)
)
"""Protocols between FRFB (ε = 0) and URFB (ε = 1)."""

RULE_NAMES = {
    "interpolated": "interpolated",
    "zipser-rumelhart": "Zipser–Rumelhart",
    "kolen-pollack": "Kolen–Pollack",
    "usf": "uSF",
    "brsf": "brSF",
    "frsf": "frSF",
    "sham": "sham",
    "shallow": "shallow",
}
"""The names of rules that are not acronyms; acronyms are in capitals."""


def protocols_in(runs: pd.DataFrame) -> tuple[Protocol, ...]:
    """Return all protocols of the runs, by connectivity, rule, ε and λ; this is also the order of the paper's."""
    left = runs[["rule", "loss", "connectivity", "feedback_connectivity", "epsilon", "decay"]].drop_duplicates()
    protocols = [protocol for protocol in PROTOCOLS if protocol.matches(left).any()]
    for protocol in protocols:
        left = left[~protocol.matches(left)]
    others: list[Protocol] = []
    while not left.empty:
        others.append(_run_protocol(left.iloc[0]))
        left = left[~others[-1].matches(left)]
    rules = list(dict.fromkeys(protocol.rule for protocol in (*PROTOCOLS, *others)))

    def place(protocol: Protocol) -> tuple[float, ...]:
        sparsity = (-protocol.connectivity, -protocol.feedback())
        return (*sparsity, rules.index(protocol.rule), protocol.epsilon or 0, protocol.decay or 0)

    return tuple(sorted((*protocols, *others), key=place))


def _run_protocol(run: pd.Series[Any]) -> Protocol:
    """Return a run's protocol, named as in the paper: BP has softmax, and every other name the hinge loss."""
    rule, loss, connectivity = str(run["rule"]), str(run["loss"]), float(run["connectivity"])
    feedback = connectivity if rule == "bp" else float(run["feedback_connectivity"])
    epsilon, decay = (None if pd.isna(run[name]) else float(run[name]) for name in ("epsilon", "decay"))
    words = [RULE_NAMES.get(rule, rule if ":" in rule else rule.upper())]
    if rule == "bp" and loss == "hinge":
        words = ["BP-H"]
    elif loss != ("softmax" if rule == "bp" else "hinge"):
        words.append(loss)
    words += [f"{symbol} {value:g}" for symbol, value in (("ε", epsilon), ("λ", decay)) if value is not None]
    if feedback != connectivity:
        words.append(f"W {connectivity:.0%}, R {feedback:.0%}".replace("%", " %"))
    elif connectivity != 1:
        words.append(f"{connectivity:.0%}".replace("%", " %"))
    look = look_of(rule, loss, connectivity, feedback, epsilon, decay)
    return Protocol(" ".join(words), rule, loss, connectivity, *look, feedback, epsilon, decay)
