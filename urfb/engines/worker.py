"""What a worker does with a job: train it, and turn whatever goes wrong into an event."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from urfb.engines import Job, Workplace
from urfb.engines.memory import keep_freed_memory
from urfb.events import Event, Failed

if TYPE_CHECKING:
    from urfb.data.datasets import Dataset


def execute(job: Job, workplace: Workplace) -> Iterator[Event]:
    """Train a job's run; the last event is `Finished` or `Failed`."""
    import torch

    from urfb.training.trainer import train

    try:
        keep_freed_memory()
        torch.set_num_threads(workplace.threads)
        torch.backends.cudnn.deterministic = True
        dataset = _dataset(job.spec.dataset, workplace.data, workplace.device)
        yield from train(
            job.spec,
            dataset,
            workplace.checkpoints,
            epochs_stored=job.epochs_stored,
            device=workplace.device,
        )
    except Exception as error:  # whatever it is, it is this run's failure, and the others go on
        yield Failed(f"{type(error).__name__}: {error}".splitlines()[0], traceback.format_exc())
        del error
        # Tensors of a run that ran out of memory would otherwise stay until the next garbage collection.
        gc.collect()
        torch.cuda.empty_cache()


@lru_cache(maxsize=1)
def _dataset(name: str, directory: Path, device: str) -> Dataset:
    """Load a data set once for all the runs on it that follow each other in this process."""
    from urfb.data.datasets import load

    return load(name, directory, device)
