"""`urfb results`: the store's tables, for people and for other programs."""

from __future__ import annotations

from typing import Annotated

import typer

from urfb.cli.options import DEFAULT_STORE, Format, StoreOption, WhereOption

app = typer.Typer(no_args_is_help=True)

FormatOption = Annotated[Format, typer.Option("--format", help="How to print it.")]


@app.command()
def runs(store: StoreOption = DEFAULT_STORE, where: WhereOption = None, output: FormatOption = Format.TABLE) -> None:
    """Print one row a run: what it is, its state and its last errors.

    Example: urfb results runs --where rule=urfb --where dataset=cifar10 --format csv
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
    """Print one row a run, layer and moment: the correlation of W and R.

    Example: urfb results alignment --where rule=frfb --where layer=3
    """
    _print("alignment", store, where, output)


@app.command()
def upgrade(store: StoreOption = DEFAULT_STORE) -> None:
    """Bring a store that an older version of urfb has written to this one's tables. `urfb grid run` does so, too.

    Example: urfb results upgrade --store results/urfb.sqlite
    """
    from urfb.store import upgrade_store

    typer.echo(f"{store}: {'upgraded' if upgrade_store(store) else 'is of this version: nothing to do'}")


def _print(view: str, location: str, where: list[str] | None, output: Format) -> None:
    from urfb.cli.listing import print_frame
    from urfb.grid.plan import parse_filters
    from urfb.store import open_store

    store = open_store(location)
    filters = parse_filters(where or (), store.columns(view))
    print_frame(getattr(store, view)(**filters), view, output)
