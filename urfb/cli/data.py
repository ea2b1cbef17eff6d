"""`urfb data`: the data sets on this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from urfb.cli import completion
from urfb.cli.options import DataOption
from urfb.data.catalog import CATALOG, data_directory, dataset_info
from urfb.errors import DataError
from urfb.plugins import add_import_folder

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_datasets(data_dir: DataOption = None) -> None:
    """List the data sets and their state on this machine.

    A data set is ready, missing, damaged or unreadable.

    Example: urfb data list --data-dir /scratch/data
    """
    from urfb.cli.listing import table
    from urfb.data.datasets import state

    directory = data_directory(data_dir)
    rows = []
    for info in CATALOG.values():
        sizes = (f"{size:,}" for size in (info.training, info.validation, info.test, info.classes))
        rows.append((info.name, state(info.name, directory), *sizes, "×".join(map(str, info.shape)), info.source))
    typer.echo(f"data folder: {directory}")
    table(("name", "state", "training", "validation", "test", "classes", "shape", "description"), rows)


@app.command()
def fetch(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME", help="Data sets to download.", autocompletion=completion.datasets)
    ],
    data_dir: DataOption = None,
) -> None:
    """Download, verify and unpack data sets.

    Correct files that are already there are kept.

    Example: urfb data fetch cifar10 cifar100
    """
    from urfb.data import datasets

    _for_each(datasets.fetch, names, data_directory(data_dir))


@app.command()
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Data sets to verify.",
            show_default="all data sets",
            autocompletion=completion.datasets,
        ),
    ] = None,
    data_dir: DataOption = None,
) -> None:
    """Verify the checksums of all files of the data sets.

    Exit code 0: all are ready; 2: at least one is missing, damaged or unreadable.

    Example: urfb data verify cifar10
    """
    from urfb.data import datasets

    _for_each(datasets.verify, names or list(CATALOG), data_directory(data_dir))


def _for_each(action: Callable[[str, Path], None], names: list[str], directory: Path) -> None:
    """Call `action` for every data set, and at the end raise a DataError with all problems."""
    add_import_folder(Path.cwd())  # for a custom data set
    for name in names:
        dataset_info(name)  # reports a misspelt name before any work
    problems = []
    for name in names:
        try:
            action(name, directory)
            typer.echo(f"{name}: ready")
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError("\n".join(problems))
