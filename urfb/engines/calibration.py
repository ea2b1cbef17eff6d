"""Times epochs from a few steps on random images: nothing is trained, fetched or stored."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import torch

from urfb.data.catalog import dataset_info
from urfb.data.datasets import Dataset, Split
from urfb.engines import Workplace
from urfb.engines.estimate import TimedEpochs, Workload, workloads
from urfb.engines.memory import keep_freed_memory
from urfb.errors import DeviceError, PluginError
from urfb.grid.spec import RunSpec
from urfb.learning.catalog import build_learner
from urfb.learning.networks import build_network
from urfb.training.passes import Passes

STEPS_ON_A_CPU, STEPS_ON_A_GPU = 3, 50


def measured_epochs(specs: Iterable[RunSpec], workplaces: Sequence[Workplace]) -> list[TimedEpochs]:
    """Measure each workload of some runs once, as many at a time as runs would be trained.

    Raises:
        DeviceError: a process died, for want of memory most likely.
        PluginError: a model or rule of the user's own failed.
    """
    unlike: dict[Workload, tuple[RunSpec, int]] = {}
    for spec in specs:
        first, last = workloads(spec)
        if spec.pretraining_epochs:
            unlike.setdefault(first, (spec, 1))
        unlike.setdefault(last, (spec, spec.pretraining_epochs + 1))
    places = [workplaces[number % len(workplaces)] for number in range(len(unlike))]
    # Workers leave Ctrl-C to the process that waits for them.
    with ProcessPoolExecutor(
        len(workplaces), multiprocessing.get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_IGN)
    ) as pool:
        try:
            measured = list(pool.map(_measure, unlike.values(), places))
        except BrokenProcessPool as error:
            raise DeviceError(
                "a process that measured died, most likely for want of memory; fewer --jobs need less"
            ) from error
    return [
        TimedEpochs(workload, looked, 1, took)
        for workload, both in zip(unlike, measured, strict=True)
        for looked, took in zip((False, True), both, strict=True)
    ]


def _measure(stage: tuple[RunSpec, int], workplace: Workplace) -> tuple[float, float]:
    """Return the seconds of an epoch of the stage that an epoch belongs to, without and with a look at all images."""
    spec, epoch = stage
    keep_freed_memory()
    torch.set_num_threads(workplace.threads)
    device, info = torch.device(workplace.device), dataset_info(spec.dataset)
    steps = STEPS_ON_A_GPU if device.type == "cuda" else STEPS_ON_A_CPU
    try:
        learner = build_learner(build_network(spec, info, epoch), spec).to(device)
        passes = Passes(learner, spec, random_images(spec, steps, device))
        for _ in range(2):  # the first time, libraries choose their algorithms and GPUs make their graphs
            step = seconds(lambda: passes.train(epoch), device) / steps
            look = seconds(lambda: passes.evaluate("training"), device) / (steps * spec.batch_size)
    except Exception as error:  # a user's module may raise anything
        if not spec.import_paths:
            raise
        raise PluginError(
            f"{', '.join(spec.import_paths)}: cannot be measured ({type(error).__name__}: {error})"
        ) from error
    without_look = step * -(-info.training // spec.batch_size) + look * info.validation
    return without_look, without_look + look * info.training


def random_images(spec: RunSpec, steps: int, device: torch.device) -> Dataset:
    """Return `steps` batches of images like the data set's, which need not be there."""
    info = dataset_info(spec.dataset)
    channels, height, width = info.shape
    count = steps * spec.batch_size
    images = torch.randint(0, 256, (count, height, width, channels), dtype=torch.uint8)
    labels = torch.randint(0, info.classes, (count,))
    split = Split(images.to(device), labels.to(device))
    return Dataset(info, split, split, split)


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return how long something takes, whatever it has launched on a GPU included."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began
