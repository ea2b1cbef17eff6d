"""The work on one job: trains the run, writes its log, and turns any error into an event."""

from __future__ import annotations

import gc
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from urfb.engines import Job, Slot
from urfb.engines.memory import keep_freed_memory
from urfb.errors import counted
from urfb.events import EpochEnded, Event, Failed, Finished, Started, Stopped
from urfb.plugins import USERS_ERRORS, described

if TYPE_CHECKING:
    from urfb.data.datasets import Dataset

log = logging.getLogger(__name__)


def execute(job: Job, slot: Slot, stop: Callable[[], bool] = lambda: False) -> Iterator[Event]:
    """Train a job's run, write its log, and yield its events; the last is `Finished`, `Stopped` or `Failed`.

    Args:
        job: the job.
        slot: the worker's resources.
        stop: a function that is called after each batch and returns whether to end there.
    """
    import torch

    from urfb.training.trainer import train

    try:
        with _logging_to(log_of(job, slot)):
            keep_freed_memory()
            torch.set_num_threads(job.threads or slot.threads)
            torch.backends.cudnn.deterministic = True
            dataset = _dataset(job.spec.dataset, slot.data, slot.device)
            for event in train(
                job.spec,
                dataset,
                slot.checkpoints,
                # The checkpoints of a run that this store has never trained belong to an earlier store at this path.
                epochs_stored=job.epochs_stored if job.threads is not None or job.epochs_stored else -1,
                device=slot.device,
                seconds_between_checkpoints=slot.seconds_between_checkpoints,
                log=log_of(job, slot),
                stop=stop,
            ):
                _log_event(event, job)
                yield event
    except USERS_ERRORS as error:  # any error is this run's failure; the other runs continue
        yield Failed(described(error), traceback.format_exc())
        del error
        # Tensors of a run that ran out of memory would otherwise stay until the next garbage collection.
        gc.collect()
        torch.cuda.empty_cache()


def log_of(job: Job, slot: Slot) -> Path:
    """Return the path of a run's log, to which each attempt appends."""
    return slot.logs / f"{job.spec.identity}.log"


@contextmanager
def output_to(path: Path) -> Iterator[None]:
    """Append everything that this process and its libraries print in the context to a file.

    This redirects the whole process, so it must train one job at a time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    duplicates = [os.dup(stream) for stream in (1, 2)]
    with path.open("ab") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for stream, duplicate in zip((1, 2), duplicates, strict=True):
            os.dup2(duplicate, stream)
            os.close(duplicate)


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Append the log messages of urfb and Python's warnings in the context to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S%z"))
    logger = logging.getLogger("urfb")
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    except USERS_ERRORS:
        log.exception("failed")
        raise
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
        handler.close()


def _log_event(event: Event, job: Job) -> None:
    """Write an event to the log."""
    match event:
        case Started(epochs_done, where, steps_done=steps_done):
            log.info("run %s: %s", job.spec.identity, job.spec.model_dump_json(exclude_defaults=True))
            log.info(
                "begins after epoch %d of %d%s, process %d on %s, %s, %s, urfb %s %s, PyTorch %s",
                epochs_done, job.spec.epochs, f" and {counted(steps_done, 'step')}" * (steps_done > 0), where.process,
                where.host, where.device_name, counted(where.threads, "CPU thread"),
                where.urfb_version, where.commit or "", where.torch_version,
            )  # fmt: skip
        case EpochEnded() if event.seconds > 1 or event.epoch % 10 == 0:  # keep the logs of fast runs short
            log.info(
                "epoch %d: loss %.4f, error %.4f running, %.4f validation, %.2f s",
                event.epoch, event.running_loss, event.running_error, event.validation_error, event.seconds,
            )  # fmt: skip
        case Finished():
            log.info("done after %d epochs: test error %.4f", event.epoch, event.test_error)
        case Stopped():
            log.info("stopped on request, with a checkpoint")


@lru_cache(maxsize=1)
def _dataset(name: str, directory: Path, device: str) -> Dataset:
    """Load a data set once for consecutive runs on it in this process."""
    from urfb.data.datasets import load

    return load(name, directory, device)
