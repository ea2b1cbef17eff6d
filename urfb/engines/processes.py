"""Processes that begin with PyTorch in memory, forked from a server that imports it once for all of them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Generator, Sequence
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TypeVar

from urfb.engines.signals import HANG_UP, ignored
from urfb.errors import DeviceError

Q = TypeVar("Q")
T = TypeVar("T")


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


def answers(
    target: Callable[..., object],
    questions: Sequence[Q],
    *arguments: object,
    dead: Callable[[Q, int | None], T],
    stop: Callable[[], bool] = lambda: False,
) -> Generator[T]:
    """Yield what `target` sends for each question, from a process of its own; one that dies has another take its place.

    Args:
        target: gets a pipe, the questions and the arguments, and sends one answer after the other.
        questions: of which each has an answer.
        arguments: of `target`.
        dead: returns the answer to a question of which a process died, with its exit code.
        stop: is asked again and again whether to stop.

    Raises:
        KeyboardInterrupt: it was stopped.
    """
    answered = 0
    while answered < len(questions):
        process, pipe = start_process(target, questions[answered:], *arguments)
        try:
            for _ in questions[answered:]:
                while not pipe.poll(0.2):
                    if stop():
                        raise KeyboardInterrupt
                answer: T = pipe.recv()
                answered += 1
                yield answer
        except EOFError:
            process.join()
            question = questions[answered]
            answered += 1
            yield dead(question, process.exitcode)
        finally:
            process.kill()
            process.join()
            pipe.close()


def cause_of_death(exit_code: int | None) -> str:
    """Return why a process died."""
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        return f"{name}; the system may have run out of memory" if name == "SIGKILL" else name
    return f"exit code {exit_code}"


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
