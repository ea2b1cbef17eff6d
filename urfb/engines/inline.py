"""The simplest engine, for debugging and tests: trains one run at a time in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from urfb.engines import Job, Slot
from urfb.engines.worker import execute
from urfb.events import END, Event


class InlineEngine:
    """Trains one job at a time in this process, up to the next event in each poll."""

    def __init__(self, slot: Slot, stop: Callable[[], bool] = lambda: False) -> None:
        """Create the engine.

        Args:
            slot: the resources to train with.
            stop: a function that returns whether to end the job; it is called during training, when `end_jobs` cannot
                be.
        """
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
        """Let the current job end after its current batch."""
        self._stopping = True

    def close(self) -> None:
        """Drop the current job."""
        self._events = None
