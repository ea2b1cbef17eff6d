"""How many units are beyond the bounds of σ, where no error signal passes (Remark 2)."""

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

    The output layer is left out, for it has no σ.
    """
    saturated: dict[AsymmetricLayer, float] = {}

    def count(layer: AsymmetricLayer, _module: nn.Module, _inputs: Any, h: Tensor) -> None:
        saturated[layer] = float(((network.activation_slope * h).abs() > 1).double().mean())

    with ExitStack() as hooks:
        for layer, summing in network.summing.items():
            hooks.callback(summing.register_forward_hook(partial(count, layer)).remove)
        network(x)
    return saturated
