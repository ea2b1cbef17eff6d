"""Engines train runs: in this process, in worker processes on this machine, or on the machines of a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from urfb.events import Event
from urfb.grid.spec import RunSpec


@dataclass(frozen=True)
class Job:
    """A run to train.

    Attributes:
        spec: the run's spec.
        epochs_stored: the number of the run's stored epochs.
        threads: the number of CPU threads that last trained the run, because another number changes the last bits of
            the results; None if it was never trained.
    """

    spec: RunSpec
    epochs_stored: int
    threads: int | None = None


@dataclass(frozen=True)
class Slot:
    """The resources of one worker: folders, a device such as 'cpu' or 'cuda:0', and a number of CPU threads."""

    data: Path
    checkpoints: Path
    logs: Path
    device: str
    threads: int
    seconds_between_checkpoints: float = 60.0


class Engine(Protocol):
    """Trains jobs and returns their events. An engine does not use a store.

    Each submitted job ends with exactly one event of `urfb.events.END`, even if its worker crashes; only a dropped job
    ends without one.
    """

    @property
    def room(self) -> int:
        """How many more jobs can be submitted now."""

    def submit(self, job: Job) -> None:
        """Begin a job; call this only if there is room."""

    def poll(self, seconds: float) -> Iterable[tuple[str, Event]]:
        """Wait up to `seconds` for events or for room; return the events with the identities of their runs."""

    def drop(self, identity: str) -> None:
        """Stop training a submitted run; it sends no further events."""

    def end_jobs(self) -> None:
        """Let every job end after its current batch, with a checkpoint: with `Stopped`, or an earlier end."""

    def close(self) -> None:
        """Stop all jobs and workers."""
