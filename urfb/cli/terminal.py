"""Where to print: a terminal with colours and bars, or plain text; and what happens where nothing can be printed."""

from __future__ import annotations

import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO, cast

import typer
from rich.cells import cell_len
from rich.console import Console

from urfb.errors import OutputError


def console(*, stderr: bool = False) -> Console:
    """Return a console; it prints plain text if NO_COLOR is set or the terminal knows no escape codes."""
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    return Console(stderr=stderr, highlight=False, force_terminal=False if plain else None)


def wrapped(text: str, width: int) -> str:
    """Break a line between phrases, which end with a comma, semicolon or colon, and within those that are too long."""
    lines = [""]
    for phrase in re.split(r"(?<=[,;:]) ", text):
        for piece in textwrap.wrap(phrase, max(width - 2, 1), break_on_hyphens=False):
            if lines[-1] and cell_len(lines[-1]) + 1 + cell_len(piece) > width:
                lines.append(f"  {piece}")
            else:
                lines[-1] += f" {piece}" if lines[-1] else piece
    return "\n".join(lines)


def complain(text: str) -> None:
    """Print a message on standard error, if that can be written: it may have been on the same terminal."""
    with suppress(OSError):
        typer.echo(f"urfb: {text}", err=True)


class _Output:
    """Standard output, which raises `OutputError` where it cannot be written, or says so once and goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._error: OSError | None = None
        self.goes_on = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        self._attempt(partial(self._stream.write, text))
        return len(text)

    def flush(self) -> None:
        self._attempt(self._stream.flush)

    def _attempt(self, action: Callable[[], object]) -> None:
        if self._error is None:
            try:
                action()
                return
            except OSError as error:
                self._error = error
                # What the stream still holds would fail again when Python ends.
                with Path(os.devnull).open("wb") as nothing:
                    os.dup2(nothing.fileno(), self._stream.fileno())
                if self.goes_on:
                    complain(f"standard output is gone ({error.strerror}); going on without it")
        if not self.goes_on:
            raise OutputError(f"standard output cannot be written ({self._error.strerror})") from self._error


@contextmanager
def usable_streams() -> Iterator[None]:
    """Make the standard streams take any text, and say where they do not."""
    # A stream that was closed before this process began leaves its number to the first file that is opened.
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # of an encoding that lacks ε
    output = _Output(sys.stdout or os.fdopen(1, "w", closefd=False))
    with redirect_stdout(cast(TextIO, output)):
        try:
            yield
        finally:
            output.flush()


def go_on_without_output() -> None:
    """Let no closed pipe or full disk on standard output end this command from now on."""
    if isinstance(sys.stdout, _Output):
        sys.stdout.goes_on = True
