"""One run, from its spec to its last epoch, as a stream of events.

What an epoch draws depends on the seed and the epoch alone, so a resumed run equals one that was never interrupted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from urfb.data.datasets import Dataset
from urfb.errors import DivergedError
from urfb.events import AlignmentPoint, EpochEnded, Event, Finished, SavedFilters, Started, Stopped
from urfb.grid.schedule import is_alignment_epoch, is_training_error_epoch
from urfb.grid.spec import RunSpec
from urfb.learning.learner import Learner
from urfb.training.checkpoint import Checkpoints
from urfb.training.measurements import Measurements, saved_filters
from urfb.training.networks import build_learner, build_network, second_stage
from urfb.training.passes import Measured, Passes
from urfb.training.provenance import provenance


class _Interrupted(Exception):  # noqa: N818 - no error
    """The run was asked to stop, and has a checkpoint."""


class EpochSoFar:
    """What an epoch has given by now, besides what the learner holds.

    Attributes:
        measured: the means of the passes that are complete, by their names.
        points: the alignment within the epoch.
        began: when it began, on `time.perf_counter`'s clock, less the time in which it was not trained.
    """

    def __init__(self, saved: Mapping[str, Any] | None = None) -> None:
        """Begin an epoch, or go on with what a checkpoint holds of one."""
        saved = saved or {"measured": {}, "points": [], "seconds": 0.0}
        self.measured = {name: Measured(*values) for name, values in saved["measured"].items()}
        self.points = [AlignmentPoint(**values) for values in saved["points"]]
        self.began = time.perf_counter() - saved["seconds"]

    def state(self, position: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a checkpoint holds of the epoch, with the position of the pass at hand."""
        return {
            "measured": {name: list(values) for name, values in self.measured.items()},
            "points": [asdict(point) for point in self.points],
            "seconds": time.perf_counter() - self.began,
            "position": dict(position),
        }


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
        epochs_stored: epochs of this run that the store has; no later checkpoint is used, for its rows were lost;
            −1 for no checkpoint at all.
        device: where to train.
        seconds_between_checkpoints: at least, but for those after the last epoch and of a run that is stopped.
        log: the file that the run's log is written to, as part of its provenance.
        stop: is asked between batches and epochs whether to leave the rest for another time.

    Yields:
        `Started`, an `EpochEnded` for each epoch, and `Finished` or `Stopped`.

    Raises:
        DivergedError: the loss is no longer finite.
    """
    device = torch.device(device)
    if device.index is not None:
        torch.cuda.set_device(device)  # the one whose streams CUDA graphs are made on
    saved = Checkpoints(checkpoints, spec.identity, seconds_between_checkpoints)

    def drawn(epoch: int) -> Learner:
        return build_learner(build_network(spec, dataset.info, epoch), spec)

    learner, epochs_done, within = saved.load(drawn, at_most=min(epochs_stored, spec.epochs))
    if within is not None:  # a run that goes on within the epoch after its target ends with that epoch
        spec = spec.model_copy(update={"epochs": max(spec.epochs, epochs_done + 1)})
    measurements = Measurements(spec, dataset)
    alignment: tuple[AlignmentPoint, ...] = ()
    filters: tuple[SavedFilters, ...] = ()
    if epochs_done == 0:
        start = (learner if within is None else drawn(1)).to(device)
        alignment, filters = measurements.alignment(start, step=0), saved_filters(start.network, 0)
    yield Started(epochs_done, provenance(device, log), alignment, filters, _steps_done(within, measurements))

    training = _Training(spec, dataset, measurements, saved, stop)
    try:
        yield from training.epochs(learner.to(device), epochs_done, within)
        test = training.passes.evaluate("test")
    except _Interrupted:
        yield Stopped()
        return
    if not math.isfinite(test.loss):
        raise DivergedError(f"the test loss is {test.loss}; a smaller step_size may help")
    yield Finished(spec.epochs, *test)


@dataclass
class _Training:
    """A run's epochs, which can be left between any two batches; `so_far` is of the epoch at hand."""

    spec: RunSpec
    dataset: Dataset
    measurements: Measurements
    saved: Checkpoints
    stop: Callable[[], bool]
    so_far: EpochSoFar | None = None

    def epochs(self, learner: Learner, epochs_done: int, within: Mapping[str, Any] | None) -> Iterator[EpochEnded]:
        """Train all epochs after `epochs_done`, the first one from what a checkpoint within it holds.

        Raises:
            _Interrupted: the run is asked to stop.
        """
        spec = self.spec
        self.passes = Passes(learner, spec, self.dataset, self.pause)
        for self.epoch in range(epochs_done + 1, spec.epochs + 1):
            if self.epoch == spec.pretraining_epochs + 1 and self.epoch > 1 and within is None:
                second = second_stage(spec, self.dataset.info, self.passes.learner.network)
                self.passes = Passes(build_learner(second, spec).to(self.passes.device), spec, self.dataset, self.pause)
            if within is not None:
                self.passes.go_on(within["position"])
            self.so_far = EpochSoFar(within)
            last = self.epoch == spec.epochs
            yield train_epoch(self.passes, self.measurements, self.epoch, self.so_far, last=last)
            self.so_far = within = None
            stopping = not last and self.stop()
            if last or stopping or self.saved.is_due:
                self.saved.save(self.passes.learner, self.epoch)
            if stopping:
                raise _Interrupted

    def pause(self) -> None:
        """Save where the epoch is, if that is due; leave the rest for another time, if asked to.

        Raises:
            _Interrupted: the run is asked to stop.
        """
        stopping = self.stop()
        if self.so_far is not None and (stopping or self.saved.is_due):
            began = time.perf_counter()
            self.saved.save(self.passes.learner, self.epoch - 1, self.so_far.state(self.passes.position()))
            self.so_far.began += time.perf_counter() - began
        if stopping:
            raise _Interrupted


def _steps_done(within: Mapping[str, Any] | None, measurements: Measurements) -> int:
    """Return how many steps of its epoch a checkpoint within one has."""
    if within is None:
        return 0
    position = within["position"]
    return int(position["batches"]) if position["pass"] == "steps" else measurements.steps_per_epoch


def train_epoch(
    passes: Passes, measurements: Measurements, epoch: int, so_far: EpochSoFar, *, last: bool
) -> EpochEnded:
    """Train what is left of an epoch, and measure what is due after it; after the last epoch, everything.

    Raises:
        DivergedError: a loss is no longer finite.
    """
    learner, spec = passes.learner, passes.spec
    measured = so_far.measured
    if "steps" not in measured:
        measured["steps"] = passes.train(epoch, measurements.early(so_far.points, epoch))
    if "training" not in measured and (is_training_error_epoch(epoch) or last):
        measured["training"] = passes.evaluate("training")
    if "validation" not in measured:
        measured["validation"] = passes.evaluate("validation")
    for means in measured.values():
        if not math.isfinite(means.loss):
            raise DivergedError(f"a loss is {means.loss} in epoch {epoch}; a smaller step_size may help")
    if is_alignment_epoch(spec.epoch_of_stage(epoch)) or last:
        so_far.points.extend(measurements.alignment(learner, epoch * measurements.steps_per_epoch))
    training = measured.get("training")
    return EpochEnded(
        epoch,
        *measured["steps"],
        None if training is None else training.loss,
        None if training is None else training.error,
        *measured["validation"],
        seconds=time.perf_counter() - so_far.began,
        alignment=tuple(so_far.points),
        filters=saved_filters(learner.network, epoch) if last else (),
    )
