"""Modules between the layers with weights: σ, pools and dropout."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from urfb.nn.notation import Maxpool, Shape
from urfb.nn.randomness import RandomModule

LEVELS = 2**16
"""The number of values of the 16-bit draw by which dropout keeps or zeroes a unit."""


class SaturatedLinearity(nn.Module):
    """σ(h) = min(max(slope·h, −1), 1). σ′ is the slope inside and on the bounds, and 0 outside (Remark 2)."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, h: Tensor) -> Tensor:
        """Return σ(h)."""
        x: Tensor = _Saturate.apply(h, self.slope, 1, ())
        return x


Edge = tuple[slice, slice]
"""The rows and columns along one side of a grid of windows."""


class _Saturate(torch.autograd.Function):
    """min(max(slope·h, −bound), bound), whose derivative on the bounds is the slope; PyTorch's varies by version.

    Along `edges` it also takes the maximum with 0, for a unit outside the grid, which receives no error signal.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, slope: float, bound: float, edges: tuple[Edge, ...]) -> Tensor:
        h = h if slope == 1 else slope * h
        ctx.save_for_backward(h)
        ctx.slope, ctx.bound, ctx.edges = slope, bound, edges
        x = torch.clamp(h, -bound, bound)
        for rows, columns in edges:
            x[:, :, rows, columns].clamp_(min=0)
        return x

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple[Tensor, None, None, None]:
        (h,) = ctx.saved_tensors
        # The derivative of PyTorch's one-pass kernel is 1 strictly inside its bounds, so pass the next numbers beyond.
        beyond = ctx.bound * (1 + torch.finfo(h.dtype).eps)
        error_signal: Tensor = torch.ops.aten.hardtanh_backward(delta, h, -beyond, beyond)
        for rows, columns in ctx.edges:
            error_signal[:, :, rows, columns].masked_fill_(h[:, :, rows, columns] < 0, 0)
        return error_signal if ctx.slope == 1 else error_signal.mul_(ctx.slope), None, None, None


class Pool(nn.Module):
    """The maximum over windows, then σ, which equals the maximum of σ(h) at a quarter of the work.

    Overlapping windows include zeros outside the grid. PyTorch pads with −∞ instead. Taking the maximum with 0 only in
    the windows that reach over the edge gives the same result at a third of the cost of padding the input.
    """

    def __init__(self, statement: Maxpool, shape: Shape, padding: str, slope: float | None) -> None:
        """Pool a grid of `shape`.

        Args:
            statement: the size and stride of the windows.
            shape: the shape of the grid, (channels, height, width).
            padding: the place of the zeros: 'centred' for all around the grid, 'end' for below and to the right only.
            slope: the slope of σ; None if σ is not applied again, because the input is a sum of two layers.
        """
        super().__init__()
        self.rows, self.columns = (Windows(length, statement, padding) for length in shape[1:])
        self.slope = slope
        full_side = slice(None)
        self.edges: tuple[Edge, ...] = (
            *((rows, full_side) for rows in self.rows.reaching_over),
            *((full_side, columns) for columns in self.columns.reaching_over),
        )

    def forward(self, h: Tensor) -> Tensor:
        """Return the pooled grid [batch, channels, ⌈height/stride⌉, ⌈width/stride⌉]."""
        rows, columns = self.rows, self.columns
        if rows.after or columns.after:
            h = functional.pad(h, (0, columns.after, 0, rows.after))
        h = functional.max_pool2d(
            h, rows.size, rows.stride, (rows.before, columns.before), ceil_mode=rows.cut_short or columns.cut_short
        )
        # Windows cut short along one side can add a window along the other.
        h = h[:, :, : rows.count, : columns.count]
        if self.slope is None and not self.edges:
            return h
        x: Tensor = _Saturate.apply(h, *((1, torch.inf) if self.slope is None else (self.slope, 1)), self.edges)
        return x


class Windows:
    """The windows of a pool along one side of a grid.

    Attributes:
        count: the number of windows, one for every `stride` units.
        before: the number of zeros before the first unit.
        after: the number of zeros to add after the last unit, because PyTorch makes no window that starts so late.
        reaching_over: the overlapping windows that reach over an edge: the first ones, the last ones, or both.
        cut_short: whether PyTorch, which pads both sides alike, must cut the last window short.
    """

    def __init__(self, length: int, statement: Maxpool, padding: str) -> None:
        size, stride = statement.size, statement.stride
        self.size, self.stride, self.count = size, stride, statement.pooled(length)
        self.before = self.after = 0
        self.reaching_over: list[slice] = []
        if statement.overlapping:
            self.before = (size - 1) // 2 if padding == "centred" else 0
            starts = [window * stride - self.before for window in range(self.count)]
            first = sum(start < 0 for start in starts)
            last = sum(start + size > length for start in starts)
            self.reaching_over += [slice(first)] if first else []
            self.reaching_over += [slice(self.count - last, None)] if last else []
            needed = (self.count - 1) * stride + size - length - self.before
            late = -(-(length + 2 * self.before - size) // stride) + 1 < self.count
            self.after = needed if late else 0
        self.cut_short = (length + self.after + 2 * self.before - size) // stride + 1 < self.count


class Dropout(RandomModule):
    """Dropout: zeroes a random fraction of each sample's units and scales the rest, in training mode.

    One draw of 64 random bits decides four units, so the fraction is a multiple of 1/65,536. One draw per unit, as in
    PyTorch's dropout, takes a sixth of a training step on the CPU.
    """

    purpose = "dropout"

    def __init__(self, fraction: float) -> None:
        super().__init__()
        self.fraction = fraction
        self.kept = max(round((1 - fraction) * LEVELS), 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return x with dropout in training mode, otherwise x itself."""
        if not self.training or self.kept == LEVELS:
            return x
        draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device)
        draws.random_(torch.iinfo(torch.int64).min, None, generator=self.stream)
        level = draws.view(torch.int16)[: x.numel()]
        mask = (level < torch.iinfo(torch.int16).min + self.kept).view(torch.uint8)
        if x.dim() == 4:  # the memory order of channels last
            mask = mask.view(len(x), *x.shape[2:], x.shape[1]).permute(0, 3, 1, 2)
        return (x * mask.view(x.shape)).mul_(LEVELS / self.kept)
