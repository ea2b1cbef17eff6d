"""Joins a Ray cluster and divides its machines into slots."""

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
"""The number of parts into which Ray can divide a GPU. urfb rounds shares down to such parts, because Ray may round
them up, and six sixths that are rounded up do not fit on a GPU."""
WITHOUT_TF32 = ("K80", "P4", "P100", "V100", "T4")
"""The GPUs that cannot compute in TF32, by Ray's names."""
SILENCE = {"RAY_DEDUP_LOGS_SKIP_REGEX": ".", "RAY_USAGE_STATS_ENABLED": "0"}
"""Environment variables for Ray. Ray must not print messages about crashed workers, because they would break up the
progress display, which reports them, too. A Ray that urfb starts sends no usage statistics."""


@dataclass(frozen=True)
class Cluster:
    """The machines of a Ray cluster: for each, the amounts of its resources by Ray's names."""

    machines: Sequence[Mapping[str, float]]

    def total(self, resource: str) -> int:
        """Return how much of a resource all machines have together."""
        return sum(int(machine.get(resource, 0)) for machine in self.machines)

    def capacity(self, device: str) -> tuple[int, bool]:
        """Return the largest memory that a run can have, in bytes, and whether it can be computed in TF32.

        For the CPU this is the memory that Ray manages on the largest machine. Ray does not know the memory of GPUs, so
        for a GPU it is unlimited; a run that does not fit fails when it is measured.
        """
        if device == "cpu":
            return int(self.largest(device).get("memory", 0)), False
        old = [f"accelerator_type:{gpu}" for gpu in WITHOUT_TF32]
        return sys.maxsize, not any(gpu in machine for machine in self.machines for gpu in old)

    def largest(self, device: str) -> Mapping[str, float]:
        """Return the machine with the most memory among those with a device, 'cpu' or 'cuda'."""
        resource = "CPU" if device == "cpu" else "GPU"
        return max(
            (machine for machine in self.machines if machine.get(resource)),
            key=lambda machine: machine.get("memory", 0),
        )

    def find_device(self, name: str) -> str:
        """Return the device for 'auto', 'cpu' or 'cuda' on this cluster: 'cpu' or 'cuda'.

        Raises:
            DeviceError: no machine has the device.
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
        """Return a slot for each run that is trained at the same time, and the resources of each slot.

        On the CPU, `jobs` may exceed the cluster's cores: the remaining slots wait for machines that join later. Slots
        also reserve memory, so that no machine gets more runs than fit. On GPUs, `jobs` share the GPUs.

        Args:
            template: the values that all slots share, including the device.
            jobs: the number of slots; None for one per core, or per GPU, as far as memory allows.
            runs: the number of runs to train.
            needed: the memory of each run on the CPU, in bytes.
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
        """Return how many runs fit on the machines, with `threads` CPU cores and `needed` bytes each."""
        return sum(
            int(min(machine.get("CPU", 0) // threads, machine.get("memory", 0) // max(needed, 1)))
            for machine in self.machines
        )


@contextmanager
def joined(address: str | None) -> Iterator[Cluster]:
    """Join a Ray cluster for the duration of the context.

    Args:
        address: HOST:PORT of the cluster's head node; 'local' to start Ray on this machine; 'auto' or None for the
            cluster that this process has joined already, that $RAY_ADDRESS names, or that this machine belongs to.

    Raises:
        DeviceError: Ray is not installed, or the cluster cannot be joined.
    """
    for name, value in SILENCE.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ModuleNotFoundError as error:
        raise DeviceError(
            "--engine ray needs Ray, which is not installed; install it on every machine with: pip install 'urfb[ray]'"
        ) from error
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
        except Exception as error:  # Ray raises many types, such as RuntimeError if versions differ
            raise DeviceError(_explain(address, error)) from error


def _explain(address: str, error: Exception) -> str:
    if address == "auto" and isinstance(error, ConnectionError):
        return (
            "this machine belongs to no Ray cluster; start one here with 'ray start --head', join one with "
            "'ray start --address HOST:PORT', or choose --address local"
        )
    return (
        f"the Ray cluster at '{address}' cannot be joined ({error}); if it asks for a token, set RAY_AUTH_MODE=token "
        "and save the token of its head node in ~/.ray/auth_token"
    )


def _check_address(address: str) -> None:
    """Check that an address answers, because Ray itself tries for minutes and then ends this process.

    Raises:
        DeviceError: the address is not HOST:PORT, or does not answer.
    """
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
    """Restore the handler of SIGTERM on exit: the runner stops gently, but Ray's handler would end the process."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
