"""Starts child processes that have PyTorch in memory, by forking a server process that imports it once."""

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
    """Start the server if necessary, and return the context whose processes have PyTorch in memory.

    The server only imports, because a fork after torch has started its threads or CUDA would not work. The server and
    its processes ignore Ctrl-C and a closed terminal, which reach every process of the terminal, because this process
    decides when they end.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["urfb.engines.preloaded"])
    # A new process inherits ignored signals. This process ignores them only while the server starts, not in the first
    # start(), which waits seconds for the server's imports: a Ctrl-C in that time must not be lost.
    with ignored(signal.SIGINT, *HANG_UP):
        forkserver.ensure_running()
    return context


def start_process(target: Callable[..., object], *arguments: object) -> tuple[BaseProcess, Connection]:
    """Start `target` in a new process; its first argument is the other end of the returned pipe.

    The process ignores Ctrl-C and a closed terminal. It ends when this process ends, even in a crash.

    Raises:
        DeviceError: the server died before it could start the process.
    """
    try:
        Path.cwd()
    except FileNotFoundError:  # the working folder was deleted, and multiprocessing needs one
        os.chdir(tempfile.gettempdir())
    context = warm_context()
    pipe, far_end = context.Pipe()
    process = context.Process(target=_run, args=(target, far_end, *arguments), daemon=True)
    try:
        process.start()
    except (EOFError, ConnectionError) as error:
        raise DeviceError(
            "no worker process can start: the process that imports PyTorch crashed, most likely because memory ran "
            "out; free some memory and run the command again"
        ) from error
    far_end.close()  # so that the pipe closes when the process ends
    return process, pipe


def answers(
    target: Callable[..., object],
    questions: Sequence[Q],
    *arguments: object,
    dead: Callable[[Q, int | None], T],
    stop: Callable[[], bool] = lambda: False,
) -> Generator[T]:
    """Yield the answers that `target` sends from a child process; if the process crashes, start another for the rest.

    Args:
        target: a function that receives a pipe, the questions and the arguments, and sends one answer per question.
        questions: the questions, in the order in which `target` answers them.
        arguments: further arguments for `target`.
        dead: a function that returns the answer to a question that crashed a process, from the question and the exit
            code.
        stop: a function that is called repeatedly and returns whether to stop.

    Raises:
        KeyboardInterrupt: `stop` returned True.
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
    """Return a text for the exit code of a process that died: the signal or the code."""
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        return f"{name}; the system may have run out of memory" if name == "SIGKILL" else name
    return f"exit code {exit_code}"


def _run(target: Callable[..., object], *arguments: object) -> None:
    threading.Thread(target=_end_with_parent, name="end with the parent", daemon=True).start()
    target(*arguments)


def _end_with_parent() -> None:
    """End this process when its parent ends, because another runner may then train the same run."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
