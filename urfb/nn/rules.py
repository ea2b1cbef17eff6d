"""The learning rules: how the feedback weights R start, how they learn, and what carries the error signal down.

The paper's family (section 3.1) is W ← (1−λ)W + ηG, R ← (1−λ)R + ε·ηG, with the error signal carried down by R in place
of Wᵗ. The rules for comparison differ in one more point each. Plain Python, no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Rule:
    """One way to carry the error signal down and to learn.

    Attributes:
        description: one line for people.
        start: what R is before training. None: there is no R, and Wᵗ carries the error signal; 'drawn': drawn like W,
            independently; 'copied': a copy of W; 'uniform': W's standard deviation in every entry.
        epsilon: ε, the multiple of W's increment that R takes.
        decay: λ, the fraction of W and R that each update takes away, whatever the step size.
        required: which of `epsilon` and `decay` a run has to give.
        optional: which of them a run may give.
        carrier: what carries the error signal in R's place: a tensor of W's shape, made of W and R, tensors of one
            shape (or of W and None without an R), before each update. It is used transposed, as R is, so W itself
            stands for Wᵗ.
        redrawn: whether R is drawn again for every update.
        direct: whether R carries the network's output error straight to each layer, instead of the error signal of
            the layer above; R is then [outputs, units below].
        output_only: whether the output layer alone learns.
    """

    description: str
    start: Literal["drawn", "copied", "uniform"] | None = "drawn"
    epsilon: float = 0.0
    decay: float = 0.0
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    carrier: Callable[[Any, Any], Any] | None = None
    redrawn: bool = False
    direct: bool = False
    output_only: bool = False

    @property
    def separate(self) -> bool:
        """Whether layers have separate feedback weights."""
        return self.start is not None

    @property
    def draws_like_weight(self) -> bool:
        """Whether R starts as a draw of W's shape and distribution."""
        return self.start == "drawn" and not self.direct

    @property
    def own_connections(self) -> bool:
        """Whether R has a separate mask, rather than W's connections."""
        return self.start == "drawn" and self.carrier is None


def _sign_of_weight(weight: Any, feedback: Any) -> Any:
    """Return |R| with the current signs of W."""
    return feedback.copysign(weight)


def _copy_of_weight(weight: Any, feedback: Any) -> Any:
    """Return a copy of W; there is no R."""
    return weight.clone()


RULES = {
    "bp": Rule("back-propagation: R is Wᵗ", start=None),
    "urfb": Rule("updated random feedback: R takes the very increment of W", epsilon=1.0),
    "frfb": Rule("fixed random feedback (feedback alignment): R stays as drawn"),
    "interpolated": Rule("R takes ε times the increment of W", required=("epsilon",), optional=("decay",)),
    "zipser-rumelhart": Rule("as urfb, but R starts as Wᵗ, and so stays Wᵗ", start="copied", epsilon=1.0),
    "kolen-pollack": Rule("as urfb, with W and R decaying by λ an update", epsilon=1.0, required=("decay",)),
    "usf": Rule("uniform sign-symmetry: the signs of Wᵗ, one magnitude", start="uniform", carrier=_sign_of_weight),
    "brsf": Rule("sign-symmetry with magnitudes drawn anew for every batch", redrawn=True, carrier=_sign_of_weight),
    "frsf": Rule("sign-symmetry with fixed random magnitudes", carrier=_sign_of_weight),
    "dfa": Rule("direct feedback alignment: fixed random R carry the output error to every unit", direct=True),
    "sham": Rule("control: a copy of Wᵗ takes R's place", start=None, carrier=_copy_of_weight),
    "shallow": Rule("control: the output layer alone learns", start=None, output_only=True),
}
