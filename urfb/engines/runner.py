"""Runs a grid on this machine: from its runs to a store in which none is missing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import psutil

from urfb.engines import Engine, Workplace, scheduler
from urfb.engines.inline import InlineEngine
from urfb.engines.local import LocalEngine
from urfb.errors import DataError, DeviceError, nearest
from urfb.grid.expand import GridRun
from urfb.grid.plan import PlannedRun, plan
from urfb.store import open_for_writing, open_store, stored_progress

DEVICES = ("auto", "cpu", "cuda")
BYTES_A_JOB = 2 * 2**30
"""Of memory, for a run of the paper's networks on the CPU at batch size 500, its data included."""


class Observer(scheduler.Observer, Protocol):
    """Watches a grid being run, from its plan on."""

    def planned(self, planned: Sequence[PlannedRun], workplaces: Sequence[Workplace]) -> None:
        """What there is, and where the missing part of it will be trained."""


def run_grid(
    runs: Sequence[GridRun], *, store: str, data: Path, jobs: int | None, device: str, observer: Observer
) -> scheduler.Outcome:
    """Train the runs that are missing from a store. Nothing is written before everything they need is there.

    Args:
        runs: of a grid.
        store: its location; made where there is none yet.
        data: folder of the data sets.
        jobs: how many runs are trained at a time; None for as many as fit, 0 for one, in this process.
        device: 'auto', 'cpu' or 'cuda'.
        observer: is told of everything that happens.

    Raises:
        DeviceError, DataError, StoreError: the device, a data set or the store cannot be used.
    """
    planned = plan(runs, stored_progress(store))
    missing = [one.run for one in planned if one.missing]
    devices = find_devices(device)
    if not missing:
        if runs and not {(name, run.spec.identity) for run in runs for name in run.experiments} <= (
            open_store(store).memberships()
        ):
            open_for_writing(store).register(runs)
        observer.planned(planned, ())
        return scheduler.Outcome()
    verify_data({run.spec.dataset for run in missing}, data)
    writable = open_for_writing(store)
    checkpoints = writable.path.with_suffix(".checkpoints")  # one folder a store, not shared with its neighbours
    workplaces = divide(devices, jobs, len(missing), data, checkpoints)
    writable.register(runs)
    observer.planned(planned, workplaces)
    engine: Engine = InlineEngine(workplaces[0]) if jobs == 0 else LocalEngine(workplaces)
    return scheduler.run_missing([run.spec for run in missing], writable, engine, observer)


def find_devices(name: str) -> list[str]:
    """Return the devices that 'auto', 'cpu' or 'cuda' stands for here, such as ['cuda:0', 'cuda:1'].

    Raises:
        DeviceError: this machine, or this version of urfb, cannot use it.
    """
    if name == "mps":
        raise DeviceError("device 'mps' is not tested yet, so urfb does not use it; choose --device cpu")
    if name not in DEVICES:
        raise DeviceError(f"unknown device '{name}': {nearest(name, DEVICES)}")
    if name == "cpu":
        return ["cpu"]
    import torch

    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if name == "cuda" and not gpus:
        raise DeviceError(f"device 'cuda': PyTorch {torch.__version__} finds no GPU here; choose --device cpu")
    return gpus or ["cpu"]


def divide(devices: Sequence[str], jobs: int | None, runs: int, data: Path, checkpoints: Path) -> list[Workplace]:
    """Return a workplace for each run that is trained at a time, with its device and its share of the CPU's cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    fitting = min(cores, psutil.virtual_memory().available // BYTES_A_JOB) if devices[0] == "cpu" else len(devices)
    places = max(1, min(fitting if jobs is None else jobs, runs))
    threads = max(1, cores // places)
    return [Workplace(data, checkpoints, devices[place % len(devices)], threads) for place in range(places)]


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
