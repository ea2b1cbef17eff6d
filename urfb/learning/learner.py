"""What training asks of an algorithm."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

from torch import Tensor, nn

from urfb.learning.catalog import Settings
from urfb.nn.losses import Loss


class Step(NamedTuple):
    """What a batch teaches.

    Attributes:
        outputs: [batch, classes].
        loss: mean over the batch.
        gradients: one for each of `Learner.learning`.
    """

    outputs: Tensor
    loss: Tensor
    gradients: Sequence[Tensor]


class Learner(nn.Module):
    """A network and one way to learn.

    A training step is `step`, `decay`, the update of `learning` by the gradients, `after`. What outlives a step is a
    parameter or a buffer, so that checkpoints save it, and changes in place, because a CUDA graph reads and writes the
    same memory at each launch. `.to(device)` keeps parameters and replaces buffers: look buffers up when they are used.

    Attributes:
        graphable: whether a CUDA graph can hold a step; False where control flow depends on values.
        network: the network that learns; also what is evaluated.
        loss_function: of outputs and labels, the mean over a batch.
        settings: of the algorithm.
    """

    graphable = True

    def __init__(self, network: nn.Module, loss_function: Loss, settings: Settings) -> None:
        """Teach `network` to make the loss small, as the algorithm's settings say."""
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
        """Return what a batch teaches, and change nothing that learns: measurements ask for gradients, too."""
        raise NotImplementedError

    def decay(self) -> None:
        """Shrink weights by what an update takes from them, whatever the gradients and the step size."""

    def after(self) -> None:
        """Do what follows an update."""
