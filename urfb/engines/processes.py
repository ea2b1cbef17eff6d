"""Processes that begin with PyTorch in memory, forked from a server that imports it once for all of them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import threading
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

from urfb.engines.signals import HANG_UP, ignored
from urfb.errors import DeviceError


def warm_context() -> ForkServerContext:
    """Return the context whose processes have PyTorch already, with its server running.

    The server runs nothing but imports: a fork after torch has started its threads, or CUDA, would not work. It and its
    processes ignore Ctrl-C and a closed terminal, which reach every process there: this process decides what becomes
    of them.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["urfb.engines.preloaded"])
    # A new process inherits that a signal is ignored. This process ignores it only while the server starts: the first
    # start() waits seconds for the server's imports, and a Ctrl-C in that time must not be lost.
    with ignored(signal.SIGINT, *HANG_UP):
        forkserver.ensure_running()
    return context


def start_process(target: Callable[..., object], *arguments: object) -> tuple[BaseProcess, Connection]:
    """Start `target` in a process of its own; its first argument is the other end of the pipe that is returned.

    The process ignores Ctrl-C and a closed terminal. It ends with this process, however that ends.

    Raises:
        DeviceError: the server died before it could start the process.
    """
    try:
        Path.cwd()
    except FileNotFoundError:  # deleted meanwhile; multiprocessing starts nothing without one
        os.chdir(tempfile.gettempdir())
    context = warm_context()
    pipe, far_end = context.Pipe()
    process = context.Process(target=_run, args=(target, far_end, *arguments), daemon=True)
    try:
        process.start()
    except (EOFError, ConnectionError) as error:
        raise DeviceError(
            "no worker process starts: the one that imports PyTorch died, most likely for want of memory; "
            "free some, and run the command again"
        ) from error
    far_end.close()  # so that the pipe closes when the process dies
    return process, pipe


def _run(target: Callable[..., object], *arguments: object) -> None:
    threading.Thread(target=_end_with_parent, name="end with the parent", daemon=True).start()
    target(*arguments)


def _end_with_parent() -> None:
    """End with the process that started this one: an epoch may be long, and another runner may train its run then."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def cores() -> int:
    """Return how many of the CPU's cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
