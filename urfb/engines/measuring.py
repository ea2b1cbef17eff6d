"""Measures the memory and the time per epoch of runs, from a few steps on random images."""

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
"""The number of training steps that are timed."""
BATCHES_ON_A_CPU, BATCHES_ON_A_GPU = 2, 5
"""The number of batches until a process has its largest size: on a GPU, the CUDA graph follows the first three."""
OUT_OF_MEMORY = ("out of memory", "allocate memory", "bad_alloc", "memory object")
"""Parts of the messages of RuntimeErrors from PyTorch and its libraries that report a lack of memory."""


class Stage(NamedTuple):
    """The stage of a run that `epoch` belongs to."""

    spec: RunSpec
    epoch: int


def measured_memory(
    specs: Sequence[RunSpec],
    measure: Callable[[Sequence[Stage]], Generator[int]],
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> list[int]:
    """Return the peak memory of each run's process, in bytes; runs that are alike are measured once.

    Args:
        specs: the runs to measure.
        measure: a function that yields the bytes of each stage, such as `peaks`.
        watch: a function that is called before the first stage and after each, with the number of measured stages and
            the number of all stages.
    """
    by_run = [_stages_by_likeness(spec) for spec in specs]
    stages = {key: stage for run_stages in by_run for key, stage in run_stages.items()}
    sizes = []
    watch(0, len(stages))
    with closing(measure(list(stages.values()))) as measured:  # so that no process is left if `watch` raises
        for size in measured:
            sizes.append(size)
            watch(len(sizes), len(stages))
    size_of = dict(zip(stages, sizes, strict=True))
    return [max(size_of[key] for key in run_stages) for run_stages in by_run]


def peaks(
    stages: Sequence[Stage], device: str, free: int, *, stop: Callable[[], bool] = lambda: False
) -> Generator[int]:
    """Yield the peak memory of each stage's process on a device of this machine, in bytes.

    A stage that runs out of memory counts as more than `free`. A stage that fails otherwise counts as 0, because
    training will report the error. On the CPU, each stage has its own process, so that the sizes are independent.

    Args:
        stages: the stages to measure.
        device: the device, such as 'cpu' or 'cuda:0'.
        free: the largest memory that a process may take, in bytes.
        stop: a function that is called repeatedly and returns whether to stop.

    Raises:
        KeyboardInterrupt: `stop` returned True.
    """

    def size_of_dead(stage: Stage, exit_code: int | None) -> int:
        return free + 1 if exit_code == -signal.SIGKILL else 0  # the system kills a process when memory runs out

    for some in [stages] if device != "cpu" else [[stage] for stage in stages]:
        yield from answers(_send_peaks, some, device, free, dead=size_of_dead, stop=stop)


def measured_epochs(specs: Iterable[RunSpec], slots: Sequence[Slot]) -> list[TimedEpochs]:
    """Time each workload of some runs once, with a process for each slot, as in training.

    Raises:
        DeviceError: a process crashed, most likely because memory ran out.
        PluginError: a custom model or rule failed.
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
                "a process that measured a run crashed, most likely because memory ran out; fewer --jobs need less"
            ) from error
    return [
        TimedEpochs(workload, evaluated, 1, duration)
        for workload, durations in zip(stages, measured, strict=True)
        for evaluated, duration in zip((False, True), durations, strict=True)
    ]


def random_images(info: DatasetInfo, count: int, device: torch.device, *, full_size: bool = False) -> Dataset:
    """Return a data set of random images in the format of another data set, whose files are not needed.

    Args:
        info: the data set to imitate.
        count: the number of images in each split.
        device: the device for the images.
        full_size: whether to allocate the memory of the whole data set and make no split larger than its original.
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
    """Return how many seconds `work` takes, including all work that it launches on a GPU."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def peak_resident() -> int:
    """Return the peak memory of this process, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # on Linux, getrusage would include the peak of the parent process
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _stages(spec: RunSpec) -> list[Stage]:
    first = [Stage(spec, 1)] if spec.pretraining_epochs else []
    return [*first, Stage(spec, spec.pretraining_epochs + 1)]


def _workload(stage: Stage) -> Workload:
    return workloads(stage.spec)[stage.epoch > stage.spec.pretraining_epochs]


def _stages_by_likeness(spec: RunSpec) -> dict[tuple[Workload, int | None], Stage]:
    """Return a run's stages by the values that their memory depends on."""
    return {(_workload(stage), spec.gradient_batch): stage for stage in _stages(spec)}


def _send_peaks(pipe: Connection, stages: Sequence[Stage], device: str, free: int) -> None:
    """Measure stages one after another in this child process, and send the peak of each."""
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
    """Make allocations beyond the free bytes fail, before the system kills this process or another one."""
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
    """Return whether an error, or the error of a custom model that caused it, is a lack of memory."""
    import torch

    if isinstance(error, PluginError) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in OUT_OF_MEMORY)


def _peak(stage: Stage, device: torch.device) -> int:
    """Return the peak memory of this process in bytes, after some steps, evaluations and measurements."""
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
    if on_gpu:  # each split has its own CUDA graph, which takes memory
        passes.evaluate("validation")
        passes.evaluate("test")
    return torch.cuda.max_memory_reserved(device) if on_gpu else peak_resident()


def _epoch_seconds(stage: Stage, slot: Slot) -> tuple[float, float]:
    """Return the seconds of an epoch of a stage without and with an evaluation of the training images."""
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
        for _ in range(2):  # in the first round, libraries choose algorithms and CUDA graphs are recorded
            step = seconds(lambda: passes.train(epoch), device) / steps
            evaluation = seconds(lambda: passes.evaluate("training"), device) / (steps * spec.batch_size)
    except USERS_ERRORS as error:
        if not spec.import_paths:
            raise
        raise PluginError(f"{', '.join(spec.import_paths)}: cannot be measured ({described(error)})") from error
    without_evaluation = step * -(-info.training // spec.batch_size) + evaluation * info.validation
    return without_evaluation, without_evaluation + evaluation * info.training
