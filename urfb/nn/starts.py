"""What the layers are before training: W, R and their masks, drawn from the run's seed alone (section 3.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from urfb.nn.asymmetric import Start
from urfb.nn.randomness import connections, generator, glorot_limit, uniform
from urfb.nn.rules import Rule

Draw = Callable[[torch.Generator], Tensor]
"""Returns a layer's weights, drawn from a stream."""


@dataclass(frozen=True)
class Starts:
    """Draws a network's layers. Each layer's W, R and masks have streams of their own.

    Attributes:
        rule: says what R starts as.
        seed: of every draw.
        outputs: of the network.
        connectivity, feedback_connectivity: the fractions of W's and of R's connections that exist.
        stage: which draw of the seed's it is: each is independent of the others.
        dtype: of the weights.
    """

    rule: Rule
    seed: int
    outputs: int
    connectivity: float = 1.0
    feedback_connectivity: float = 1.0
    stage: int = 1
    dtype: torch.dtype = torch.float32

    def full(self, index: int, units: int, units_below: int) -> Start:
        """Return the start of a full layer: W [units, units below]."""
        limit = glorot_limit(units_below, units)
        return self.layer(index, self._uniform((units, units_below), limit), limit, units_below)

    def conv(self, index: int, bank: tuple[int, int, int, int], units_below: int) -> Start:
        """Return the start of a conv layer: W of the shape `bank`, (filters, channels, k, k)."""
        limit = _conv_limit(bank)
        return self.layer(index, self._uniform(bank, limit), limit, units_below)

    def untied(self, index: int, bank: tuple[int, int, int, int], locations: int, how: str, units_below: int) -> Start:
        """Return the start of an untied layer: W [locations, filters, k, k, channels].

        With `how` 'tied-copy', W and R start as those of the tied layer at every location; with 'independent', each
        location has a draw of its own.
        """
        filters, channels, height, width = bank
        limit = _conv_limit(bank)
        tied = self._uniform(bank, limit)

        def copies(stream: torch.Generator) -> Tensor:
            return tied(stream).permute(0, 2, 3, 1).repeat(locations, 1, 1, 1, 1)

        independent = self._uniform((locations, filters, height, width, channels), limit)
        return self.layer(index, copies if how == "tied-copy" else independent, limit, units_below)

    def layer(self, index: int, draw: Draw, limit: float, units_below: int, *, weight: Tensor | None = None) -> Start:
        """Return the start of any layer.

        Args:
            index: names its streams.
            draw: gives the values of W, and of an R of W's shape and distribution.
            limit: the bound of the uniform distribution that R is drawn from.
            units_below: of one sample.
            weight: W, where it is there already.
        """
        rule = self.rule
        weight = draw(self._stream("weight", index)) if weight is None else weight
        feedback = None
        match rule.start:
            case "drawn" if rule.direct:
                bound = glorot_limit(self.outputs, units_below)
                feedback = self._uniform((self.outputs, units_below), bound)(self._stream("feedback", index)).to(weight)
            case "drawn":
                feedback = draw(self._stream("feedback", index))
            case "copied":
                feedback = weight.clone()
            case "uniform":
                feedback = torch.full_like(weight, limit / 3**0.5)  # the standard deviation of a draw within ±limit
        mask = self._mask("weight mask", index, weight, self.connectivity)
        feedback_mask = mask
        if feedback is not None and rule.own_connections:
            feedback_mask = self._mask("feedback mask", index, feedback, self.feedback_connectivity)
        return Start(
            weight if mask is None else weight * mask,
            feedback if feedback is None or feedback_mask is None else feedback * feedback_mask,
            mask,
            None if feedback is None else feedback_mask,
            limit,
        )

    def _uniform(self, shape: tuple[int, ...], limit: float) -> Draw:
        return lambda stream: uniform(shape, limit, stream, self.dtype)

    def _mask(self, what: str, index: int, values: Tensor, density: float) -> Tensor | None:
        if density == 1:
            return None
        return connections(values.shape, density, self._stream(what, index), values.dtype).to(values.device)

    def _stream(self, what: str, index: int) -> torch.Generator:
        stage = () if self.stage == 1 else (f"stage {self.stage}",)
        return generator(self.seed, what, index, *stage)


def _conv_limit(bank: tuple[int, int, int, int]) -> float:
    filters, channels, height, width = bank
    return glorot_limit(channels * height * width, filters * height * width)
