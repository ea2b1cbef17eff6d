"""Write files completely or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from urfb.errors import InputError


@contextmanager
def atomic_write(path: Path, partial: Path | None = None) -> Iterator[Path]:
    """Yield the path of a partial file, which replaces `path` when the block ends.

    So no process reads half a file. If the block fails, the partial file is removed and `path` stays as it was. The
    folder of `path` is created.

    Args:
        path: the file to write.
        partial: the partial file, in the same folder; by default its name has this process's id.
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
    """Write a file whose path comes from a command-line option, completely or not at all, and create its folder.

    Raises:
        InputError: the file cannot be written; an existing file stays as it was.
    """
    try:
        with atomic_write(path) as partial:
            partial.write_bytes(content)
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror or error}; choose another path with {option}"
        ) from error
