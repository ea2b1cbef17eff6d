"""Where runs are trained: in this process, in warm worker processes next to it, or on many machines."""

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
        spec: the run.
        epochs_stored: how many of its epochs the store has.
        threads: of the CPU, with which it was last trained; another number would change the last bits of the rest.
    """

    spec: RunSpec
    epochs_stored: int
    threads: int | None = None


@dataclass(frozen=True)
class Slot:
    """What a worker works with: folders, a device such as 'cpu' or 'cuda:0', and CPU threads."""

    data: Path
    checkpoints: Path
    logs: Path
    device: str
    threads: int
    seconds_between_checkpoints: float = 60.0


class Engine(Protocol):
    """Trains jobs and returns their events; it knows no store.

    Each job submitted ends with exactly one of `urfb.events.END`, whatever happens to the worker that has it; a job
    that is dropped ends without.
    """

    @property
    def room(self) -> int:
        """How many more jobs can be submitted now."""

    def submit(self, job: Job) -> None:
        """Begin a job; only where there is room."""

    def poll(self, seconds: float) -> Iterable[tuple[str, Event]]:
        """Wait up to `seconds` for events, or for room, and return the events with the identities of their runs."""

    def drop(self, identity: str) -> None:
        """Stop training a run that was submitted; it has no further events."""

    def end_jobs(self) -> None:
        """Let every job end after the batch that it is at, with a checkpoint: with `Stopped`, or what comes first."""

    def close(self) -> None:
        """Stop everything that runs."""
