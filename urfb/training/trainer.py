"""Train one run, from its spec to its last epoch, as a stream of events.

An epoch's random draws depend only on the seed and the epoch, so a resumed run equals an uninterrupted one.
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


class _Interrupted(Exception):  # noqa: N818 - not an error
    """The run was asked to stop, and has saved a checkpoint."""


class EpochSoFar:
    """The state of the current epoch that is not in the learner.

    Attributes:
        measured: the means of the complete passes, by the name of the pass.
        points: the alignment measured within the epoch.
        began: the start of the epoch on the clock of `time.perf_counter`, moved later by any time without training.
    """

    def __init__(self, saved: Mapping[str, Any] | None = None) -> None:
        """Begin an epoch, or continue the one that a checkpoint has saved."""
        saved = saved or {"measured": {}, "points": [], "seconds": 0.0}
        self.measured = {name: Measured(*values) for name, values in saved["measured"].items()}
        self.points = [AlignmentPoint(**values) for values in saved["points"]]
        self.began = time.perf_counter() - saved["seconds"]

    def state(self, position: Mapping[str, Any]) -> dict[str, Any]:
        """Return the epoch's state for a checkpoint, with the position in the current pass."""
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
    """Train one run up to its target of epochs, from its last checkpoint if there is one.

    Args:
        spec: the run.
        dataset: the run's data, on `device`.
        checkpoints: the folder of checkpoints.
        epochs_stored: the number of the run's epochs in the store. A later checkpoint is not used, because its rows
            were lost. −1 for no checkpoint at all.
        device: the device to train on.
        seconds_between_checkpoints: the shortest time between checkpoints. The one after the last epoch and the one of
            a run that is stopped do not wait.
        log: the path of the run's log, for its provenance.
        stop: a function, called between batches and epochs, that returns whether to stop now.

    Yields:
        `Started`, an `EpochEnded` for each epoch, and `Finished` or `Stopped`.

    Raises:
        DivergedError: a loss is no longer finite.
    """
    device = torch.device(device)
    if device.index is not None:
        torch.cuda.set_device(device)  # so that CUDA graphs use this device's streams
    saved = Checkpoints(checkpoints, spec.identity, seconds_between_checkpoints)

    def drawn(epoch: int) -> Learner:
        return build_learner(build_network(spec, dataset.info, epoch), spec)

    learner, epochs_done, within = saved.load(drawn, at_most=min(epochs_stored, spec.epochs))
    if within is not None:  # a run whose checkpoint is within the epoch after its target completes that epoch
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
    """The epochs of a run, which can stop between any two batches. `so_far` is the state of the current epoch."""

    spec: RunSpec
    dataset: Dataset
    measurements: Measurements
    saved: Checkpoints
    stop: Callable[[], bool]
    so_far: EpochSoFar | None = None

    def epochs(self, learner: Learner, epochs_done: int, within: Mapping[str, Any] | None) -> Iterator[EpochEnded]:
        """Train all epochs after `epochs_done`; continue the first one from `within` if it is not None.

        Raises:
            _Interrupted: the run was asked to stop.
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
        """Save a checkpoint within the epoch if one is due, and stop the run if asked to.

        Raises:
            _Interrupted: the run was asked to stop.
        """
        stopping = self.stop()
        if self.so_far is not None and (stopping or self.saved.is_due):
            began = time.perf_counter()
            self.saved.save(self.passes.learner, self.epoch - 1, self.so_far.state(self.passes.position()))
            self.so_far.began += time.perf_counter() - began
        if stopping:
            raise _Interrupted


def _steps_done(within: Mapping[str, Any] | None, measurements: Measurements) -> int:
    """Return the number of steps in its epoch that a checkpoint within an epoch has; 0 without one."""
    if within is None:
        return 0
    position = within["position"]
    return int(position["batches"]) if position["pass"] == "steps" else measurements.steps_per_epoch


def train_epoch(
    passes: Passes, measurements: Measurements, epoch: int, so_far: EpochSoFar, *, last: bool
) -> EpochEnded:
    """Train the rest of an epoch, then measure what is due, or everything after the last epoch.

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
