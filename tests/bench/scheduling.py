"""The time that a run and an epoch cost a runner, without training: python -m tests.bench.scheduling [STORE]."""

from __future__ import annotations

import sys
import tempfile
import time
from collections import deque
from pathlib import Path

from tests.helpers import tiny_run
from tests.store.recorded import epoch, started
from urfb.engines import Job
from urfb.engines.scheduler import run_missing
from urfb.events import Event, Finished
from urfb.grid.spec import RunSpec
from urfb.store import open_for_writing, stored_progress


class InstantEngine:
    """An engine that reports all events of a job as soon as the job is submitted."""

    def __init__(self) -> None:
        self.events: deque[tuple[str, Event]] = deque()

    @property
    def room(self) -> int:
        return int(not self.events)

    def submit(self, job: Job) -> None:
        events = [started(), *(epoch(number) for number in range(1, job.spec.epochs + 1)), Finished(1, 1.0, 0.5)]
        self.events.extend((job.spec.identity, event) for event in events)

    def poll(self, seconds: float) -> list[tuple[str, Event]]:
        return [self.events.popleft()]

    def drop(self, identity: str) -> None:
        self.events.clear()

    def end_jobs(self) -> None:
        pass

    def close(self) -> None:
        pass


class SilentObserver:
    """An observer that does nothing."""

    def recorded(self, spec: RunSpec, event: Event) -> None:
        pass

    def waiting(self, specs: object) -> None:
        pass

    def stopping(self) -> None:
        pass


def measure(location: str, runs: int, epochs: int) -> float:
    """Return the seconds that some runs take if nothing is trained."""
    seeds = range(len(stored_progress(location)), len(stored_progress(location)) + runs)
    wanted = [tiny_run(seed=seed, epochs=epochs) for seed in seeds]
    began = time.perf_counter()
    store = open_for_writing(location)
    store.register(wanted)
    run_missing([run.spec for run in wanted], store, InstantEngine(), SilentObserver())
    return time.perf_counter() - began


def main() -> None:
    """Print the time per run, and the time per epoch."""
    with tempfile.TemporaryDirectory() as folder:
        location = sys.argv[1] if len(sys.argv) > 1 else str(Path(folder, "urfb.sqlite"))
        short, long = measure(location, 500, 1), measure(location, 100, 51)
    per_epoch = (long / 100 - short / 500) / 50
    print(f"{1e3 * (short / 500 - per_epoch):.2f} ms per run, {1e3 * per_epoch:.2f} ms per epoch row")


if __name__ == "__main__":
    main()
