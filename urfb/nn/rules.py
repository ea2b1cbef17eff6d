"""The learning rules: how the feedback weights R start, and which multiple of W's increment they take.

The paper's family (section 3.1) is W ← W + ηG, R ← R + ε·ηGᵗ with the error signal carried down by R.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """One way to carry the error signal down and to learn.

    Attributes:
        separate: whether layers have feedback weights of their own; without, the error signal goes down through Wᵗ.
        epsilon: the multiple ε of W's increment that R takes.
        description: one line for people.
    """

    separate: bool
    epsilon: float
    description: str


RULES = {
    "bp": Rule(separate=False, epsilon=0.0, description="back-propagation: R is Wᵗ"),
    "urfb": Rule(separate=True, epsilon=1.0, description="updated random feedback: R takes the very increment of W"),
    "frfb": Rule(separate=True, epsilon=0.0, description="fixed random feedback: R stays as drawn"),
}
