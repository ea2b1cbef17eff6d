"""The contract of every engine, and crashes of worker processes."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import psutil
import pytest
import torch

from tests.helpers import tiny_spec
from urfb.engines import Engine, Job, Slot
from urfb.engines.inline import InlineEngine
from urfb.engines.local import LocalEngine
from urfb.events import EpochEnded, Event, Failed, Finished, Lost, Started, Stopped
from urfb.grid.spec import RunSpec
from urfb.plugins import add_import_folder

Making = Callable[[str], Engine]
RAY = pytest.param("ray", marks=pytest.mark.slow)
KINDS = ["inline", "local", RAY]
WORKERS = ["local", RAY]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the checkpoints and logs of each kind of engine."""
    return tmp_path_factory.mktemp("engines")


def slot(folder: Path, kind: str) -> Slot:
    return Slot(folder / "data", folder / kind / "checkpoints", folder / kind / "logs", "cpu", 1)


@pytest.fixture(scope="module")
def local(folder: Path) -> Iterator[LocalEngine]:
    """An engine with one worker process for all tests, because the import of torch takes seconds."""
    engine = LocalEngine([slot(folder, "local")])
    yield engine
    engine.close()


@pytest.fixture
def make(folder: Path, local: LocalEngine, request: pytest.FixtureRequest) -> Iterator[Making]:
    made: list[Engine] = []

    def make(kind: str) -> Engine:
        if kind == "ray":
            request.getfixturevalue("ray_cluster")
            from urfb.engines.ray import RayEngine

            made.append(RayEngine([slot(folder, kind)], {"num_cpus": 1}))
        else:
            made.append(InlineEngine(slot(folder, kind)) if kind == "inline" else local)
        wait_for_room(made[-1])
        return made[-1]

    yield make
    for engine in made:
        if engine is not local or not engine.room:
            engine.close()


def wait_for_room(engine: Engine) -> None:
    while not engine.room:
        assert list(engine.poll(60)) == []


def finish(engine: Engine, *specs: RunSpec) -> dict[str, list[Event]]:
    """Train runs one after another, and return the events of each run by identity."""
    events: dict[str, list[Event]] = {spec.identity: [] for spec in specs}
    waiting = list(specs)
    while waiting or not engine.room:
        if waiting and engine.room:
            engine.submit(Job(waiting.pop(0), 0))
        for identity, event in engine.poll(60):
            events[identity].append(event)
    return events


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_raises_fails_and_the_next_is_trained(make: Making, kind: str) -> None:
    engine = make(kind)
    assert engine.room == 1
    bad, good = tiny_spec(dataset="mnist"), tiny_spec()  # the data folder has no MNIST
    events = finish(engine, bad, good)
    (failure,) = events[bad.identity]
    assert isinstance(failure, Failed)
    assert failure.reason.startswith("DataError")
    assert failure.reason.endswith(f"(on {socket.gethostname()})") == (kind == "ray")
    assert "Traceback (most recent call last)" in failure.traceback
    assert [type(event) for event in events[good.identity]] == [Started, EpochEnded, EpochEnded, Finished]
    assert engine.room == 1


@pytest.mark.parametrize("kind", WORKERS)
def test_out_of_memory_run_fails_and_the_next_run_is_trained(make: Making, kind: str) -> None:
    engine = make(kind)
    vast, small = tiny_spec(network="Full 2000000000; Output"), tiny_spec()  # a terabyte of weights
    events = finish(engine, vast, small)
    failure = events[vast.identity][-1]
    assert isinstance(failure, Failed)
    assert "memory" in failure.reason
    assert isinstance(events[small.identity][-1], Finished)


@pytest.mark.parametrize("kind", WORKERS)
def test_a_worker_computes_the_same_results_as_this_process(make: Making, kind: str) -> None:
    (here,) = finish(make("inline"), tiny_spec()).values()
    (there,) = finish(make(kind), tiny_spec()).values()
    assert here[-1] == there[-1]


@pytest.mark.parametrize("kind", WORKERS)
def test_killed_worker_loses_the_run_and_is_replaced(make: Making, kind: str) -> None:
    engine = make(kind)
    engine.submit(Job(tiny_spec(epochs=10_000), 0))
    ((_, started),) = engine.poll(60)
    assert isinstance(started, Started)
    os.kill(started.provenance.process, signal.SIGKILL)
    events: list[Event] = []
    while not engine.room:
        events += [event for _, event in engine.poll(60)]
    assert isinstance(events[-1], Lost)
    if kind == "local":
        assert "SIGKILL; the system may have run out of memory" in events[-1].reason
    else:
        assert "worker process has died" in events[-1].reason
    spec = tiny_spec()
    assert isinstance(finish(engine, spec)[spec.identity][-1], Finished)


@pytest.mark.parametrize("kind", WORKERS)
def test_closing_stops_the_workers(make: Making, kind: str) -> None:
    engine = make(kind)
    engine.submit(Job(tiny_spec(epochs=10_000), 0))
    ((_, started),) = engine.poll(60)
    assert isinstance(started, Started)
    engine.close()
    deadline = time.monotonic() + 60  # a cluster stops the process some time after the request
    while kind == "ray" and time.monotonic() < deadline and psutil.pid_exists(started.provenance.process):
        time.sleep(0.1)
    with pytest.raises(ProcessLookupError):
        os.kill(started.provenance.process, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_dropped_run_sends_no_events_and_the_next_is_trained(make: Making, kind: str) -> None:
    engine = make(kind)
    dropped, next_one = tiny_spec(epochs=10_000), tiny_spec(seed=1)
    engine.submit(Job(dropped, 0))
    assert [identity for identity, _ in engine.poll(60)] == [dropped.identity]
    engine.drop(dropped.identity)
    (events,) = finish(engine, next_one).values()
    assert isinstance(events[-1], Finished)


@pytest.mark.parametrize("kind", KINDS)
def test_job_asked_to_end_before_start_ends_after_first_batch(make: Making, kind: str) -> None:
    engine = make(kind)
    engine.submit(Job(tiny_spec(epochs=10_000), 0))
    engine.end_jobs()
    events: list[Event] = []
    while not engine.room:
        events += [event for _, event in engine.poll(60)]
    assert [type(event) for event in events] == [Started, Stopped]


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_ends_on_request_and_a_later_job_continues_it(make: Making, kind: str) -> None:
    engine = make(kind)
    spec = tiny_spec(epochs=10_000)
    engine.submit(Job(spec, 0))
    events: list[Event] = []
    while not any(isinstance(event, EpochEnded) for event in events):
        events += [event for _, event in engine.poll(60)]
    engine.end_jobs()
    while not engine.room:
        events += [event for _, event in engine.poll(60)]
    assert isinstance(events[-1], Stopped)
    epochs = sum(isinstance(event, EpochEnded) for event in events)
    longer = spec.model_copy(update={"epochs": epochs + 1})
    engine.submit(Job(longer, epochs))
    ((_, started),) = engine.poll(60)
    assert isinstance(started, Started)
    assert started.epochs_done == epochs
    while not engine.room:
        events += [event for _, event in engine.poll(60)]
    assert isinstance(events[-1], Finished)


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_keeps_its_number_of_threads(make: Making, kind: str) -> None:
    engine = make(kind)
    threads = torch.get_num_threads()
    try:
        for wanted, had in ((None, 1), (2, 2), (None, 1)):
            engine.submit(Job(tiny_spec(), 0, wanted))
            events = [event for _ in range(4) for _, event in engine.poll(60)]
            assert isinstance(events[0], Started)
            assert events[0].provenance.threads == had
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("kind", KINDS)
def test_each_attempt_appends_to_the_log_of_its_run(make: Making, folder: Path, kind: str) -> None:
    engine = make(kind)
    bad, good = tiny_spec(dataset="mnist", seed=2), tiny_spec(seed=2)
    finish(engine, bad, good)
    engine.submit(Job(good, 2))
    while not engine.room:
        engine.poll(60)
    log = (folder / kind / "logs" / f"{good.identity}.log").read_text()
    assert [line.split(" ", 2)[2][:20] for line in log.splitlines() if "begins" in line] == [
        "begins after epoch 0",
        "begins after epoch 2",
    ]
    times = [datetime.strptime(line[:24], "%Y-%m-%d %H:%M:%S%z") for line in log.splitlines()]
    assert times == sorted(times)
    assert log.count("done after 2 epochs: test error 0.") == 2
    assert "Traceback (most recent call last)" in (folder / kind / "logs" / f"{bad.identity}.log").read_text()


def engine_with_module(make: Making, kind: str, file: Path, source: str) -> Engine:
    """Return an engine whose processes can import a user's module."""
    file.write_text(source)
    add_import_folder(file.parent)
    engine = make(kind)
    if kind == "local":
        engine.close()  # a worker has the import path that this process had when the worker started
    return engine


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_calls_sys_exit_fails_only_its_run(make: Making, tmp_path: Path, folder: Path, kind: str) -> None:
    engine = engine_with_module(
        make,
        kind,
        tmp_path / "leaving_models.py",
        "import sys\nfrom torch import nn\n\n\nclass Model(nn.Sequential):\n    def forward(self, x):\n"
        "        return sys.exit('enough') if len(x) > 2 else super().forward(x)\n\n\n"
        "def build(shape, classes):\n    return Model(nn.Flatten(), nn.Linear(64, classes))\n",
    )
    leaving, good = tiny_spec(network="leaving_models:build"), tiny_spec(seed=3)
    events = finish(engine, leaving, good)
    failed = events[leaving.identity][-1]
    assert isinstance(failed, Failed)
    assert re.match(r"SystemExit: enough, at .*/leaving_models\.py:7", failed.reason)
    assert isinstance(events[good.identity][-1], Finished)
    assert "SystemExit: enough" in (folder / kind / "logs" / f"{leaving.identity}.log").read_text()


@pytest.mark.parametrize("kind", WORKERS)
def test_a_users_model_is_found_and_its_output_is_in_the_log(
    make: Making, tmp_path: Path, folder: Path, kind: str
) -> None:
    engine = engine_with_module(
        make,
        kind,
        tmp_path / "talking.py",
        "import os\nfrom torch import nn\n\n\ndef build(shape, classes):\n    print('built for', classes)\n"
        "    os.system('echo and so are its children')\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))\n",
    )
    spec = tiny_spec(network="talking:build")
    assert isinstance(finish(engine, spec)[spec.identity][-1], Finished)
    log = (folder / kind / "logs" / f"{spec.identity}.log").read_text()
    assert "built for 10\n" in log
    assert "and so are its children\n" in log
