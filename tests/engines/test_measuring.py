"""Measuring the memory of runs before they are trained, and refusing those that do not fit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.engines.test_runner import Watcher, run
from tests.helpers import grid_file, tiny_run, tiny_spec
from urfb.engines import runner
from urfb.engines.measuring import Stage, measured_memory, peaks
from urfb.engines.scheduler import Outcome
from urfb.errors import DeviceError
from urfb.grid.spec import RunSpec
from urfb.plugins import add_import_folder

GIB = 2**30
MODEL = """
import os
import time
from pathlib import Path
from torch import nn


class Model(nn.Sequential):
    def forward(self, x):
        {before}
        return super().forward(x)


def build(shape, classes):
    return Model(nn.Flatten(), nn.Linear(64, classes))
"""


def model(folder: Path, name: str, before: str) -> str:
    """Return the import path of a model that runs the code `before` each pass, in a new module."""
    (folder / f"measured_{name}.py").write_text(MODEL.replace("{before}", before))
    add_import_folder(folder)
    return f"measured_{name}:build"


def memory(specs: Sequence[RunSpec], free: int = 8 * GIB, **settings: Any) -> list[int]:
    return measured_memory(specs, partial(peaks, device="cpu", free=free, **settings))


def large(folder: Path, name: str) -> str:
    """Return the import path of a model that allocates 4 GiB without using them."""
    return model(folder, name, "hidden = x.new_empty(2**30)")


def test_a_users_model_that_cannot_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "capacity", lambda devices: (3 * GIB, False))
    too_large = [tiny_run(network=large(tmp_path, "too_large"), seed=seed) for seed in (0, 1)]
    with pytest.raises(DeviceError) as refused:
        run([tiny_run(), *too_large], tmp_path, jobs=1)
    message = str(refused.value)
    assert message.count("needs more than the 3.0 GiB that cpu has free, at batch size 50; a smaller batch_size") == 2
    assert "measured_too_large:build seed 1: needs" in message
    assert "Conv" not in message
    assert not list(tmp_path.glob("*.sqlite"))
    monkeypatch.setattr(runner, "capacity", lambda devices: (GIB, False))
    small = tiny_run(network=model(tmp_path, "small", "pass"))
    assert run([small], tmp_path, jobs=1) == Outcome(done=1)


def test_progress_of_measuring_counts_like_runs_once(tmp_path: Path) -> None:
    watcher = Watcher()
    assert run([tiny_run(rule=rule, seed=seed) for rule in ("bp", "dfa") for seed in (0, 1)], tmp_path, watcher, jobs=1)
    assert watcher.measured == [(0, 2), (1, 2), (2, 2)]


def test_measuring_ends_at_once_if_its_observer_raises() -> None:
    ended = []

    def measure(stages: Sequence[Stage]) -> Generator[int]:
        try:
            yield from [1] * len(stages)
        finally:
            ended.append(len(stages))

    def watch(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as raised:
        measured_memory([tiny_spec(), tiny_spec(rule="dfa")], measure, watch)
    assert raised.traceback  # keeps the generator alive, so that only `closing` can end it
    assert ended == [2]


def test_memory_is_of_the_run_and_like_runs_are_measured_once(tmp_path: Path) -> None:
    note = f"with Path('{tmp_path}/passes').open('a') as file: file.write(f'{{os.getpid()}}\\n')"
    specs = [tiny_spec(network=model(tmp_path, "noted", note), seed=seed) for seed in (0, 1)]
    specs.append(tiny_spec(network="Conv 32 5x5; Output", batch_size=500))
    specs.append(tiny_spec(network="Full 10; Output", dataset="mnist"))
    one, other, wide, mnist = memory(specs)
    assert one == other
    assert len(set((tmp_path / "passes").read_text().split())) == 1
    assert wide > one + 500 * 64 * 32 * 4  # 32 numbers per pixel of a batch
    assert mnist > one + 70_000 * 784  # all images of the data set


def test_the_memory_of_the_gradient_batch_is_measured() -> None:
    settings = {"network": "Conv 64 3x3; Output", "batch_size": 20}
    specs = [tiny_spec(**settings), tiny_spec(**settings, gradient_batch=1000)]
    plain, compared = memory(specs)
    assert compared > plain + 1000 * 64 * 64 * 4


def test_both_stages_of_a_run_are_measured(tmp_path: Path) -> None:
    rule = "Rule('large', carrier=lambda weight, feedback: weight.new_empty(2**30)[: weight.numel()].view_as(weight))"
    (tmp_path / "measured_rule.py").write_text(f"from urfb import Rule\n\nlarge = {rule}\n")
    add_import_folder(tmp_path)
    large = "measured_rule:large"
    specs = [
        tiny_spec(rule=rule, pretraining_epochs=1, pretraining_rule=first, untied="1", frozen="none")
        for first, rule in (("bp", "urfb"), (large, "bp"), ("bp", large))
    ]
    assert [size > GIB for size in memory(specs, GIB)] == [False, True, True]


def test_a_run_that_the_system_kills_does_not_fit(tmp_path: Path) -> None:
    killed = tiny_spec(network=model(tmp_path, "killed", "os.kill(os.getpid(), 9)"))
    crashed = tiny_spec(network=model(tmp_path, "crashed", "os.abort()"))
    raising = tiny_spec(network=model(tmp_path, "raising", "raise ValueError('not today')"))
    starved = tiny_spec(network=model(tmp_path, "starved", "raise MemoryError"))
    sizes = memory([killed, crashed, raising, starved, tiny_spec()], GIB)
    assert [size > GIB for size in sizes] == [True, False, False, True, False]
    assert [size == 0 for size in sizes] == [False, True, True, False, False]


def test_measuring_stops_on_request_and_leaves_no_process(tmp_path: Path) -> None:
    wait = f"Path('{tmp_path}/begun').touch(); time.sleep(99)"
    endless = tiny_spec(network=model(tmp_path, "endless", wait))
    memory([tiny_spec()])
    before = psutil.Process().children(recursive=True)
    with pytest.raises(KeyboardInterrupt):
        memory([endless], stop=(tmp_path / "begun").exists)
    assert psutil.Process().children(recursive=True) == before


def test_a_killed_runner_leaves_no_measuring_process(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    wait = f"Path('{begun}').write_text(str(os.getpid())); time.sleep(99)"
    grid = grid_file(tmp_path, seeds=1)
    grid.write_text(grid.read_text().replace("network: tiny", f"network: '{model(tmp_path, 'left', wait)}'"))
    command = [sys.executable, "-m", "urfb", "grid", "run", str(grid), "--store", str(tmp_path / "s.sqlite")]
    with subprocess.Popen([*command, "--jobs", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT) as killed:
        deadline = time.monotonic() + 100
        while not (begun.exists() and begun.read_text()) and time.monotonic() < deadline:
            time.sleep(0.1)
        measuring = psutil.Process(int(begun.read_text()))
        killed.kill()
    _, left = psutil.wait_procs([measuring], timeout=20)
    for process in left:
        process.kill()
    assert left == []


def test_an_interrupt_while_pytorch_is_imported_is_not_lost(tmp_path: Path) -> None:
    with importing_pytorch(tmp_path) as (runner, _):
        os.killpg(runner.pid, signal.SIGINT)  # like Ctrl-C in a terminal
        output, _ = runner.communicate(timeout=100)
    assert runner.returncode == 130
    assert "interrupted" in output
    assert "Traceback" not in output


def test_a_server_that_is_killed_while_it_imports_pytorch_is_reported(tmp_path: Path) -> None:
    with importing_pytorch(tmp_path) as (runner, server):
        server.kill()
        output, _ = runner.communicate(timeout=100)
    assert runner.returncode == 2
    assert output.startswith("urfb: no worker process can start: the process that imports PyTorch crashed, most likely")
    assert not list(tmp_path.glob("*.sqlite"))


@contextmanager
def importing_pytorch(folder: Path) -> Iterator[tuple[subprocess.Popen[str], psutil.Process]]:
    """Run a grid in a new session until its server of processes has begun to import PyTorch."""
    command = [sys.executable, "-m", "urfb", "grid", "run", str(grid_file(folder, epochs=20)), "--jobs", "1"]
    command += ["--store", str(folder / "s.sqlite")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as runner:
        while (server := server_of(runner.pid)) is None:
            assert runner.poll() is None
        time.sleep(0.5)
        yield runner, server


def server_of(runner: int) -> psutil.Process | None:
    """Return the process from which a runner's processes are forked; None if it has not started."""
    for process in psutil.process_iter(["ppid", "cmdline"]):
        if process.info["ppid"] == runner and "forkserver" in " ".join(process.info["cmdline"] or ()):
            return process
    return None
