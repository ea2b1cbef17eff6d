"""Exports a store's tables to files, for programs that cannot read databases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from urfb.errors import InputError, SelectionError
from urfb.files import atomic_write
from urfb.grid.plan import parse_filters
from urfb.store.reading import Store

if TYPE_CHECKING:
    import pandas as pd

TABLES = {
    "run": ("runs", "epochs", "alignment"),
    "simulation": ("simulations", "trajectories", "trajectory_layers"),
}
"""The tables on runs and on simulations: first the table that lists them, then those of their measurements."""
FORMATS = ("parquet", "csv")


class Exported(NamedTuple):
    """An exported file and its number of rows."""

    path: Path
    rows: int


def export(store: Store, to: Path, file_format: str | None = None, conditions: Sequence[str] = ()) -> list[Exported]:
    """Write a store's tables to a folder, or one table to a file. Each file appears only when it is complete.

    Args:
        store: the store to export.
        to: a folder, created if needed, for the tables runs, epochs and alignment, and for the three tables of
            simulations if the store has any; or a file named after its table and format, such as trajectories.csv.
        file_format: 'parquet' or 'csv'; by default the format in the file's name, and for a folder 'parquet' if pyarrow
            is installed, otherwise 'csv'.
        conditions: conditions such as 'rule=urfb' on the columns of 'runs'. All three tables then have only these
            runs, and a folder gets no simulations. For a file of simulations, conditions on the columns of
            'simulations'.

    Raises:
        SelectionError: a condition or the file's name is invalid.
        InputError: the library for Parquet is missing, or a file cannot be written.
    """
    paths = _paths(to, file_format, both=not conditions and not store.simulations().empty)
    if any(path.suffix == ".parquet" for path in paths) and not _has_pyarrow():
        raise InputError("Parquet needs pyarrow: pip install 'urfb[parquet]', or choose --format csv")
    read: dict[str, Callable[[], pd.DataFrame]] = {}
    for subject, (listing, *measurements) in TABLES.items():
        if any(path.stem in TABLES[subject] for path in paths):
            listed = getattr(store, listing)(**parse_filters(conditions, store.filterable(listing)))
            chosen = {subject: listed[subject].tolist()} if conditions else {}
            read[listing] = listed.copy
            read |= {name: partial(getattr(store, name), **chosen) for name in measurements}
    exported = []
    try:
        with ExitStack() as all_files:
            for path in paths:
                partial_file = all_files.enter_context(atomic_write(path))
                frame = read[path.stem]()
                if path.suffix == ".parquet":
                    frame.to_parquet(partial_file, index=False)
                else:
                    frame.to_csv(partial_file, index=False)
                exported.append(Exported(path, len(frame)))
    except OSError as error:
        raise InputError(f"{error.filename or to}: cannot be written ({error.strerror or error})") from error
    return exported


def _has_pyarrow() -> bool:
    return find_spec("pyarrow") is not None


def _paths(to: Path, file_format: str | None, *, both: bool) -> list[Path]:
    """Return the files to write; with `both`, a folder gets the tables of simulations, too."""
    if file_format not in (None, *FORMATS):
        raise SelectionError(f"--format {file_format}: allowed are {', '.join(FORMATS)}")
    if to.is_dir() or not to.suffix:
        names = [*TABLES["run"], *(TABLES["simulation"] if both else ())]
        file_format = file_format or ("parquet" if _has_pyarrow() else "csv")
        return [to / f"{name}.{file_format}" for name in names]
    names = [name for group in TABLES.values() for name in group]
    if to.stem not in names or to.suffix.removeprefix(".") not in FORMATS:
        raise SelectionError(
            f"'{to}': name the file after a table ({', '.join(names)}) and a format, such as epochs.parquet or "
            "epochs.csv; a name without a dot is a folder for all tables"
        )
    if file_format not in (None, to.suffix.removeprefix(".")):
        raise SelectionError(f"'{to}' and --format {file_format} contradict each other; leave --format out")
    return [to]
