"""Where to print: a terminal that may be coloured and redrawn, or anything that gets plain text."""

from __future__ import annotations

import os

from rich.console import Console


def console(*, stderr: bool = False) -> Console:
    """Return a console that counts as no terminal where escape codes are not wanted (NO_COLOR) or mean nothing."""
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    return Console(stderr=stderr, highlight=False, force_terminal=False if plain else None)
