"""Handles the signals of Ctrl-C, a closed terminal and a batch system: the first stops gently, the second at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

HANG_UP = [signal.SIGHUP] if hasattr(signal, "SIGHUP") else []
"""The signal of a closed terminal; Windows has none."""
STOPPING = [signal.SIGINT, signal.SIGTERM, *HANG_UP]
"""The signals that ask a runner to stop."""


@contextmanager
def stopping_on_signals() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether a stopping signal was received; a second one raises KeyboardInterrupt.

    Under `nohup`, a closed terminal stays ignored. After the context, a process that was asked to stop ignores the
    signals, because it is ending, and a third signal would only print a traceback.
    """
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    ignored = {number for number in HANG_UP if signal.getsignal(number) == signal.SIG_IGN}
    before = {number: signal.signal(number, handle) for number in STOPPING if number not in ignored}
    try:
        yield stop.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if stop.is_set() else handler)


@contextmanager
def ignored(*numbers: signal.Signals) -> Iterator[None]:
    """Ignore signals in the context. In a thread other than the main one, which cannot set handlers, do nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
