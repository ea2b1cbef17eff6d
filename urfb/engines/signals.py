"""How Ctrl-C, a terminal that is closed and a batch system end a runner: first gently, then at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

HANG_UP = [signal.SIGHUP] if hasattr(signal, "SIGHUP") else []
"""What a closed terminal sends; Windows has none."""
STOPPING = [signal.SIGINT, signal.SIGTERM, *HANG_UP]
"""The signals that ask a runner to stop."""


@contextmanager
def stopping_on_signals() -> Iterator[Callable[[], bool]]:
    """Return a function that says whether a stopping signal has come; a second one raises KeyboardInterrupt.

    Under `nohup`, which has a closed terminal ignored, it still is. After the context a process that was asked to stop
    ignores the signals: it is ending, and a third one would only show where in its own end it was.
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
    """Ignore signals in the context, if this is the main thread: no other can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
