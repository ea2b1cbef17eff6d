"""`urfb report`: the paper's figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from urfb.cli.options import DEFAULT_STORE, StoreOption

app = typer.Typer(no_args_is_help=True)


@app.callback()
def report() -> None:
    """Draw the paper's figures from the results store."""


@app.command()
def figures(
    numbers: Annotated[
        list[int] | None,
        typer.Argument(metavar="NUMBER", help="Their numbers in the paper; all where none is given."),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Where to write; else figures/ beside the store."),
    ] = None,
    experiment: Annotated[
        str | None,
        typer.Option("--experiment", metavar="NAME", help="Draw this experiment's runs, to files of their own."),
    ] = None,
) -> None:
    """Draw figures 4, 5 and 10 of the paper as PNG, PDF and CSV, and say what each lacks.

    Example: urfb report figures 4 10 --experiment quick
    """
    from urfb.report.figures import render
    from urfb.report.selection import Selection
    from urfb.store import open_store

    opened = open_store(store)
    out = out or opened.location.folder / "figures"
    rendered = render(opened, numbers or [], out, Selection(experiment), str(opened.location))
    for figure in rendered:
        typer.echo(f"Figure {figure.number}")
        for file in figure.files:
            typer.echo(f"  {file}")
        for shortfall in figure.shortfalls:
            typer.echo(f"  lacks: {shortfall}")
        if figure.shortfalls:
            typer.echo(f"  complete it with: {figure.completing_command}")
