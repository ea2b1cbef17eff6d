"""Networks in the paper's notation, built as torch modules."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from urfb.nn.asymmetric import AsymmetricLayer, ConvMap, FullMap
from urfb.nn.notation import Conv, Drop, Full, Maxpool, Output, Shape, Sum, parse, shapes
from urfb.nn.rules import Rule


class SaturatedLinearity(nn.Module):
    """σ(h) = min(max(slope·h, −1), 1); σ′ is the slope inside and on the bounds, 0 outside (Remark 2)."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, h: Tensor) -> Tensor:
        """Return σ(h)."""
        return torch.clamp(h if self.slope == 1 else self.slope * h, -1, 1)


class OverlappingMaxpool(nn.Module):
    """The maximum over windows that overlap, zeros outside the grid taking part.

    PyTorch pads with −∞ instead; taking the maximum with 0 in just the windows that reach over the edge gives the
    same, for a third of what padding the input costs.
    """

    floor: Tensor

    def __init__(self, size: int, stride: int, shape: Shape, padding: str) -> None:
        """Pool a grid of `shape`; `padding` is 'centred' (both sides alike) or 'end' (the odd zero at the end)."""
        super().__init__()
        self.size, self.stride = size, stride
        sides = [_window_overhang(length, size, stride, padding) for length in shape[1:]]
        self.before = tuple(before for before, _ in sides)
        self.output_size = tuple(len(reaches_over) for _, reaches_over in sides)
        whole_windows = [(length + 2 * before - size) // stride + 1 for length, (before, _) in zip(shape[1:], sides)]
        self.ceil_mode = any(whole < all_ for whole, all_ in zip(whole_windows, self.output_size))
        edge = torch.tensor(sides[0][1])[:, None] | torch.tensor(sides[1][1])[None, :]
        floor = torch.full(edge.shape, -torch.inf).masked_fill(edge, 0.0)
        self.register_buffer("floor", floor, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the pooled grid [batch, channels, ⌈height/stride⌉, ⌈width/stride⌉]."""
        pooled = functional.max_pool2d(x, self.size, self.stride, self.before, ceil_mode=self.ceil_mode)
        return torch.clamp(pooled[:, :, : self.output_size[0], : self.output_size[1]], min=self.floor)


def _window_overhang(length: int, size: int, stride: int, padding: str) -> tuple[int, list[bool]]:
    """Return how many zeros stand before a side, and for each window along it whether it reaches over an edge."""
    windows = -(-length // stride)
    if padding == "centred":
        before = (size - 1) // 2
    else:
        before = max((windows - 1) * stride + size - length, 0) // 2
    starts = [window * stride - before for window in range(windows)]
    return before, [start < 0 or start + size > length for start in starts]


class Dropout(nn.Module):
    """Zeroes a fraction of the units for each sample anew and scales the rest, while training.

    Its stream is set by the trainer at the start of each epoch, so that a resumed epoch drops the same units.
    """

    def __init__(self, fraction: float) -> None:
        super().__init__()
        self.fraction = fraction
        self.stream: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return x with dropout while training, else x."""
        if not self.training or self.fraction == 0:
            return x
        kept = torch.empty_like(x).bernoulli_(1 - self.fraction, generator=self.stream)
        return x * kept.div_(1 - self.fraction)


class Network(nn.Module):
    """A network of the paper: statements applied in order, SUM adding the two conv layers before it."""

    def __init__(
        self,
        text: str,
        input_shape: Shape,
        classes: int,
        rule: Rule,
        *,
        seed: int,
        connectivity: float = 1.0,
        feedback_connectivity: float = 1.0,
        dense_output: bool = True,
        activation_slope: float = 1.0,
        pool_padding: str = "centred",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Build the network and draw its weights from `seed`.

        Args:
            text: the network in the paper's notation.
            input_shape: (channels, height, width).
            classes: units of the output layer.
            rule: how the error signal goes down, and what R learns.
            seed: of W, R and their masks.
            connectivity: fraction of W's connections that exist.
            feedback_connectivity: fraction of R's.
            dense_output: whether the output layer keeps all of its connections.
            activation_slope: of σ between its bounds.
            pool_padding: where the zeros of overlapping pools stand, 'centred' or 'end'.
            dtype: of weights and activity.

        Raises:
            NotationError: the text does not parse, or its sizes do not fit.
        """
        super().__init__()
        self.statements = parse(text)
        steps: list[nn.Module] = []
        layers: list[AsymmetricLayer] = []

        def layer(statement: Conv | Full | Output, shape: tuple[int, ...], linear_map: FullMap | ConvMap) -> nn.Module:
            whole = dense_output and isinstance(statement, Output)
            layers.append(
                AsymmetricLayer(
                    str(statement),
                    shape,
                    linear_map,
                    rule,
                    seed=seed,
                    index=len(layers) + 1,
                    connectivity=1.0 if whole else connectivity,
                    feedback_connectivity=1.0 if whole else feedback_connectivity,
                    dtype=dtype,
                )
            )
            return layers[-1]

        below = input_shape
        for statement, shape in zip(self.statements, shapes(text, input_shape, classes), strict=True):
            match statement:
                case Conv(filters, height, width):
                    conv = layer(statement, (filters, below[0], height, width), ConvMap((height // 2, width // 2)))
                    # An even filter has its odd zero at the end: pad both sides alike, then drop the first.
                    even = (1 - height % 2, 1 - width % 2)
                    steps.append(nn.Sequential(conv, _DropFirst(*even), SaturatedLinearity(activation_slope)))
                case Full(units):
                    full = layer(statement, (units, torch.Size(below).numel()), FullMap())
                    steps.append(nn.Sequential(_Flatten(), full, SaturatedLinearity(activation_slope)))
                case Output():
                    steps.append(
                        nn.Sequential(_Flatten(), layer(statement, (classes, torch.Size(below).numel()), FullMap()))
                    )
                case Maxpool(size, stride) if statement.overlapping:
                    steps.append(OverlappingMaxpool(size, stride, below, pool_padding))
                case Maxpool(size, stride):
                    steps.append(nn.MaxPool2d(size, stride, ceil_mode=True))
                case Drop(fraction):
                    steps.append(Dropout(fraction))
                case Sum():
                    steps.append(nn.Identity())  # the sum is taken in `forward`, which has both layers at hand
            below = shape
        self.steps = nn.ModuleList(steps)
        self.layers = layers  # also registered within `steps`
        # Convolutions are several times faster with channels last, on CPU and GPU alike.
        self.to(memory_format=torch.channels_last)

    @property
    def dropouts(self) -> list[Dropout]:
        """The dropout steps, in order."""
        return [step for step in self.steps if isinstance(step, Dropout)]

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs [batch, classes] for images [batch, channels, height, width]."""
        before_last, last = x, x  # outputs of the two preceding conv layers
        for statement, step in zip(self.statements, self.steps, strict=True):
            x = before_last + last if isinstance(statement, Sum) else step(x)
            if isinstance(statement, Conv):
                before_last, last = last, x
        return x


class _Flatten(nn.Module):
    """Lays a grid of units out in the order (height, width, channel), in which channels-last memory already is."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).flatten(1) if x.dim() == 4 else x


class _DropFirst(nn.Module):
    """Drops the first `rows` and `columns` of a grid."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, self.rows :, self.columns :] if self.rows or self.columns else x
