"""The simplest engine: one run at a time, in this very process. For debugging and for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from urfb.engines import Job, Slot
from urfb.engines.worker import execute
from urfb.events import END, Event


class InlineEngine:
    """Trains one job at a time in this process, an event for each poll."""

    def __init__(self, slot: Slot, stop: Callable[[], bool] = lambda: False) -> None:
        """Train with what the slot has; `stop` is asked while a job is trained, when nobody can call `end_jobs`."""
        self._slot, self._stop = slot, stop
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
        self._events = execute(job, self._slot, lambda: self._stopping or self._stop())

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

    def end_jobs(self) -> None:
        """Let the job at hand end after the batch that it is at."""
        self._stopping = True

    def close(self) -> None:
        """Drop the job at hand."""
        self._events = None
