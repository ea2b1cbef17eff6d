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


def _print(view: str, location: str, where: list[str] | None, output: Format) -> None:
    from urfb.cli.listing import print_frame
    from urfb.grid.plan import parse_filters
    from urfb.store import open_store

    store = open_store(location)
    filters = parse_filters(where or (), store.columns(view))
    print_frame(getattr(store, view)(**filters), view, output)
