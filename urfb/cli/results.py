"""`urfb results`: print, export, merge and remove what is in a store."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from urfb.cli import completion
from urfb.cli.options import DEFAULT_STORE, Format, RunsArgument, StoreOption, WhereOption
from urfb.errors import InputError, counted

app = typer.Typer(no_args_is_help=True)

NotInOption = Annotated[
    list[Path] | None,
    typer.Option("--not-in", metavar="FILE", help="Only runs that are not in this grid file. Repeatable."),
]
FormatOption = Annotated[Format, typer.Option("--format", help="Output format.")]


@app.command()
def runs(
    store: StoreOption = DEFAULT_STORE,
    where: WhereOption = None,
    not_in: NotInOption = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """Print one row per run: its settings, state and last errors.

    Example: urfb results runs --where rule=urfb --where seed=0,1 --format csv
    """
    from urfb.cli.rows import print_frame
    from urfb.store import open_store

    print_frame(open_store(store).selected_runs((), where or (), not_in or ()), "runs", output)


@app.command()
def epochs(store: StoreOption = DEFAULT_STORE, where: WhereOption = None, output: FormatOption = Format.TABLE) -> None:
    """Print one row per run and epoch: losses and errors.

    Example: urfb results epochs --where seed=0 --format csv > epochs.csv
    """
    _print("epochs", store, where, output)


@app.command()
def alignment(
    store: StoreOption = DEFAULT_STORE, where: WhereOption = None, output: FormatOption = Format.TABLE
) -> None:
    """Print one row per run, layer and step: correlation of W and R.

    Example: urfb results alignment --where rule=frfb --where layer=3
    """
    _print("alignment", store, where, output)


@app.command()
def remove(
    runs: RunsArgument = None,
    store: StoreOption = DEFAULT_STORE,
    where: WhereOption = None,
    experiment: Annotated[
        str | None,
        typer.Option(
            "--experiment",
            metavar="NAME",
            help="Only runs of this experiment. Runs that other experiments share stay.",
            autocompletion=completion.experiments_to_show,
        ),
    ] = None,
    not_in: NotInOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
) -> None:
    """Remove runs with their checkpoints and logs.

    List the runs that match all arguments and options, and ask before removing them. If one of them is in training,
    remove nothing.

    Example: urfb results remove --not-in experiments.yaml
    """
    from urfb.cli.listing import counted_runs
    from urfb.cli.rows import print_removal
    from urfb.store import open_for_writing, open_store
    from urfb.store.removal import plan_removal
    from urfb.store.removal import remove as remove_runs

    removal = plan_removal(open_store(store), runs or (), where or (), not_in or (), experiment)
    writable = open_for_writing(store)
    print_removal(removal, writable.location)
    if not yes:
        if sys.stdin is None or not sys.stdin.isatty():
            raise InputError("nothing was removed: there is no terminal to ask for confirmation; add --yes")
        if not typer.confirm("Remove these runs?", err=True):
            typer.echo("nothing was removed")
            raise typer.Exit(1)
    typer.echo(f"removed {counted_runs(remove_runs(writable, removal))}")


@app.command()
def upgrade(store: StoreOption = DEFAULT_STORE) -> None:
    """Upgrade a store from an older version of urfb.

    `urfb grid run` also upgrades its store.

    Example: urfb results upgrade --store results/urfb.sqlite
    """
    from urfb.store import upgrade_store
    from urfb.store.engine import Location

    typer.echo(f"{Location.of(store)}: {'upgraded' if upgrade_store(store) else 'up to date, nothing to do'}")


@app.command()
def query(
    statement: Annotated[str, typer.Argument(metavar="SQL", help="One statement that only reads the store.")],
    store: StoreOption = DEFAULT_STORE,
    output: FormatOption = Format.TABLE,
) -> None:
    """Print the result of an SQL query.

    The views are runs, epochs, alignment and trajectories. The tables can be queried too.

    Example: urfb results query "SELECT host, sum(seconds) / 3600 FROM runs GROUP BY 1"
    """
    from urfb.cli.rows import print_rows
    from urfb.store import open_store
    from urfb.store.query import query as run_query

    result = run_query(open_store(store), statement)
    print_rows(result.columns, result.rows, output)


@app.command()
def export(
    target: Annotated[
        Path,
        typer.Argument(
            metavar="DIR|FILE", help="Folder for all tables, or a file for one: runs.csv, trajectories.parquet, …"
        ),
    ],
    store: StoreOption = DEFAULT_STORE,
    where: WhereOption = None,
    file_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="parquet|csv",
            help="File format.",
            show_default="from the name of the file; for a folder, parquet if pyarrow is installed, otherwise csv",
            autocompletion=completion.words("parquet", "csv"),
        ),
    ] = None,
) -> None:
    """Export runs, epochs and alignment to Parquet or CSV files.

    Stored simulations are exported too, unless --where selects runs. For a file such as trajectories.csv, --where
    selects simulations.

    Example: urfb results export exported --where rule=urfb --format csv
    """
    from urfb.store import open_store
    from urfb.store.export import export as write

    for file in write(open_store(store), target, file_format, where or ()):
        typer.echo(f"{file.path}: {counted(file.rows, 'row')}")


@app.command()
def merge(
    sources: Annotated[list[str], typer.Argument(metavar="OTHER", help="Stores to copy from.")],
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Copy the runs and simulations of other stores into one store.

    The store is created if it does not exist. If several stores have the same run, the one with the most epochs is
    taken as a whole. Merging again changes nothing.

    Example: urfb results merge from-a/urfb.sqlite from-b/urfb.sqlite
    """
    from urfb.cli.rows import print_merged
    from urfb.store.merge import merge_stores

    print_merged(merge_stores(store, sources))


def _print(view: str, location: str, where: list[str] | None, output: Format) -> None:
    from urfb.cli.rows import print_frame
    from urfb.grid.plan import parse_filters
    from urfb.store import open_store

    store = open_store(location)
    filters = parse_filters(where or (), store.filterable(view))
    print_frame(getattr(store, view)(**filters), view, output)
