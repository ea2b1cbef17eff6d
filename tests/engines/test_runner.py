from __future__ import annotations

import itertools
import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import tiny_run
from urfb import open_store
from urfb.engines import Slot
from urfb.engines.runner import divide, failed_or_cancelled, find_devices, remove_checkpoints, run_grid
from urfb.engines.scheduler import Outcome
from urfb.errors import DataError, DeviceError
from urfb.events import EpochEnded, Event, Lost, Started
from urfb.grid.expand import GridRun
from urfb.grid.plan import PlannedRun
from urfb.grid.spec import RunSpec
from urfb.plugins import add_import_folder
from urfb.store import open_for_writing
from urfb.store.engine import Location


class Watcher:
    """Records notices, and interrupts the runner after `interrupt_after` epochs."""

    def __init__(self, interrupt_after: int | None = None) -> None:
        self.events: list[Event] = []
        self.begun: list[RunSpec] = []
        self.interrupt_after = interrupt_after
        self.is_stopping = False
        self.measured: list[tuple[int, int]] = []

    def measuring(self, done: int, total: int) -> None:
        self.measured.append((done, total))

    def planned(self, planned: Sequence[PlannedRun], slots: Sequence[Slot]) -> None:
        self.plan = planned

    def recorded(self, spec: RunSpec, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, Started):
            self.begun.append(spec)
        if sum(isinstance(event, EpochEnded) for event in self.events) == self.interrupt_after:
            raise KeyboardInterrupt

    def waiting(self, specs: Sequence[RunSpec]) -> None:
        pass

    def dropped(self, spec: RunSpec) -> None:
        self.lost = spec

    def stopping(self) -> None:
        self.is_stopping = True


def run(
    runs: Sequence[GridRun], folder: Path, watcher: Watcher | None = None, jobs: int = 0, **settings: Any
) -> Outcome:
    return run_grid(
        runs,
        store=str(folder / "urfb.sqlite"),
        data=folder / "data",
        jobs=jobs,
        device="cpu",
        observer=watcher or Watcher(),
        **settings,
    )


def test_a_grid_is_trained_once(tmp_path: Path) -> None:
    runs = [tiny_run(seed=seed) for seed in (0, 1)]
    assert run(runs, tmp_path) == Outcome(done=2, failed=0)
    store = open_store(str(tmp_path / "urfb.sqlite"))
    assert store.runs()["state"].tolist() == ["done", "done"]
    assert len(store.epochs()) == 4
    again = Watcher()
    assert run(runs, tmp_path, again) == Outcome(done=0, failed=0)
    assert again.events == []
    assert store.runs()["attempts"].tolist() == [1, 1]


@pytest.mark.parametrize("jobs", [0, 2])
def test_a_run_that_fails_is_stored_and_the_others_are_trained(tmp_path: Path, jobs: int) -> None:
    bad = tiny_run(network="Full 5; Output", step_size=3e38, loss="softmax", precision="float32", seed=9)
    assert run([bad, tiny_run(), tiny_run(seed=1)], tmp_path, jobs=jobs) == Outcome(done=2, failed=1)
    runs = open_store(str(tmp_path / "urfb.sqlite")).runs().set_index("run")
    assert runs.loc[bad.spec.identity, "state"] == "failed"
    assert "DivergedError" in str(runs.loc[bad.spec.identity, "traceback"])
    assert sorted(runs["state"]) == ["done", "done", "failed"]


def test_an_interrupted_run_is_resumed_with_the_same_results(tmp_path: Path) -> None:
    runs = [tiny_run(epochs=4)]
    run(runs, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(runs, tmp_path / "parts", Watcher(interrupt_after=2))
    store = open_store(str(tmp_path / "parts" / "urfb.sqlite"))
    assert store.runs()["state"].tolist() == ["unfinished"]
    assert store.epochs()["epoch"].tolist() == [1, 2]
    assert run(runs, tmp_path / "parts") == Outcome(done=1)
    whole = open_store(str(tmp_path / "whole" / "urfb.sqlite"))
    for frame in ("epochs", "alignment"):
        left, right = getattr(whole, frame)(), getattr(store, frame)()
        assert left.drop(columns="seconds", errors="ignore").equals(right.drop(columns="seconds", errors="ignore"))
    assert store.runs()["test_error"].tolist() == whole.runs()["test_error"].tolist()


def test_a_larger_target_continues_and_a_smaller_deletes_nothing(tmp_path: Path) -> None:
    run([tiny_run(epochs=2)], tmp_path)
    run([tiny_run(epochs=4)], tmp_path)
    run([tiny_run(epochs=4)], tmp_path / "whole")
    store, whole = (open_store(str(folder / "urfb.sqlite")) for folder in (tmp_path, tmp_path / "whole"))
    assert store.epochs()["running_loss"].tolist() == whole.epochs()["running_loss"].tolist()
    assert store.epochs()["epoch"].tolist() == [1, 2, 3, 4]
    run([tiny_run(epochs=2)], tmp_path)
    assert store.runs()["epochs_done"].tolist() == [4]
    assert store.runs()["test_epoch"].tolist() == [4]


def test_a_smaller_target_ends_an_unfinished_run_where_it_is(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run([tiny_run(epochs=9)], tmp_path, Watcher(interrupt_after=5))
    assert run([tiny_run(epochs=2)], tmp_path) == Outcome(done=1)
    store = open_store(str(tmp_path / "urfb.sqlite"))
    assert store.epochs()["epoch"].tolist() == [1, 2, 3, 4, 5]
    assert store.runs()[["state", "epochs_done", "test_epoch"]].to_numpy().tolist() == [["done", 5, 5]]


def test_non_finite_loss_after_last_step_fails_only_that_run(tmp_path: Path) -> None:
    bad = tiny_run(rule="bp", batch_size=1297, step_size=3e38, off_class_weight=100.0)
    assert run([bad, tiny_run()], tmp_path) == Outcome(done=1, failed=1)


def test_an_experiment_whose_runs_are_done_is_recorded(tmp_path: Path) -> None:
    run([tiny_run("first")], tmp_path)
    run([tiny_run("second")], tmp_path)
    store = open_store(str(tmp_path / "urfb.sqlite"))
    assert store.runs()["experiments"].tolist() == ["first,second"]
    run([tiny_run("a third"), tiny_run("a third", seed=1)], tmp_path)
    assert store.runs()["experiments"].tolist() == ["a third,first,second", "a third"]


def test_stores_in_one_folder_have_their_own_checkpoints(tmp_path: Path) -> None:
    def grow(name: str, epochs: int) -> None:
        run_grid(
            [tiny_run(epochs=epochs)],
            store=str(tmp_path / name),
            data=tmp_path,
            jobs=0,
            device="cpu",
            observer=Watcher(),
        )

    grow("a.sqlite", 4)
    grow("b.sqlite", 2)
    grow("a.sqlite", 5)
    with sqlite3.connect(tmp_path / "a.sqlite") as connection:
        first_epochs = connection.execute("SELECT first_epoch FROM attempt ORDER BY id").fetchall()
    connection.close()
    assert first_epochs == [(1,), (5,)]


def test_a_missing_data_set_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cifar10(.|\n)*mnist"):
        run([tiny_run(dataset="mnist"), tiny_run(dataset="cifar10"), tiny_run()], tmp_path)
    assert not (tmp_path / "urfb.sqlite").exists()


def test_devices_that_cannot_be_used_are_refused() -> None:
    assert find_devices("cpu") == ["cpu"]
    with pytest.raises(DeviceError, match="'mps' is not tested yet"):
        find_devices("mps")
    with pytest.raises(DeviceError, match="did you mean 'cuda'"):
        find_devices("cuda0")


def test_jobs_share_the_devices_and_the_cores() -> None:
    template = Slot(Path(), Path(), Path(), "", 0)
    assert [slot.device for slot in divide(template, ["cuda:0", "cuda:1"], None, 9, 1)] == ["cuda:0", "cuda:1"]
    four = divide(template, ["cuda:0", "cuda:1"], 4, 9, 1)
    assert [slot.device for slot in four] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    assert len(divide(template, ["cpu"], 8, 3, 1)) == 3
    alone, *_ = divide(template, ["cpu"], 1, 9, 1)
    assert [slot.threads for slot in divide(template, ["cpu"], 2 * alone.threads, 99, 1)] == [1] * 2 * alone.threads


@pytest.mark.parametrize("jobs", [0, 2])
def test_stopping_runner_keeps_checkpoints_and_loses_nothing(tmp_path: Path, jobs: int) -> None:
    runs = [tiny_run(epochs=300, seed=seed) for seed in range(3)]
    watcher = Watcher()
    stop = lambda: sum(isinstance(event, EpochEnded) for event in watcher.events) >= 5  # noqa: E731
    assert run(runs, tmp_path, watcher, jobs=jobs, stop=stop) == Outcome(left=3)
    assert watcher.is_stopping
    store = open_store(str(tmp_path / "urfb.sqlite"))
    begun = store.runs(state="unfinished")
    assert len(begun) == max(jobs, 1)
    assert begun["reason"].tolist() == ["stopped on request, with a checkpoint"] * len(begun)
    epochs = begun.set_index("run")["epochs_done"]
    shorter = [tiny_run(epochs=int(epochs.max()) + 1, seed=seed) for seed in range(len(begun))]
    again = Watcher()
    run(shorter, tmp_path, again, jobs=0)
    started = [event.epochs_done for event in again.events if isinstance(event, Started)]
    assert sorted(started) == sorted(epochs)


def test_a_run_in_this_process_is_stopped_within_an_epoch(tmp_path: Path) -> None:
    asked = itertools.count(1)
    assert run([tiny_run(epochs=3)], tmp_path, stop=lambda: next(asked) > 8) == Outcome(left=1)
    assert open_store(str(tmp_path / "urfb.sqlite")).runs()["epochs_done"].tolist() == [0]
    watcher = Watcher()
    assert run([tiny_run(epochs=3)], tmp_path, watcher) == Outcome(done=1)
    started = watcher.events[0]
    assert isinstance(started, Started)
    assert 0 < started.steps_done < 8


def test_a_recreated_store_uses_no_old_checkpoints(tmp_path: Path) -> None:
    asked = itertools.count(1)
    run([tiny_run()], tmp_path, stop=lambda: next(asked) > 8)
    assert list((tmp_path / "urfb.checkpoints").glob("*.pt"))
    for file in tmp_path.glob("urfb.sqlite*"):
        file.unlink()
    watcher = Watcher()
    run([tiny_run()], tmp_path, watcher)
    started = watcher.events[0]
    assert isinstance(started, Started)
    assert (started.epochs_done, started.steps_done) == (0, 0)


def test_one_seed_of_everything_is_trained_first(tmp_path: Path) -> None:
    runs = [tiny_run(rule=rule, seed=seed, epochs=1) for rule in ("bp", "urfb") for seed in (0, 1)]
    watcher = Watcher()
    run(runs, tmp_path, watcher)
    assert [(spec.rule, spec.seed) for spec in watcher.begun] == [("bp", 0), ("urfb", 0), ("bp", 1), ("urfb", 1)]


def test_fail_fast_lets_other_runs_keep_a_checkpoint(tmp_path: Path) -> None:
    bad = tiny_run(network="Full 5; Output", step_size=3e38, loss="softmax")
    runs = [tiny_run(epochs=100_000), bad, tiny_run(seed=1)]
    outcome = run(runs, tmp_path, jobs=2, fail_fast=True)
    assert (outcome.done, outcome.failed, outcome.left) == (0, 1, 2)
    assert open_store(str(tmp_path / "urfb.sqlite")).runs()["state"].tolist() == ["unfinished", "failed", "new"]


def test_no_more_runs_are_trained_than_the_limit(tmp_path: Path) -> None:
    runs = [tiny_run(seed=seed) for seed in range(3)]
    assert run(runs, tmp_path, limit=2) == Outcome(done=2)
    assert run(runs, tmp_path, limit=2) == Outcome(done=1)


def test_runs_of_other_runners_do_not_count_for_the_limit(tmp_path: Path) -> None:
    class Impatient(Watcher):
        def waiting(self, specs: Sequence[RunSpec]) -> None:
            raise AssertionError("it waits for the other runner")

    elsewhere, free = runs = [tiny_run(seed=seed) for seed in (0, 1)]
    store = open_for_writing(str(tmp_path / "urfb.sqlite"))
    store.register(runs)
    store.claim(elsewhere.spec)
    with sqlite3.connect(tmp_path / "urfb.sqlite") as connection:
        connection.execute("UPDATE run SET owner = 'another' WHERE state = 'running'")
    connection.close()
    assert run(runs, tmp_path, Impatient(), limit=1) == Outcome(done=1)
    assert store.runs(state="done")["run"].tolist() == [free.spec.identity]


def test_checkpoints_of_done_runs_are_kept_or_removed_on_request(tmp_path: Path) -> None:
    run([tiny_run()], tmp_path)
    kept = list((tmp_path / "urfb.checkpoints").iterdir())
    assert len(kept) == 1
    run([tiny_run(seed=1)], tmp_path, keep_checkpoints=False)
    assert list((tmp_path / "urfb.checkpoints").iterdir()) == kept
    size = kept[0].stat().st_size
    unfinished = tiny_run(seed=2)
    open_for_writing(str(tmp_path / "urfb.sqlite")).register([unfinished])
    checkpoint = tmp_path / "urfb.checkpoints" / f"{unfinished.spec.identity}.pt"
    checkpoint.write_bytes(b"weights")
    assert remove_checkpoints(str(tmp_path / "urfb.sqlite")) == (1, size)
    assert remove_checkpoints(str(tmp_path / "urfb.sqlite")) == (0, 0)
    assert list((tmp_path / "urfb.checkpoints").iterdir()) == [checkpoint]


def test_failed_and_cancelled_runs_are_tried_again_up_to_a_limit(tmp_path: Path) -> None:
    bad = tiny_run(network="Full 5; Output", step_size=3e38, loss="softmax")
    cancelled, fine = tiny_run(), tiny_run(seed=1)
    runs, store = [bad, cancelled, fine], str(tmp_path / "urfb.sqlite")
    open_for_writing(store).register(runs)
    open_for_writing(store).cancel([cancelled.spec.identity])
    assert run(runs, tmp_path) == Outcome(done=1, failed=1)
    assert failed_or_cancelled(runs, store, cancelled=False, max_attempts=1) == []
    assert failed_or_cancelled(runs, store, cancelled=False, max_attempts=2) == [bad]
    assert failed_or_cancelled(runs, store, cancelled=True) == [bad, cancelled]
    with pytest.raises(DeviceError):
        run_grid(runs, store=store, data=tmp_path, jobs=0, device="mps", observer=Watcher(), cancelled=True)
    assert open_store(store).runs()["state"].tolist() == ["failed", "cancelled", "done"]
    assert run(runs, tmp_path, cancelled=True, limit=1) == Outcome(failed=1)
    assert run(runs, tmp_path, cancelled=True) == Outcome(done=1, failed=1)


def test_repeated_worker_deaths_fail_the_run_and_spare_others(tmp_path: Path) -> None:
    (tmp_path / "deadly.py").write_text(
        "import os\nfrom torch import nn\n\n\nclass Deadly(nn.Sequential):\n    def forward(self, x):\n"
        "        return os.abort() if len(x) > 2 else super().forward(x)\n\n\n"
        "def build(shape, classes):\n    return Deadly(nn.Flatten(), nn.Linear(64, classes))\n"
    )
    add_import_folder(tmp_path)
    deadly, watcher = tiny_run(network="deadly:build"), Watcher()
    assert run([deadly, tiny_run()], tmp_path, watcher, jobs=1) == Outcome(done=1, failed=1)
    assert sum(isinstance(event, Lost) for event in watcher.events) == 2
    row = open_store(str(tmp_path / "urfb.sqlite")).runs(state="failed").iloc[0]
    assert "SIGABRT" in row["reason"]
    assert "3 times in a row" in row["reason"]
    assert row["attempts"] == 3


def test_a_store_of_an_older_version_is_upgraded_by_a_runner(tmp_path: Path) -> None:
    shutil.copy(Path(__file__).parents[1] / "store" / "schema2.sqlite", tmp_path / "urfb.sqlite")
    assert run([tiny_run()], tmp_path) == Outcome(done=1)


@pytest.mark.parametrize("again", [False, True], ids=["run", "retry"])
def test_a_run_cancelled_during_training_is_dropped(tmp_path: Path, again: bool) -> None:
    cancelled, other = tiny_run(epochs=100_000), tiny_run(seed=1)
    store = str(tmp_path / "urfb.sqlite")

    class Canceller(Watcher):
        def recorded(self, spec: RunSpec, event: Event) -> None:
            super().recorded(spec, event)
            if isinstance(event, EpochEnded) and spec == cancelled.spec:
                open_for_writing(store).cancel([spec.identity])

    watcher = Canceller()
    assert run([cancelled, other], tmp_path, watcher, cancelled=again) == Outcome(done=1)
    assert watcher.lost == cancelled.spec
    assert open_store(store).runs()["state"].tolist() == ["cancelled", "done"]


def test_stores_with_the_same_stem_have_their_own_checkpoints(tmp_path: Path) -> None:
    names = ("urfb.sqlite", "urfb.db", "run-0.1", "run-0.2")
    folders = {Location.of(str(tmp_path / name)).checkpoints for name in names}
    folders |= {Location.of(f"postgresql://{host}/urfb").checkpoints.absolute() for host in ("a", "b", "b:1")}
    assert len(folders) == len(names) + 3
