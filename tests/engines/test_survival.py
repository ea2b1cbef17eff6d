"""Processes killed for real, and runners that share a store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.helpers import grid_file
from urfb import open_store
from urfb.store import Store

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-c", "from urfb.cli import app; app()", "grid", "run"]


def start(grid: Path, store: Path) -> subprocess.Popen[str]:
    arguments = [*COMMAND, str(grid), "--store", str(store), "--jobs", "1"]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_until(store: Path, reached: Callable[[Store], bool]) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        time.sleep(0.1)
        # The schema is made in one transaction, so a file with a size is a whole store.
        if store.exists() and store.stat().st_size and reached(open_store(str(store))):
            return
    raise AssertionError("the store has not come so far in three minutes")


def assert_same_numbers(store: Path, other: Path) -> None:
    """Compare bit for bit all that was measured, whatever the order of the runs; what is missing in both is alike."""
    for one, two in zip(measured(store), measured(other), strict=True):
        pd.testing.assert_frame_equal(one, two, check_exact=True)


def measured(store: Path) -> list[pd.DataFrame]:
    opened = open_store(str(store))
    frames = (opened.epochs().drop(columns="seconds"), opened.alignment(), opened.runs()[["run", "test_error"]])
    return [frame.sort_values("run", kind="stable", ignore_index=True) for frame in frames]


def finish(grid: Path, store: Path) -> str:
    process = start(grid, store)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


@pytest.mark.parametrize("victim", ["runner", "worker"])
def test_what_is_killed_is_finished_by_running_again_with_the_same_numbers(tmp_path: Path, victim: str) -> None:
    grid = grid_file(tmp_path, epochs=60)
    finish(grid, tmp_path / "undisturbed.sqlite")

    store = tmp_path / "killed" / "urfb.sqlite"
    process = start(grid, store)
    wait_until(store, lambda opened: len(opened.epochs()) > 80)  # in the second of four runs
    running = open_store(str(store)).runs(state="running")
    os.kill(process.pid if victim == "runner" else int(running["process"].iloc[0]), signal.SIGKILL)
    output, _ = process.communicate(timeout=300)
    if victim == "worker":
        assert process.returncode == 1
        assert "SIGKILL" in output
        assert sorted(open_store(str(store)).runs()["state"]) == ["done", "done", "done", "failed"]
    else:
        assert "unfinished" in open_store(str(store)).runs()["state"].tolist()
    finish(grid, store)
    assert_same_numbers(store, tmp_path / "undisturbed.sqlite")


def test_runners_on_one_store_share_the_runs(tmp_path: Path) -> None:
    grid = grid_file(tmp_path, epochs=10, seeds=5)
    store = tmp_path / "urfb.sqlite"
    runners = [start(grid, store), start(grid, store)]
    outputs = [runner.communicate(timeout=300)[0] for runner in runners]
    assert [runner.returncode for runner in runners] == [0, 0], outputs
    runs = open_store(str(store)).runs()
    assert runs["state"].tolist() == ["done"] * 10
    assert runs["attempts"].tolist() == [1] * 10
    assert sum(output.count(": done after") for output in outputs) == 10
