"""`urfb report`: the paper's figures and claims."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from urfb.cli.options import DEFAULT_STORE, StoreOption

app = typer.Typer(no_args_is_help=True)


class SettingName(str, Enum):
    """How long the runs are that claims are tested on."""

    PAPER = "paper"
    SHORT = "short"


class ClaimsFormat(str, Enum):
    """How verdicts are told."""

    TEXT = "text"
    JSON = "json"


@app.callback()
def report() -> None:
    """Draw the paper's figures, and test its claims, from the results store."""


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


@app.command()
def claims(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="CLAIM", help="1 to 6, or a name such as depth; all where none is given."),
    ] = None,
    setting: Annotated[
        SettingName,
        typer.Option("--setting", help="The paper's length, or the first 10 epochs of simpnet; never mixed."),
    ] = SettingName.PAPER,
    store: StoreOption = DEFAULT_STORE,
    form: Annotated[ClaimsFormat, typer.Option("--format", help="For people, or with every number.")] = (
        ClaimsFormat.TEXT
    ),
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where to write; else to the terminal.")
    ] = None,
) -> None:
    """Test what the paper claims on the stored runs; docs/claims.md says how, and why so.

    A verdict is supported, contradicted or not enough runs; then it is said which are missing, and what trains them.

    Exit code 0: all claims supported; 1: some claim contradicted; 3: neither; 2: bad input.

    Example: urfb report claims 1 2 --setting short
    """
    from urfb.cli.listing import printable
    from urfb.report.claims import SETTINGS, evaluate, exit_code
    from urfb.report.claims.telling import as_json, as_text, write
    from urfb.store import open_store

    opened = open_store(store)
    results = evaluate(opened, names or [], SETTINGS[setting.value], str(opened.location))
    told = as_json(results) if form is ClaimsFormat.JSON else printable(as_text(results), keep="\n")
    if out is None:
        typer.echo(told)
    else:
        write(out, told)
    raise typer.Exit(exit_code(results))
