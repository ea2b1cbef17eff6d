"""One run, from its spec to its last epoch, as a stream of events.

What an epoch draws depends on the seed and the epoch alone, so a resumed run equals one that was never interrupted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from urfb.data.datasets import Dataset
from urfb.errors import DivergedError
from urfb.events import AlignmentPoint, EpochEnded, Event, Finished, Started, Stopped
from urfb.grid.schedule import is_alignment_epoch, is_training_error_epoch
from urfb.grid.spec import RunSpec
from urfb.training.checkpoint import Checkpoints
from urfb.training.measurements import Measurements, saved_filters
from urfb.training.networks import build_learner, build_network, second_stage
from urfb.training.passes import Passes
from urfb.training.provenance import provenance


def train(
    spec: RunSpec,
    dataset: Dataset,
    checkpoints: Path,
    *,
    epochs_stored: int = 0,
    device: torch.device | str = "cpu",
    seconds_between_checkpoints: float = 60.0,
    log: Path | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """Train one run up to its target of epochs, going on from its last checkpoint.

    Args:
        spec: the run.
        dataset: its data, on `device`.
        checkpoints: folder of checkpoints.
        epochs_stored: epochs of this run that the store has; no later checkpoint is used, for its rows were lost.
        device: where to train.
        seconds_between_checkpoints: at least, but for the last.
        log: the file that the run's log is written to, as part of its provenance.
        stop: is asked after each epoch whether to leave the rest for another time.

    Yields:
        `Started`, an `EpochEnded` for each epoch, and `Finished` or `Stopped`.

    Raises:
        DivergedError: the loss is no longer finite.
    """
    device = torch.device(device)
    if device.index is not None:
        torch.cuda.set_device(device)  # the one whose streams CUDA graphs are made on
    info = dataset.info
    saved = Checkpoints(checkpoints, spec.identity, seconds_between_checkpoints)
    learner, epochs_done = saved.load(
        lambda epoch: build_learner(build_network(spec, info, epoch), spec), at_most=min(epochs_stored, spec.epochs)
    )
    passes = Passes(learner.to(device), spec, dataset)
    measurements = Measurements(spec, dataset)
    alignment = measurements.alignment(learner, step=0) if epochs_done == 0 else ()
    filters = saved_filters(learner.network, 0) if epochs_done == 0 else ()
    yield Started(epochs_done, provenance(device, log), alignment, filters)

    for epoch in range(epochs_done + 1, spec.epochs + 1):
        if epoch == spec.pretraining_epochs + 1 and epoch > 1:
            learner = build_learner(second_stage(spec, info, learner.network), spec).to(device)
            passes = Passes(learner, spec, dataset)
        last = epoch == spec.epochs
        yield train_epoch(passes, measurements, epoch, last=last)
        stopping = not last and stop()
        saved.save(learner, epoch, last=last or stopping)
        if stopping:
            yield Stopped()
            return

    test = passes.evaluate("test")
    if not math.isfinite(test.loss):
        raise DivergedError(f"the test loss is {test.loss}; a smaller step_size may help")
    yield Finished(spec.epochs, *test)


def train_epoch(passes: Passes, measurements: Measurements, epoch: int, *, last: bool) -> EpochEnded:
    """Train one epoch, and measure what is due after it; after the last epoch, everything.

    Raises:
        DivergedError: a loss is no longer finite.
    """
    began = time.perf_counter()
    learner, spec = passes.learner, passes.spec
    points: list[AlignmentPoint] = []
    running = passes.train(epoch, measurements.early(points, epoch))
    training = passes.evaluate("training") if is_training_error_epoch(epoch) or last else None
    validation = passes.evaluate("validation")
    for measured in (running, training, validation):
        if measured is not None and not math.isfinite(measured.loss):
            raise DivergedError(f"a loss is {measured.loss} in epoch {epoch}; a smaller step_size may help")
    if is_alignment_epoch(spec.epoch_of_stage(epoch)) or last:
        points.extend(measurements.alignment(learner, epoch * measurements.steps_per_epoch))
    return EpochEnded(
        epoch,
        *running,
        None if training is None else training.loss,
        None if training is None else training.error,
        *validation,
        seconds=time.perf_counter() - began,
        alignment=tuple(points),
        filters=saved_filters(learner.network, epoch) if last else (),
    )
