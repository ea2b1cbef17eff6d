"""A Ray cluster as a runner sees it: joined, and divided into slots."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from urfb.engines import Slot
from urfb.errors import DeviceError

ANSWER_SECONDS = 10
GPU_PARTS = 10_000
"""Ray divides a GPU no finer, and rounds shares to such parts: six sixths, rounded up, would not fit on it."""
WITHOUT_TF32 = ("K80", "P4", "P100", "V100", "T4")
"""Ray's names of the GPUs that cannot compute in TF32."""
SILENCE = {"RAY_DEDUP_LOGS_SKIP_REGEX": ".", "RAY_USAGE_STATS_ENABLED": "0"}
"""What Ray prints about workers that died would break up the lines of the progress, which reports it, too; and a Ray
that is started here does not call home."""


@dataclass(frozen=True)
class Cluster:
    """The resources of each machine of a Ray cluster, named as Ray names them."""

    machines: Sequence[Mapping[str, float]]

    def total(self, resource: str) -> int:
        """Return how much of a resource all machines have."""
        return sum(int(machine.get(resource, 0)) for machine in self.machines)

    def capacity(self, device: str) -> tuple[int, bool]:
        """Return the bytes that a run can have at most, and whether it can be computed in TF32.

        For the CPU it is what Ray may give away on the machine that has most. Ray does not know the memory of GPUs: how
        much they have shows itself when a run is measured there.
        """
        if device == "cpu":
            return int(self.largest(device).get("memory", 0)), False
        old = [f"accelerator_type:{gpu}" for gpu in WITHOUT_TF32]
        return sys.maxsize, not any(gpu in machine for machine in self.machines for gpu in old)

    def largest(self, device: str) -> Mapping[str, float]:
        """Return the machine that has the most memory of those that have a device, 'cpu' or 'cuda'."""
        resource = "CPU" if device == "cpu" else "GPU"
        return max(
            (machine for machine in self.machines if machine.get(resource)),
            key=lambda machine: machine.get("memory", 0),
        )

    def find_device(self, name: str) -> str:
        """Return the device that 'auto', 'cpu' or 'cuda' stands for on this cluster: 'cpu' or 'cuda'.

        Raises:
            DeviceError: no machine has it.
        """
        cpus, gpus = self.total("CPU"), self.total("GPU")
        cluster = f"the Ray cluster (machines: {len(self.machines)}, CPUs: {cpus}, GPUs: {gpus})"
        if name == "cuda" and not gpus:
            raise DeviceError(f"device 'cuda': {cluster} has no GPU; choose --device cpu")
        device = "cuda" if name != "cpu" and gpus else "cpu"
        if device == "cpu" and not cpus:
            raise DeviceError(f"device 'cpu': {cluster} has no CPU; start a machine with 'ray start --num-cpus N'")
        return device

    def divide(self, template: Slot, jobs: int | None, runs: int, needed: int) -> tuple[list[Slot], dict[str, float]]:
        """Return a slot for each run that is trained at a time, and the resources that each of them takes.

        On the CPU, `jobs` may be more than the cluster has cores: the rest wait for machines that join later. Memory
        is taken as a resource, too, so that no machine gets more runs than it can hold. GPUs are shared by `jobs`.

        Args:
            template: what all slots have in common, with the device.
            jobs: how many to make; None for as many as there are cores, or GPUs, and as fit.
            runs: that there are.
            needed: bytes of memory for each, on the CPU.
        """
        if template.device == "cpu":
            slots = self._slots(1, needed)
            count = min(jobs or slots, runs)
            widths = range(1, self.total("CPU") + 1)
            threads = max(width for width in widths if self._slots(width, needed) >= min(count, slots))
            resources: dict[str, float] = {"num_cpus": threads, "memory": needed}
        else:
            count = min(jobs or self.total("GPU"), runs)
            jobs_per_gpu = -(-count // self.total("GPU"))
            threads = min(
                int(machine.get("CPU", 0) // (machine["GPU"] * jobs_per_gpu))
                for machine in self.machines
                if machine.get("GPU")
            )
            resources = {"num_cpus": 0, "num_gpus": GPU_PARTS // jobs_per_gpu / GPU_PARTS}
        return [replace(template, threads=max(1, threads))] * count, resources

    def _slots(self, threads: int, needed: int) -> int:
        """Return how many runs the machines hold that have so many threads and bytes each."""
        return sum(
            int(min(machine.get("CPU", 0) // threads, machine.get("memory", 0) // max(needed, 1)))
            for machine in self.machines
        )


@contextmanager
def joined(address: str | None) -> Iterator[Cluster]:
    """Be part of a Ray cluster while the context is open.

    Args:
        address: HOST:PORT of its head; 'local' for a Ray that is started on this machine; 'auto', or None, for the one
            that this process has joined before, that $RAY_ADDRESS names, or that runs here.

    Raises:
        DeviceError: Ray is not installed, or no cluster answers.
    """
    for name, value in SILENCE.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ModuleNotFoundError as error:
        raise DeviceError("--engine ray needs a library, on every machine: pip install 'urfb[ray]'") from error
    if address in (None, "auto"):
        address = os.environ.get("RAY_ADDRESS", "auto")
        is_guest = ray.is_initialized()
    else:
        is_guest = False
    if not is_guest:
        _join(ray.init, address)
    try:
        nodes = ray.nodes()  # type: ignore[no-untyped-call]
        yield Cluster([node["Resources"] for node in nodes if node["Alive"]])
    finally:
        if not is_guest:
            ray.shutdown()


def _join(init: Callable[..., object], address: str) -> None:
    if address not in ("auto", "local"):
        _check_address(address)
    settings = {"include_dashboard": False} if address == "local" else {}
    with _kept_signals():
        try:
            init(address=address, log_to_driver=False, logging_level=logging.ERROR, **settings)
        except Exception as error:  # Ray raises all sorts, such as RuntimeError where versions differ
            raise DeviceError(_explain(address, error)) from error


def _explain(address: str, error: Exception) -> str:
    if address == "auto" and isinstance(error, ConnectionError):
        return (
            "no Ray cluster has this machine; start one here with 'ray start --head', add this machine to one with "
            "'ray start --address HOST:PORT', or choose --address local"
        )
    return (
        f"Ray at '{address}' cannot be joined ({error}); if it asks for a token, set RAY_AUTH_MODE=token, with the "
        "token of its head in ~/.ray/auth_token"
    )


def _check_address(address: str) -> None:
    """Make sure that something answers: Ray itself tries for minutes, and then ends this process."""
    if not re.fullmatch(r"[^/\s]+:\d+", address):
        raise DeviceError(f"address '{address}': give auto, local or HOST:PORT, such as 10.0.0.1:6379")
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise DeviceError(
            f"no Ray cluster answers at {address} ({error}); start one there with 'ray start --head', or choose "
            "--address local"
        ) from error


@contextmanager
def _kept_signals() -> Iterator[None]:
    """Keep what SIGTERM does: the runner ends its runs gently, Ray would end the process."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
