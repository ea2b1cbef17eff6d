"""Gives the runs that are missing to an engine, and stores what it tells. The one process of a runner that writes."""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

from urfb.engines import Engine, Job
from urfb.errors import StoreError
from urfb.events import Event, Failed, Finished
from urfb.grid.spec import RunSpec
from urfb.store import LEASE_SECONDS, WritableStore

POLL_SECONDS = 1.0


class Observer(Protocol):
    """Watches a grid being run."""

    def told(self, spec: RunSpec, event: Event) -> None:
        """A run has told something, and it is stored."""

    def waiting(self, specs: Sequence[RunSpec]) -> None:
        """Only runs that another runner trains are left."""


@dataclass
class Outcome:
    """How many runs this runner finished, and how many failed."""

    done: int = 0
    failed: int = 0


def run_missing(specs: Sequence[RunSpec], store: WritableStore, engine: Engine, observer: Observer) -> Outcome:
    """Train the runs, each unless another runner has it, and wait for those that another runner has.

    Whatever ends this, every run it had begun and not finished is given back as unfinished.

    Raises:
        StoreError: the store cannot be written any more.
    """
    outcome = Outcome()
    waiting = deque(specs)
    elsewhere: list[RunSpec] = []
    at_work: dict[str, RunSpec] = {}
    with _heartbeat(store):
        try:
            while waiting or elsewhere or at_work:
                while waiting and engine.room:
                    _begin(waiting.popleft(), at_work, elsewhere, store, engine)
                if at_work:
                    for identity, event in engine.poll(POLL_SECONDS):
                        if not store.record(identity, event):
                            # Suspended for longer than its lease, this process has lost the run to another.
                            engine.drop(identity)
                            elsewhere.append(at_work.pop(identity))
                            continue
                        observer.told(at_work[identity], event)
                        if isinstance(event, (Finished, Failed)):
                            del at_work[identity]
                            outcome.done += isinstance(event, Finished)
                            outcome.failed += isinstance(event, Failed)
                elif elsewhere:
                    observer.waiting(elsewhere)
                    time.sleep(POLL_SECONDS)
                if not waiting and elsewhere and engine.room:
                    states = store.progress()
                    waiting.extend(spec for spec in elsewhere if states[spec.identity][0] != "running")
                    elsewhere = [spec for spec in elsewhere if states[spec.identity][0] == "running"]
        finally:
            with _undisturbed():
                engine.close()
                store.release("the runner stopped")
    return outcome


def _begin(
    spec: RunSpec, at_work: dict[str, RunSpec], elsewhere: list[RunSpec], store: WritableStore, engine: Engine
) -> None:
    """Give a run to the engine, unless another runner trains it or has finished it by now."""
    state, epochs_stored = store.claim(spec)
    if state == "elsewhere":
        elsewhere.append(spec)
    elif state == "claimed":
        # A target nearer than what is stored deletes nothing: the run ends where it is.
        job = Job(spec.model_copy(update={"epochs": max(spec.epochs, epochs_stored)}), epochs_stored)
        at_work[spec.identity] = job.spec
        engine.submit(job)


@contextmanager
def _heartbeat(store: WritableStore) -> Iterator[None]:
    """Renew this runner's leases, however long an epoch or a poll takes."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(LEASE_SECONDS / 4):
            # A store that cannot be written any more is noticed, and told, where events are recorded.
            with suppress(StoreError):
                store.renew_leases()

    thread = threading.Thread(target=beat, name="lease renewal", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let no second Ctrl-C keep this process from giving back its runs."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
