"""A learner's passes over its data: training epochs and evaluations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal, NamedTuple

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
    """The mean loss and the fraction of misclassified images over a split."""

    loss: float
    error: float


class Passes:
    """Passes a learner's data to it, batch by batch. On a GPU, nothing waits for the result of a batch.

    A pass can stop between any two batches. `position` and the learner's state are all that it needs to continue.
    """

    def __init__(
        self, learner: Learner, spec: RunSpec, dataset: Dataset, between_batches: Callable[[], None] = lambda: None
    ) -> None:
        """Use the learner and the data, which must be on the same device, with the run's settings.

        Each pass calls `between_batches` between two batches; an exception from it ends the pass.
        """
        self.learner, self.spec, self.dataset = learner, spec, dataset
        self.between_batches = between_batches
        self.device = dataset.training.labels.device
        self._name, self._batches_done = "", 0
        self._resumed: dict[str, Any] = {}
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
        """Train on every image once, in an order that depends on the epoch, and return the running loss and error.

        `after_step` is called with the learner and the number of steps so far in this epoch.
        """
        seed = self.spec.seed
        self.learner.train()
        # Each epoch seeds its random streams, so its draws do not depend on earlier epochs.
        for purpose, stream in self.streams.items():
            stream.manual_seed(seed_of(seed, purpose, epoch))
        images = len(self.dataset.training.labels)
        order = torch.randperm(images, generator=generator(seed, "order", epoch)).to(self.device)
        with arithmetic(self.spec.precision, self.device), seeded(seed, "modules", epoch, device=self.device):
            for number, positions in self._batches("steps", order, self.spec.batch_size):
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
        with arithmetic(self.spec.precision, self.device):
            for _, positions in self._batches(split, torch.arange(images, device=self.device), EVALUATION_BATCH):
                self._evaluate_batches[split](positions)
        return Measured(*(self.totals / images).tolist())

    def position(self) -> dict[str, Any]:
        """Return the position in the current pass, which `torch.save` can save, for `go_on`."""
        on_gpu = self.device.type == "cuda"
        return {
            "pass": self._name,
            "batches": self._batches_done,
            "totals": self.totals.tolist(),
            "device": self.device.type,
            "streams": {purpose: stream.get_state() for purpose, stream in self.streams.items()},
            # Custom modules draw from these.
            "default streams": [torch.get_rng_state(), *([torch.cuda.get_rng_state(self.device)] if on_gpu else [])],
        }

    def go_on(self, position: dict[str, Any]) -> None:
        """Make the next pass of the position's kind continue there."""
        self._resumed = position

    def _batches(self, name: str, positions: Tensor, size: int) -> Iterator[tuple[int, Tensor]]:
        """Yield the batches of a pass, numbered from 1: all, or those after the position at which it continues."""
        self._name, self._batches_done = name, 0
        self.totals.zero_()
        if self._resumed.get("pass") == name:
            self._restore(self._resumed)
            self._resumed = {}
        batches = torch.split(positions, size)
        for number in range(self._batches_done + 1, len(batches) + 1):
            yield number, batches[number - 1]
            self._batches_done = number
            if number < len(batches):
                self.between_batches()

    def _restore(self, position: dict[str, Any]) -> None:
        self._batches_done = position["batches"]
        self.totals.copy_(torch.tensor(position["totals"], dtype=torch.float64))
        # Evaluations draw nothing. The states of another kind of device are useless, so the epoch's draws start again.
        if position["pass"] == "steps" and position["device"] == self.device.type:
            for purpose, stream in self.streams.items():
                stream.set_state(position["streams"][purpose])
            on_cpu, *on_gpu = position["default streams"]
            torch.set_rng_state(on_cpu)
            for state in on_gpu:
                torch.cuda.set_rng_state(state, self.device)

    @torch.no_grad()
    def evaluate_batch(self, split: Split, positions: Tensor) -> None:
        """Add the loss and the errors of the images at `positions` to the totals."""
        x, labels = images_of(self.spec, self.dataset, split, positions)
        outputs = self.learner(x)
        self.count(self.learner.loss_function(outputs, labels), outputs, labels)

    @torch.no_grad()
    def count(self, loss: Tensor, outputs: Tensor, labels: Tensor) -> None:
        """Add the summed loss and the number of errors of a batch to the totals."""
        errors = (outputs.argmax(dim=1) != labels).sum()
        self.totals += torch.stack([loss.double() * len(labels), errors.double()])


def images_of(spec: RunSpec, dataset: Dataset, split: Split, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Return the images at `positions` of a split, scaled to 0 … 1 and offset, and their labels."""
    dtype = weight_dtype(spec.precision)
    return batch(split, positions, scale=dataset.info.scale, offset=spec.input_offset, dtype=dtype)
