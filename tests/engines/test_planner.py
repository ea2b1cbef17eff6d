"""Plans: the slots, times and memory of the missing runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.helpers import tiny_run
from tests.store.recorded import PROVENANCE, epoch
from urfb.engines.estimate import BYTES_PER_EPOCH
from urfb.engines.measuring import measured_memory, peaks
from urfb.engines.planner import GridPlan, plan_grid
from urfb.errors import DeviceError
from urfb.events import Event, Failed, Finished, Started
from urfb.grid.expand import GridRun
from urfb.store import open_for_writing, open_store
from urfb.training.provenance import device_name

RUNS = [tiny_run(seed=seed) for seed in (0, 1)]
LARGE = [tiny_run(network="Full 50000; Output", seed=seed) for seed in (0, 1)]


@pytest.fixture(scope="module")
def sizes() -> tuple[int, int]:
    """The memory of a large run and of a small run, in bytes."""
    large, small = measured_memory([runs[0].spec for runs in (LARGE, RUNS)], partial(peaks, device="cpu", free=2**40))
    assert 5 * large > 7 * small
    return large, small


@pytest.fixture(autouse=True)
def _has_eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)), raising=False)


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tmp_path / "urfb.sqlite")


def train(store: str, run: GridRun, seconds: float, threads: int = 1) -> None:
    """Store a run that this machine's processor has finished."""
    writable = open_for_writing(store)
    writable.register([run])
    writable.claim(run.spec)
    provenance = replace(PROVENANCE, device_name=device_name("cpu"), threads=threads)
    epochs = [replace(epoch(number), seconds=seconds) for number in (1, 2)]
    events: list[Event] = [Started(0, provenance), *epochs, Finished(2, 1.0, 0.25)]
    for event in events:
        writable.record(run.spec.identity, event)


def planned(runs: Sequence[GridRun], store: str, jobs: int | None = None, **settings: Any) -> GridPlan:
    return plan_grid(runs, **{"store": store, "jobs": jobs, "device": "cpu", "calibrate": False, **settings})


@pytest.mark.parametrize(("jobs", "seconds"), [(1, 2 * 2 * 100), (2, 2 * 10), (9, 2 * 10)])
def test_missing_runs_take_the_time_of_epochs_with_as_many_threads(store: str, jobs: int, seconds: float) -> None:
    for seed, (threads, each) in enumerate([(8, 100.0), (4, 10.0), (1, 1.0)], start=2):
        train(store, tiny_run(seed=seed), each, threads)
    found = planned(RUNS, store, jobs)
    assert found.estimate
    assert found.estimate.seconds == pytest.approx(seconds)
    assert {slot.threads for slot in found.slots} == {8 if jobs == 1 else 4}


def test_runs_that_are_done_need_no_slots_and_no_memory(store: str, sizes: tuple[int, int]) -> None:
    train(store, LARGE[0], 1.0)
    found = planned([LARGE[0], *RUNS], store, 3, calibrate=True)
    assert found.estimate
    assert (found.estimate.runs, len(found.slots)) == (2, 2)
    assert found.estimate.memory == pytest.approx(2 * sizes[1], rel=0.1)
    nothing = planned(LARGE[:1], store)
    assert (nothing.estimate, nothing.slots) == (None, ())


@pytest.mark.parametrize("order", [1, -1])
def test_parallel_runs_are_limited_by_memory_of_the_largest_run(
    store: str, monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, int], order: int
) -> None:
    large, _ = sizes
    available = SimpleNamespace(available=5 * large // 2)
    monkeypatch.setattr("psutil.virtual_memory", lambda: available)
    runs = [RUNS[0], *LARGE, RUNS[1], tiny_run(seed=2), tiny_run(seed=3)][::order]
    found = planned(runs, store, calibrate=True)
    assert found.estimate
    assert len(found.slots) == 2
    assert found.estimate.memory == pytest.approx(2 * large, rel=0.1)
    uncalibrated = planned(runs, store)
    assert uncalibrated.estimate
    assert (uncalibrated.estimate.memory, len(uncalibrated.slots)) == (None, 6)


def test_a_failed_run_is_planned_again_and_the_plan_says_why_it_failed(store: str) -> None:
    writable = open_for_writing(store)
    writable.register(RUNS)
    writable.claim(RUNS[0].spec)
    writable.record(RUNS[0].spec.identity, Failed("ValueError: not today", "traceback"))
    found = planned(RUNS, store)
    assert [(one.state, one.missing) for one in found.runs] == [("failed", True), ("new", True)]
    assert "ValueError: not today" in found.runs[0].reason


def test_a_run_that_is_new_because_of_an_edit_says_so(store: str) -> None:
    old, new = (replace(RUNS[0], spec=RUNS[0].spec.model_copy(update={"source": source})) for source in ("old", "new"))
    train(store, old, 1.0)
    found = planned([RUNS[1], new, old], store).runs
    assert [run.state for run in found] == ["new", "new", "done"]
    assert [run.reason for run in found] == [
        "never trained",
        f"source changed since run {old.spec.identity} (2 epochs)",
        "",
    ]


def test_row_size_comes_from_the_store_when_enough_rows_exist(store: str) -> None:
    train(store, tiny_run(seed=2), 1.0)
    small = planned(RUNS, store).estimate
    with sqlite3.connect(store) as connection:
        connection.execute("UPDATE run SET epochs_done = 5000")
    connection.close()
    large = planned(RUNS, store).estimate
    size = open_store(store).bytes_per_epoch()
    assert small
    assert large
    assert size
    assert small.rows == 2 * 2 * BYTES_PER_EPOCH
    assert large.rows == round(2 * 2 * size) != small.rows


def test_runs_that_cannot_be_computed_here_are_not_measured(store: str) -> None:
    with pytest.raises(DeviceError, match="precision 'tf32' needs a GPU"):
        planned([tiny_run(precision="tf32")], store, calibrate=True)
