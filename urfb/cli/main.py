"""The `urfb` command: its groups, and how errors reach the user."""

from __future__ import annotations

import importlib.metadata
import platform
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
from urfb.errors import InputError, OutputError


class Commands(TyperGroup):
    """Turns errors that the user can fix into one message on stderr and exit code 2, never a traceback."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line."""
        try:
            with usable_streams():
                return super().main(*args, **kwargs)
        except OutputError as error:
            if isinstance(error.__cause__, BrokenPipeError):
                sys.exit(128 + signal.SIGPIPE)  # as programs end whose reader has enough
            complain(str(error))
            sys.exit(2)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            _refuse_deleted_folder()
            return super().invoke(ctx)
        except InputError as error:
            from urfb.cli.listing import printable

            complain(printable(str(error), keep=chr(10)))
            raise typer.Exit(2) from error


def _refuse_deleted_folder() -> None:
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise InputError("the folder that this command was called in is deleted: change to another one") from error


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its panels cut the names of options at 80 columns
    help="The laboratory for learning with asymmetric feedback.",
)
app.add_typer(grid.app, name="grid", help="Plan and run the experiments of a grid file.")
app.add_typer(results.app, name="results", help="Read the results store, join several, and remove runs.")
app.add_typer(report.app, name="report", help="Make figures, tables, claims and a page from the store.")
app.add_typer(theory.app, name="theory", help="Simulate the linear network of the paper's section 5.")
app.add_typer(network.app, name="network", help="Show the networks and what they cost.")
app.add_typer(convention.app, name="convention", help="Compare the readings of what the paper leaves open.")
app.command(name="bench")(bench.bench)
app.command(name="doctor")(doctor.doctor)
app.add_typer(data.app, name="data", help="List, fetch and verify the data sets.")


def show_version(context: typer.Context, requested: bool) -> None:
    """Print the versions that a bug report should name, torch's without importing it, and exit."""
    if requested and not context.resilient_parsing:  # set while the shell completes
        versions = [f"urfb {__version__}", f"Python {platform.python_version()}"]
        with suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"torch {importlib.metadata.version('torch')}")
        typer.echo(", ".join(versions))
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the versions and exit.")
    ] = False,
) -> None:
    """The laboratory for learning with asymmetric feedback."""
