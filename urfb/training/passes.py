"""A learner's passes over its data: epochs of training, and evaluations."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from urfb.data.batches import batch
from urfb.data.datasets import Dataset, Split
from urfb.grid.spec import RunSpec
from urfb.learning.learner import Learner
from urfb.nn.randomness import RandomModule, generator, seed_of, seeded
from urfb.training.arithmetic import arithmetic
from urfb.training.graphs import launched
from urfb.training.networks import weight_dtype

EVALUATION_BATCH = 1000


class Measured(NamedTuple):
    """Mean loss and fraction of images misclassified over a split."""

    loss: float
    error: float


class Passes:
    """Shows a learner its data, batch by batch; on a GPU nothing waits for the result of a batch."""

    def __init__(self, learner: Learner, spec: RunSpec, dataset: Dataset) -> None:
        """Use the learner and the data on the device where they are, as the run says."""
        self.learner, self.spec, self.dataset = learner, spec, dataset
        self.device = dataset.training.labels.device
        self.totals = torch.zeros(2, dtype=torch.float64, device=self.device)
        self.streams: dict[str, torch.Generator] = {}
        for module in learner.modules():
            if isinstance(module, RandomModule):
                module.stream = self.streams.setdefault(module.purpose, torch.Generator(self.device))
        self._step = launched(self.step, learner, spec.batch_size, tuple(self.streams.values()))
        self._evaluate_batches = {
            name: launched(partial(self.evaluate_batch, getattr(dataset, name)), learner, EVALUATION_BATCH)
            for name in ("training", "validation", "test")
        }

    def train(self, epoch: int, after_step: Callable[[Learner, int], None] | None = None) -> Measured:
        """Show every training image once, in the epoch's own order; return the running loss and error.

        `after_step` is called with the learner and the number of steps of this epoch so far.
        """
        seed = self.spec.seed
        self.learner.train()
        # What an epoch draws comes from streams of its own.
        for purpose, stream in self.streams.items():
            stream.manual_seed(seed_of(seed, purpose, epoch))
        images = len(self.dataset.training.labels)
        order = torch.randperm(images, generator=generator(seed, "order", epoch)).to(self.device)
        self.totals.zero_()
        with arithmetic(self.spec.precision, self.device), seeded(seed, "modules", epoch, device=self.device):
            for number, positions in enumerate(torch.split(order, self.spec.batch_size), start=1):
                self._step(positions)
                if after_step is not None:
                    after_step(self.learner, number)
        return Measured(*(self.totals / images).tolist())

    def step(self, positions: Tensor) -> None:
        """Update the weights once, from the training images at `positions`."""
        x, labels = images_of(self.spec, self.dataset, self.dataset.training, positions)
        step = self.learner.step(x, labels)
        with torch.no_grad():
            self.learner.decay()
            torch._foreach_add_(self.learner.learning, list(step.gradients), alpha=-self.spec.step_size)
            self.learner.after()
        self.count(step.loss, step.outputs, labels)

    def evaluate(self, split: Literal["training", "validation", "test"]) -> Measured:
        """Return the mean loss and error over a split, with dropout off."""
        self.learner.eval()
        images = len(getattr(self.dataset, split).labels)
        self.totals.zero_()
        with arithmetic(self.spec.precision, self.device):
            for positions in torch.split(torch.arange(images, device=self.device), EVALUATION_BATCH):
                self._evaluate_batches[split](positions)
        return Measured(*(self.totals / images).tolist())

    @torch.no_grad()
    def evaluate_batch(self, split: Split, positions: Tensor) -> None:
        """Count the loss and the errors of the images at `positions`."""
        x, labels = images_of(self.spec, self.dataset, split, positions)
        outputs = self.learner(x)
        self.count(self.learner.loss_function(outputs, labels), outputs, labels)

    @torch.no_grad()
    def count(self, loss: Tensor, outputs: Tensor, labels: Tensor) -> None:
        """Add a batch's summed loss and its number of errors to the totals."""
        errors = (outputs.argmax(dim=1) != labels).sum()
        self.totals += torch.stack([loss.double() * len(labels), errors.double()])


def images_of(spec: RunSpec, dataset: Dataset, split: Split, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Return the images at `positions` of a split, scaled to 0 … 1 and offset, and their labels."""
    dtype = weight_dtype(spec.precision)
    return batch(split, positions, scale=dataset.info.scale, offset=spec.input_offset, dtype=dtype)
