"""The algorithm that follows any rule of `RULES`, those of the paper and those for comparison (section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from urfb.learning.catalog import Settings
from urfb.learning.learner import Learner, Step
from urfb.nn.asymmetric import asymmetric_layers
from urfb.nn.losses import Loss


class Feedback(Learner):
    """Learns from gradients of the loss. The layers' rule decides what carries the error signal and how R learns."""

    def __init__(self, network: nn.Module, loss_function: Loss, settings: Settings) -> None:
        """Train `network`, whose layers have their rule."""
        super().__init__(network, loss_function, settings)
        layers = [layer for layer in asymmetric_layers(network) if layer.weight.requires_grad]
        self.decay_fraction = layers[0].rule.decay if layers else 0.0
        self.decaying: list[Tensor] = [
            values for layer in layers for values in (layer.weight, layer.feedback) if values is not None
        ]

    def step(self, x: Tensor, labels: Tensor) -> Step:
        """Return the outputs, the loss, and the gradients of W, R and all other tensors that learn."""
        outputs = self(x)
        loss = self.loss_function(outputs, labels)
        # All gradients are computed from the weights before the update (Remark 1).
        return Step(outputs, loss, torch.autograd.grad(loss, self.learning))

    def decay(self) -> None:
        """Shrink each W and R by the fraction λ in every layer that learns."""
        if self.decay_fraction:
            torch._foreach_mul_(self.decaying, 1 - self.decay_fraction)
