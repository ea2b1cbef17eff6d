"""Trains jobs in worker processes on this machine, each with a device or a share of the CPU."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
from collections.abc import Callable, Sequence
from multiprocessing import connection as pipes
from multiprocessing.connection import Connection

from urfb.engines import Job, Slot
from urfb.engines.processes import cause_of_death, start_process
from urfb.engines.worker import execute, log_of, output_to
from urfb.events import END, Event, Lost

END_JOB = "end the job"
"""The message that asks a worker to end its job after the current batch."""
ASK_SECONDS = 0.1
"""The time between two checks of a worker for a message, because a check takes as long as a small network's batch."""


class LocalEngine:
    """Trains as many jobs at the same time as it has slots.

    Workers stay alive from job to job, so that they import torch and load data only once. A worker that crashes loses
    its job, and a new worker replaces it.
    """

    def __init__(self, slots: Sequence[Slot]) -> None:
        """Use one worker for each slot; they start with their first jobs."""
        self._workers = [_Worker(slot) for slot in slots]

    @property
    def room(self) -> int:
        """How many more jobs can be submitted now."""
        return sum(worker.identity is None for worker in self._workers)

    def submit(self, job: Job) -> None:
        """Give a job to a worker that has none."""
        next(worker for worker in self._workers if worker.identity is None).begin(job)

    def poll(self, seconds: float) -> list[tuple[str, Event]]:
        """Wait for the next event of any worker."""
        busy = {worker.pipe: worker for worker in self._workers if worker.identity is not None}
        readable = pipes.wait([pipe for pipe in busy if pipe is not None], timeout=seconds)
        return [busy[pipe].receive() for pipe in readable if isinstance(pipe, Connection)]

    def drop(self, identity: str) -> None:
        """Stop training a run; it sends no further events."""
        next(worker for worker in self._workers if worker.identity == identity).stop()

    def end_jobs(self) -> None:
        """Let every job end after its current batch."""
        for worker in self._workers:
            if worker.identity is not None:
                worker.send(END_JOB)

    def close(self) -> None:
        """Stop all workers at once; epochs that they have not sent are trained again from a checkpoint."""
        for worker in self._workers:
            worker.stop()


class _Worker:
    """One process and the pipe to it."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.identity: str | None = None
        self.pipe: Connection | None = None
        self._process: multiprocessing.process.BaseProcess | None = None

    def begin(self, job: Job) -> None:
        if self._process is None or not self._process.is_alive():
            self._process, self.pipe = start_process(_serve, self.slot)
        self.identity = job.spec.identity
        self.send(job)

    def send(self, message: Job | str) -> None:
        assert self.pipe is not None
        # If the worker has just died, receive() finds the pipe closed.
        with contextlib.suppress(OSError):
            self.pipe.send(message)

    def receive(self) -> tuple[str, Event]:
        assert self.identity is not None
        assert self.pipe is not None
        assert self._process is not None
        identity = self.identity
        try:
            event: Event = self.pipe.recv()
        except (EOFError, OSError):
            self._process.join(timeout=5)
            event = Lost(f"the worker process died ({cause_of_death(self._process.exitcode)})")
            self.stop()
        if isinstance(event, END):
            self.identity = None
        return identity, event

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self.pipe is not None:
            self.pipe.close()
        self._process, self.pipe, self.identity = None, None, None


def _serve(pipe: Connection, slot: Slot) -> None:
    """Train jobs until the runner closes the pipe."""
    # A batch system may send SIGTERM to every process, but only the runner may stop its workers.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        while True:
            message: Job | str = pipe.recv()
            # A message during a job asks for the job's end. It is read and ignored here after the job.
            if isinstance(message, Job):
                with output_to(log_of(message, slot)):
                    for event in execute(message, slot, _seldom(pipe.poll)):
                        pipe.send(event)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _seldom(ask: Callable[[], bool]) -> Callable[[], bool]:
    """Return a function that calls `ask` at most every `ASK_SECONDS`, and returns False in between."""
    asked_at = 0.0

    def asked() -> bool:
        nonlocal asked_at
        if time.monotonic() - asked_at < ASK_SECONDS:
            return False
        asked_at = time.monotonic()
        return ask()

    return asked
