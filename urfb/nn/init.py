"""The initial W, R and masks of the layers, which depend only on the run's seed (section 3.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from urfb.nn.asymmetric import LayerInit
from urfb.nn.randomness import connections, generator, glorot_limit, uniform
from urfb.nn.rules import Rule

Draw = Callable[[torch.Generator], Tensor]
"""A function that draws a layer's weights from a random stream."""


@dataclass(frozen=True)
class Initializer:
    """Draws the initial weights of a network's layers. Each layer's W, R and masks have separate random streams.

    Attributes:
        rule: the rule, which says how R starts.
        seed: the seed of all draws.
        outputs: the number of the network's outputs.
        connectivity, feedback_connectivity: the fractions of W's and R's connections that exist.
        stage: the number of the stage. Draws of different stages are independent.
        dtype: the type of the weights.
    """

    rule: Rule
    seed: int
    outputs: int
    connectivity: float = 1.0
    feedback_connectivity: float = 1.0
    stage: int = 1
    dtype: torch.dtype = torch.float32

    def full(self, index: int, units: int, units_below: int) -> LayerInit:
        """Return the initial weights of a full layer: W [units, units below]."""
        limit = glorot_limit(units_below, units)
        return self.layer(index, self._draw((units, units_below), limit), limit, units_below)

    def conv(self, index: int, bank: tuple[int, int, int, int], units_below: int) -> LayerInit:
        """Return the initial weights of a conv layer: W of shape `bank`, (filters, channels, k, k)."""
        limit = _conv_limit(bank)
        return self.layer(index, self._draw(bank, limit), limit, units_below)

    def untied(
        self, index: int, bank: tuple[int, int, int, int], locations: int, mode: str, units_below: int
    ) -> LayerInit:
        """Return the initial weights of an untied layer: W [locations, filters, k, k, channels].

        With `mode` 'tied-copy', every location starts from the W and R of the tied layer. With 'independent', each
        location has a separate draw.
        """
        filters, channels, height, width = bank
        limit = _conv_limit(bank)
        draw_tied = self._draw(bank, limit)

        def draw_copies(stream: torch.Generator) -> Tensor:
            return draw_tied(stream).permute(0, 2, 3, 1).repeat(locations, 1, 1, 1, 1)

        draw_independent = self._draw((locations, filters, height, width, channels), limit)
        return self.layer(index, draw_copies if mode == "tied-copy" else draw_independent, limit, units_below)

    def layer(
        self, index: int, draw: Draw, limit: float, units_below: int, *, weight: Tensor | None = None
    ) -> LayerInit:
        """Return the initial weights of any layer.

        Args:
            index: the number of the layer, which is part of the names of its streams.
            draw: a function that draws W, and an R of W's shape and distribution.
            limit: the bound of the uniform distribution from which R is drawn.
            units_below: the number of units below the layer, for one sample.
            weight: an existing W; by default `draw` draws it.
        """
        rule = self.rule
        weight = draw(self._stream("weight", index)) if weight is None else weight
        feedback = None
        match rule.start:
            case "drawn" if rule.direct:
                bound = glorot_limit(self.outputs, units_below)
                feedback = self._draw((self.outputs, units_below), bound)(self._stream("feedback", index)).to(weight)
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
        return LayerInit(
            weight if mask is None else weight * mask,
            feedback if feedback is None or feedback_mask is None else feedback * feedback_mask,
            mask,
            None if feedback is None else feedback_mask,
            limit,
        )

    def _draw(self, shape: tuple[int, ...], limit: float) -> Draw:
        return lambda stream: uniform(shape, limit, stream, self.dtype)

    def _mask(self, purpose: str, index: int, values: Tensor, density: float) -> Tensor | None:
        if density == 1:
            return None
        return connections(values.shape, density, self._stream(purpose, index), values.dtype).to(values.device)

    def _stream(self, purpose: str, index: int) -> torch.Generator:
        stage = () if self.stage == 1 else (f"stage {self.stage}",)
        return generator(self.seed, purpose, index, *stage)


def _conv_limit(bank: tuple[int, int, int, int]) -> float:
    filters, channels, height, width = bank
    return glorot_limit(channels * height * width, filters * height * width)
