"""Runs a grid, on this machine or on a cluster: from its runs to a store in which none is missing."""

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
from urfb.store import WritableStore, open_for_writing, open_store, stored_progress, upgrade_store
from urfb.store.engine import Location
from urfb.training.files import CheckpointFiles, runs_with_checkpoint

DEVICES = ("auto", "cpu", "cuda")
ENGINES = ("local", "ray")


class Observer(scheduler.Observer, Protocol):
    """Watches a grid being run, from the memory checks on."""

    def measuring(self, done: int, total: int) -> None:
        """How many memory checks are done, and of how many; all come before the plan, and each may take seconds."""

    def planned(self, planned: Sequence[PlannedRun], slots: Sequence[Slot]) -> None:
        """What there is, and where the missing part of it will be trained."""


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
    """Train the runs that are missing from a store. Nothing is written before everything they need is there.

    Args:
        runs: of a grid.
        store, data: the location of the store, made where there is none yet, and the folder of the data sets.
        jobs: how many runs are trained at a time; None for as many as fit, 0 for one, in this process, whose memory is
            not measured before.
        device: 'auto', 'cpu' or 'cuda'.
        observer: is told of everything that happens.
        engine: 'local' for this machine, 'ray' for a cluster, whose machines look for the data sets when they train.
        address: of the Ray cluster, as `urfb.engines.cluster.joined` takes it.
        limit: how many of the missing runs to train at most; those that another runner trains do not count.
        fail_fast, cancelled: whether to stop after the first run that fails; whether to train cancelled runs, too.
        seconds_between_checkpoints: of a run, at least.
        keep_checkpoints: whether those of a run that is done stay.
        stop: is asked again and again whether to stop, every run with a checkpoint.

    Raises:
        DeviceError, DataError, PluginError, StoreError: what it names cannot be used, or a run does not fit.
        KeyboardInterrupt: stopped while memory was measured.
        InputError: the engine does not exist, or these settings do not go together.
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
    """Compare runs, in the order of training, with a store's; cancelled ones that are wanted count as unfinished."""
    checkpoints = runs_with_checkpoint(Location.of(store).checkpoints)
    planned = one_seed_first(plan(runs, stored_progress(store), checkpoints=checkpoints))
    return [replace(run, state="unfinished") if cancelled and run.state == "cancelled" else run for run in planned]


def _register_members(runs: Sequence[GridRun], store: str) -> None:
    """Note which experiments ask for runs that are all there, where the store lacks that."""
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
    """Return the devices for some runs and the bytes that the largest needs there; 0 where that is not measured.

    Raises:
        DeviceError, DataError, PluginError: a device, a data set or the user's own code cannot be used, or a run does
            not fit.
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
    """Return a slot for each run that is trained at a time, and the engine that has them."""
    if cluster is None:
        slots = divide(slot, devices, jobs, runs, memory)
        return slots, InlineEngine(slots[0], stop) if jobs == 0 else LocalEngine(slots)
    from urfb.engines.ray import RayEngine

    slots, resources = cluster.divide(slot, jobs, runs, memory)
    return slots, RayEngine(slots, resources)


def failed_or_cancelled(
    runs: Sequence[GridRun], store: str, *, cancelled: bool, max_attempts: int | None = None
) -> list[GridRun]:
    """Return the runs that failed or (if wanted) were cancelled.

    Args:
        runs: of a grid.
        store: its location.
        cancelled: whether cancelled runs are wanted, too.
        max_attempts: runs that have failed so often are left out; None for no such limit.

    Raises:
        StoreError: there is no store.
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
    """Remove the checkpoints of all runs that are done; return of how many, and the bytes that were freed.

    Raises:
        StoreError: there is no store, or a checkpoint cannot be removed.
    """
    opened = open_store(store)
    done = [identity for identity, (state, _) in opened.progress().items() if state == "done"]
    try:
        freed = [CheckpointFiles.of(opened.location.checkpoints, identity).remove() for identity in done]
    except OSError as error:
        raise StoreError(f"{error.filename}: cannot be removed ({error.strerror})") from error
    return sum(size > 0 for size in freed), sum(freed)


def _keep(spec: RunSpec) -> None:
    """Leave the checkpoints of a run that is done where they are."""


def _discard(checkpoints: Path, spec: RunSpec) -> None:
    with suppress(OSError):  # what cannot be removed stays; the run is done all the same
        CheckpointFiles.of(checkpoints, spec.identity).remove()


def make_folders(store: WritableStore) -> tuple[Path, Path]:
    """Return the folders of a store's checkpoints and logs, which are there then.

    Raises:
        StoreError: one cannot be made.
    """
    folders = (store.location.checkpoints.absolute(), store.location.logs.absolute())
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{folder}: this folder of the store's cannot be made ({error.strerror})") from error
    return folders


def refuse_contradictions(engine: str, address: str | None, jobs: int | None) -> None:
    """Make sure that an engine exists, and that the other settings go with it.

    Raises:
        InputError: naming everything that does not.
    """
    problems = []
    if engine not in ENGINES:
        problems.append(f"unknown engine '{engine}': {nearest(engine, ENGINES)}")
    if engine == "ray" and jobs == 0:
        problems.append("0 jobs train in this process, not on a Ray cluster; leave out --jobs, or --engine ray")
    if engine == "local" and address is not None:
        problems.append(f"address '{address}' is of a Ray cluster; add --engine ray, or leave it out")
    if problems:
        raise InputError("\n".join(problems))


def refuse_unknown(device: str) -> None:
    """Make sure that a device is one of `DEVICES`.

    Raises:
        DeviceError: this version of urfb cannot use it.
    """
    if device == "mps":
        raise DeviceError("device 'mps' is not tested yet, so urfb does not use it; choose --device cpu")
    if device not in DEVICES:
        raise DeviceError(f"unknown device '{device}': {nearest(device, DEVICES)}")


def find_devices(name: str) -> list[str]:
    """Return the devices that 'auto', 'cpu' or 'cuda' stands for here, such as ['cuda:0', 'cuda:1'].

    Raises:
        DeviceError: this machine, or this version of urfb, cannot use it.
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
    """Whether torch, which takes seconds to import, could find a GPU at all: NVIDIA's driver is here, or AMD's."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return Path("/dev/kfd").exists()
    return True


def refuse_precision(specs: Sequence[RunSpec], *, has_tf32: bool) -> None:
    """Make sure that every run can be computed in its precision, before the first begins.

    Raises:
        DeviceError: naming every run that cannot.
    """
    refused = [spec for spec in specs if spec.precision == "tf32" and not has_tf32]
    if refused:
        names = named(specs)
        raise DeviceError(
            "\n".join(
                f"{names[spec.identity]}: precision 'tf32' needs a GPU that has it; choose float32 or bfloat16"
                for spec in refused
            )
        )


def refuse_unfit(specs: Sequence[RunSpec], memory: Sequence[int], device: str, free: int) -> None:
    """Make sure that every run fits on a device, before the first begins.

    Args:
        specs: of the runs.
        memory: bytes that the process of each run was measured to need.
        device: where it was measured.
        free: bytes there.

    Raises:
        DeviceError: naming every run that does not, and what to do about it.
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
    """Return the free bytes of the device that has least, and whether all of them compute in TF32."""
    if devices[0] == "cpu":
        return psutil.virtual_memory().available, False
    import torch

    free = min(torch.cuda.mem_get_info(device)[0] for device in devices)
    return free, all(torch.cuda.get_device_capability(device) >= (8, 0) for device in devices)


def divide(template: Slot, devices: Sequence[str], jobs: int | None, runs: int, needed: int) -> list[Slot]:
    """Return a slot for each run that is trained at a time, with its device and its share of the CPU's cores.

    Args:
        template: what all of them have in common.
        devices: to share.
        jobs: how many to make; None for as many as there are cores, or GPUs, and as fit.
        runs: that there are.
        needed: bytes of memory for one; 0 where that is not known.
    """
    fitting = len(devices)
    if devices[0] == "cpu":
        fitting = min(cores(), psutil.virtual_memory().available // max(needed, 1))
    places = max(1, min(fitting if jobs is None else jobs, runs))
    threads = max(1, cores() // places)
    return [replace(template, device=devices[place % len(devices)], threads=threads) for place in range(places)]


def verify_data(names: set[str], directory: Path) -> None:
    """Make sure that the data sets are there and whole.

    Raises:
        DataError: naming every one that is not.
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
