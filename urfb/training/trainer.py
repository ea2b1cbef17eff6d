"""One run, from its spec to its last epoch, as a stream of events."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from urfb.data.batches import batches
from urfb.data.datasets import Dataset, Split
from urfb.errors import DivergedError
from urfb.events import AlignmentPoint, EpochEnded, Event, Finished, Started
from urfb.grid.spec import RunSpec
from urfb.nn.alignment import weight_correlations
from urfb.nn.losses import Loss, hinge_loss, softmax_loss
from urfb.nn.modules import Network
from urfb.nn.randomness import generator
from urfb.nn.rules import RULES
from urfb.training.checkpoint import Checkpoints
from urfb.training.provenance import provenance

EVALUATION_BATCH = 1000


class Measured(NamedTuple):
    """Mean loss and fraction of images misclassified over a split."""

    loss: float
    error: float


def train(
    spec: RunSpec, dataset: Dataset, checkpoints: Path, *, epochs_stored: int = 0, device: torch.device | str = "cpu"
) -> Iterator[Event]:
    """Train one run up to its target of epochs, going on from its last checkpoint.

    What an epoch draws (its order of images, its dropout) depends on the seed and the epoch alone, so that a resumed
    run equals one that was never interrupted.

    Args:
        spec: the run.
        dataset: its data, on `device`.
        checkpoints: folder of checkpoints.
        epochs_stored: epochs of this run that the store has; no later checkpoint is used, for its rows were lost.
        device: where to train.

    Yields:
        `Started`, an `EpochEnded` for each epoch, and `Finished`.

    Raises:
        DivergedError: the loss is no longer finite.
    """
    device = torch.device(device)
    network = build_network(spec, dataset).to(device)
    loss_function = build_loss(spec)
    saved = Checkpoints(checkpoints, spec.identity)
    epochs_done = saved.load(network, at_most=min(epochs_stored, spec.epochs))

    images = len(dataset.training.labels)
    steps_an_epoch = -(-images // spec.batch_size)
    yield Started(epochs_done, provenance(device), alignment(network, step=0, epoch=0) if epochs_done == 0 else ())

    for epoch in range(epochs_done + 1, spec.epochs + 1):
        began = time.perf_counter()
        running = train_epoch(network, loss_function, spec, dataset, epoch)
        training = evaluate(network, loss_function, spec, dataset, dataset.training)
        validation = evaluate(network, loss_function, spec, dataset, dataset.validation)
        for loss in (running.loss, training.loss, validation.loss):
            if not math.isfinite(loss):
                raise DivergedError(f"a loss is {loss} in epoch {epoch}; a smaller step_size may help")
        measure = is_alignment_epoch(epoch) or epoch == spec.epochs
        yield EpochEnded(
            epoch,
            *running,
            *training,
            *validation,
            seconds=time.perf_counter() - began,
            alignment=alignment(network, epoch * steps_an_epoch, epoch) if measure else (),
        )
        saved.save(network, epoch, last=epoch == spec.epochs)

    test = evaluate(network, loss_function, spec, dataset, dataset.test)
    if not math.isfinite(test.loss):
        raise DivergedError(f"the test loss is {test.loss}; a smaller step_size may help")
    yield Finished(spec.epochs, *test)


def build_network(spec: RunSpec, dataset: Dataset) -> Network:
    """Return the run's network, its weights drawn from the run's seed."""
    return Network(
        spec.layers,
        dataset.info.shape,
        dataset.info.classes,
        RULES[spec.rule],
        seed=spec.seed,
        connectivity=spec.connectivity,
        feedback_connectivity=spec.feedback_connectivity,
        dense_output=spec.dense_output,
        activation_slope=spec.activation_slope,
        pool_padding=spec.pool_padding,
        dtype=getattr(torch, spec.precision),
    )


def build_loss(spec: RunSpec) -> Loss:
    """Return the run's loss, the mean over a batch."""
    if spec.loss == "softmax":
        return softmax_loss
    assert spec.off_class_weight is not None
    assert spec.off_class_margin is not None
    return partial(hinge_loss, off_class_weight=spec.off_class_weight, off_class_margin=spec.off_class_margin)


def train_epoch(network: Network, loss_function: Loss, spec: RunSpec, dataset: Dataset, epoch: int) -> Measured:
    """Show every training image once, in the epoch's own order; return the running loss and error."""
    device = dataset.training.labels.device
    network.train()
    dropout = generator(spec.seed, "dropout", epoch, device=device)
    for step in network.dropouts:
        step.stream = dropout
    images = len(dataset.training.labels)
    order = torch.randperm(images, generator=generator(spec.seed, "order", epoch)).to(device)
    parameters: list[Tensor] = [parameter for parameter in network.parameters() if parameter.requires_grad]
    totals = torch.zeros(2, dtype=torch.float64, device=device)

    for x, labels in input_batches(spec, dataset, dataset.training, spec.batch_size, order):
        outputs = network(x)
        loss = loss_function(outputs, labels)
        # Every gradient is formed from the weights as they were before the update (Remark 1).
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            torch._foreach_add_(parameters, gradients, alpha=-spec.step_size)
            totals += summed(loss, outputs, labels)
    return Measured(*(totals / images).tolist())


@torch.inference_mode()
def evaluate(network: Network, loss_function: Loss, spec: RunSpec, dataset: Dataset, split: Split) -> Measured:
    """Return the mean loss and error over a split, with dropout off."""
    network.eval()
    totals = torch.zeros(2, dtype=torch.float64, device=split.labels.device)
    for x, labels in input_batches(spec, dataset, split, EVALUATION_BATCH, None):
        outputs = network(x)
        totals += summed(loss_function(outputs, labels), outputs, labels)
    return Measured(*(totals / len(split.labels)).tolist())


def input_batches(
    spec: RunSpec, dataset: Dataset, split: Split, batch_size: int, order: Tensor | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Return a split's batches of images, scaled to 0 … 1 and offset, with their labels."""
    dtype = getattr(torch, spec.precision)
    return batches(split, batch_size, order, scale=dataset.info.scale, offset=spec.input_offset, dtype=dtype)


def summed(loss: Tensor, outputs: Tensor, labels: Tensor) -> Tensor:
    """Return a batch's summed loss and its number of errors [2], where they are: nothing waits for a GPU."""
    errors = (outputs.argmax(dim=1) != labels).sum()
    return torch.stack([loss.double() * len(labels), errors.double()])


def alignment(network: Network, step: int, epoch: float) -> tuple[AlignmentPoint, ...]:
    """Return the correlation of W and R for each layer that has an R of its own."""
    return tuple(
        AlignmentPoint(step, epoch, number, layer.name, *weight_correlations(layer))
        for number, layer in enumerate(network.layers, start=1)
        if layer.feedback is not None
    )


def is_alignment_epoch(epoch: int) -> bool:
    """Whether alignment is measured after `epoch`: often at first, then thinning out; 54 times in 1,000 epochs."""
    for reach, spacing in ((20, 1), (100, 5), (1000, 50)):
        if epoch <= reach:
            return epoch % spacing == 0
    return epoch % 500 == 0
