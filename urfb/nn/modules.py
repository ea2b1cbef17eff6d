"""Networks in the paper's notation, built as torch modules."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace

import torch
from torch import Tensor, nn

from urfb.nn.activity import Dropout, Pool, SaturatedLinearity
from urfb.nn.asymmetric import AsymmetricLayer, ConvMap, FullMap, LinearMap, OutputError, Start, UntiedMap
from urfb.nn.notation import Conv, Drop, Full, Maxpool, Output, Shape, Statement, Sum, parse, saturated, shapes
from urfb.nn.rules import Rule
from urfb.nn.starts import Starts


class Network(nn.Module):
    """A network of the paper: statements applied in order, SUM adding the two conv layers before it.

    Attributes:
        layers: those with weights, from the lowest up.
        conv_layers: those of them that are convolutional, tied or not.
        summing: of each hidden layer, the module whose output is h, which σ is taken of, at once or by the pool above.
        activation_slope: of σ between its bounds.
    """

    def __init__(
        self,
        text: str,
        input_shape: Shape,
        classes: int,
        rule: Rule,
        *,
        seed: int,
        stage: int = 1,
        connectivity: float = 1.0,
        feedback_connectivity: float = 1.0,
        dense_output: bool = True,
        untied: Collection[int] = (),
        untied_start: str = "independent",
        frozen: Collection[int] = (),
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
            stage: which draw of the seed's it is: the second is independent of the first.
            connectivity: fraction of W's connections that exist.
            feedback_connectivity: fraction of R's.
            dense_output: whether the output layer keeps all of its connections.
            untied: numbers of the conv layers, from 1, that have filters of their own at each location.
            untied_start: 'tied-copy', every location starting from the filters that a tied layer would have, or
                'independent', each from filters of its own.
            frozen: numbers of the conv layers that do not learn, and are always of the first stage.
            activation_slope: of σ between its bounds.
            pool_padding: where the zeros of overlapping pools stand, 'centred' or 'end'.
            dtype: of weights and activity.

        Raises:
            NotationError: the text does not parse, or its sizes do not fit.
        """
        super().__init__()
        self.statements = parse(text)
        self.layers: list[AsymmetricLayer] = []  # registered within `steps`
        self.conv_layers: list[AsymmetricLayer] = []
        self.summing: dict[AsymmetricLayer, nn.Module] = {}
        self.activation_slope = activation_slope
        starts = Starts(rule, seed, classes, connectivity, feedback_connectivity, stage, dtype)
        whole = replace(starts, connectivity=1.0, feedback_connectivity=1.0)
        output_error = OutputError() if rule.direct else None
        steps: list[nn.Module] = []

        def layer(statement: Statement, linear_map: LinearMap, start: Start) -> AsymmetricLayer:
            is_output = isinstance(statement, Output)
            self.layers.append(
                AsymmetricLayer(str(statement), linear_map, rule, start, output_error=output_error, is_output=is_output)
            )
            return self.layers[-1]

        def conv(statement: Conv, number: int, below: Shape) -> nn.Module:
            channels, rows, columns = below
            height, width = statement.height, statement.width
            bank = (statement.filters, channels, height, width)
            if len(self.conv_layers) + 1 in untied:
                untied_map = UntiedMap(rows, columns, height, width)
                start = starts.untied(number, bank, rows * columns, untied_start, math.prod(below))
                step: nn.Module = layer(statement, untied_map, start)
            else:
                tied_map = ConvMap((height // 2, width // 2))
                draws = replace(starts, stage=1) if len(self.conv_layers) + 1 in frozen else starts
                tied = layer(statement, tied_map, draws.conv(number, bank, math.prod(below)))
                # An even filter has its odd zero at the end: pad both sides alike, then drop the first.
                step = nn.Sequential(tied, _DropFirst(1 - height % 2, 1 - width % 2))
            self.conv_layers.append(self.layers[-1])
            return step

        below = input_shape
        of_each = zip(self.statements, shapes(text, input_shape, classes), saturated(text), strict=True)
        for statement, shape, takes_sigma in of_each:
            number = len(self.layers) + 1
            match statement:
                case Conv():
                    sigma = SaturatedLinearity(activation_slope) if takes_sigma else nn.Identity()
                    summing = conv(statement, number, below)
                    self.summing[self.layers[-1]] = summing
                    steps.append(nn.Sequential(summing, sigma))
                case Full(units):
                    full = layer(statement, FullMap(), starts.full(number, units, math.prod(below)))
                    self.summing[full] = full
                    steps.append(nn.Sequential(_Flatten(), full, SaturatedLinearity(activation_slope)))
                case Output():
                    start = (whole if dense_output else starts).full(number, classes, math.prod(below))
                    steps.append(nn.Sequential(_Flatten(), layer(statement, FullMap(), start)))
                case Maxpool():
                    slope = activation_slope if takes_sigma else None
                    steps.append(Pool(statement, below, pool_padding, slope))
                case Drop(fraction):
                    steps.append(Dropout(fraction))
                case Sum():
                    steps.append(nn.Identity())  # the sum is taken in `forward`, which has both layers at hand
            below = shape
        self.steps = nn.ModuleList(steps)
        for number in frozen:
            self.conv_layers[number - 1].requires_grad_(False)
        for layer_on_grid in self.conv_layers:
            if isinstance(layer_on_grid.linear_map, ConvMap):
                # Convolutions are several times faster with channels last, on CPU and GPU alike.
                layer_on_grid.to(memory_format=torch.channels_last)

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
