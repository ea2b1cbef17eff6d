"""How reports write their files."""

from __future__ import annotations

import os
from pathlib import Path

from urfb.errors import InputError


def write(path: Path, content: bytes) -> None:
    """Write a file aside and move it into place, so that nobody ever reads half of it; its folder is made.

    Raises:
        InputError: it cannot be written; what was there stays.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            aside.write_bytes(content)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror or error}; name a folder that can be written to with --out"
        ) from error
