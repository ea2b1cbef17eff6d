"""Runs a grid on this machine or on a cluster: trains the runs that are missing from a store."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

import psutil

from urfb.engines import Engine, Slot, scheduler
from urfb.engines.checking import refuse_broken
from urfb.engines.cluster import Cluster, joined
from urfb.engines.inline import InlineEngine
from urfb.engines.local import LocalEngine
from urfb.engines.measuring import measured_memory, peaks
from urfb.engines.processes import cores
from urfb.errors import DataError, DeviceError, InputError, StoreError, nearest
from urfb.grid.expand import GridRun
from urfb.grid.naming import named
from urfb.grid.plan import PlannedRun, one_seed_first, plan
from urfb.grid.spec import RunSpec
from urfb.store import Store, WritableStore, open_for_writing, open_store, stored_progress, upgrade_store
from urfb.store.engine import Location
from urfb.store.status import changes
from urfb.training.files import CheckpointFiles, runs_with_checkpoint

DEVICES = ("auto", "cpu", "cuda")
ENGINES = ("local", "ray")


class Observer(scheduler.Observer, Protocol):
    """Receives notices while a grid runs, from the memory checks on."""

    def measuring(self, done: int, total: int) -> None:
        """Receive the number of finished memory checks; all come before the plan, and each may take seconds."""

    def planned(self, planned: Sequence[PlannedRun], slots: Sequence[Slot]) -> None:
        """Receive the plan of all runs and the slots that will train the missing ones."""


def run_grid(
    runs: Sequence[GridRun],
    *,
    store: str,
    data: Path,
    jobs: int | None,
    device: str,
    observer: Observer,
    engine: str = "local",
    address: str | None = None,
    limit: int | None = None,
    fail_fast: bool = False,
    cancelled: bool = False,
    seconds_between_checkpoints: float = 60.0,
    keep_checkpoints: bool = True,
    stop: Callable[[], bool] = lambda: False,
) -> scheduler.Outcome:
    """Train the runs that are missing from a store. Nothing is written until all that they need has been checked.

    Args:
        runs: the runs of the grid.
        store, data: the location of the store, which is created if it is missing, and the folder of the data sets.
        jobs: the number of runs to train at the same time; None for as many as fit; 0 for one run in this process,
            whose memory is not measured first.
        device: 'auto', 'cpu' or 'cuda'.
        observer: the object that receives notices of everything that happens.
        engine: 'local' for this machine; 'ray' for a cluster, whose machines check the data sets only in training.
        address: the address of the Ray cluster, as for `urfb.engines.cluster.joined`.
        limit: the largest number of missing runs to train, without those that another runner trains.
        fail_fast, cancelled: whether to stop after the first run that fails; whether to train cancelled runs, too.
        seconds_between_checkpoints: the shortest time between two checkpoints of a run.
        keep_checkpoints: whether to keep the checkpoints of runs that are done.
        stop: a function that is called repeatedly and returns whether to stop; then every run saves a checkpoint.

    Raises:
        DeviceError, DataError, PluginError, StoreError: something that a run needs cannot be used, or it does not fit.
        KeyboardInterrupt: `stop` returned True while memory was measured.
        InputError: the engine does not exist, or these settings contradict each other.
    """
    refuse_contradictions(engine, address, jobs)
    upgrade_store(store, missing_ok=True)
    planned = _planned(runs, store, cancelled=cancelled)
    missing = [run for run in planned if run.missing and (limit is None or run.state != "running")][:limit]
    refuse_unknown(device)
    if not missing:
        _register_members(runs, store)
        observer.planned(planned, ())
        return scheduler.Outcome()
    specs = [run.run.spec for run in missing]
    with joined(address) if engine == "ray" else nullcontext() as cluster:
        devices, memory = _fitting(specs, cluster, data, jobs, device, observer, stop)
        writable = open_for_writing(store)
        slot = Slot(data.absolute(), *make_folders(writable), devices[0], 1, seconds_between_checkpoints)
        slots, trainer = _slots(slot, cluster, devices, jobs, len(specs), memory, stop)
        writable.register(runs)
        observer.planned(planned, slots)
        discard = _keep if keep_checkpoints else partial(_discard, slot.checkpoints)
        return scheduler.run_missing(
            specs, writable, trainer, observer, fail_fast=fail_fast, cancelled=cancelled, discard=discard, stop=stop
        )


def _planned(runs: Sequence[GridRun], store: str, *, cancelled: bool) -> list[PlannedRun]:
    """Compare runs with a store, in the order of training; with `cancelled`, cancelled runs count as unfinished."""
    checkpoints = runs_with_checkpoint(Location.of(store).checkpoints)
    progress = stored_progress(store)
    planned = one_seed_first(plan(runs, progress, checkpoints=checkpoints))
    if progress:
        planned = with_changes(planned, open_store(store))
    return [replace(run, state="unfinished") if cancelled and run.state == "cancelled" else run for run in planned]


def with_changes(planned: Sequence[PlannedRun], store: Store) -> list[PlannedRun]:
    """Set the reason of each run that is new only because its source or the science version has changed."""
    reasons = iter(changes(store, [run.run.spec for run in planned if run.state == "new"]))
    found = [next(reasons) if run.state == "new" else None for run in planned]
    return [
        replace(run, reason=reason, changed=True) if reason else run for run, reason in zip(planned, found, strict=True)
    ]


def _register_members(runs: Sequence[GridRun], store: str) -> None:
    """Store which experiments ask for runs that are all in the store already, unless it knows."""
    members = {(name, run.spec.identity) for run in runs for name in run.experiments}
    if runs and not members <= open_store(store).memberships():
        open_for_writing(store).register(runs)


def _fitting(
    specs: Sequence[RunSpec],
    cluster: Cluster | None,
    data: Path,
    jobs: int | None,
    device: str,
    observer: Observer,
    stop: Callable[[], bool],
) -> tuple[list[str], int]:
    """Return the devices for some runs, and the bytes that the largest run needs there; 0 if not measured.

    Raises:
        DeviceError, DataError, PluginError: a device, a data set or custom code cannot be used, or a run does not fit.
    """
    if cluster is None:
        devices = find_devices(device)
        free, has_tf32 = capacity(devices)
        measure = partial(peaks, device=devices[0], free=free, stop=stop)
    else:
        from urfb.engines.ray import peaks_on_cluster

        devices = [cluster.find_device(device)]
        free, has_tf32 = cluster.capacity(devices[0])
        measure = partial(peaks_on_cluster, cluster=cluster, device=devices[0], free=free, stop=stop)
    refuse_precision(specs, has_tf32=has_tf32)
    refuse_broken(specs, stop)
    if cluster is None:
        verify_data({spec.dataset for spec in specs}, data)
    memory = [0] * len(specs) if jobs == 0 else measured_memory(specs, measure, observer.measuring)
    refuse_unfit(specs, memory, devices[0], free)
    return devices, max(memory)


def _slots(
    slot: Slot,
    cluster: Cluster | None,
    devices: Sequence[str],
    jobs: int | None,
    runs: int,
    memory: int,
    stop: Callable[[], bool],
) -> tuple[list[Slot], Engine]:
    """Return a slot for each run that is trained at the same time, and the engine with these slots."""
    if cluster is None:
        slots = divide(slot, devices, jobs, runs, memory)
        return slots, InlineEngine(slots[0], stop) if jobs == 0 else LocalEngine(slots)
    from urfb.engines.ray import RayEngine

    slots, resources = cluster.divide(slot, jobs, runs, memory)
    return slots, RayEngine(slots, resources)


def failed_or_cancelled(
    runs: Sequence[GridRun], store: str, *, cancelled: bool, max_attempts: int | None = None
) -> list[GridRun]:
    """Return the runs that failed or, with `cancelled`, were cancelled.

    Args:
        runs: the runs of a grid.
        store: the location of the store.
        cancelled: whether to include cancelled runs.
        max_attempts: the number of failures from which a run is left out; None for no limit.

    Raises:
        StoreError: there is no store, or this version cannot read it.
    """
    opened = open_store(store)
    progress, failures = opened.progress(), opened.failures()
    wanted = ("failed", "cancelled") if cancelled else ("failed",)
    return [
        run
        for run in runs
        if progress.get(run.spec.identity, ("new", 0))[0] in wanted
        and (max_attempts is None or failures.get(run.spec.identity, 0) < max_attempts)
    ]


def remove_checkpoints(store: str) -> tuple[int, int]:
    """Remove the checkpoints of all runs that are done; return the number of these runs and the bytes freed.

    Raises:
        StoreError: there is no store, this version cannot read it, or a checkpoint cannot be removed.
    """
    opened = open_store(store)
    done = [identity for identity, (state, _) in opened.progress().items() if state == "done"]
    try:
        freed = [CheckpointFiles.of(opened.location.checkpoints, identity).remove() for identity in done]
    except OSError as error:
        raise StoreError(f"{error.filename}: cannot be removed ({error.strerror})") from error
    return sum(size > 0 for size in freed), sum(freed)


def _keep(spec: RunSpec) -> None:
    """Do nothing: keep the checkpoints of a run that is done."""


def _discard(checkpoints: Path, spec: RunSpec) -> None:
    with suppress(OSError):  # the run is done, even if its checkpoints cannot be removed
        CheckpointFiles.of(checkpoints, spec.identity).remove()


def make_folders(store: WritableStore) -> tuple[Path, Path]:
    """Create the folders of a store's checkpoints and logs, if needed, and return them.

    Raises:
        StoreError: a folder cannot be created.
    """
    folders = (store.location.checkpoints.absolute(), store.location.logs.absolute())
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{folder}: this folder for the store cannot be created ({error.strerror})") from error
    return folders


def refuse_contradictions(engine: str, address: str | None, jobs: int | None) -> None:
    """Check that an engine exists and that the other settings fit it.

    Raises:
        InputError: a setting does not; the message has one line for each.
    """
    problems = []
    if engine not in ENGINES:
        problems.append(f"unknown engine '{engine}': {nearest(engine, ENGINES)}")
    if engine == "ray" and jobs == 0:
        problems.append("--jobs 0 trains in this process, not on a Ray cluster; leave out --jobs or --engine ray")
    if engine == "local" and address is not None:
        problems.append(f"address '{address}': only a Ray cluster has an address; add --engine ray, or leave it out")
    if problems:
        raise InputError("\n".join(problems))


def refuse_unknown(device: str) -> None:
    """Check that a device is one of `DEVICES`.

    Raises:
        DeviceError: this version of urfb cannot use the device.
    """
    if device == "mps":
        raise DeviceError("device 'mps' is not tested yet, so urfb does not use it; choose --device cpu")
    if device not in DEVICES:
        raise DeviceError(f"unknown device '{device}': {nearest(device, DEVICES)}")


def find_devices(name: str) -> list[str]:
    """Return the devices for 'auto', 'cpu' or 'cuda' on this machine, such as ['cuda:0', 'cuda:1'].

    Raises:
        DeviceError: this machine or this version of urfb cannot use the device.
    """
    refuse_unknown(name)
    if name == "cpu" or (name == "auto" and not _has_gpu_driver()):
        return ["cpu"]
    import torch

    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if name == "cuda" and not gpus:
        raise DeviceError(f"device 'cuda': PyTorch {torch.__version__} finds no GPU here; choose --device cpu")
    return gpus or ["cpu"]


def _has_gpu_driver() -> bool:
    """Return whether NVIDIA's or AMD's driver is installed, without the import of torch, which takes seconds."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return Path("/dev/kfd").exists()
    return True


def refuse_precision(specs: Sequence[RunSpec], *, has_tf32: bool) -> None:
    """Check that every run can be computed in its precision.

    Raises:
        DeviceError: a run cannot; the message names each such run.
    """
    refused = [spec for spec in specs if spec.precision == "tf32" and not has_tf32]
    if refused:
        names = named(specs)
        raise DeviceError(
            "\n".join(
                f"{names[spec.identity]}: precision 'tf32' needs a GPU that supports it; choose float32 or bfloat16"
                for spec in refused
            )
        )


def refuse_unfit(specs: Sequence[RunSpec], memory: Sequence[int], device: str, free: int) -> None:
    """Check that every run fits in the memory of a device.

    Args:
        specs: the runs.
        memory: the measured memory of each run's process, in bytes.
        device: the device on which it was measured.
        free: the free memory of the device, in bytes.

    Raises:
        DeviceError: a run does not fit; the message names each such run.
    """
    refused = [spec for spec, size in zip(specs, memory, strict=True) if size > free]
    if refused:
        names = named(specs)
        raise DeviceError(
            "\n".join(
                f"{names[spec.identity]}: needs more than the {free / 2**30:,.1f} GiB "
                f"that {device} has free, at batch size {spec.batch_size}; a smaller batch_size needs less"
                for spec in refused
            )
        )


def capacity(devices: Sequence[str]) -> tuple[int, bool]:
    """Return the free bytes of the device with the least free memory, and whether all devices support TF32."""
    if devices[0] == "cpu":
        return psutil.virtual_memory().available, False
    import torch

    free = min(torch.cuda.mem_get_info(device)[0] for device in devices)
    return free, all(torch.cuda.get_device_capability(device) >= (8, 0) for device in devices)


def divide(template: Slot, devices: Sequence[str], jobs: int | None, runs: int, needed: int) -> list[Slot]:
    """Return a slot for each run that is trained at the same time, with its device and its share of the CPU cores.

    Args:
        template: the values that all slots share.
        devices: the devices to share.
        jobs: the number of slots; None for one per core, or per GPU, as far as memory allows.
        runs: the number of runs to train.
        needed: the memory of a run, in bytes; 0 if it is unknown.
    """
    fitting = len(devices)
    if devices[0] == "cpu":
        fitting = min(cores(), psutil.virtual_memory().available // max(needed, 1))
    places = max(1, min(fitting if jobs is None else jobs, runs))
    threads = max(1, cores() // places)
    return [replace(template, device=devices[place % len(devices)], threads=threads) for place in range(places)]


def verify_data(names: set[str], directory: Path) -> None:
    """Check that the files of data sets exist and are intact.

    Raises:
        DataError: a data set is missing or damaged; the message names each.
    """
    from urfb.data.datasets import verify

    problems = []
    for name in sorted(names):
        try:
            verify(name, directory)
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError("\n".join(problems))
