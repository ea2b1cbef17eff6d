"""`urfb network`: a network's layers, weights and arithmetic."""

from __future__ import annotations

from typing import Annotated

import typer

from urfb.cli import completion

app = typer.Typer(no_args_is_help=True)


@app.callback()
def network() -> None:
    """Make `network` a group, although it has one command."""


@app.command()
def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="simpnet, deepnet, deepernet, deepnet_s, or a network in the paper's notation.",
            autocompletion=completion.networks,
        ),
    ],
    dataset: Annotated[
        str,
        typer.Option(
            "--dataset",
            metavar="NAME",
            help="Data set, for the size of its images and its number of classes.",
            autocompletion=completion.datasets,
        ),
    ] = "cifar10",
    convention: Annotated[
        str,
        typer.Option(
            "--convention",
            metavar="paper|author-code",
            help="Convention for what the paper leaves open.",
            autocompletion=completion.words("paper", "author-code"),
        ),
    ] = "paper",
    rule: Annotated[
        str,
        typer.Option(
            "--rule", metavar="NAME", help="Rule, for the number of feedback weights.", autocompletion=completion.rules
        ),
    ] = "urfb",
    untied: Annotated[
        str,
        typer.Option(
            "--untied", metavar="none|all|'2 3'", help="Convolutional layers to untie: none, all, or their numbers."
        ),
    ] = "none",
) -> None:
    """Print the output size, weights and arithmetic of each layer.

    Example: urfb network show deepnet_s --untied all --rule frfb
    """
    from urfb.cli.listing import print_network
    from urfb.grid.shown import shown_network

    print_network(shown_network(name, dataset, convention, rule, untied))
