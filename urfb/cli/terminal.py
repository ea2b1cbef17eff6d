"""Where to print: a terminal with colours and bars, or plain text."""

from __future__ import annotations

import os

from rich.console import Console


def console(*, stderr: bool = False) -> Console:
    """Return a console; it prints plain text if NO_COLOR is set or the terminal knows no escape codes."""
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    return Console(stderr=stderr, highlight=False, force_terminal=False if plain else None)
