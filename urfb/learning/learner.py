"""The interface between training and an algorithm."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

from torch import Tensor, nn

from urfb.learning.catalog import Settings
from urfb.nn.losses import Loss


class Step(NamedTuple):
    """The result of one batch.

    Attributes:
        outputs: the network's outputs, [batch, classes].
        loss: the mean loss over the batch.
        gradients: one gradient for each tensor in `Learner.learning`.
    """

    outputs: Tensor
    loss: Tensor
    gradients: Sequence[Tensor]


class Learner(nn.Module):
    """A network and the algorithm that trains it.

    A training step calls `step` and `decay`, updates `learning` by the gradients, and calls `after`. State that
    outlives a step must be a parameter or a buffer, so that checkpoints save it. It must change in place, because a
    CUDA graph reads and writes the same memory at each launch. `.to(device)` keeps parameters but replaces buffers, so
    look a buffer up each time you use it.

    Attributes:
        graphable: whether a step can be a CUDA graph; False if its control flow depends on values.
        network: the network that learns and is evaluated.
        loss_function: the loss, a function of outputs and labels that returns the mean over a batch.
        settings: the settings of the algorithm.
    """

    graphable = True

    def __init__(self, network: nn.Module, loss_function: Loss, settings: Settings) -> None:
        """Train `network` to minimize the loss, with the algorithm's settings."""
        super().__init__()
        self.network, self.loss_function, self.settings = network, loss_function, settings

    @cached_property
    def learning(self) -> list[Tensor]:
        """The tensors that gradients update."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs [batch, classes] for images [batch, channels, height, width], in the images' type."""
        outputs: Tensor = self.network(x).to(x.dtype)
        return outputs

    def step(self, x: Tensor, labels: Tensor) -> Step:
        """Return the result of a batch without changing any state, because measurements call this, too."""
        raise NotImplementedError

    def decay(self) -> None:
        """Shrink weights by the fraction that an update removes, regardless of the gradients and the step size."""

    def after(self) -> None:
        """Do the algorithm's work after an update, if any."""
