"""Consoles, line breaks, and standard streams that are closed, full or in another encoding."""

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
    """Return a console. It prints plain text if NO_COLOR is set or the terminal does not support escape codes."""
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    return Console(stderr=stderr, highlight=False, force_terminal=False if plain else None)


def wrapped(text: str, width: int) -> str:
    """Break a line after commas, semicolons and colons, and between words where that is not enough."""
    lines = [""]
    for phrase in re.split(r"(?<=[,;:]) ", text):
        for piece in textwrap.wrap(phrase, max(width - 2, 1), break_on_hyphens=False):
            if lines[-1] and cell_len(lines[-1]) + 1 + cell_len(piece) > width:
                lines.append(f"  {piece}")
            else:
                lines[-1] += f" {piece}" if lines[-1] else piece
    return "\n".join(lines)


def complain(text: str) -> None:
    """Print a message on standard error. Ignore errors, because it may be on the same closed terminal."""
    with suppress(OSError):
        typer.echo(f"urfb: {text}", err=True)


class _Output:
    """Standard output that raises `OutputError` if it cannot be written, or reports that once and continues."""

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
                # Buffered text would cause the same error again when Python exits.
                with Path(os.devnull).open("wb") as nothing:
                    os.dup2(nothing.fileno(), self._stream.fileno())
                if self.goes_on:
                    complain(f"standard output failed ({error.strerror}); continuing without it")
        if not self.goes_on:
            raise OutputError(f"standard output cannot be written ({self._error.strerror})") from self._error


@contextmanager
def usable_streams() -> Iterator[None]:
    """Make the standard streams accept any text, and report errors as `OutputError`."""
    # If a standard stream is closed, the next file that is opened would take its number.
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for an encoding without ε
    output = _Output(sys.stdout or os.fdopen(1, "w", closefd=False))
    with redirect_stdout(cast(TextIO, output)):
        try:
            yield
        finally:
            output.flush()


def go_on_without_output() -> None:
    """Continue after errors on standard output, such as a closed pipe or a full disk."""
    if isinstance(sys.stdout, _Output):
        sys.stdout.goes_on = True
