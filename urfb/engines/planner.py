"""Plans a grid on this machine: what is missing, and what it will take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from urfb.engines import Workplace
from urfb.engines.estimate import Estimate, estimate, of_stored
from urfb.engines.measuring import measured_epochs, measured_memory
from urfb.engines.runner import capacity, divide, find_devices, refuse_precision, refuse_unfit
from urfb.grid.expand import GridRun
from urfb.grid.plan import PlannedRun, plan
from urfb.store import open_store, stored_progress
from urfb.training.provenance import device_name


@dataclass(frozen=True)
class GridPlan:
    """A plan.

    Attributes:
        runs: of the grid.
        estimate: what the missing ones will take; None where none is.
        workplaces: where they would be trained at a time.
        device_name: of the processor or GPU there.
        calibrated: whether times and memory were measured for this plan.
    """

    runs: Sequence[PlannedRun]
    estimate: Estimate | None
    workplaces: Sequence[Workplace]
    device_name: str
    calibrated: bool


def plan_grid(runs: Sequence[GridRun], *, store: str, jobs: int | None, device: str, calibrate: bool) -> GridPlan:
    """Compare a grid with a store, and estimate what is missing. Nothing is written.

    Args:
        runs: of the grid.
        store: its location; there may be none yet.
        jobs, device: as `run_grid` takes them.
        calibrate: measure a few steps here of each unlike run, for its memory, and its time in place of stored ones.

    Raises:
        DeviceError, PluginError, StoreError: the device, the user's own code or the store cannot be used, or a run
            does not fit.
    """
    progress = stored_progress(store)
    known = open_store(store) if progress else None
    planned = plan(runs, progress, known.reasons() if known else {})
    missing = [one for one in planned if one.missing]
    specs = [one.run.spec for one in missing]
    if not missing:
        return GridPlan(planned, None, (), "", calibrated=False)
    devices = find_devices(device)
    memory = None
    if calibrate:
        free, has_tf32 = capacity(devices)
        refuse_precision(specs, has_tf32=has_tf32)
        memory = measured_memory(specs, devices[0], free)
        refuse_unfit(specs, memory, devices[0], free)
    nowhere = Workplace(Path(), Path(), Path(), devices[0], 1)  # nothing is read or written
    workplaces = divide(nowhere, devices, jobs, len(missing), max(memory or [0]))
    name = device_name(devices[0])
    if calibrate:
        times = measured_epochs(specs, workplaces)
    else:
        times = of_stored(known.epoch_seconds(name, workplaces[0].threads)) if known else []
    found = estimate(
        missing,
        times,
        slots=len(workplaces),
        memory=memory,
        bytes_per_epoch=known.bytes_per_epoch() if known else None,
    )
    return GridPlan(planned, found, workplaces, name, calibrate)
