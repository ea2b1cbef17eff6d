"""Writes files completely or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from urfb.errors import InputError


@contextmanager
def atomic_write(path: Path, partial: Path | None = None) -> Iterator[Path]:
    """Give the name of a partial file, which takes the place of `path` when the block ends.

    So no process reads half a file. If the block fails, the partial file is removed and what was at `path` stays. The
    folder of `path` is made.

    Args:
        path: the file.
        partial: the partial file, in the same folder; by default one that only this process writes.
    """
    partial = partial or path.with_name(f".{path.name}.{os.getpid()}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield partial
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_file(path: Path, content: bytes, option: str = "--out") -> None:
    """Write a file that an option of the command line names, completely or not at all; its folder is made.

    Raises:
        InputError: it cannot be written; what was there stays.
    """
    try:
        with atomic_write(path) as partial:
            partial.write_bytes(content)
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror or error}; name a place that can be written to with {option}"
        ) from error
