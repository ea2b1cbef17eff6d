"""The learning rules: how the feedback weights R start, how they learn, and what carries the error signal down.

In the paper's rules (section 3.1), W ← (1−λ)W + ηG and R ← (1−λ)R + ε·ηG, and R carries the error signal down instead
of Wᵗ. The other rules are for comparison, and each differs in one more point. Plain Python, no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Rule:
    """A learning rule: how R starts, how it learns, and which tensor carries the error signal down.

    Attributes:
        description: one line that describes the rule.
        start: how R starts: 'drawn' independently but like W, 'copied' from W, or 'uniform', with W's standard
            deviation in every entry. None for a rule without R, in which Wᵗ carries the error signal.
        epsilon: ε, the multiple of W's increment that R takes.
        decay: λ, the fraction of W and R that each update removes, regardless of the step size.
        required: the settings among `epsilon` and `decay` that a run must give.
        optional: the settings among `epsilon` and `decay` that a run may give.
        carrier: a function of W and R that returns, at each forward pass, the tensor that carries the error signal
            instead of R. W, R and the result have the same shape; R is None in a rule without R. The result is used
            transposed, as R is, so W itself means Wᵗ.
        redrawn: whether R is drawn again for every update.
        direct: whether R carries the network's output error directly to each layer, instead of the error signal of the
            layer above. R is then [outputs, units below].
        output_only: whether only the output layer learns.
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
        """Whether R starts as a draw with W's shape and distribution."""
        return self.start == "drawn" and not self.direct

    @property
    def own_connections(self) -> bool:
        """Whether R has a separate mask instead of W's."""
        return self.start == "drawn" and self.carrier is None


def _sign_of_weight(weight: Any, feedback: Any) -> Any:
    """Return |R| with the current signs of W."""
    return feedback.copysign(weight)


def _copy_of_weight(weight: Any, feedback: Any) -> Any:
    """Return a copy of W, for a rule without R."""
    return weight.clone()


RULES = {
    "bp": Rule("back-propagation: R is Wᵗ", start=None),
    "urfb": Rule("updated random feedback: R takes the same increments as W", epsilon=1.0),
    "frfb": Rule("fixed random feedback (feedback alignment): R never changes"),
    "interpolated": Rule("R takes ε times the increments of W", required=("epsilon",), optional=("decay",)),
    "zipser-rumelhart": Rule("like urfb, but R starts as Wᵗ and so remains Wᵗ", start="copied", epsilon=1.0),
    "kolen-pollack": Rule("like urfb, and W and R decay by λ per update", epsilon=1.0, required=("decay",)),
    "usf": Rule("uniform sign-symmetry: the signs of Wᵗ, one magnitude", start="uniform", carrier=_sign_of_weight),
    "brsf": Rule("sign-symmetry with magnitudes drawn again for every batch", redrawn=True, carrier=_sign_of_weight),
    "frsf": Rule("sign-symmetry with fixed random magnitudes", carrier=_sign_of_weight),
    "dfa": Rule("direct feedback alignment: fixed random R carry the output error to each layer", direct=True),
    "sham": Rule("control: a copy of Wᵗ replaces R", start=None, carrier=_copy_of_weight),
    "shallow": Rule("control: only the output layer learns", start=None, output_only=True),
}
