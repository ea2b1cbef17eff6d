"""`urfb results`: the store's tables, for people and for other programs, and several stores made one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from urfb.cli import completion
from urfb.cli.options import DEFAULT_STORE, Format, StoreOption, WhereOption

app = typer.Typer(no_args_is_help=True)

FormatOption = Annotated[Format, typer.Option("--format", help="How to print it.")]


@app.command()
def runs(store: StoreOption = DEFAULT_STORE, where: WhereOption = None, output: FormatOption = Format.TABLE) -> None:
    """Print one row a run: what it is, its state and its last errors.

    Example: urfb results runs --where rule=urfb --where seed=0,1 --format csv
    """
    _print("runs", store, where, output)


@app.command()
def epochs(store: StoreOption = DEFAULT_STORE, where: WhereOption = None, output: FormatOption = Format.TABLE) -> None:
    """Print one row a run and epoch: losses and errors.

    Example: urfb results epochs --where seed=0 --format csv > epochs.csv
    """
    _print("epochs", store, where, output)


@app.command()
def alignment(
    store: StoreOption = DEFAULT_STORE, where: WhereOption = None, output: FormatOption = Format.TABLE
) -> None:
    """Print one row a run, layer and moment: how W and R correlate.

    Example: urfb results alignment --where rule=frfb --where layer=3
    """
    _print("alignment", store, where, output)


@app.command()
def upgrade(store: StoreOption = DEFAULT_STORE) -> None:
    """Bring an older version's store to this one's tables.

    `urfb grid run` does so, too.

    Example: urfb results upgrade --store results/urfb.sqlite
    """
    from urfb.store import upgrade_store
    from urfb.store.engine import Location

    typer.echo(f"{Location.of(store)}: {'upgraded' if upgrade_store(store) else 'is of this version: nothing to do'}")


@app.command()
def query(
    statement: Annotated[str, typer.Argument(metavar="SQL", help="One statement that only reads.")],
    store: StoreOption = DEFAULT_STORE,
    output: FormatOption = Format.TABLE,
) -> None:
    """Print what a SQL statement gives.

    It reads the views runs, epochs, alignment and trajectories, or the tables.

    Example: urfb results query "SELECT host, sum(seconds) / 3600 FROM runs GROUP BY 1"
    """
    from urfb.cli.listing import print_rows
    from urfb.store import open_store
    from urfb.store.query import query as run_query

    result = run_query(open_store(store), statement)
    print_rows(result.columns, result.rows, output)


@app.command()
def export(
    target: Annotated[
        Path, typer.Argument(metavar="DIR|FILE", help="A folder for all tables, or runs.csv, trajectories.parquet, ….")
    ],
    store: StoreOption = DEFAULT_STORE,
    where: WhereOption = None,
    file_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="parquet|csv",
            help="What the file's name says, else parquet.",
            autocompletion=completion.words("parquet", "csv"),
        ),
    ] = None,
) -> None:
    """Write runs, epochs and alignment to Parquet or CSV files.

    Simulations are written, too, where there are any. --where chooses runs, and leaves simulations out; for a file such
    as trajectories.csv it chooses simulations.

    Example: urfb results export exported --where rule=urfb --format csv
    """
    from urfb.store import open_store
    from urfb.store.export import export as write

    for file in write(open_store(store), target, file_format, where or ()):
        typer.echo(f"{file.path}: {file.rows} rows")


@app.command()
def merge(
    sources: Annotated[list[str], typer.Argument(metavar="OTHER...", help="The stores whose runs are taken.")],
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Take the runs and simulations of other stores into one.

    It is made where there is none yet. All of a run comes from one store: where several have it, from the one with more
    epochs. Merging again does nothing.

    Example: urfb results merge from-a/urfb.sqlite from-b/urfb.sqlite
    """
    from urfb.cli.listing import print_merged
    from urfb.store.merge import merge_stores

    print_merged(merge_stores(store, sources))


def _print(view: str, location: str, where: list[str] | None, output: Format) -> None:
    from urfb.cli.listing import print_frame
    from urfb.grid.plan import parse_filters
    from urfb.store import open_store

    store = open_store(location)
    filters = parse_filters(where or (), store.filterable(view))
    print_frame(getattr(store, view)(**filters), view, output)
