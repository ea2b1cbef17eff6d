"""Networks in the paper's notation, built as torch modules."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from urfb.nn.activity import Dropout, Pool, SaturatedLinearity
from urfb.nn.asymmetric import AsymmetricLayer, ConvMap, FullMap, LayerInit, LinearMap, OutputError, UntiedMap
from urfb.nn.init import Initializer
from urfb.nn.notation import Conv, Drop, Full, Maxpool, Output, Shape, Statement, Sum, parse, saturated, shapes
from urfb.nn.rules import Rule


class Network(nn.Module):
    """A network in the paper's notation. It applies its statements in order; SUM adds the two conv layers before it.

    Attributes:
        layers: the layers with weights, from the lowest up.
        conv_layers: the convolutional layers among them, tied or untied.
        preactivations: for each hidden layer, the module whose output is h, to which the layer itself or the pool above
            applies σ.
        activation_slope: the slope of σ between its bounds.
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
            classes: the number of classes, which is the number of output units.
            rule: the learning rule.
            seed: the seed of W, R and their masks.
            stage: the number of the stage. The draws of the second stage are independent of those of the first.
            connectivity: the fraction of W's connections that exist.
            feedback_connectivity: the fraction of R's connections that exist.
            dense_output: whether the output layer keeps all connections.
            untied: the numbers of the untied conv layers, counted from 1.
            untied_start: 'tied-copy' to start every location from the filters of a tied layer, or 'independent' to
                draw each location separately.
            frozen: the numbers of the conv layers that do not learn. Tied ones have the draws of the first stage.
            activation_slope: the slope of σ between its bounds.
            pool_padding: the place of the zeros of overlapping pools, 'centred' or 'end'.
            dtype: the type of the weights and activities.

        Raises:
            NotationError: the text does not parse, or its sizes do not fit.
        """
        super().__init__()
        self.statements = parse(text)
        self.activation_slope = activation_slope
        initializer = Initializer(rule, seed, classes, connectivity, feedback_connectivity, stage, dtype)
        builder = _Builder(initializer, dense_output, untied, untied_start, frozen, activation_slope, pool_padding)
        below = (input_shape, *shapes(text, input_shape, classes)[:-1])
        self.steps = nn.ModuleList(map(builder.step, self.statements, below, saturated(text)))
        # Plain lists and a dict, because `steps` already registers the layers.
        self.layers, self.conv_layers = builder.layers, builder.conv_layers
        self.preactivations = builder.preactivations

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs [batch, classes] for images [batch, channels, height, width]."""
        before_last, last = x, x  # the outputs of the last two conv layers
        for statement, step in zip(self.statements, self.steps, strict=True):
            x = before_last + last if isinstance(statement, Sum) else step(x)
            if isinstance(statement, Conv):
                before_last, last = last, x
        return x


@dataclass
class _Builder:
    """Builds the modules of a network's statements, from the lowest up; the settings are those of `Network`."""

    initializer: Initializer
    dense_output: bool
    untied: Collection[int]
    untied_start: str
    frozen: Collection[int]
    activation_slope: float
    pool_padding: str
    layers: list[AsymmetricLayer] = field(default_factory=list)
    conv_layers: list[AsymmetricLayer] = field(default_factory=list)
    preactivations: dict[AsymmetricLayer, nn.Module] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.output_error = OutputError() if self.initializer.rule.direct else None

    def step(self, statement: Statement, below: Shape, takes_sigma: bool) -> nn.Module:
        """Return the module of a statement on units of shape `below`."""
        number, initializer = len(self.layers) + 1, self.initializer
        match statement:
            case Conv():
                preactivation = self.conv(statement, number, below)
                self.preactivations[self.layers[-1]] = preactivation
                sigma = SaturatedLinearity(self.activation_slope) if takes_sigma else nn.Identity()
                return nn.Sequential(preactivation, sigma)
            case Full(units):
                full = self.layer(statement, FullMap(), initializer.full(number, units, math.prod(below)))
                self.preactivations[full] = full
                return nn.Sequential(_Flatten(), full, SaturatedLinearity(self.activation_slope))
            case Output():
                if self.dense_output:
                    initializer = replace(initializer, connectivity=1.0, feedback_connectivity=1.0)
                init = initializer.full(number, initializer.outputs, math.prod(below))
                return nn.Sequential(_Flatten(), self.layer(statement, FullMap(), init))
            case Maxpool():
                return Pool(statement, below, self.pool_padding, self.activation_slope if takes_sigma else None)
            case Drop(fraction):
                return Dropout(fraction)
            case Sum():
                return nn.Identity()  # `Network.forward` computes the sum, because it has both outputs

    def conv(self, statement: Conv, number: int, below: Shape) -> nn.Module:
        """Add a tied or untied conv layer, and return the module that computes its h."""
        channels, rows, columns = below
        height, width = statement.height, statement.width
        bank = (statement.filters, channels, height, width)
        initializer, units_below, conv_number = self.initializer, math.prod(below), len(self.conv_layers) + 1
        if conv_number in self.untied:
            init = initializer.untied(number, bank, rows * columns, self.untied_start, units_below)
            layer = self.layer(statement, UntiedMap(rows, columns, height, width), init)
            module: nn.Module = layer
        else:
            if conv_number in self.frozen:
                initializer = replace(initializer, stage=1)
            padding = (height // 2, width // 2)
            layer = self.layer(statement, ConvMap(padding), initializer.conv(number, bank, units_below))
            # Convolutions are several times faster with channels last, both on the CPU and on a GPU.
            layer.to(memory_format=torch.channels_last)
            # For an even filter, the odd zero is at the end: pad both sides alike, then drop the first row and column.
            module = nn.Sequential(layer, _DropFirst(1 - height % 2, 1 - width % 2))
        if conv_number in self.frozen:
            layer.requires_grad_(False)
        self.conv_layers.append(layer)
        return module

    def layer(self, statement: Statement, linear_map: LinearMap, init: LayerInit) -> AsymmetricLayer:
        """Add a layer with weights, and return it."""
        layer = AsymmetricLayer(
            str(statement), linear_map, self.initializer.rule, init,
            output_error=self.output_error, is_output=isinstance(statement, Output),
        )  # fmt: skip
        self.layers.append(layer)
        return layer


class _Flatten(nn.Module):
    """Flattens a grid of units in the order (height, width, channel), which is that of channels-last memory."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).flatten(1) if x.dim() == 4 else x


class _DropFirst(nn.Module):
    """Drops the first `rows` rows and `columns` columns of a grid."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, self.rows :, self.columns :] if self.rows or self.columns else x
