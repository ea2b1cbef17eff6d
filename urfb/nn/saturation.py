"""The fraction of units beyond the bounds of σ, which pass no error signal (Remark 2)."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from urfb.nn.asymmetric import AsymmetricLayer
from urfb.nn.modules import Network


@torch.no_grad()
def saturation(network: Network, x: Tensor) -> dict[AsymmetricLayer, float]:
    """Return the fraction of each hidden layer's units with |slope·h| > 1, over the images x and before any pool.

    The output layer is left out because it has no σ.
    """
    fractions: dict[AsymmetricLayer, float] = {}

    def measure(layer: AsymmetricLayer, _module: nn.Module, _inputs: Any, h: Tensor) -> None:
        fractions[layer] = float(((network.activation_slope * h).abs() > 1).double().mean())

    with ExitStack() as hooks:
        for layer, preactivation in network.preactivations.items():
            hooks.callback(preactivation.register_forward_hook(partial(measure, layer)).remove)
        network(x)
    return fractions
