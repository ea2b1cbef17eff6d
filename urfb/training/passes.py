"""A network's passes over its data: epochs of training, and evaluations."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from urfb.data.batches import batch
from urfb.data.datasets import Dataset, Split
from urfb.grid.spec import RunSpec
from urfb.nn.activity import Dropout
from urfb.nn.asymmetric import AsymmetricLayer
from urfb.nn.losses import Loss, hinge_loss, softmax_loss
from urfb.nn.randomness import generator, seed_of
from urfb.training.arithmetic import arithmetic, weight_dtype
from urfb.training.graphs import launched
from urfb.training.networks import asymmetric_layers, seeded

EVALUATION_BATCH = 1000


class Measured(NamedTuple):
    """Mean loss and fraction of images misclassified over a split."""

    loss: float
    error: float


class Passes:
    """Shows a network its data, batch by batch; on a GPU nothing waits for the result of a batch."""

    def __init__(self, network: nn.Module, spec: RunSpec, dataset: Dataset) -> None:
        """Use the network and the data on the device where they are, as the run says."""
        self.network, self.spec, self.dataset = network, spec, dataset
        self.loss_function = build_loss(spec)
        self.device = dataset.training.labels.device
        self.totals = torch.zeros(2, dtype=torch.float64, device=self.device)
        self.learning: list[Tensor] = [parameter for parameter in network.parameters() if parameter.requires_grad]
        layers = [layer for layer in asymmetric_layers(network) if layer.weight.requires_grad]
        # λ takes from each W and R of every layer that learns.
        self.decay = layers[0].rule.decay if layers else 0.0
        self.decaying: list[Tensor] = [
            values for layer in layers for values in (layer.weight, layer.feedback) if values is not None
        ]
        self.dropout, self.feedback = torch.Generator(self.device), torch.Generator(self.device)
        for module in network.modules():
            if isinstance(module, Dropout):
                module.stream = self.dropout
            elif isinstance(module, AsymmetricLayer):
                module.stream = self.feedback
        self._step = launched(self.step, network, spec.batch_size, (self.dropout, self.feedback))
        self._looks = {
            name: launched(partial(self.look, getattr(dataset, name)), network, EVALUATION_BATCH)
            for name in ("training", "validation", "test")
        }

    def train(self, epoch: int, after_step: Callable[[nn.Module, int], None] | None = None) -> Measured:
        """Show every training image once, in the epoch's own order; return the running loss and error.

        `after_step` is called with the network and the number of steps of this epoch so far.
        """
        seed = self.spec.seed
        self.network.train()
        # What an epoch draws comes from streams of its own.
        self.dropout.manual_seed(seed_of(seed, "dropout", epoch))
        self.feedback.manual_seed(seed_of(seed, "feedback of the batch", epoch))
        images = len(self.dataset.training.labels)
        order = torch.randperm(images, generator=generator(seed, "order", epoch)).to(self.device)
        self.totals.zero_()
        with arithmetic(self.spec.precision, self.device), seeded(seed, "modules", epoch, device=self.device):
            for number, positions in enumerate(torch.split(order, self.spec.batch_size), start=1):
                self._step(positions)
                if after_step is not None:
                    after_step(self.network, number)
        return Measured(*(self.totals / images).tolist())

    def step(self, positions: Tensor) -> None:
        """Update the weights once, from the training images at `positions`."""
        x, labels = images_of(self.spec, self.dataset, self.dataset.training, positions)
        outputs = self.network(x).to(x.dtype)
        loss = self.loss_function(outputs, labels)
        # Every gradient is formed from the weights as they were before the update (Remark 1).
        gradients = torch.autograd.grad(loss, self.learning)
        with torch.no_grad():
            if self.decay:
                torch._foreach_mul_(self.decaying, 1 - self.decay)
            torch._foreach_add_(self.learning, gradients, alpha=-self.spec.step_size)
        self.count(loss, outputs, labels)

    def evaluate(self, split: Literal["training", "validation", "test"]) -> Measured:
        """Return the mean loss and error over a split, with dropout off."""
        self.network.eval()
        images = len(getattr(self.dataset, split).labels)
        self.totals.zero_()
        with arithmetic(self.spec.precision, self.device):
            for positions in torch.split(torch.arange(images, device=self.device), EVALUATION_BATCH):
                self._looks[split](positions)
        return Measured(*(self.totals / images).tolist())

    @torch.no_grad()
    def look(self, split: Split, positions: Tensor) -> None:
        """Count the loss and the errors of the images at `positions`."""
        x, labels = images_of(self.spec, self.dataset, split, positions)
        outputs = self.network(x).to(x.dtype)
        self.count(self.loss_function(outputs, labels), outputs, labels)

    @torch.no_grad()
    def count(self, loss: Tensor, outputs: Tensor, labels: Tensor) -> None:
        """Add a batch's summed loss and its number of errors to the totals."""
        errors = (outputs.argmax(dim=1) != labels).sum()
        self.totals += torch.stack([loss.double() * len(labels), errors.double()])


def images_of(spec: RunSpec, dataset: Dataset, split: Split, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Return the images at `positions` of a split, scaled to 0 … 1 and offset, and their labels."""
    dtype = weight_dtype(spec.precision)
    return batch(split, positions, scale=dataset.info.scale, offset=spec.input_offset, dtype=dtype)


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
