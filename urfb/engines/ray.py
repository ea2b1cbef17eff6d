"""Trains jobs in actors on the machines of a Ray cluster, each with a GPU, a share of a GPU, or its own CPU cores."""

from __future__ import annotations

import socket
import sys
import textwrap
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray

from urfb.engines import Job, Slot
from urfb.engines.cluster import Cluster
from urfb.engines.measuring import Stage, peaks
from urfb.engines.worker import execute, log_of, output_to
from urfb.errors import DeviceError
from urfb.events import END, Event, Failed, Lost
from urfb.plugins import add_import_folder

MEMORY = {"env_vars": {"MALLOC_ARENA_MAX": "1"}}
"""Makes threads share one arena. Ray trains in a thread, and glibc keeps no freed block above 64 MiB for a thread with
its own arena: a step would spend two fifths of its time on getting them again (see `urfb.engines.memory`)."""
STARTS = 3
"""The number of failed starts in a row after which a slot is given up."""


def peaks_on_cluster(
    stages: Sequence[Stage], cluster: Cluster, device: str, free: int, *, stop: Callable[[], bool]
) -> Generator[int]:
    """Yield the results of `peaks` for stages on the cluster's largest machine.

    Raises:
        DeviceError: the stages cannot be measured there.
        KeyboardInterrupt: `stop` returned True.
    """
    resources = {"num_cpus": 1} if device == "cpu" else {"num_cpus": 0, "num_gpus": 1}
    # Each machine has a resource with its own name; a task that takes a little of it runs on that machine.
    names = [name for name in cluster.largest(device) if name.startswith("node:") and name != "node:__internal_head__"]
    remote: Any = ray.remote
    measure = remote(max_calls=1, max_retries=0, resources=dict.fromkeys(names, 1e-3), **resources)(_measure)
    task = measure.options(num_returns="streaming").remote(_import_folders(), stages, device, free)
    try:
        for _ in stages:
            while not ray.wait([task], timeout=0.5)[0]:
                if stop():
                    raise KeyboardInterrupt
            size: int = ray.get(next(task))
            yield size
    except ray.exceptions.RayError as error:
        raise DeviceError(f"no run can be measured on the Ray cluster ({_cause(error)})") from error
    finally:
        ray.cancel(task, force=True)


def _measure(folders: Sequence[str], stages: Sequence[Stage], device: str, free: int) -> Generator[int]:
    for folder in folders:
        add_import_folder(Path(folder))
    yield from peaks(stages, device, free)


def _import_folders() -> list[str]:
    """Return the folders where this process finds modules, so that actors find custom modules in the same folders."""
    return [str(Path(folder).absolute()) for folder in sys.path]


class RayEngine:
    """Trains as many jobs at the same time as the cluster has room for, and at most one per slot.

    Each slot has an actor, which stays alive from job to job, so that it imports torch and loads data only once. An
    actor that dies, alone or with its machine, loses its job, and a new actor starts as soon as the cluster has room
    for it. Until then the slot takes no job, so that no job waits for a machine that may never come back.
    """

    def __init__(self, slots: Sequence[Slot], resources: dict[str, float]) -> None:
        """Start one actor for each slot.

        Args:
            slots: the slots.
            resources: the resources of each actor, by Ray's names.
        """
        self._actors = [_Actor(slot, resources) for slot in slots]

    @property
    def room(self) -> int:
        """How many more jobs can be submitted now."""
        return sum(actor.is_idle for actor in self._actors)

    def submit(self, job: Job) -> None:
        """Give a job to an actor that has none."""
        next(actor for actor in self._actors if actor.is_idle).begin(job)

    def poll(self, seconds: float) -> list[tuple[str, Event]]:
        """Wait for the next event of any actor, or for one that has started.

        Raises:
            DeviceError: no actor can be started.
        """
        awaited = {actor.awaited: actor for actor in self._actors if actor.awaited is not None}
        if not awaited and not self.room:
            raise DeviceError(
                f"no worker starts on the Ray cluster ({self._actors[0].fault}); every machine needs the same "
                "versions of Python and Ray, and urfb"
            )
        # The second call returns all answers. With the first alone, one actor could always come first.
        if not awaited or not ray.wait(list(awaited), timeout=seconds)[0]:
            return []
        answers, _ = ray.wait(list(awaited), num_returns=len(awaited), timeout=0)
        return [event for answer in answers for event in awaited[answer].receive()]

    def drop(self, identity: str) -> None:
        """Stop training a run; it sends no further events."""
        next(actor for actor in self._actors if actor.identity == identity).restart()

    def end_jobs(self) -> None:
        """Let every job end after its current batch."""
        for actor in self._actors:
            actor.end_job()

    def close(self) -> None:
        """Stop all actors at once; epochs that they have not sent are trained again from a checkpoint."""
        for actor in self._actors:
            actor.stop()


class _Actor:
    """The current actor of a slot, and what is awaited from it: its start, an event, or nothing."""

    def __init__(self, slot: Slot, resources: dict[str, float]) -> None:
        self.identity: str | None = None
        self.awaited: Any = None
        self._handle: Any = None
        self.fault = ""
        self._failed_starts = 0
        self._jobs = 0
        # One thread trains all jobs, one after another; a second thread receives the requests to end one.
        groups = {"training": 1, "control": 1}
        remote: Any = ray.remote  # its type hints lack concurrency groups
        self._factory = remote(concurrency_groups=groups, runtime_env=MEMORY, **resources)(_Trainer)
        self._arguments = (slot, _import_folders())
        self._start()

    @property
    def is_idle(self) -> bool:
        return self._handle is not None and self.awaited is None

    def begin(self, job: Job) -> None:
        self.identity = job.spec.identity
        self._jobs += 1
        train = self._handle.train.options(num_returns="streaming", concurrency_group="training")
        self.awaited = train.remote(job, self._jobs)

    def end_job(self) -> None:
        if self.identity is not None:
            self._handle.end_job.options(concurrency_group="control").remote(self._jobs)

    def receive(self) -> list[tuple[str, Event]]:
        if self.identity is None:
            self._notice_start()
            return []
        identity = self.identity
        try:
            event: Event = ray.get(next(self.awaited))
        except (ray.exceptions.RayError, StopIteration) as error:
            event = Lost(f"the worker on the cluster is gone ({_cause(error)})")
            self.restart()
        else:
            if isinstance(event, END):
                self.identity, self.awaited = None, None
        return [(identity, event)]

    def restart(self) -> None:
        self.stop()
        self._start()

    def stop(self) -> None:
        # A lost actor may be alive: Ray reports it as lost as soon as the connection breaks.
        if self._handle is not None:
            ray.kill(self._handle)
        self._handle, self.identity, self.awaited = None, None, None

    def _start(self) -> None:
        self._handle = self._factory.remote(*self._arguments)
        self.awaited = self._handle.__ray_ready__.remote()

    def _notice_start(self) -> None:
        try:
            ray.get(self.awaited)
        except ray.exceptions.RayError as error:
            self.fault = _cause(error)
            self._failed_starts += 1
            self.stop()
            if self._failed_starts < STARTS:
                self._start()
        else:
            self.awaited, self._failed_starts = None, 0


class _Trainer:
    """The class of the actors, which train jobs."""

    def __init__(self, slot: Slot, folders: Sequence[str]) -> None:
        import torch  # noqa: F401 - imported now, so that a started actor trains at once

        self._slot = slot
        self._ended: int | None = None
        for folder in folders:
            add_import_folder(Path(folder))

    def train(self, job: Job, number: int) -> Iterator[Event]:
        with output_to(log_of(job, self._slot)):
            for event in execute(job, self._slot, lambda: self._ended == number):
                if isinstance(event, Failed):  # a run that fails before it starts has no other record of its host
                    event = replace(event, reason=f"{event.reason} (on {socket.gethostname()})")
                yield event

    def end_job(self, number: int) -> None:
        """End the job with this number, even if it has not begun yet."""
        self._ended = number


def _cause(error: Exception) -> str:
    """Return the last line of a Ray error, which says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return textwrap.shorten(lines[-1] if lines else type(error).__name__, 250, placeholder=" …")
