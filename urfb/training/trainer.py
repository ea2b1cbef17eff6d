"""One run, from its spec to its last epoch, as a stream of events."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from urfb.data.datasets import Dataset
from urfb.errors import DivergedError
from urfb.events import AlignmentPoint, EpochEnded, Event, Finished, Started
from urfb.grid.spec import RunSpec
from urfb.nn.asymmetric import AsymmetricLayer
from urfb.nn.losses import Loss, hinge_loss, softmax_loss
from urfb.nn.activity import Dropout
from urfb.nn.randomness import generator
from urfb.training.checkpoint import Checkpoints
from urfb.training.evaluation import Measured, evaluate, input_batches, summed
from urfb.training.measurements import Measurements, is_alignment_epoch, saved_filters
from urfb.training.networks import asymmetric_layers, build_network, second_stage, seeded
from urfb.training.provenance import provenance


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
    info = dataset.info
    loss_function = build_loss(spec)
    saved = Checkpoints(checkpoints, spec.identity)
    network, epochs_done = saved.load(
        lambda epoch: build_network(spec, info, epoch), at_most=min(epochs_stored, spec.epochs)
    )
    network.to(device)
    measurements = Measurements(spec, dataset, loss_function)
    if epochs_done == 0:
        yield Started(0, provenance(device), measurements.alignment(network, step=0), saved_filters(network, 0))
    else:
        yield Started(epochs_done, provenance(device))

    for epoch in range(epochs_done + 1, spec.epochs + 1):
        began = time.perf_counter()
        if epoch == spec.pretraining_epochs + 1 and epoch > 1:
            network = second_stage(spec, info, network).to(device)
        points: list[AlignmentPoint] = []
        running = train_epoch(network, loss_function, spec, dataset, epoch, measurements.early(points, epoch))
        training = evaluate(network, loss_function, spec, dataset, dataset.training)
        validation = evaluate(network, loss_function, spec, dataset, dataset.validation)
        for loss in (running.loss, training.loss, validation.loss):
            if not math.isfinite(loss):
                raise DivergedError(f"a loss is {loss} in epoch {epoch}; a smaller step_size may help")
        last = epoch == spec.epochs
        if is_alignment_epoch(spec.epoch_of_stage(epoch)) or last:
            points.extend(measurements.alignment(network, epoch * measurements.steps_an_epoch))
        yield EpochEnded(
            epoch,
            *running,
            *training,
            *validation,
            seconds=time.perf_counter() - began,
            alignment=tuple(points),
            filters=saved_filters(network, epoch) if last else (),
        )
        saved.save(network, epoch, last=last)

    test = evaluate(network, loss_function, spec, dataset, dataset.test)
    if not math.isfinite(test.loss):
        raise DivergedError(f"the test loss is {test.loss}; a smaller step_size may help")
    yield Finished(spec.epochs, *test)


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


def train_epoch(
    network: nn.Module,
    loss_function: Loss,
    spec: RunSpec,
    dataset: Dataset,
    epoch: int,
    after_step: Callable[[nn.Module, int], None] | None = None,
) -> Measured:
    """Show every training image once, in the epoch's own order; return the running loss and error.

    `after_step` is called with the network and the number of steps of this epoch so far.
    """
    device = dataset.training.labels.device
    network.train()
    set_streams(network, spec.seed, epoch, device)
    images = len(dataset.training.labels)
    order = torch.randperm(images, generator=generator(spec.seed, "order", epoch)).to(device)
    parameters: list[Tensor] = [parameter for parameter in network.parameters() if parameter.requires_grad]
    decay = spec.rule_of(epoch).decay
    decaying = decaying_weights(network)
    totals = torch.zeros(2, dtype=torch.float64, device=device)

    with seeded(spec.seed, "modules", epoch, device=device):
        shuffled = input_batches(spec, dataset, dataset.training, spec.batch_size, order)
        for step, (x, labels) in enumerate(shuffled, start=1):
            outputs = network(x)
            loss = loss_function(outputs, labels)
            # Every gradient is formed from the weights as they were before the update (Remark 1).
            gradients = torch.autograd.grad(loss, parameters)
            with torch.no_grad():
                if decay:
                    torch._foreach_mul_(decaying, 1 - decay)
                torch._foreach_add_(parameters, gradients, alpha=-spec.step_size)
                totals += summed(loss, outputs, labels)
            del gradients  # or they stay until the next ones are there
            if after_step is not None:
                after_step(network, step)
    return Measured(*(totals / images).tolist())


def set_streams(network: nn.Module, seed: int, epoch: int, device: torch.device) -> None:
    """Let what an epoch draws, beside its order, come from streams of its own."""
    dropout = generator(seed, "dropout", epoch, device=device)
    feedback = generator(seed, "feedback of the batch", epoch, device=device)
    for module in network.modules():
        if isinstance(module, Dropout):
            module.stream = dropout
        elif isinstance(module, AsymmetricLayer):
            module.stream = feedback


def decaying_weights(network: nn.Module) -> list[Tensor]:
    """Return each W and R that a rule's decay takes from: of every layer that learns."""
    learning = [layer for layer in asymmetric_layers(network) if layer.weight.requires_grad]
    return [values for layer in learning for values in (layer.weight, layer.feedback) if values is not None]
