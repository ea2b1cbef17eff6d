"""The `urfb` command: its groups, and how it reports errors."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from urfb import __version__
from urfb.cli import bench, convention, data, doctor, grid, network, report, results, theory
from urfb.cli.terminal import complain, usable_streams
from urfb.errors import InputError, OutputError, nearest


class Commands(TyperGroup):
    """The main group: prints an error that the user can fix as one message on stderr, and exits with code 2."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands in the order of `--help`: groups first."""
        return sorted(self.commands, key=lambda name: not isinstance(self.commands[name], TyperGroup))

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line."""
        try:
            with usable_streams():
                return super().main(*args, **kwargs)
        except OutputError as error:
            if isinstance(error.__cause__, BrokenPipeError):
                sys.exit(128 + signal.SIGPIPE)  # the usual exit code of a program whose reader has closed the pipe
            complain(str(error))
            sys.exit(2)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            _refuse_deleted_folder()
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = _in_plain_words(error)
            raise
        except InputError as error:
            from urfb.cli.listing import printable

            complain(printable(str(error), keep=chr(10)))
            raise typer.Exit(2) from error


def _in_plain_words(error: typer.BadParameter) -> str:
    """Return the message for a wrong value of an option, without the words of pydantic, which Typer uses."""
    from pydantic import ValidationError

    from urfb.grid.wording import in_plain_words

    if not isinstance(error.__cause__, ValidationError):
        return error.message
    detail = error.__cause__.errors()[0]
    if detail["type"] != "value_error":
        return f"'{detail['input']}' {in_plain_words(detail)}"
    problem = detail["msg"].removeprefix("Value error, ")
    _, one_of, choices = problem.partition(" is not one of ")
    hint = nearest(str(detail["input"]), re.findall("'([^']*)'", choices)) if one_of else ""
    return f"{problem} {hint.partition('?')[0].capitalize()}?" if "?" in hint else problem


def _refuse_deleted_folder() -> None:
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise InputError("the current folder has been deleted: change to another folder") from error


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich's panels cut the names of options at 80 columns
)
app.add_typer(grid.app, name="grid", help="Plan and run the experiments of a grid file.")
app.add_typer(results.app, name="results", help="Query, export, merge and remove stored results.")
app.add_typer(report.app, name="report", help="Make figures, tables, verdicts and a page from the store.")
app.add_typer(data.app, name="data", help="List, download and verify the data sets.")
app.add_typer(network.app, name="network", help="Show a network's layers, weights and arithmetic.")
app.add_typer(convention.app, name="convention", help="Compare the conventions for what the paper leaves open.")
app.add_typer(theory.app, name="theory", help="Simulate the linear network of the paper's section 5.")
app.command(name="doctor")(doctor.doctor)
app.command(name="bench")(bench.bench)


def show_version(context: typer.Context, requested: bool) -> None:
    """Print the versions that a bug report should name, and exit. Does not import torch, which takes seconds."""
    if requested and not context.resilient_parsing:  # set during shell completion
        versions = [f"urfb {__version__}", f"Python {platform.python_version()}"]
        with suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"torch {importlib.metadata.version('torch')}")
        typer.echo(", ".join(versions))
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=show_version,
            is_eager=True,
            help="Show the versions of urfb, Python and torch, and exit.",
        ),
    ] = False,
) -> None:
    """Run and analyse experiments on learning with asymmetric feedback.

    A grid file describes runs. `urfb grid run` trains them and stores the results. `urfb report` makes figures, tables
    and verdicts from the store.

    Example: urfb grid run experiments.yaml quick
    """
