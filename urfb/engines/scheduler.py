"""Gives the runs that are missing to an engine, and stores their events. The one process of a runner that writes."""

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
"""A run whose workers have died so often without an epoch between is what kills them, and fails."""


class Observer(Protocol):
    """Watches a grid being run."""

    def recorded(self, spec: RunSpec, event: Event) -> None:
        """An event of a run is stored."""

    def dropped(self, spec: RunSpec) -> None:
        """A run is no longer this runner's: it was cancelled or removed, or another runner has it."""

    def waiting(self, specs: Sequence[RunSpec]) -> None:
        """Only runs that another runner trains are left."""

    def stopping(self) -> None:
        """The runs that are being trained end now, each with a checkpoint."""


@dataclass
class Outcome:
    """What a runner did: how many runs it finished, how many failed, and how many it left when it was asked to stop."""

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
    """Train the runs, each unless another runner has it, and wait for those that another runner has.

    Whatever ends this, every run it had begun and not finished is given back as unfinished.

    Args:
        specs: of the runs.
        store: of the results.
        engine: trains them; it is closed at the end.
        observer: is called when something happens.
        fail_fast: whether to stop after the first run that fails.
        cancelled: whether to train runs that were cancelled.
        discard: what to do with the checkpoints of a run that is done.
        stop: is asked repeatedly whether to stop: every run then ends, with a checkpoint.

    Raises:
        StoreError: the store cannot be written any more, or its file was moved, replaced or deleted.
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
            # No further Ctrl-C keeps the runs from being given back, and no second error hides the first.
            with ignored(*STOPPING), suppress(StoreError):
                engine.close()
                store.release("the runner stopped")
    return runner.outcome


@dataclass
class _Runner:
    """The runs that wait, that are being trained here, and that another runner trains."""

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
        """Give a run to the engine, unless another runner trains it, or has finished it by now."""
        # One that is cancelled from now on stays so.
        cancelled = self.cancelled and spec.identity not in self.tried
        self.tried.add(spec.identity)
        claim = self.store.claim(spec, cancelled=cancelled, failures=self.failures.get(spec.identity, 0))
        if claim.outcome == "elsewhere":
            self.elsewhere.append(spec)
        elif claim.outcome == "failed":  # for another runner, since this one began
            self.outcome.failed += 1
        elif claim.outcome == "removed":
            self.observer.dropped(spec)
        elif claim.outcome == "claimed":
            # A target nearer than what is stored deletes nothing: the run ends where it is.
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
                # Suspended for longer than its lease, this process has lost the run to another; or the run was
                # cancelled or removed.
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
        """Keep a run that has not ended for later, unless the runner is to stop."""
        if self.is_stopping:
            self.outcome.left += 1
        else:
            runs.append(spec)


@contextmanager
def _heartbeat(store: WritableStore) -> Iterator[None]:
    """Renew this runner's leases, however long an epoch or a poll takes."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(LEASE_SECONDS / 4):
            # A store that cannot be written any more is noticed, and reported, where events are recorded.
            with suppress(StoreError):
                store.renew_leases()

    thread = threading.Thread(target=beat, name="lease renewal", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
