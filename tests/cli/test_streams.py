"""Standard streams that are closed, full or in another encoding, and a current folder that is deleted."""

from __future__ import annotations

import fcntl
import os
import pty
import shlex
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.helpers import grid_file, tiny_run
from tests.store.recorded import finish
from urfb import open_store
from urfb.store import open_for_writing, stored_progress

URFB = f"{shlex.quote(sys.executable)} -m urfb"
CLOSED_PIPE = 128 + signal.SIGPIPE


def shell(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line of Bash in which `urfb` is the version under test."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"urfb() {{ {URFB} \"$@\"; }}; {command}"],
        cwd=folder, capture_output=True, encoding="latin-1", env={**os.environ, **environment}, check=False,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a store of one run whose name has a Greek letter."""
    store, run = open_for_writing(str(tmp_path / "s.sqlite")), tiny_run(rule="interpolated", epsilon=0.5)
    store.register([run])
    finish(store, run)
    store.close()
    return tmp_path


@pytest.mark.parametrize("buffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("command", ["--help", "results runs --store s.sqlite --format csv", "data list"])
def test_a_full_disk_is_one_message(folder: Path, command: str, buffered: str) -> None:
    done = shell(f"urfb {command} >/dev/full", folder, PYTHONUNBUFFERED=buffered)
    assert done.returncode == 2
    assert done.stderr == "urfb: standard output cannot be written (No space left on device)\n"


@pytest.mark.parametrize("command", ["--help", "results epochs --store s.sqlite", "grid status --store s.sqlite"])
def test_a_closed_pipe_ends_a_command_quietly(folder: Path, command: str) -> None:
    done = shell(f"urfb {command} | true", folder)
    assert (done.returncode, done.stderr) == (CLOSED_PIPE, "")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams_change_nothing(folder: Path, closed: str) -> None:
    grid_file(folder, epochs=1, seeds=1)
    done = shell(f"urfb grid run grid.yaml --store s.sqlite --jobs 1 --where rule=bp {closed}", folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert open_store(str(folder / "s.sqlite")).runs(rule="bp")["state"].tolist() == ["done"]


@pytest.mark.parametrize("gone", ["| true", ">/dev/full"])
def test_runs_are_trained_although_output_fails(folder: Path, gone: str) -> None:
    grid_file(folder, epochs=1, seeds=2)
    done = shell(f"urfb grid run grid.yaml --store s.sqlite --jobs 0 {gone}", folder)
    assert done.returncode == 0
    assert done.stderr.startswith("urfb: standard output failed (")
    assert done.stderr.endswith("); continuing without it\n")
    assert len(open_store(str(folder / "s.sqlite")).runs(rule=["bp", "urfb"], state="done")) == 4


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_a_letter_that_the_encoding_lacks_is_escaped(folder: Path, encoding: str) -> None:
    (folder / "grid.yaml").write_text(
        "experiments: {t: {defaults: {network: Full 9; Output, dataset: digits, rule: interpolated, epochs: 3}, "
        "matrix: {epsilon: [0.5, 0.25]}}}"
    )
    for command in ("grid plan grid.yaml --store t.sqlite", "grid run grid.yaml --jobs 0 --store t.sqlite"):
        done = shell(f"urfb {command}", folder, PYTHONIOENCODING=encoding)
        assert (done.returncode, done.stderr) == (0, "")
    assert r"\u03b5 0.5: done" in done.stdout
    help_text = shell("urfb results export --help", folder, PYTHONIOENCODING=encoding)
    assert help_text.returncode == 0


def test_a_deleted_current_folder_is_reported(folder: Path) -> None:
    done = shell(f"mkdir gone; cd gone; rmdir ../gone; urfb grid status --store {folder}/s.sqlite", folder)
    assert done.returncode == 2
    assert done.stderr == "urfb: the current folder has been deleted: change to another folder\n"


@pytest.mark.slow
def test_deleting_the_current_folder_does_not_stop_training(folder: Path) -> None:
    grid_file(folder, epochs=40, seeds=1)
    done = shell(
        f"mkdir gone; (cd gone; urfb grid run ../grid.yaml --store {folder}/t.sqlite --jobs 1) & "
        "for _ in {1..300}; do [ -e t.sqlite ] && break; sleep 0.1; done; rmdir gone; wait $!",
        folder,
    )
    assert done.returncode == 0, done.stderr
    assert open_store(str(folder / "t.sqlite")).runs()["state"].tolist() == ["done"] * 2


@pytest.mark.slow
def test_a_terminal_that_is_closed_costs_at_most_an_epoch(folder: Path) -> None:
    grid_file(folder, epochs=100_000, seeds=1)
    controller, terminal = pty.openpty()
    running = subprocess.Popen(
        [sys.executable, "-m", "urfb", "grid", "run", "grid.yaml", "--store", "t.sqlite", "--jobs", "2"],
        cwd=folder, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(terminal)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and min(epochs_done(folder / "t.sqlite"), default=0) < 3:
        time.sleep(0.2)
    os.close(controller)  # as when a terminal window is closed
    running.wait(timeout=60)
    reasons = open_store(str(folder / "t.sqlite")).runs()["reason"].tolist()
    assert reasons == ["stopped on request, with a checkpoint"] * 2
    assert len(list((folder / "t.checkpoints").glob("*.pt"))) >= 2


def epochs_done(store: Path) -> list[int]:
    return [epochs for _, epochs in stored_progress(str(store)).values()]
