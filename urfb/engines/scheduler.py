"""Gives missing runs to an engine and stores their events. Only this process of a runner writes to the store."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol

from urfb.engines import Engine, Job
from urfb.engines.signals import STOPPING, ignored
from urfb.errors import StoreError
from urfb.events import END, EpochEnded, Event, Failed, Finished, Lost, Stopped
from urfb.grid.spec import RunSpec
from urfb.store import WritableStore
from urfb.store.liveness import LEASE_SECONDS

POLL_SECONDS = 1.0
LOSSES = 3
"""A run fails if so many of its workers die in a row before an epoch ends, because the run must be the cause."""


class Observer(Protocol):
    """Receives notices while a grid runs."""

    def recorded(self, spec: RunSpec, event: Event) -> None:
        """Receive an event of a run that has been stored."""

    def dropped(self, spec: RunSpec) -> None:
        """Receive a run that this runner has lost: it was cancelled or removed, or another runner has it."""

    def waiting(self, specs: Sequence[RunSpec]) -> None:
        """Receive the remaining runs, which other runners are training."""

    def stopping(self) -> None:
        """Receive the notice that the runs in training end now, each with a checkpoint."""


@dataclass
class Outcome:
    """The outcome of a runner: how many runs are done, how many failed, and how many were left because it stopped."""

    done: int = 0
    failed: int = 0
    left: int = 0


def run_missing(
    specs: Sequence[RunSpec],
    store: WritableStore,
    engine: Engine,
    observer: Observer,
    *,
    fail_fast: bool = False,
    cancelled: bool = False,
    discard: Callable[[RunSpec], object] = lambda spec: None,
    stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Train runs, except those that another runner trains, and wait for the others' runs.

    However this ends, all runs that it began and did not finish are released as unfinished.

    Args:
        specs: the runs to train.
        store: the store for the results.
        engine: the engine that trains the runs; it is closed at the end.
        observer: the object that receives notices of what happens.
        fail_fast: whether to stop after the first run that fails.
        cancelled: whether to train cancelled runs.
        discard: a function that is called with each run that is done, to remove its checkpoints.
        stop: a function that is called repeatedly and returns whether to stop; then every run saves a checkpoint.

    Raises:
        StoreError: the store can no longer be written, or its file was moved, replaced or deleted.
    """
    runner = _Runner(store, engine, observer, discard, cancelled, store.failures(), deque(specs))
    with _heartbeat(store):
        try:
            while runner.queue or runner.elsewhere or runner.running:
                if not runner.is_stopping and (stop() or (fail_fast and runner.outcome.failed)):
                    runner.stop()
                runner.start_runs()
                if runner.running or not engine.room:
                    runner.store_events()
                elif runner.elsewhere:
                    observer.waiting(runner.elsewhere)
                    time.sleep(POLL_SECONDS)
            store.verify()
        finally:
            # A further Ctrl-C must not prevent the release, and a second error must not hide the first.
            with ignored(*STOPPING), suppress(StoreError):
                engine.close()
                store.release("the runner stopped")
    return runner.outcome


@dataclass
class _Runner:
    """The runs in the queue, in training here, and in training by another runner."""

    store: WritableStore
    engine: Engine
    observer: Observer
    discard: Callable[[RunSpec], object]
    cancelled: bool
    failures: dict[str, int]
    queue: deque[RunSpec]
    elsewhere: list[RunSpec] = field(default_factory=list)
    running: dict[str, RunSpec] = field(default_factory=dict)
    losses: Counter[str] = field(default_factory=Counter)
    tried: set[str] = field(default_factory=set)
    outcome: Outcome = field(default_factory=Outcome)
    is_stopping: bool = False
    polled_at: float = 0.0

    def stop(self) -> None:
        self.is_stopping = True
        self.outcome.left = len(self.queue) + len(self.elsewhere)
        if self.running or self.elsewhere:
            self.observer.stopping()
        self.queue.clear()
        self.elsewhere.clear()
        self.engine.end_jobs()

    def start_runs(self) -> None:
        while self.queue and self.engine.room:
            self._begin(self.queue.popleft())
        if not self.queue and self.elsewhere and self.engine.room and time.monotonic() - self.polled_at >= POLL_SECONDS:
            self.polled_at = time.monotonic()
            running = {identity for identity, (state, _) in self.store.progress().items() if state == "running"}
            self.queue.extend(spec for spec in self.elsewhere if spec.identity not in running)
            self.elsewhere = [spec for spec in self.elsewhere if spec.identity in running]

    def _begin(self, spec: RunSpec) -> None:
        """Give a run to the engine, unless another runner trains it or has finished it."""
        # A run that is cancelled after this runner has tried it stays cancelled.
        cancelled = self.cancelled and spec.identity not in self.tried
        self.tried.add(spec.identity)
        claim = self.store.claim(spec, cancelled=cancelled, failures=self.failures.get(spec.identity, 0))
        if claim.outcome == "elsewhere":
            self.elsewhere.append(spec)
        elif claim.outcome == "failed":  # it has failed in another runner since this one began
            self.outcome.failed += 1
        elif claim.outcome == "removed":
            self.observer.dropped(spec)
        elif claim.outcome == "claimed":
            # A target below the stored epochs deletes nothing: the run ends where it is.
            wanted = spec.model_copy(update={"epochs": max(spec.epochs, claim.epochs_done)})
            self.running[spec.identity] = wanted
            self.engine.submit(Job(wanted, claim.epochs_done, claim.threads))

    def store_events(self) -> None:
        for identity, event in self.engine.poll(POLL_SECONDS):
            spec = self.running[identity]
            if isinstance(event, Lost):
                self.losses[identity] += 1
                if self.losses[identity] == LOSSES:
                    event = Failed(f"{event.reason}, {LOSSES} times in a row", "")
            elif isinstance(event, EpochEnded):
                self.losses.pop(identity, None)
            if not self.store.record(identity, event):
                # The run was cancelled or removed, or this process was suspended for longer than its lease and another
                # runner has claimed the run.
                if not isinstance(event, END):
                    self.engine.drop(identity)
                del self.running[identity]
                self.observer.dropped(spec)
                if identity in self.store.progress():
                    self._keep(spec, self.elsewhere)
                continue
            self.observer.recorded(spec, event)
            if isinstance(event, END):
                del self.running[identity]
                self.outcome.done += isinstance(event, Finished)
                self.outcome.failed += isinstance(event, Failed)
                if isinstance(event, Finished):
                    self.discard(spec)
                self.outcome.left += isinstance(event, Stopped)
                if isinstance(event, Lost):
                    self._keep(spec, self.queue)

    def _keep(self, spec: RunSpec, runs: deque[RunSpec] | list[RunSpec]) -> None:
        """Keep a run that has not ended for later, unless the runner is stopping."""
        if self.is_stopping:
            self.outcome.left += 1
        else:
            runs.append(spec)


@contextmanager
def _heartbeat(store: WritableStore) -> Iterator[None]:
    """Renew this runner's leases in a thread, because an epoch or a poll may take longer than a lease."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(LEASE_SECONDS / 4):
            # If the store can no longer be written, recording an event will report it.
            with suppress(StoreError):
                store.renew_leases()

    thread = threading.Thread(target=beat, name="lease renewal", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
