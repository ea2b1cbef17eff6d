"""Writes a store's tables to files, for programs that do not read databases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from urfb.errors import InputError, SelectionError
from urfb.grid.plan import parse_filters
from urfb.store import Store

if TYPE_CHECKING:
    import pandas as pd

TABLES = ("runs", "epochs", "alignment")
FORMATS = ("parquet", "csv")


class Exported(NamedTuple):
    """A file that was written, and how many rows it has."""

    path: Path
    rows: int


def export(store: Store, to: Path, file_format: str | None = None, conditions: Sequence[str] = ()) -> list[Exported]:
    """Write runs, epochs and alignment to a folder, or one of them to a file. Nothing is seen of a file half written.

    Args:
        store: whose tables are written.
        to: a folder, which is made, or a file called runs, epochs or alignment with .parquet or .csv after it.
        file_format: 'parquet' or 'csv'; where it is not given, what the file's name says, and in a folder 'parquet'.
        conditions: such as 'rule=urfb', about columns of 'runs'; all three tables have only those runs.

    Raises:
        SelectionError: a condition or the file's name cannot be understood.
        InputError: the library for Parquet is missing, or a file cannot be written.
    """
    paths = _paths(to, file_format)
    if any(path.suffix == ".parquet" for path in paths) and find_spec("pyarrow") is None:
        raise InputError("Parquet needs pyarrow: pip install 'urfb[parquet]'; or choose --format csv")
    runs = store.runs(**parse_filters(conditions, store.columns("runs")))
    chosen = {"run": runs["run"].tolist()} if conditions else {}
    read: dict[str, Callable[[], pd.DataFrame]] = {
        "runs": lambda: runs,
        "epochs": lambda: store.epochs(**chosen),
        "alignment": lambda: store.alignment(**chosen),
    }
    exported = []
    try:
        with ExitStack() as partial_files:
            for path in paths:
                path.parent.mkdir(parents=True, exist_ok=True)
                partial_file = path.with_name(f".{path.name}.partial")
                partial_files.callback(partial_file.unlink, missing_ok=True)
                frame = read[path.stem]()
                if path.suffix == ".parquet":
                    frame.to_parquet(partial_file, index=False)
                else:
                    frame.to_csv(partial_file, index=False)
                exported.append(Exported(path, len(frame)))
            for path in paths:
                path.with_name(f".{path.name}.partial").replace(path)
    except OSError as error:
        raise InputError(f"{error.filename or to}: cannot be written ({error.strerror or error})") from error
    return exported


def _paths(to: Path, file_format: str | None) -> list[Path]:
    if file_format not in (None, *FORMATS):
        raise SelectionError(f"--format {file_format}: allowed are {', '.join(FORMATS)}")
    if to.is_dir() or not to.suffix:
        return [to / f"{name}.{file_format or FORMATS[0]}" for name in TABLES]
    if to.stem not in TABLES or to.suffix.removeprefix(".") not in FORMATS:
        raise SelectionError(
            f"'{to}': a file is called after the table that it gets, {', '.join(TABLES)}, and its format, as in "
            "epochs.parquet or epochs.csv; a name without a dot is a folder, which gets all three"
        )
    if file_format not in (None, to.suffix.removeprefix(".")):
        raise SelectionError(f"'{to}' and --format {file_format} contradict each other; leave --format out")
    return [to]
