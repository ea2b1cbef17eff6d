"""Whether the runner that has a run still lives, by a clock that all runners share."""

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
    """Return the seconds since 1970 by the clock that all runners on a store share: their host's, or the server's."""
    if connection.dialect.name == "sqlite":
        return time.time()
    return float(connection.execute(select(func.extract("epoch", func.clock_timestamp()))).scalar_one())


@cache
def machine() -> str:
    """Return a name that processes share only where they see each other's numbers; containers may share a host name."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:  # not Linux, where processes are not kept apart so
        return socket.gethostname()


def is_local(owner: str | None) -> bool:
    """Whether a run's owner is, or was, a process that this one would see."""
    return owner is not None and owner.rpartition(" ")[0] == machine()


def is_alive(owner: str | None, process: int | None, leased_until: float | None, now: float) -> bool:
    """Whether a run's owner lives: the lease is renewed and, where this process would see the owner, it exists."""
    if leased_until is None or leased_until < now:
        return False
    return not is_local(owner) or (process is not None and psutil.pid_exists(process))


def true_state(state: str, owner: str | None, process: int | None, leased_until: float | None, now: float) -> str:
    """Return 'unfinished' for a run whose owner died while it was 'running'."""
    return "unfinished" if state == "running" and not is_alive(owner, process, leased_until, now) else state


def timestamp() -> str:
    """Return this moment in UTC, as the store keeps it."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
