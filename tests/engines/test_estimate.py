"""Estimates for missing runs, from stored or measured epochs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.helpers import tiny_spec
from urfb.engines.estimate import BYTES_PER_EPOCH, Estimate, TimedEpochs, estimate, per_workload, workloads
from urfb.grid.expand import GridRun
from urfb.grid.plan import PlannedRun
from urfb.grid.spec import RunSpec
from urfb.nn.costs import network_costs
from urfb.nn.rules import RULES

TWO_STAGES = {"untied": "all", "pretraining_epochs": 6}


def missing(spec: RunSpec, epochs_done: int = 0) -> PlannedRun:
    return PlannedRun(GridRun(spec, ("one",)), "unfinished", epochs_done, "", epochs_done)


def stored(seconds: float, *, evaluated: bool = False, epochs: int = 1, stage: int = 1, **settings: Any) -> TimedEpochs:
    return TimedEpochs(workloads(tiny_spec(**settings))[stage], evaluated, epochs, seconds * epochs)


def estimated(
    runs: Sequence[PlannedRun], times: Sequence[TimedEpochs], slots: int = 1, memory: Sequence[int] | None = None
) -> Estimate:
    return estimate(runs, times, slots=slots, memory=memory, bytes_per_epoch=None)


def test_epochs_with_training_evaluation_are_timed_separately() -> None:
    times = [stored(1.0, epochs=3), stored(3.0, epochs=1), stored(10.0, evaluated=True)]
    # Of epochs 1 to 23, the training images are evaluated after the first ten, 15, 20 and 23.
    found = estimated([missing(tiny_spec(epochs=23))], times)
    assert found.seconds == pytest.approx(10 * 1.5 + 13 * 10)
    assert (found.epochs, found.untimed, found.by_other_rules) == (5, 0, 0)
    assert estimated([missing(tiny_spec(epochs=23), 21)], times).seconds == pytest.approx(1.5 + 10)


@pytest.mark.parametrize(("evaluated", "seconds"), [(True, 8 + 10), (False, 10 + 12.5)])
def test_a_missing_time_is_estimated_from_the_other(evaluated: bool, seconds: float) -> None:
    assert estimated([missing(tiny_spec(epochs=13), 11)], [stored(10, evaluated=evaluated)]).seconds == seconds


def test_runs_go_to_the_slots_as_they_become_free() -> None:
    runs = [missing(tiny_spec(epochs=epochs, seed=epochs)) for epochs in (4, 1, 2, 3)]
    times = [stored(10.0, evaluated=True)]
    assert [estimated(runs, times, slots).seconds for slots in (1, 2, 9)] == [100, 60, 40]


def test_times_come_from_like_runs_and_the_same_rule_first() -> None:
    runs = [
        missing(tiny_spec(rule="urfb", epochs=1)),
        missing(tiny_spec(rule="frfb", epochs=1)),
        missing(tiny_spec(rule="urfb", connectivity=0.5, epochs=1)),
        missing(tiny_spec(batch_size=10, epochs=1)),
        missing(tiny_spec(precision="float64", epochs=1)),
        missing(tiny_spec(untied="all", epochs=1)),
        missing(tiny_spec(dataset="mnist", batch_size=50, epochs=1)),
        missing(tiny_spec(network="Full 5; Output", epochs=1)),
        missing(tiny_spec(epochs=1).model_copy(update={"source": "of another model"})),
    ]
    found = estimated(runs, [stored(4, evaluated=True, rule="urfb"), stored(8, evaluated=True, rule="bp")])
    assert (found.runs, found.untimed, found.by_other_rules) == (9, 6, 2)
    assert found.epochs == 1 + 2
    assert found.seconds == 4 + 6 + 6
    none = estimated(runs[3:], [stored(4)])
    assert (none.seconds, none.untimed, none.epochs) == (None, 6, 0)


@pytest.mark.parametrize(
    ("connectivity", "feedback_connectivity", "seconds"), [(1.0, 1.0, 1), (0.5, 1.0, 2), (1.0, 0.5, 2), (0.5, 0.5, 3)]
)
def test_runs_with_the_same_number_of_masks_are_alike(
    connectivity: float, feedback_connectivity: float, seconds: float
) -> None:
    times = [
        stored(float(number), evaluated=True, connectivity=of_w, feedback_connectivity=of_r)
        for number, (of_w, of_r) in enumerate([(1.0, 1.0), (1.0, 0.25), (0.25, 0.25)], start=1)
    ]
    spec = tiny_spec(epochs=1, connectivity=connectivity, feedback_connectivity=feedback_connectivity)
    assert estimated([missing(spec)], times).seconds == seconds


def test_two_stage_runs_are_measured_by_their_last_stage() -> None:
    specs = [tiny_spec(epochs=9, rule=rule, pretraining_epochs=6, frozen="none") for rule in ("bp", "frfb", "bp")]
    assert per_workload(specs, lambda spec: spec.rule) == ["bp", "frfb", "bp"]


def test_each_stage_of_a_run_has_its_own_time() -> None:
    two_stages = tiny_spec(epochs=9, rule="frfb", **TWO_STAGES | {"frozen": "none"})
    # The first stage has tied layers and the rule urfb; the second is untied.
    first = stored(1.0, evaluated=True, rule="urfb")
    second = stored(100.0, evaluated=True, rule="frfb", **TWO_STAGES | {"frozen": "none"})
    assert estimated([missing(two_stages)], [first, second]).seconds == 6 + 300
    assert estimated([missing(two_stages, 7)], [second]).seconds == 200
    assert estimated([missing(two_stages)], [second]).seconds is None
    of_bp = stored(7.0, evaluated=True, rule="bp", **TWO_STAGES | {"frozen": "none"})
    by_another = estimated([missing(two_stages)], [first, of_bp])
    assert (by_another.seconds, by_another.by_other_rules, by_another.epochs) == (6 + 21, 1, 2)
    early = two_stages.model_copy(update={"epochs": 5})
    assert estimated([missing(early)], [first]).seconds == 5


def test_estimate_sums_run_memory_and_checkpoint_and_row_disk() -> None:
    specs = [tiny_spec(epochs=10), tiny_spec(epochs=10, precision="float64", rule="bp"), tiny_spec(epochs=10, seed=1)]
    runs = [missing(spec, 4) for spec in specs]
    found = estimate(runs, [], slots=2, memory=[100, 300, 200], bytes_per_epoch=50)
    assert found.memory == 500
    assert found.rows == 3 * 6 * 50
    weights = network_costs(specs[0].layers, (1, 8, 8), 10, RULES["urfb"]).weights
    # Two checkpoints per run: two runs have W and R in float32, and one has W in float64 and no R
    assert found.checkpoints == 2 * (2 * 2 * 4 * weights + 8 * weights)
    assert found.uncounted == 0
    assert estimated(runs, []).memory is None
    assert estimated(runs, []).rows == 3 * 6 * BYTES_PER_EPOCH


def test_a_run_that_is_past_its_target_takes_no_time() -> None:
    found = estimated([missing(tiny_spec(epochs=2), 5)], [])
    assert (found.seconds, found.rows) == (0, 0)
