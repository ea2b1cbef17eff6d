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

LOOK = 1.25
"""How many times as long an epoch takes if the training images are evaluated after it: a pass forward is a quarter."""
BYTES_PER_EPOCH = 300
"""Of a store, where it has too few epochs to tell: an epoch's row, and its share of the alignment of three layers."""

T = TypeVar("T")


class Workload(NamedTuple):
    """What an epoch's time and a step's memory depend on; runs of one workload are alike.

    Attributes:
        rule: of the stage.
        masks: how many there are for each layer.
        others: the values of the other settings that count.
    """

    rule: str
    masks: int
    others: tuple[Any, ...]

    @property
    def of_any_rule(self) -> Workload:
        """The same network on the same data, whatever its rule and its connectivity."""
        return self._replace(rule="", masks=0)


class TimedEpochs(NamedTuple):
    """Some epochs of one workload, stored or measured for the plan, and how long they took together.

    `looked` says whether the training images were evaluated after each of them, or after none.
    """

    workload: Workload
    looked: bool
    epochs: int
    seconds: float


class Timing(NamedTuple):
    """The seconds of an epoch without and with an evaluation of the training images, and what they are the mean of."""

    without_look: float
    with_look: float
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
        checkpoints, rows: bytes beside the store, and in it.
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


def of_stored(times: Iterable[EpochTimes]) -> list[TimedEpochs]:
    """Return a store's epochs, each under the workload of the stage that it was in."""
    return [
        TimedEpochs(
            workloads(SimpleNamespace(**some.settings))[some.in_last_stage], some.evaluated, some.epochs, some.seconds
        )
        for some in times
    ]


def of_each(specs: Iterable[RunSpec], measure: Callable[[RunSpec], T]) -> list[T]:
    """Return what `measure` says of each run, asking it once for all that are alike: there may be thousands."""
    known: dict[Workload, T] = {}
    found = []
    for spec in specs:
        workload = workloads(spec)[1]
        if workload not in known:
            known[workload] = measure(spec)
        found.append(known[workload])
    return found


def mean_timings(times: Iterable[TimedEpochs]) -> dict[Workload, Timing]:
    """Return the timing of each workload that there are epochs of."""
    epochs: dict[tuple[Workload, bool], int] = defaultdict(int)
    seconds: dict[tuple[Workload, bool], float] = defaultdict(float)
    for some in times:
        epochs[some.workload, some.looked] += some.epochs
        seconds[some.workload, some.looked] += some.seconds
    timings = {}
    for workload in dict.fromkeys(workload for workload, _ in epochs):
        means = {
            looked: seconds[workload, looked] / epochs[workload, looked]
            for looked in (False, True)
            if epochs[workload, looked]
        }
        timings[workload] = Timing(
            means[False] if False in means else means[True] / LOOK,
            means[True] if True in means else means[False] * LOOK,
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
        bytes_per_epoch: what an epoch takes in the store, None where it is too small to tell.
    """
    timings = mean_timings(times)
    of_any_rule = mean_timings(some._replace(workload=some.workload.of_any_rule) for some in times)
    used: dict[Workload, Timing] = {}

    @cache
    def seconds_of(workload: Workload, epochs: range, target: int) -> float | None:
        """Return what a stage's epochs take, on the way to a target; None where there is no timing."""
        key = workload if workload in timings else workload.of_any_rule
        timing = timings.get(key) or of_any_rule.get(key)
        if timing is None:
            return None
        used[key] = timing
        looks = sum(is_training_error_epoch(epoch) or epoch == target for epoch in epochs)
        return looks * timing.with_look + (len(epochs) - looks) * timing.without_look

    free_at = [0.0] * slots  # each run goes to the slot that is free first
    untimed = by_other_rules = epochs_missing = 0
    for one in missing:
        done, target, stage_end = one.epochs_done, one.run.spec.epochs, one.run.spec.pretraining_epochs
        epochs_missing += max(target - done, 0)
        ranges = range(done + 1, min(stage_end, target) + 1), range(max(done, stage_end) + 1, target + 1)
        stages = [(its, epochs) for its, epochs in zip(workloads(one.run.spec), ranges, strict=True) if epochs]
        parts = [seconds_of(its, epochs, target) for its, epochs in stages]
        if None in parts:
            untimed += 1
        else:
            by_other_rules += any(its not in timings for its, _ in stages)
            heapq.heapreplace(free_at, free_at[0] + sum(filter(None, parts)))
    checkpoints = of_each((one.run.spec for one in missing), _checkpoint_bytes)
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
