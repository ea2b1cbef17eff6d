"""What the missing runs of a plan will take: time, memory and disk. Plain Python, no torch."""

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
"""How many times as long an epoch takes if the training images are evaluated after it: a pass forward is a quarter."""
BYTES_PER_EPOCH = 300
"""Of a store that has too few epochs to measure it: an epoch's row, and its share of the alignment of three layers."""

T = TypeVar("T")


class Workload(NamedTuple):
    """What an epoch's time and a step's memory depend on; runs of one workload are alike.

    Attributes:
        rule: of the stage.
        masks: how many there are for each layer.
        settings: the values of the other settings that count.
    """

    rule: str
    masks: int
    settings: tuple[Any, ...]

    @property
    def of_any_rule(self) -> Workload:
        """The same network on the same data under any rule and connectivity."""
        return self._replace(rule="", masks=0)


class TimedEpochs(NamedTuple):
    """Some epochs of one workload, stored or measured for the plan, and how long they took together.

    `evaluated` says whether the training images were evaluated after each of them, or after none.
    """

    workload: Workload
    evaluated: bool
    epochs: int
    seconds: float


class Timing(NamedTuple):
    """The seconds of an epoch without and with an evaluation of the training images, and what they are the mean of."""

    without_evaluation: float
    with_evaluation: float
    epochs: int


@dataclass(frozen=True)
class Estimate:
    """What the missing runs will take.

    Attributes:
        runs: how many are missing.
        seconds: until the last one is done; None where no run has a timing.
        untimed: runs without, which are not in `seconds`.
        by_other_rules: runs that are timed by the same network under another rule or connectivity.
        epochs: those that the timings are the mean of.
        memory: bytes that those trained at one time need at most; None where it was not measured.
        checkpoints, rows: bytes next to the store, and in it.
        uncounted: runs of models of the user's own, whose checkpoints are not in `checkpoints`.
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
    """Return the workloads of a run's first stage and of its last, which is the only one of most.

    Args:
        run: a spec, or what a store has of one under the same names.
    """
    values = {name: getattr(run, name) for name in WORKLOAD_SETTINGS}
    masks = (values.pop("connectivity") < 1) + (values.pop("feedback_connectivity") < 1)
    pretraining_epochs, pretraining_rule = values.pop("pretraining_epochs"), values.pop("pretraining_rule")
    last = Workload(values.pop("rule"), masks, tuple(values.values()))
    if not pretraining_epochs:
        return last, last
    return Workload(pretraining_rule, masks, tuple((values | {"untied": "none"}).values())), last


def stored_epochs(times: Iterable[EpochTimes]) -> list[TimedEpochs]:
    """Return a store's epochs, each under the workload of the stage that it was in."""
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
    """Return what `measure` returns for each run, and call it once for all that are alike: there may be thousands."""
    measured: dict[Workload, T] = {}
    values = []
    for spec in specs:
        workload = workloads(spec)[1]
        if workload not in measured:
            measured[workload] = measure(spec)
        values.append(measured[workload])
    return values


def mean_timings(times: Iterable[TimedEpochs]) -> dict[Workload, Timing]:
    """Return the timing of each workload that there are epochs of."""
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
    """Return what the missing runs will take.

    Args:
        missing: the runs, in the order in which they are trained.
        times: of epochs on the device where they will be trained, and with as many threads.
        slots: how many runs are trained at a time.
        memory: bytes that the process of each run needs; None where that was not measured.
        bytes_per_epoch: what an epoch takes in the store, None where it is too small to measure.
    """
    timings = mean_timings(times)
    timings_of_any_rule = mean_timings(group._replace(workload=group.workload.of_any_rule) for group in times)
    used: dict[Workload, Timing] = {}

    @cache
    def seconds_of(workload: Workload, epochs: range, target: int) -> float | None:
        """Return what a stage's epochs take, on the way to a target; None where there is no timing."""
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
    """Return the bytes of a run's two checkpoints, which hold W and R; None for a model of the user's own."""
    if is_import_path(spec.layers):
        return None
    costs = costs_of(spec)
    return 2 * (costs.weights + costs.feedback) * (8 if spec.precision == "float64" else 4)
