"""Checks whether the runner that owns a run is alive, by a clock that all runners share."""

from __future__ import annotations

import socket
import time
from datetime import datetime, timezone
from functools import cache
from pathlib import Path

import psutil
from sqlalchemy import Connection, func, select

LEASE_SECONDS = 60.0


def clock(connection: Connection) -> float:
    """Return the seconds since 1970 by the clock that all runners on a store share: the host's, or the server's."""
    if connection.dialect.name == "sqlite":
        return time.time()
    return float(connection.execute(select(func.extract("epoch", func.clock_timestamp()))).scalar_one())


@cache
def machine() -> str:
    """Return a name that two processes share only if they can see each other's process numbers.

    A host name is not enough, because containers may share it.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:  # not Linux: no process namespaces
        return socket.gethostname()


def is_local(owner: str | None) -> bool:
    """Return whether this process could see the process that owns a run."""
    return owner is not None and owner.rpartition(" ")[0] == machine()


def is_alive(owner: str | None, process: int | None, leased_until: float | None, now: float) -> bool:
    """Return whether a run's owner is alive: its lease has not expired and, if it is local, its process exists."""
    if leased_until is None or leased_until < now:
        return False
    return not is_local(owner) or (process is not None and psutil.pid_exists(process))


def true_state(state: str, owner: str | None, process: int | None, leased_until: float | None, now: float) -> str:
    """Return the state of a run: 'unfinished' if it is stored as 'running' and its owner is dead."""
    return "unfinished" if state == "running" and not is_alive(owner, process, leased_until, now) else state


def timestamp() -> str:
    """Return the current time in UTC, in the store's format."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
