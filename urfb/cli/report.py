"""`urfb report`: the paper's figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True)


@app.callback()
def report() -> None:
    """Draw the paper's figures from the results store."""


@app.command()
def figures(
    numbers: Annotated[
        list[int] | None,
        typer.Argument(metavar="[NUMBER]...", help="Figures by their number in the paper; all that exist if none."),
    ] = None,
    store: Annotated[
        str, typer.Option(help="The results store: an SQLite file or a database URL.")
    ] = "results/urfb.sqlite",
    out: Annotated[Path | None, typer.Option(help="Folder to write to.  [default: figures, beside the store]")] = None,
    experiment: Annotated[
        str | None, typer.Option(help="Draw this experiment's runs, in files of their own, in place of the paper's.")
    ] = None,
) -> None:
    """Draw figures 4, 5 and 10 as PNG, PDF and CSV, and say what each lacks.

    Example: urfb report figures 4 10 --experiment quick
    """
    from urfb.report.figures import default_folder, render
    from urfb.report.selection import Selection
    from urfb.store import open_store

    rendered = render(open_store(store), numbers or [], out or default_folder(store), Selection(experiment), store)
    for figure in rendered:
        typer.echo(f"Figure {figure.number}")
        for file in figure.files:
            typer.echo(f"  {file}")
        for shortfall in figure.shortfalls:
            typer.echo(f"  lacks  {shortfall}")
        if figure.shortfalls:
            typer.echo(f"  to complete it:  {figure.completing_command}")
