"""The `urfb` command: its groups, and how errors reach the user."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from urfb import __version__
from urfb.cli import bench, convention, data, doctor, grid, network, report, results, theory
from urfb.errors import InputError


class Commands(TyperGroup):
    """Turns what the user can mend into one message on stderr and exit code 2, never a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            from urfb.cli.listing import printable

            typer.echo(f"urfb: {printable(str(error), keep=chr(10))}", err=True)
            raise typer.Exit(2) from error


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="The laboratory for learning with asymmetric feedback.",
)
app.add_typer(grid.app, name="grid", help="Plan and run the experiments of a grid file.")
app.add_typer(results.app, name="results", help="Read the results store, and join several.")
app.add_typer(report.app, name="report", help="Make the paper's figures, tables, claims and a page from the store.")
app.add_typer(theory.app, name="theory", help="Simulate the linear network of section 5, and check the integration.")
app.add_typer(network.app, name="network", help="Show the networks and what they cost.")
app.add_typer(convention.app, name="convention", help="Compare the readings of what the paper leaves open.")
app.command(name="bench")(bench.bench)
app.command(name="doctor")(doctor.doctor)
app.add_typer(data.app, name="data", help="List, fetch and verify the data sets.")


def show_version(requested: bool) -> None:
    """Print the version and stop."""
    if requested:
        typer.echo(f"urfb {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """The laboratory for learning with asymmetric feedback."""
