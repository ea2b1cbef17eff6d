"""What training asks of an algorithm."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from typing import NamedTuple

from torch import Tensor, nn

from urfb.grid.spec import RunSpec
from urfb.learning.catalog import Settings
from urfb.nn.losses import Loss, hinge_loss, softmax_loss


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
        loss_function: the run's loss, the mean over a batch.
    """

    graphable = True

    def __init__(self, network: nn.Module, spec: RunSpec, settings: Settings) -> None:
        """Teach `network`, as `spec` and the algorithm's own settings say."""
        super().__init__()
        self.network, self.settings = network, settings
        self.loss_function = build_loss(spec)

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


def build_loss(spec: RunSpec) -> Loss:
    """Return the run's loss, the mean over a batch."""
    if spec.loss == "softmax":
        return softmax_loss
    assert spec.off_class_weight is not None
    assert spec.off_class_margin is not None
    return partial(
        hinge_loss,
        off_class_weight=spec.off_class_weight,
        off_class_margin=spec.off_class_margin,
        true_class_margin=spec.true_class_margin,
    )
