"""What a run takes, from a few steps on random images: the memory of its process, and the time of an epoch."""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from itertools import cycle
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil

from urfb.data.catalog import DatasetInfo, dataset_info
from urfb.engines import Slot
from urfb.engines.estimate import TimedEpochs, Workload, workloads
from urfb.engines.memory import keep_freed_memory
from urfb.engines.processes import answers, warm_context
from urfb.engines.worker import output_to
from urfb.errors import DeviceError, PluginError
from urfb.grid.spec import RunSpec
from urfb.plugins import USERS_ERRORS, described

if TYPE_CHECKING:
    import torch

    from urfb.data.datasets import Dataset

STEPS_ON_A_CPU, STEPS_ON_A_GPU = 3, 50
"""Training steps that are timed."""
BATCHES_ON_A_CPU, BATCHES_ON_A_GPU = 2, 5
"""Batches after which a process has its largest size: on a GPU the first three come before the CUDA graph."""
OUT_OF_MEMORY = ("out of memory", "allocate memory", "bad_alloc", "memory object")
"""How PyTorch and its libraries say in a RuntimeError that there is no memory left."""


class Stage(NamedTuple):
    """A stage of a run: the one that `epoch` belongs to."""

    spec: RunSpec
    epoch: int


def measured_memory(
    specs: Sequence[RunSpec],
    measure: Callable[[Sequence[Stage]], Generator[int]],
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> list[int]:
    """Return the bytes that the process of each run takes at its peak; like runs are measured once.

    Args:
        specs: of the runs.
        measure: yields the bytes of each stage, as `peaks` does.
        watch: is called before the first stage and after each, with how many are measured, and of how many.
    """
    by_run = [_stages_by_likeness(spec) for spec in specs]
    stages = {key: stage for run_stages in by_run for key, stage in run_stages.items()}
    sizes = []
    watch(0, len(stages))
    with closing(measure(list(stages.values()))) as measured:  # so that no process is left where `watch` raises
        for size in measured:
            sizes.append(size)
            watch(len(sizes), len(stages))
    size_of = dict(zip(stages, sizes, strict=True))
    return [max(size_of[key] for key in run_stages) for run_stages in by_run]


def peaks(
    stages: Sequence[Stage], device: str, free: int, *, stop: Callable[[], bool] = lambda: False
) -> Generator[int]:
    """Yield the bytes that the process of each stage takes at its peak on a device of this machine.

    A stage that runs out of memory counts as more than `free`. One that fails otherwise counts as 0: training says why.
    On the CPU each stage has a process of its own, whose size is that of this stage alone.

    Args:
        stages: of runs.
        device: such as 'cpu' or 'cuda:0'.
        free: bytes that a process may take.
        stop: is asked again and again whether to stop.

    Raises:
        KeyboardInterrupt: measuring was stopped.
    """

    def size_of_dead(stage: Stage, exit_code: int | None) -> int:
        return free + 1 if exit_code == -signal.SIGKILL else 0  # so the system ends what is too large

    for some in [stages] if device != "cpu" else [[stage] for stage in stages]:
        yield from answers(_send_peaks, some, device, free, dead=size_of_dead, stop=stop)


def measured_epochs(specs: Iterable[RunSpec], slots: Sequence[Slot]) -> list[TimedEpochs]:
    """Time each workload of some runs once, as many at a time as runs would be trained.

    Raises:
        DeviceError: a process died, for want of memory most likely.
        PluginError: a model or rule of the user's own failed.
    """
    stages: dict[Workload, Stage] = {}
    for spec in specs:
        for stage in _stages(spec):
            stages.setdefault(_workload(stage), stage)
    with ProcessPoolExecutor(len(slots), warm_context()) as pool:
        try:
            measured = list(pool.map(_epoch_seconds, stages.values(), cycle(slots)))
        except BrokenProcessPool as error:
            raise DeviceError(
                "a process that measured died, most likely for want of memory; fewer --jobs need less"
            ) from error
    return [
        TimedEpochs(workload, evaluated, 1, duration)
        for workload, durations in zip(stages, measured, strict=True)
        for evaluated, duration in zip((False, True), durations, strict=True)
    ]


def random_images(info: DatasetInfo, count: int, device: torch.device, *, full_size: bool = False) -> Dataset:
    """Return a data set of `count` random images like those of the one that `info` describes, which need not be there.

    With `full_size`, it takes the memory of that data set, too, and has no larger split.
    """
    import torch

    from urfb.data.datasets import Dataset, Split

    channels, height, width = info.shape
    sizes = (info.training, info.validation, info.test)
    total = max(count, sum(sizes)) if full_size else count
    images = torch.ones((total, height, width, channels), dtype=torch.uint8, device=device)
    labels = torch.zeros(total, dtype=torch.int64, device=device)
    images[:count].random_(0, 256)
    labels[:count].random_(0, info.classes)
    split_sizes = [min(count, size) if full_size else count for size in sizes]
    return Dataset(info, *(Split(images[:size], labels[:size]) for size in split_sizes))


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return how long `work` takes, with all that it has launched on a GPU."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def peak_resident() -> int:
    """Return the most bytes that this process has had in memory."""
    status = Path("/proc/self/status")
    if status.exists():  # there, getrusage would count what the process that started this one had
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _stages(spec: RunSpec) -> list[Stage]:
    first = [Stage(spec, 1)] if spec.pretraining_epochs else []
    return [*first, Stage(spec, spec.pretraining_epochs + 1)]


def _workload(stage: Stage) -> Workload:
    return workloads(stage.spec)[stage.epoch > stage.spec.pretraining_epochs]


def _stages_by_likeness(spec: RunSpec) -> dict[tuple[Workload, int | None], Stage]:
    """Return a run's stages by what their memory depends on."""
    return {(_workload(stage), spec.gradient_batch): stage for stage in _stages(spec)}


def _send_peaks(pipe: Connection, stages: Sequence[Stage], device: str, free: int) -> None:
    """Measure stages one after the other in this new process."""
    import torch

    with output_to(Path(os.devnull)):
        limit_memory(torch.device(device), free)
        for stage in stages:
            try:
                peak = _peak(stage, torch.device(device))
            except USERS_ERRORS as error:
                peak = free + 1 if is_out_of_memory(error) else 0
            pipe.send(peak)


def limit_memory(device: torch.device, free: int) -> None:
    """Let an allocation fail beyond what is free, before the system ends this process, or another."""
    import torch

    if device.type == "cuda":
        fraction = min(free / torch.cuda.get_device_properties(device).total_memory, 1.0)
        torch.cuda.set_per_process_memory_fraction(fraction, device)
        return
    keep_freed_memory()
    if sys.platform == "linux":
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        limit = psutil.Process().memory_info().data + free
        if most == resource.RLIM_INFINITY or limit < most:
            resource.setrlimit(resource.RLIMIT_DATA, (limit, most))


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error, or what a user's model raised behind it, is a lack of memory."""
    import torch

    if isinstance(error, PluginError) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in OUT_OF_MEMORY)


def _peak(stage: Stage, device: torch.device) -> int:
    """Return the bytes that this process has had at most, after some steps, evaluations and measurements."""
    import torch

    from urfb.training.measurements import Measurements
    from urfb.training.networks import build_learner, build_network
    from urfb.training.passes import EVALUATION_BATCH, Passes

    spec, epoch = stage
    info, on_gpu = dataset_info(spec.dataset), device.type == "cuda"
    steps, evaluations = (BATCHES_ON_A_GPU, BATCHES_ON_A_GPU) if on_gpu else (BATCHES_ON_A_CPU, 1)
    count = max(steps * spec.batch_size, evaluations * EVALUATION_BATCH, spec.gradient_batch or 0)
    if on_gpu:
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    dataset = random_images(info, min(count, info.training), device, full_size=True)
    learner = build_learner(build_network(spec, info, epoch), spec).to(device)
    passes = Passes(learner, spec, dataset)
    Measurements(spec, dataset).alignment(learner, 0)
    passes.train(epoch)
    passes.evaluate("training")
    if on_gpu:  # where each split has a graph, with memory of its own
        passes.evaluate("validation")
        passes.evaluate("test")
    return torch.cuda.max_memory_reserved(device) if on_gpu else peak_resident()


def _epoch_seconds(stage: Stage, slot: Slot) -> tuple[float, float]:
    """Return the seconds of an epoch of a stage, without and with an evaluation of the training images."""
    import torch

    from urfb.training.networks import build_learner, build_network
    from urfb.training.passes import Passes

    spec, epoch = stage
    keep_freed_memory()
    torch.set_num_threads(slot.threads)
    device, info = torch.device(slot.device), dataset_info(spec.dataset)
    steps = STEPS_ON_A_GPU if device.type == "cuda" else STEPS_ON_A_CPU
    images = random_images(info, steps * spec.batch_size, device)
    try:
        passes = Passes(build_learner(build_network(spec, info, epoch), spec).to(device), spec, images)
        for _ in range(2):  # the first time, libraries choose their algorithms and GPUs make their graphs
            step = seconds(lambda: passes.train(epoch), device) / steps
            evaluation = seconds(lambda: passes.evaluate("training"), device) / (steps * spec.batch_size)
    except USERS_ERRORS as error:
        if not spec.import_paths:
            raise
        raise PluginError(f"{', '.join(spec.import_paths)}: cannot be measured ({described(error)})") from error
    without_evaluation = step * -(-info.training // spec.batch_size) + evaluation * info.validation
    return without_evaluation, without_evaluation + evaluation * info.training
