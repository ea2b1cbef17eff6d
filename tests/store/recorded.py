"""The events of a run, without training."""

from __future__ import annotations

import numpy as np

from urfb.events import AlignmentPoint, EpochEnded, Finished, Provenance, SavedFilters, Started
from urfb.grid.expand import GridRun
from urfb.store import WritableStore

PROVENANCE = Provenance("host", 1, "cpu", "a processor", 2, "/logs/run.log", "0.1.0", "abc", "3.11", "2.15")


def epoch(number: int, error: float = 0.5) -> EpochEnded:
    point = AlignmentPoint(number * 26, number, 1, "Conv 4 3x3", 0.25, 0.5)
    return EpochEnded(number, 1.0, 0.6, 0.9, error, 0.95, error + 0.1, 1.5, (point,), filters(number))


def filters(epoch: int) -> tuple[SavedFilters, ...]:
    weights = np.arange(36, dtype="<f4") + epoch
    return tuple(SavedFilters(epoch, 1, row, 2, (2, 3, 3, 2), (weights + row).tobytes()) for row in (2, 6))


def started(epochs_done: int = 0) -> Started:
    point = AlignmentPoint(0, 0.0, 1, "Conv 4 3x3", 0.0, float("nan"))
    return Started(epochs_done, PROVENANCE, *(((point,), filters(0)) if epochs_done == 0 else ()))


def finish(store: WritableStore, run: GridRun, epochs: int = 2, error: float = 0.5) -> None:
    store.claim(run.spec)
    for event in (started(), *(epoch(number, error) for number in range(1, epochs + 1)), Finished(epochs, 1.0, 0.25)):
        store.record(run.spec.identity, event)
