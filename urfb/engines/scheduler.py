"""Gives the runs that are missing to an engine, and stores what it tells. The one process of a runner that writes."""

from __future__ import annotations

import threading
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
    at_work: dict[str, RunSpec] = {}
    with _heartbeat(store):
        try:
            while waiting or at_work:
                _submit(waiting, at_work, store, engine)
                if not at_work:
                    observer.waiting(list(waiting))
                    threading.Event().wait(POLL_SECONDS)
                for identity, event in engine.poll(POLL_SECONDS):
                    store.record(identity, event)
                    observer.told(at_work[identity], event)
                    if isinstance(event, (Finished, Failed)):
                        del at_work[identity]
                        outcome.done += isinstance(event, Finished)
                        outcome.failed += isinstance(event, Failed)
        finally:
            engine.close()
            store.release("the runner stopped")
    return outcome


def _submit(waiting: deque[RunSpec], at_work: dict[str, RunSpec], store: WritableStore, engine: Engine) -> None:
    """Fill the engine's room with runs that nobody else trains; drop those that somebody else has finished."""
    for _ in range(len(waiting)):
        if engine.room == 0:
            return
        spec = waiting.popleft()
        state, epochs_stored = store.claim(spec)
        if state == "claimed":
            at_work[spec.identity] = spec
            engine.submit(Job(spec, epochs_stored))
        elif state == "elsewhere":
            waiting.append(spec)


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
