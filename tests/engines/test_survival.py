"""Killed processes, full disks and stopped servers, and runners that share a store."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import psutil
import pytest

from tests.helpers import grid_file
from tests.postgres import Server
from urfb import open_store
from urfb.store import Store, stored_progress

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-c", "from urfb.cli import app; app()", "grid", "run"]


def start(grid: Path, store: Path | str, *options: str, core: int | None = None) -> subprocess.Popen[str]:
    arguments = [*COMMAND, str(grid), "--store", str(store), *(options or ("--jobs", "2"))]
    if core is not None:  # with one core, a runner uses one thread, so that many runners do not slow each other down
        arguments = ["taskset", "--cpu-list", str(core), *arguments]
    # The files of a PostgreSQL store are in the working folder of the command.
    return subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True, cwd=grid.parent
    )


def wait_until(store: Path | str, reached: Callable[[Store], bool]) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        time.sleep(0.1)
        # The schema is created in one transaction, so a store that has a run is complete.
        if stored_progress(str(store)) and reached(open_store(str(store))):
            return
    raise AssertionError("the store has not reached this state in three minutes")


def assert_same_numbers(store: Path | str, other: Path) -> None:
    """Check that all measurements are equal bit for bit, in any order of the runs."""
    for one, two in zip(measured(store), measured(other), strict=True):
        pd.testing.assert_frame_equal(one, two, check_exact=True)


def measured(store: Path | str) -> list[pd.DataFrame]:
    opened = open_store(str(store))
    frames = (opened.epochs().drop(columns="seconds"), opened.alignment(), opened.runs()[["run", "test_error"]])
    return [frame.sort_values("run", kind="stable", ignore_index=True) for frame in frames]


def finish(grid: Path, store: Path | str, *options: str) -> str:
    process = start(grid, store, *options)
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of four runs of 60 epochs, trained without interruption."""
    folder = tmp_path_factory.mktemp("undisturbed")
    finish(grid_file(folder, epochs=60), folder / "urfb.sqlite")
    return folder / "urfb.sqlite"


@pytest.mark.parametrize("victim", ["runner", "worker"])
def test_a_killed_process_is_resumed_with_the_same_results(tmp_path: Path, undisturbed: Path, victim: str) -> None:
    grid = grid_file(tmp_path, epochs=60)
    store = tmp_path / "killed" / "urfb.sqlite"
    process = start(grid, store)
    wait_until(store, lambda opened: len(opened.epochs()) > 80)  # of 240
    running = open_store(str(store)).runs(state="running")
    os.kill(process.pid if victim == "runner" else int(running["process"].iloc[0]), signal.SIGKILL)
    output, _ = process.communicate(timeout=300)
    if victim == "worker":  # the same command has trained the run again in a new process
        assert process.returncode == 0, output
        assert "SIGKILL" in output
        assert sorted(open_store(str(store)).runs()["attempts"]) == [1, 1, 1, 2]
    else:  # the command must be run again
        assert "unfinished" in open_store(str(store)).runs()["state"].tolist()
        finish(grid, store)
    assert_same_numbers(store, undisturbed)


def test_a_grid_killed_at_random_moments_has_the_same_results(tmp_path: Path) -> None:
    """Kill a worker, the runner or all processes, as often as URFB_KILLS says."""
    kills, chance = int(os.environ.get("URFB_KILLS", "6")), random.Random(0)
    grid = grid_file(tmp_path, epochs=30 + kills, seeds=kills)
    options = ("--jobs", "2", "--checkpoint-every", "0.2")
    finish(grid, tmp_path / "undisturbed.sqlite", *options)

    store = tmp_path / "killed" / "urfb.sqlite"
    total, stored = 2 * kills * (30 + kills), 0
    for number in range(kills):
        process = start(grid, store, *options)
        # The moment is a number of epochs, so that it does not depend on the machine's speed.
        moment = stored + chance.randint(0, (total - stored) // (kills - number + 1))
        wait_until(store, lambda opened, moment=moment: len(opened.epochs()) >= moment)
        time.sleep(chance.uniform(0, 0.2))
        assert process.poll() is None, "ended before it could be killed"
        match chance.choice(["worker", "runner", "all"]):
            case "worker":
                processes = psutil.Process(process.pid).children(recursive=True)
                workers = [one for one in processes if one.ppid() != process.pid]  # the server's children
                for worker in workers[:1]:
                    worker.kill()
                time.sleep(0.5)
                os.killpg(process.pid, signal.SIGKILL)
            case "runner":
                process.kill()
            case "all":
                os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
        stored = len(open_store(str(store)).epochs())
    finish(grid, store, *options)
    assert_same_numbers(store, tmp_path / "undisturbed.sqlite")
    epochs = open_store(str(store)).epochs()
    assert not epochs.duplicated(["run", "epoch"]).any()
    assert len(epochs) == total
    print(f"killed {kills} times; attempts: {open_store(str(store)).runs()['attempts'].sum()}")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_eight_runners_on_one_store_train_each_of_500_runs_once(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    grid = grid_file(tmp_path, epochs=1, seeds=250)
    store = str(tmp_path / "urfb.sqlite") if kind == "sqlite" else request.getfixturevalue("postgres").database()
    cores = sorted(os.sched_getaffinity(0))
    runners = [start(grid, store, "--jobs", "0", core=cores[number % len(cores)]) for number in range(8)]
    outputs = [runner.communicate(timeout=900)[0] for runner in runners]
    assert [runner.returncode for runner in runners] == [0] * 8, outputs
    runs = open_store(store).runs()
    assert runs["state"].tolist() == ["done"] * 500
    assert runs["attempts"].tolist() == [1] * 500
    assert len(open_store(store).epochs()) == 500
    assert sum(output.count(": done after") for output in outputs) == 500
    assert "locked" not in "".join(outputs)
    shares = [output.count(": done after") for output in outputs]
    print(f"runs by runner: {shares}")
    assert min(shares) > 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The folder of a real file system of 256 KiB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def remount(folder: Path, options: str) -> None:
    """Change a file system's mount options, as soon as no file on it is being written."""
    deadline = time.monotonic() + 60
    while subprocess.run(["mount", "-o", f"remount,{options}", folder], capture_output=True).returncode != 0:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_full_disk_is_reported_and_a_rerun_completes(tmp_path: Path, undisturbed: Path, small_disk: Path) -> None:
    grid = grid_file(tmp_path, epochs=60)
    store = small_disk / "urfb.sqlite"
    process = start(grid, store, "--jobs", "2", "--checkpoint-every", "0")
    output, _ = process.communicate(timeout=300)
    assert process.returncode in (1, 2), output
    assert "disk" in output or "No space left" in output
    stored = open_store(str(store)).epochs()  # a reader needs no space
    assert not stored.duplicated(["run", "epoch"]).any()
    remount(small_disk, "size=50m")
    finish(grid, store)
    assert_same_numbers(store, undisturbed)


def test_read_only_store_is_reported_and_a_restart_completes(
    tmp_path: Path, undisturbed: Path, small_disk: Path
) -> None:
    grid = grid_file(tmp_path, epochs=60)
    remount(small_disk, "size=50m")
    store = small_disk / "urfb.sqlite"
    process = start(grid, store)
    wait_until(store, lambda opened: len(opened.epochs()) > 20)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    remount(small_disk, "ro")
    process = start(grid, store)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 2, output
    assert f"{store}: cannot be written" in output
    assert "Traceback" not in output
    remount(small_disk, "rw")
    finish(grid, store)
    assert_same_numbers(store, undisturbed)


@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_a_stopped_server_is_reported_and_a_rerun_completes(
    tmp_path: Path, undisturbed: Path, postgres: Server, how: str
) -> None:
    grid = grid_file(tmp_path, epochs=60)
    store = postgres.database()
    process = start(grid, store)
    wait_until(store, lambda opened: len(opened.epochs()) > 20)
    postgres.stop(how)
    try:
        output, _ = process.communicate(timeout=120)
    finally:
        postgres.start()
    assert process.returncode == 2, output
    assert "run the command again to continue from them" in output
    assert "secret" not in output
    assert "Traceback" not in output
    finish(grid, store)
    assert_same_numbers(store, undisturbed)
