"""The simplest engine: one run at a time, in this very process. For debugging and for tests."""

from __future__ import annotations

from collections.abc import Iterator

from urfb.engines import Job, Slot
from urfb.engines.worker import execute
from urfb.events import END, Event


class InlineEngine:
    """Trains one job at a time in this process, an event for each poll."""

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        self._identity = ""
        self._events: Iterator[Event] | None = None
        self._stopping = False

    @property
    def room(self) -> int:
        """How many more jobs can be submitted now."""
        return int(self._events is None)

    def submit(self, job: Job) -> None:
        """Begin a job."""
        self._identity, self._stopping = job.spec.identity, False
        self._events = execute(job, self._slot, lambda: self._stopping)

    def poll(self, seconds: float) -> list[tuple[str, Event]]:
        """Train up to the next event and return it, however long that takes."""
        if self._events is None:
            return []
        event = next(self._events)
        if isinstance(event, END):
            self._events = None
        return [(self._identity, event)]

    def drop(self, identity: str) -> None:
        """Stop training a run."""
        self._events = None

    def finish_epochs(self) -> None:
        """Let the job at hand end with its epoch."""
        self._stopping = True

    def close(self) -> None:
        """Drop the job at hand."""
        self._events = None
