"""`urfb convention`: the two conventions for what the paper leaves open."""

from __future__ import annotations

from typing import Annotated

import typer

from urfb.cli import completion

CONVENTIONS = completion.words("paper", "author-code")

app = typer.Typer(no_args_is_help=True)


@app.callback()
def convention() -> None:
    """Make `convention` a group, although it has one command."""


@app.command()
def diff(
    first: Annotated[str, typer.Argument(metavar="NAME", help="paper or author-code.", autocompletion=CONVENTIONS)],
    second: Annotated[str, typer.Argument(metavar="NAME", help="paper or author-code.", autocompletion=CONVENTIONS)],
) -> None:
    """Print the settings and networks in which two conventions differ.

    Example: urfb convention diff paper author-code
    """
    from urfb.cli.listing import table
    from urfb.grid.shown import differences

    rows = differences(first, second)
    if rows:
        table(["setting", first, second, "meaning"], rows)
    else:
        typer.echo(f"'{first}' and '{second}' are the same convention")
