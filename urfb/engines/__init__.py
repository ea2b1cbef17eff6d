"""Where runs are trained: in this process, or in warm worker processes beside it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from urfb.events import Event
from urfb.grid.spec import RunSpec


@dataclass(frozen=True)
class Job:
    """A run to train, and how many of its epochs the store has."""

    spec: RunSpec
    epochs_stored: int


@dataclass(frozen=True)
class Workplace:
    """What a worker works with: folders, a device such as 'cpu' or 'cuda:0', and CPU threads."""

    data: Path
    checkpoints: Path
    device: str
    threads: int


class Engine(Protocol):
    """Trains jobs and tells what becomes of them; it knows no store.

    Each job submitted ends with exactly one `Finished` or `Failed`, whatever happens to the worker that has it; a job
    that is dropped ends without.
    """

    @property
    def room(self) -> int:
        """How many more jobs can be submitted now."""

    @property
    def busy(self) -> bool:
        """Whether a job that was submitted has not ended yet."""

    def submit(self, job: Job) -> None:
        """Begin a job; only where there is room."""

    def poll(self, seconds: float) -> Iterable[tuple[str, Event]]:
        """Wait up to `seconds` for events, and return them with the identities of their runs."""

    def drop(self, identity: str) -> None:
        """Stop training a run that was submitted; no more is told of it."""

    def close(self) -> None:
        """Stop everything that runs."""
