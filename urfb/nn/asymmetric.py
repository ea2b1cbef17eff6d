"""Layers with feedforward weights W and separate feedback weights R (section 3.1 of the paper).

Everything asymmetric is in `SeparateFeedback`, one autograd function for every linear map. R has W's shape and is used
transposed: the paper's R_{l+1} is this layer's `feedback`ᵗ. So W and R take one and the same increment, and any
optimizer that does plain gradient steps on a layer's parameters follows its rule.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from urfb.nn.randomness import connections, generator, glorot_uniform
from urfb.nn.rules import Rule


class FullMap:
    """h = W x for x [batch, in], W [out, in]."""

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return h [batch, out]."""
        return x @ weight.T

    def backward(self, delta: Tensor, x: Tensor, feedback: Tensor, down: bool) -> tuple[Tensor | None, Tensor]:
        """Return the error signal R δ for the layer below (if wanted), and δ xᵗ summed over the batch."""
        return delta @ feedback if down else None, delta.T @ x


class ConvMap(NamedTuple):
    """h = W * x with zeros around the grid, for x [batch, channels, height, width], W [filters, channels, k, k].

    An odd filter leaves the grid its size; an even one makes it larger by one.
    """

    padding: tuple[int, int]

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return h [batch, filters, height, width], of an even filter with one more row and column."""
        return torch.conv2d(x, weight, padding=self.padding)

    def backward(self, delta: Tensor, x: Tensor, feedback: Tensor, down: bool) -> tuple[Tensor | None, Tensor]:
        """Return the transposed convolution of δ with R (if wanted), and W's increment; both in one call."""
        error_signal, increment, _ = torch.ops.aten.convolution_backward(
            delta, x, feedback, None, (1, 1), self.padding, (1, 1), False, (0, 0), 1, (down, True, False)
        )
        return error_signal, increment


class SeparateFeedback(torch.autograd.Function):
    """h = W x forward; δ goes down through R, and W and R get the same increment, each on its own connections."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        feedback: Tensor,
        linear_map: FullMap | ConvMap,
        epsilon: float,
        mask: Tensor | None,
        feedback_mask: Tensor | None,
    ) -> Tensor:
        """Return W x; `feedback` is W itself under back-propagation."""
        ctx.save_for_backward(x, feedback, mask, feedback_mask)
        ctx.linear_map, ctx.epsilon = linear_map, epsilon
        return linear_map.forward(x, weight)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple[Tensor | None, ...]:
        """Return the error signal for x, and the gradients of W and R."""
        x, feedback, mask, feedback_mask = ctx.saved_tensors
        error_signal, gradient = ctx.linear_map.backward(delta, x, feedback, ctx.needs_input_grad[0])
        feedback_gradient = None
        if ctx.needs_input_grad[2]:
            feedback_gradient = gradient if ctx.epsilon == 1 else ctx.epsilon * gradient
            if feedback_mask is not None:
                feedback_gradient = feedback_gradient * feedback_mask
        if mask is not None:
            gradient = gradient * mask
        return error_signal, gradient, feedback_gradient, None, None, None, None


class AsymmetricLayer(nn.Module):
    """A linear map with weights W, and under a rule with separate feedback, R of the same shape.

    Attributes:
        weight: W [out, in] or [filters, channels, k, k].
        feedback: R, of W's shape; None under back-propagation. It takes no gradient where the rule leaves it fixed.
        mask, feedback_mask: 1 where W and R have a connection, 0 where not; None if every connection is there.
    """

    mask: Tensor | None
    feedback_mask: Tensor | None

    def __init__(
        self,
        name: str,
        shape: tuple[int, ...],
        linear_map: FullMap | ConvMap,
        rule: Rule,
        *,
        seed: int,
        index: int,
        connectivity: float = 1.0,
        feedback_connectivity: float = 1.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Draw W, R and their masks from `seed`, each from a stream of its own named after the layer's `index`."""
        super().__init__()
        self.name, self.linear_map, self.rule = name, linear_map, rule
        size = torch.Size(shape)

        def draw(what: str, density: float) -> tuple[nn.Parameter, Tensor | None]:
            values = glorot_uniform(size, generator(seed, what, index), dtype)
            mask = connections(size, density, generator(seed, f"{what} mask", index), dtype) if density < 1 else None
            return nn.Parameter(values if mask is None else values * mask), mask

        self.weight, mask = draw("weight", connectivity)
        self.feedback: nn.Parameter | None = None
        feedback_mask = None
        if rule.separate:
            self.feedback, feedback_mask = draw("feedback", feedback_connectivity)
            self.feedback.requires_grad_(rule.epsilon != 0)
        # Not saved with the weights: they follow from the seed.
        self.register_buffer("mask", mask, persistent=False)
        self.register_buffer("feedback_mask", feedback_mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return h = W x."""
        if self.feedback is None:
            # Without R the error signal goes down through W: the same code path, and masks keep their zeros.
            feedback: Tensor = self.weight.detach()
            epsilon = 0.0
        else:
            feedback, epsilon = self.feedback, self.rule.epsilon
        h: Tensor = SeparateFeedback.apply(
            x, self.weight, feedback, self.linear_map, epsilon, self.mask, self.feedback_mask
        )
        return h
