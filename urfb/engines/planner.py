"""Plans a grid on this machine: finds the missing runs and estimates their time, memory and disk space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from urfb.engines import Slot
from urfb.engines.checking import refuse_broken
from urfb.engines.estimate import Estimate, estimate, stored_epochs
from urfb.engines.measuring import measured_epochs, measured_memory, peaks
from urfb.engines.runner import capacity, divide, find_devices, refuse_precision, refuse_unfit, with_changes
from urfb.grid.expand import GridRun
from urfb.grid.plan import PlannedRun, plan
from urfb.store import open_store, stored_progress
from urfb.store.engine import Location
from urfb.training.files import runs_with_checkpoint
from urfb.training.provenance import device_name


@dataclass(frozen=True)
class GridPlan:
    """The plan of a grid.

    Attributes:
        runs: the runs of the grid.
        estimate: the estimate for the missing runs; None if no run is missing.
        slots: the slots that would train the missing runs, one run at a time each.
        device_name: the name of the processor or GPU; empty if no run is missing.
        calibrated: whether times and memory were measured for this plan.
    """

    runs: Sequence[PlannedRun]
    estimate: Estimate | None
    slots: Sequence[Slot]
    device_name: str
    calibrated: bool


def plan_grid(runs: Sequence[GridRun], *, store: str, jobs: int | None, device: str, calibrate: bool) -> GridPlan:
    """Compare a grid with a store, and estimate the missing runs. Nothing is written.

    Args:
        runs: the runs of the grid.
        store: the location of the store, which may not exist yet.
        jobs, device: the same as for `run_grid`.
        calibrate: whether to train a few steps of each unlike run on this machine, to measure its memory, and its time
            instead of using stored times.

    Raises:
        DeviceError, PluginError, StoreError: the device, custom code or the store cannot be used, or a run does not
            fit.
    """
    progress = stored_progress(store)
    stored = open_store(store) if progress else None
    planned = plan(
        runs,
        progress,
        stored.reasons() if stored else {},
        checkpoints=runs_with_checkpoint(Location.of(store).checkpoints),
    )
    planned = with_changes(planned, stored) if stored else planned
    missing = [run for run in planned if run.missing]
    specs = [run.run.spec for run in missing]
    if not missing:
        return GridPlan(planned, None, (), "", calibrated=False)
    devices = find_devices(device)
    refuse_broken(specs)
    memory = None
    if calibrate:
        free, has_tf32 = capacity(devices)
        refuse_precision(specs, has_tf32=has_tf32)
        memory = measured_memory(specs, partial(peaks, device=devices[0], free=free))
        refuse_unfit(specs, memory, devices[0], free)
    template = Slot(Path(), Path(), Path(), devices[0], 1)  # a plan uses no files
    slots = divide(template, devices, jobs, len(missing), max(memory or [0]))
    name = device_name(devices[0])
    if calibrate:
        times = measured_epochs(specs, slots)
    else:
        times = stored_epochs(stored.epoch_seconds(name, slots[0].threads)) if stored else []
    total = estimate(
        missing,
        times,
        slots=len(slots),
        memory=memory,
        bytes_per_epoch=stored.bytes_per_epoch() if stored else None,
    )
    return GridPlan(planned, total, slots, name, calibrate)
