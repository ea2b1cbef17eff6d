"""Layers with feedforward weights W and separate feedback weights R (section 3.1 of the paper).

`SeparateFeedback` is one autograd function for every linear map, and the only asymmetric part. R has W's shape and is
used transposed: the paper's R_{l+1} is this layer's `feedback`ᵗ. So W and R take the same increment, and any optimizer
that takes plain gradient steps follows the layer's rule. Only direct feedback alignment needs more, because it carries
the network's output error to every layer instead of the error signal of the layer above.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from urfb.nn.randomness import RandomModule
from urfb.nn.rules import Rule


class FullMap:
    """h = W x for x [batch, …, in], W [out, in]."""

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return h [batch, …, out]."""
        return x @ weight.T

    def backward(self, delta: Tensor, x: Tensor, carrier: Tensor, down: bool) -> tuple[Tensor | None, Tensor]:
        """Return the error signal R δ for the layer below, if `down`, and δ xᵗ summed over the batch."""
        increment = delta.reshape(-1, delta.shape[-1]).T @ x.reshape(-1, x.shape[-1])
        return delta @ carrier if down else None, increment


class ConvMap(NamedTuple):
    """h = W * x with zeros around the grid, for x [batch, channels, height, width], W [filters, channels, k, k]."""

    padding: tuple[int, ...]
    stride: tuple[int, ...] = (1, 1)
    dilation: tuple[int, ...] = (1, 1)
    groups: int = 1

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return h [batch, filters, rows, columns]; an even filter padded by half its size adds a row or column."""
        return torch.conv2d(x, weight, None, self.stride, self.padding, self.dilation, self.groups)

    def backward(self, delta: Tensor, x: Tensor, carrier: Tensor, down: bool) -> tuple[Tensor | None, Tensor]:
        """Return the transposed convolution of δ with R, if `down`, and W's increment, both from one call."""
        if x.dim() == 3:  # one sample, without a batch
            error_signal, increment = self.backward(delta[None], x[None], carrier, down)
            return None if error_signal is None else error_signal[0], increment
        error_signal, increment, _ = torch.ops.aten.convolution_backward(
            delta, x, carrier, None, self.stride, self.padding, self.dilation, False, (0, 0), self.groups,
            (down, True, False),
        )  # fmt: skip
        return error_signal, increment


class UntiedMap(NamedTuple):
    """A convolution with separate filters at every location (section 4.1), also called locally connected.

    Takes x [batch, channels, height, width] and W [height·width, filters, k, k, channels]. For an even filter, the odd
    zero is at the end of the grid. A pass is a batched matrix product over the patches that the locations see,
    [locations, batch, k·k·channels]. The patches take k·k times the memory of x, so the backward pass cuts them out
    again. A CPU handles one row of locations at a time, so that its patches stay in the cache.
    """

    height: int
    width: int
    filter_height: int
    filter_width: int

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return h [batch, filters, height, width]."""
        grid, filters = self.padded(x), weight.flatten(2)
        h = x.new_empty(len(x), self.height, self.width, filters.shape[1])
        for rows, locations in self.strips(x):
            h_strip = self.patches(grid, rows) @ filters[locations].mT
            h[:, rows] = h_strip.view(-1, self.width, *h_strip.shape[1:]).permute(2, 0, 1, 3)
        return h.permute(0, 3, 1, 2)

    def backward(self, delta: Tensor, x: Tensor, carrier: Tensor, down: bool) -> tuple[Tensor | None, Tensor]:
        """Return the error signal R δ for the layer below, if `down`, and δ xᵗ at each location."""
        grid, feedback = self.padded(x), carrier.flatten(2)
        increment = torch.empty_like(feedback)
        error_signal = torch.zeros_like(grid) if down else None
        for rows, locations in self.strips(x):
            delta_strip = delta[:, :, rows].permute(2, 3, 0, 1).flatten(0, 1)  # [locations, batch, filters]
            torch.bmm(delta_strip.mT, self.patches(grid, rows), out=increment[locations])
            if error_signal is not None:
                self.overlay(error_signal, delta_strip @ feedback[locations], rows)
        if error_signal is not None:
            top, left = (self.filter_height - 1) // 2, (self.filter_width - 1) // 2
            error_signal = error_signal[:, top : top + self.height, left : left + self.width].permute(0, 3, 1, 2)
        return error_signal, increment.view_as(carrier)

    def strips(self, x: Tensor) -> Iterator[tuple[slice, slice]]:
        """Yield the rows, and the indices of the locations, that are computed together."""
        # Many small products are slow on a GPU.
        height = self.height if x.is_cuda else 1
        for top in range(0, self.height, height):
            yield slice(top, top + height), slice(top * self.width, (top + height) * self.width)

    def padded(self, x: Tensor) -> Tensor:
        """Return x with zeros around its grid, as [batch, height + k − 1, width + k − 1, channels]."""
        rows, columns = self.filter_height, self.filter_width
        before_and_after = ((columns - 1) // 2, columns // 2, (rows - 1) // 2, rows // 2)
        return functional.pad(x, before_and_after).permute(0, 2, 3, 1)

    def patches(self, grid: Tensor, rows: slice) -> Tensor:
        """Return the units of a padded grid that each location in `rows` sees, [locations, batch, k·k·channels]."""
        band = grid[:, rows.start : rows.stop + self.filter_height - 1]
        windows = band.unfold(1, self.filter_height, 1).unfold(2, self.filter_width, 1)
        return windows.permute(1, 2, 0, 4, 5, 3).flatten(0, 1).flatten(2)  # from [batch, row, column, channels, k, k]

    def overlay(self, grid: Tensor, patches: Tensor, rows: slice) -> None:
        """Add patches to a padded grid, each where its location sees it: the transpose of `patches`."""
        batch, channels = len(grid), grid.shape[3]
        pieces = patches.view(-1, self.width, batch, self.filter_height, self.filter_width, channels)
        pieces = pieces.permute(3, 4, 2, 0, 1, 5)
        for row in range(self.filter_height):
            for column in range(self.filter_width):
                grid[:, rows.start + row : rows.stop + row, column : column + self.width] += pieces[row, column]


LinearMap = FullMap | ConvMap | UntiedMap


class SeparateFeedback(torch.autograd.Function):
    """The forward pass h = W x; in the backward pass a carrier replaces Wᵗ, and W and R get the same increment."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        feedback: Tensor | None,
        carrier: Tensor | None,
        linear_map: LinearMap,
        epsilon: float,
        mask: Tensor | None,
        feedback_mask: Tensor | None,
    ) -> Tensor:
        """Return W x.

        `carrier` has W's shape: it is R, or what a rule makes of R; None if no error signal goes down here. `feedback`
        is the parameter that takes ε times the increment, if any.
        """
        device_type = x.device.type
        if torch.is_autocast_enabled(device_type):
            dtype = torch.get_autocast_dtype(device_type)
            x, weight = x.to(dtype), weight.to(dtype)
            carrier = carrier if carrier is None else carrier.to(dtype)
        # Without a carrier, only the shape of `weight` is used.
        ctx.save_for_backward(x, weight if carrier is None else carrier, mask, feedback_mask)
        ctx.down, ctx.linear_map, ctx.epsilon = carrier is not None, linear_map, epsilon
        return linear_map.forward(x, weight)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple[Tensor | None, ...]:
        """Return the error signal for x, and the gradients of W and R, each on its own connections."""
        if torch.is_grad_enabled():  # second derivatives would be wrong, because the carrier is not W to autograd
            raise RuntimeError("separate feedback does not support gradients of gradients: leave out create_graph=True")
        x, carrier, mask, feedback_mask = ctx.saved_tensors
        down = ctx.down and ctx.needs_input_grad[0]
        error_signal, gradient = ctx.linear_map.backward(delta.to(x.dtype), x, carrier, down)
        feedback_gradient = None
        if ctx.needs_input_grad[2]:
            feedback_gradient = gradient if ctx.epsilon == 1 else ctx.epsilon * gradient
            if feedback_mask is not None:
                feedback_gradient = feedback_gradient * feedback_mask
        if mask is not None:
            gradient = gradient * mask
        return error_signal, gradient, feedback_gradient, None, None, None, None, None


class OutputError:
    """δ_L, the error at the network's outputs, which direct feedback alignment carries to every layer."""

    def __init__(self) -> None:
        self.delta: Tensor | None = None


class _RecordOutputError(torch.autograd.Function):
    """The identity, whose backward pass records δ_L [batch, …, outputs]."""

    @staticmethod
    def forward(ctx: Any, outputs: Tensor, output_error: OutputError) -> Tensor:
        ctx.output_error = output_error
        output_error.delta = None  # forget the previous batch's
        return outputs.view_as(outputs)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple[Tensor, None]:
        ctx.output_error.delta = delta
        return delta, None


class _CarryOutputError(torch.autograd.Function):
    """The identity, whose backward pass replaces the error signal from above by R δ_L."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, feedback: Tensor, output_error: OutputError) -> Tensor:
        ctx.set_materialize_grads(False)  # no error signal comes from above
        ctx.save_for_backward(feedback)
        ctx.output_error, ctx.shape = output_error, x.shape
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, _delta: None) -> tuple[Tensor, None, None]:
        (feedback,) = ctx.saved_tensors
        delta = ctx.output_error.delta
        if delta is None:
            raise RuntimeError(
                "direct feedback alignment has no output error to carry: the last Linear or Conv2d of the model was "
                "not part of this backward pass"
            )
        return (delta.flatten(1) @ feedback.to(delta.dtype)).view(ctx.shape), None, None


class LayerInit(NamedTuple):
    """The initial W, R and masks of a layer, with the shapes that `AsymmetricLayer` describes.

    `limit` is the bound of the uniform distribution from which R is drawn.
    """

    weight: Tensor
    feedback: Tensor | None
    mask: Tensor | None
    feedback_mask: Tensor | None
    limit: float


class Pad(NamedTuple):
    """The padding of a converted layer's input, as the arguments of `torch.nn.functional.pad`."""

    widths: tuple[int, ...]
    mode: str


class AsymmetricLayer(RandomModule):
    """A linear map with weights W and, under a rule with separate feedback, R.

    Attributes:
        name: the layer in the paper's notation, or the module's name in a converted model, for display.
        weight: W, [out, in], [filters, channels, k, k], or [locations, filters, k, k, channels] in an untied layer.
        feedback: R, of W's shape, or [outputs, units below] under direct feedback alignment; None under a rule
            without R. It requires no gradient if the rule keeps it fixed.
        bias: [out] or [filters] in a converted layer that has a bias, otherwise None.
        mask, feedback_mask: 1 where W or R has a connection, otherwise 0; None if every connection exists.
        back_propagates: whether Wᵗ carries the error signal now, regardless of the rule.
    """

    purpose = "feedback of the batch"
    mask: Tensor | None
    feedback_mask: Tensor | None

    def __init__(
        self,
        name: str,
        linear_map: LinearMap,
        rule: Rule,
        init: LayerInit,
        *,
        bias: nn.Parameter | None = None,
        pad: Pad | None = None,
        output_error: OutputError | None = None,
        is_output: bool = False,
    ) -> None:
        """Take W, R and masks from `init`.

        Args:
            name: the name to display.
            linear_map: the full, convolutional or untied map.
            rule: the learning rule.
            init: the initial W, R and masks.
            bias: the bias that is added to W x.
            pad: the padding that is applied to x first.
            output_error: under direct feedback alignment, one object that all layers of a network share.
            is_output: whether this is the output layer.
        """
        super().__init__()
        self.name, self.linear_map, self.rule = name, linear_map, rule
        self.limit, self.output_error, self.is_output = init.limit, output_error, is_output
        self.back_propagates = False
        self.weight = nn.Parameter(init.weight)
        self.feedback = None if init.feedback is None else nn.Parameter(init.feedback, rule.epsilon != 0)
        self.bias, self.pad = bias, pad
        # Not saved with the weights, because they follow from the seed.
        self.register_buffer("mask", init.mask, persistent=False)
        self.register_buffer("feedback_mask", init.feedback_mask, persistent=False)
        if rule.output_only and not is_output:
            self.requires_grad_(False)

    def carrier(self) -> Tensor | None:
        """Return the tensor of W's shape that carries the error signal down; None if Wᵗ does, or if none goes down."""
        if self.rule.carrier is not None:
            feedback = None if self.feedback is None else self.feedback.detach()
            carrier: Tensor = self.rule.carrier(self.weight.detach(), feedback)
            return carrier
        # Detached because torch.compile accepts no tensor twice, and R is also passed as the parameter that learns.
        return None if self.rule.direct or self.feedback is None else self.feedback.detach()

    def forward(self, x: Tensor) -> Tensor:
        """Return h = W x, plus the bias, if any."""
        rule, direct = self.rule, self.output_error is not None and not self.back_propagates
        if rule.redrawn and self.training:
            self.redraw()
        if direct:
            assert self.output_error is not None
            x = _CarryOutputError.apply(x, self.feedback, self.output_error)
            carrier = None
        elif self.back_propagates or (carrier := self.carrier()) is None:
            carrier = self.weight.detach()
        if self.pad is not None:
            x = functional.pad(x, *self.pad)
        h: Tensor = SeparateFeedback.apply(
            x, self.weight, None if rule.direct else self.feedback, carrier,
            self.linear_map, rule.epsilon, self.mask, self.feedback_mask,
        )  # fmt: skip
        if self.bias is not None:
            h = h + self.bias.to(h.dtype).view(-1, *[1] * (self.weight.dim() - 2))
        if direct and self.is_output:
            h = _RecordOutputError.apply(h, self.output_error)
        return h

    @torch.no_grad()
    def take_over(self, source: AsymmetricLayer) -> None:
        """Copy W from a layer with the same connections, and R if both rules draw R like W.

        An R that starts as W becomes a copy of the new W. R keeps the connections that this layer's rule gives it.
        """
        self.weight.copy_(source.weight)
        if self.feedback is None:
            return
        if self.rule.start == "copied":
            self.feedback.copy_(source.weight)
        elif self.rule.draws_like_weight and source.rule.draws_like_weight:
            assert source.feedback is not None
            self.feedback.copy_(source.feedback)
            if self.feedback_mask is not None:
                self.feedback.mul_(self.feedback_mask)

    @torch.no_grad()
    def redraw(self) -> None:
        """Draw R again, only on its connections."""
        assert self.feedback is not None
        self.feedback.uniform_(-self.limit, self.limit, generator=self.stream)
        if self.feedback_mask is not None:
            self.feedback.mul_(self.feedback_mask)


def asymmetric_layers(network: nn.Module) -> list[AsymmetricLayer]:
    """Return the asymmetric layers from the lowest up, or in the order of the modules for a custom model."""
    return [module for module in network.modules() if isinstance(module, AsymmetricLayer)]


@contextmanager
def back_propagation(layers: Iterable[AsymmetricLayer]) -> Iterator[None]:
    """Let Wᵗ carry the error signal of the layers within the context, regardless of their rule."""
    layers = list(layers)
    for layer in layers:
        layer.back_propagates = True
    try:
        yield
    finally:
        for layer in layers:
            layer.back_propagates = False
