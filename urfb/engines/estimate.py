"""Estimates the time, memory and disk space for the missing runs of a plan. Plain Python, no torch."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from urfb.grid.plan import PlannedRun
from urfb.grid.schedule import is_training_error_epoch
from urfb.grid.settings import WORKLOAD_SETTINGS
from urfb.grid.shown import costs_of
from urfb.grid.spec import RunSpec
from urfb.plugins import is_import_path

if TYPE_CHECKING:
    from urfb.store import EpochTimes

EVALUATION_FACTOR = 1.25
"""The factor on an epoch's time if all training images are evaluated after it: a forward pass takes a quarter."""
BYTES_PER_EPOCH = 300
"""The assumed size of an epoch in a store that has too few epochs to measure it: an epoch's row, and its share of the
alignment of three layers."""

T = TypeVar("T")


class Workload(NamedTuple):
    """All that the time of an epoch and the memory of a step depend on; runs with equal workloads are alike.

    Attributes:
        rule: the rule of the stage.
        masks: the number of masks per layer.
        settings: the values of the other settings that matter.
    """

    rule: str
    masks: int
    settings: tuple[Any, ...]

    @property
    def of_any_rule(self) -> Workload:
        """The workload without rule and masks: the same network on the same data."""
        return self._replace(rule="", masks=0)


class TimedEpochs(NamedTuple):
    """Some epochs of one workload, stored or measured for the plan, and their total time.

    `evaluated` says whether the training images were evaluated after each of the epochs, or after none.
    """

    workload: Workload
    evaluated: bool
    epochs: int
    seconds: float


class Timing(NamedTuple):
    """The mean seconds of an epoch, without and with an evaluation of the training images, over `epochs` epochs."""

    without_evaluation: float
    with_evaluation: float
    epochs: int


@dataclass(frozen=True)
class Estimate:
    """The estimate for the missing runs.

    Attributes:
        runs: the number of missing runs.
        seconds: the time until the last run is done; None if no run has a timing.
        untimed: the number of runs without a timing, which `seconds` leaves out.
        by_other_rules: the number of runs whose timing is from another rule or connectivity.
        epochs: the number of epochs that the timings are the mean of.
        memory: the most bytes that the runs trained at the same time can need; None if memory was not measured.
        checkpoints, rows: the size of the checkpoints and of the rows in the store, in bytes.
        uncounted: the number of runs with a custom model, whose checkpoints are not in `checkpoints`.
    """

    runs: int
    seconds: float | None
    untimed: int
    by_other_rules: int
    epochs: int
    memory: int | None
    checkpoints: int
    rows: int
    uncounted: int


def workloads(run: Any) -> tuple[Workload, Workload]:
    """Return the workloads of a run's first and last stage, which are the same for a run of one stage.

    Args:
        run: a spec, or an object with the same attributes.
    """
    values = {name: getattr(run, name) for name in WORKLOAD_SETTINGS}
    masks = (values.pop("connectivity") < 1) + (values.pop("feedback_connectivity") < 1)
    pretraining_epochs, pretraining_rule = values.pop("pretraining_epochs"), values.pop("pretraining_rule")
    last = Workload(values.pop("rule"), masks, tuple(values.values()))
    if not pretraining_epochs:
        return last, last
    return Workload(pretraining_rule, masks, tuple((values | {"untied": "none"}).values())), last


def stored_epochs(times: Iterable[EpochTimes]) -> list[TimedEpochs]:
    """Return a store's epochs, each with the workload of its stage."""
    return [
        TimedEpochs(
            workloads(SimpleNamespace(**group.settings))[group.in_last_stage],
            group.evaluated,
            group.epochs,
            group.seconds,
        )
        for group in times
    ]


def per_workload(specs: Iterable[RunSpec], measure: Callable[[RunSpec], T]) -> list[T]:
    """Return the result of `measure` for each run; it is called once for runs that are alike, as there may be many."""
    measured: dict[Workload, T] = {}
    values = []
    for spec in specs:
        workload = workloads(spec)[1]
        if workload not in measured:
            measured[workload] = measure(spec)
        values.append(measured[workload])
    return values


def mean_timings(times: Iterable[TimedEpochs]) -> dict[Workload, Timing]:
    """Return the timing of each workload that has epochs."""
    epochs: dict[tuple[Workload, bool], int] = defaultdict(int)
    seconds: dict[tuple[Workload, bool], float] = defaultdict(float)
    for group in times:
        epochs[group.workload, group.evaluated] += group.epochs
        seconds[group.workload, group.evaluated] += group.seconds
    timings = {}
    for workload in dict.fromkeys(workload for workload, _ in epochs):
        means = {
            evaluated: seconds[workload, evaluated] / epochs[workload, evaluated]
            for evaluated in (False, True)
            if epochs[workload, evaluated]
        }
        timings[workload] = Timing(
            means[False] if False in means else means[True] / EVALUATION_FACTOR,
            means[True] if True in means else means[False] * EVALUATION_FACTOR,
            epochs[workload, False] + epochs[workload, True],
        )
    return timings


def estimate(
    missing: Sequence[PlannedRun],
    times: Sequence[TimedEpochs],
    *,
    slots: int,
    memory: Sequence[int] | None,
    bytes_per_epoch: float | None,
) -> Estimate:
    """Return the estimate for the missing runs.

    Args:
        missing: the missing runs, in the order in which they are trained.
        times: times of epochs on the same device and with the same number of threads.
        slots: the number of runs that are trained at the same time.
        memory: the memory of each run's process, in bytes; None if it was not measured.
        bytes_per_epoch: the size of an epoch in the store; None if the store is too small to measure it.
    """
    timings = mean_timings(times)
    timings_of_any_rule = mean_timings(group._replace(workload=group.workload.of_any_rule) for group in times)
    used: dict[Workload, Timing] = {}

    @cache
    def seconds_of(workload: Workload, epochs: range, target: int) -> float | None:
        """Return the seconds of a stage's epochs on the way to a target; None without a timing."""
        key = workload if workload in timings else workload.of_any_rule
        timing = timings.get(key) or timings_of_any_rule.get(key)
        if timing is None:
            return None
        used[key] = timing
        evaluations = sum(is_training_error_epoch(epoch) or epoch == target for epoch in epochs)
        return evaluations * timing.with_evaluation + (len(epochs) - evaluations) * timing.without_evaluation

    free_at = [0.0] * slots  # each run goes to the slot that is free first
    untimed = by_other_rules = epochs_missing = 0
    for planned in missing:
        spec = planned.run.spec
        done, target, stage_end = planned.goes_on_after, spec.epochs, spec.pretraining_epochs
        epochs_missing += max(target - done, 0)
        ranges = range(done + 1, min(stage_end, target) + 1), range(max(done, stage_end) + 1, target + 1)
        stages = [(workload, epochs) for workload, epochs in zip(workloads(spec), ranges, strict=True) if epochs]
        seconds = [seconds_of(workload, epochs, target) for workload, epochs in stages]
        if None in seconds:
            untimed += 1
        else:
            by_other_rules += any(workload not in timings for workload, _ in stages)
            heapq.heapreplace(free_at, free_at[0] + sum(filter(None, seconds)))
    checkpoints = per_workload((planned.run.spec for planned in missing), _checkpoint_bytes)
    return Estimate(
        runs=len(missing),
        seconds=None if untimed == len(missing) else max(free_at),
        untimed=untimed,
        by_other_rules=by_other_rules,
        epochs=sum(timing.epochs for timing in used.values()),
        memory=None if memory is None else sum(heapq.nlargest(slots, memory)),
        checkpoints=sum(size or 0 for size in checkpoints),
        rows=round(epochs_missing * (bytes_per_epoch or BYTES_PER_EPOCH)),
        uncounted=checkpoints.count(None),
    )


def _checkpoint_bytes(spec: RunSpec) -> int | None:
    """Return the size of a run's two checkpoints of W and R, in bytes; None for a custom model."""
    if is_import_path(spec.layers):
        return None
    costs = costs_of(spec)
    return 2 * (costs.weights + costs.feedback) * (8 if spec.precision == "float64" else 4)
