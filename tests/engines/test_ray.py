"""Joining and dividing clusters, and losing a machine. test_engines.py tests how the engine trains a run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engines.test_engines import wait_for_room
from tests.engines.test_runner import Watcher
from tests.engines.test_survival import COMMAND, assert_same_numbers, wait_until
from tests.helpers import grid_file, tiny_run
from urfb import open_store
from urfb.engines import Slot
from urfb.engines.cluster import Cluster, joined
from urfb.engines.runner import run_grid
from urfb.errors import DeviceError, InputError

GIB = 2**30


def start(grid: Path, store: Path, *options: str, **settings: Any) -> subprocess.Popen[str]:
    arguments = [*COMMAND, str(grid), "--store", str(store), "--engine", "ray", *options]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **settings)


def end(process: subprocess.Popen[str], code: int) -> str:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == code, output
    return output


def divide(machines: list[dict[str, float]], device: str, jobs: int | None, runs: int = 99) -> tuple[int, int, Any]:
    """Return the number of slots, their threads, and their resources without the memory."""
    template = Slot(Path(), Path(), Path(), device, 0)
    slots, resources = Cluster(machines).divide(template, jobs, runs, GIB)
    assert {slot.device for slot in slots} == {device}
    assert len({slot.threads for slot in slots}) == 1
    assert resources.pop("memory", None) == (GIB if device == "cpu" else None)
    return len(slots), slots[0].threads, resources


def test_cpus_are_divided_so_that_each_slot_fits_on_a_machine() -> None:
    machines = [{"CPU": 3.0, "memory": 8.0 * GIB}, {"CPU": 3.0, "memory": 8.0 * GIB}, {"memory": 99.0 * GIB}]
    assert divide(machines, "cpu", None) == (6, 1, {"num_cpus": 1})
    assert divide(machines, "cpu", None, runs=2) == (2, 3, {"num_cpus": 3})
    assert divide(machines, "cpu", 3) == (3, 1, {"num_cpus": 1})
    assert divide(machines, "cpu", 1) == (1, 3, {"num_cpus": 3})
    assert divide(machines, "cpu", 9) == (9, 1, {"num_cpus": 1})


def test_no_machine_gets_more_runs_than_its_memory_holds() -> None:
    machines = [{"CPU": 8.0, "memory": 2.5 * GIB}, {"CPU": 2.0, "memory": 64.0 * GIB}]
    assert divide(machines, "cpu", None) == (4, 1, {"num_cpus": 1})
    assert Cluster(machines).capacity("cpu") == (64 * GIB, False)


def test_gpus_are_shared_and_their_shares_fit() -> None:
    machines = [{"CPU": 16.0, "GPU": 2.0}, {"CPU": 64.0}]
    assert divide(machines, "cuda", None) == (2, 8, {"num_cpus": 0, "num_gpus": 1})
    assert divide(machines, "cuda", 4) == (4, 4, {"num_cpus": 0, "num_gpus": 0.5})
    assert divide(machines, "cuda", 12) == (12, 1, {"num_cpus": 0, "num_gpus": 0.1666})


def test_tf32_is_refused_where_a_gpu_of_the_cluster_lacks_it() -> None:
    new, old = {"GPU": 1.0, "accelerator_type:A100": 1.0}, {"GPU": 1.0, "accelerator_type:V100": 1.0}
    assert Cluster([new]).capacity("cuda")[1]
    assert not Cluster([new, old]).capacity("cuda")[1]


def test_a_device_is_found_on_the_cluster_or_refused() -> None:
    with_gpus, without = Cluster([{"CPU": 2.0}, {"CPU": 2.0, "GPU": 1.0}]), Cluster([{"CPU": 2.0}])
    assert [with_gpus.find_device(name) for name in ("auto", "cuda", "cpu")] == ["cuda", "cuda", "cpu"]
    assert without.find_device("auto") == "cpu"
    with pytest.raises(DeviceError, match=r"machines: 1, CPUs: 2, GPUs: 0\) has no GPU; choose --device cpu"):
        without.find_device("cuda")
    with pytest.raises(DeviceError, match="has no CPU"):
        Cluster([{}]).find_device("auto")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", "no Ray cluster answers at 127.0.0.1:1"),
        ("127.0.0.1:99999", "no Ray cluster answers"),
        ("ray://head:10001", "give auto, local or HOST:PORT"),
        ("head", "give auto, local or HOST:PORT"),
    ],
)
def test_a_cluster_that_does_not_answer_is_refused(address: str, message: str) -> None:
    with pytest.raises(DeviceError, match=message), joined(address):
        pass


def test_without_ray_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(DeviceError, match=r"pip install 'urfb\[ray\]'"), joined("local"):
        pass


def test_contradictory_settings_of_an_engine_are_refused(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "store": str(tmp_path / "urfb.sqlite"), "data": tmp_path, "device": "cpu", "observer": Watcher()
    }  # fmt: skip
    for engine, address, jobs, message in (
        ("rya", None, None, "did you mean 'ray'"),
        ("ray", None, 0, "not on a Ray cluster"),
        ("local", "auto", None, "add --engine ray"),
    ):
        with pytest.raises(InputError, match=message):
            run_grid([tiny_run()], engine=engine, address=address, jobs=jobs, **settings)


@pytest.mark.slow
def test_gpu_shares_are_slots_and_another_slot_waits_for_room(ray_cluster: None, tmp_path: Path) -> None:
    from urfb.engines.ray import RayEngine

    template = Slot(tmp_path, tmp_path, tmp_path, "cuda", 1)
    with joined(None) as cluster:
        slots, resources = cluster.divide(template, 4, 99, GIB)
    engine, late = RayEngine(slots, resources), RayEngine(slots[:1], resources)
    try:
        while engine.room < 4:
            engine.poll(60)
        late.poll(1)
        assert late.room == 0
        engine.close()
        wait_for_room(late)
    finally:
        engine.close()
        late.close()


@pytest.fixture
def two_machines() -> Iterator[Any]:
    """A cluster of two nodes with one CPU each, on this machine."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster as Nodes

    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.add_node(num_cpus=1)
    yield nodes
    nodes.shutdown()


@pytest.mark.slow
def test_losing_a_machine_loses_no_run_and_changes_no_result(tmp_path: Path, two_machines: Any) -> None:
    grid, store = grid_file(tmp_path, epochs=80), tmp_path / "lost" / "urfb.sqlite"
    end(start(grid, tmp_path / "undisturbed.sqlite", "--address", two_machines.address), 0)
    process = start(grid, store, "--address", two_machines.address, "--checkpoint-every", "1")
    wait_until(store, lambda opened: (opened.runs(state="running")["epochs_done"] > 10).sum() == 2)
    (lost,) = two_machines.worker_nodes
    two_machines.remove_node(lost, allow_graceful=False)
    output = end(process, 0)
    assert output.count("is gone") == 1
    opened = open_store(str(store))
    assert sorted(opened.runs()["attempts"]) == [1, 1, 1, 2]
    assert not opened.epochs().duplicated(["run", "epoch"]).any()
    assert_same_numbers(store, tmp_path / "undisturbed.sqlite")


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_runner_with_its_own_ray_stops_gently(tmp_path: Path, sent: signal.Signals) -> None:
    grid, store = grid_file(tmp_path, epochs=100_000, seeds=1), tmp_path / "urfb.sqlite"
    process = start(grid, store, "--address", "local", "--jobs", "1", start_new_session=True)
    wait_until(store, lambda opened: len(opened.epochs()) > 5)
    # Ctrl-C reaches every process of the terminal, including Ray's.
    (os.killpg if sent is signal.SIGINT else os.kill)(process.pid, sent)
    assert "stopped; checkpoint saved" in end(process, 130)
    assert sorted(open_store(str(store)).runs()["state"]) == ["new", "unfinished"]


@pytest.mark.slow
def test_a_cluster_where_no_worker_starts_is_reported_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('this machine has no PyTorch')\n")
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    grid = grid_file(tmp_path)
    process = start(grid, tmp_path / "urfb.sqlite", "--address", "local", env={**os.environ, "PYTHONPATH": paths})
    output = end(process, 2)
    assert "no worker starts on the Ray cluster (ImportError: this machine has no PyTorch)" in output
    assert open_store(str(tmp_path / "urfb.sqlite")).runs()["state"].unique().tolist() == ["new"]
