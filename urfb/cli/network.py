"""`urfb network`: what the networks are, and what they cost."""

from __future__ import annotations

from typing import Annotated

import typer

from urfb.cli import completion

app = typer.Typer(no_args_is_help=True)


@app.callback()
def network() -> None:
    """Show the networks."""


@app.command()
def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="simpnet, deepnet, deepernet, deepnet_s, or a network written out.",
            autocompletion=completion.networks,
        ),
    ],
    dataset: Annotated[
        str,
        typer.Option(
            "--dataset", help="Gives the size of the images and the classes.", autocompletion=completion.datasets
        ),
    ] = "cifar10",
    convention: Annotated[
        str,
        typer.Option(
            "--convention",
            metavar="paper|author-code",
            help="How to read what the paper leaves open.",
            autocompletion=completion.words("paper", "author-code"),
        ),
    ] = "paper",
    rule: Annotated[
        str, typer.Option("--rule", help="Says what feedback weights there are.", autocompletion=completion.rules)
    ] = "urfb",
    untied: Annotated[str, typer.Option("--untied", metavar="none|all|'2 3'", help="Untied conv layers.")] = "none",
) -> None:
    """Print a network's layers, weights and arithmetic.

    Example: urfb network show deepnet_s --untied all --rule frfb
    """
    from urfb.cli.listing import print_network
    from urfb.grid.shown import shown_network

    print_network(shown_network(name, dataset, convention, rule, untied))
