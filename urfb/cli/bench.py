"""`urfb bench`: what a training step takes here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from urfb.cli import completion


def bench(
    networks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NETWORK]...",
            help="simpnet and deepernet where none is given.",
            autocompletion=completion.networks,
        ),
    ] = None,
    dataset: Annotated[
        str,
        typer.Option(
            "--dataset", help="Gives the size of the images and the classes.", autocompletion=completion.datasets
        ),
    ] = "cifar10",
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images a step.")] = 500,
    rounds: Annotated[int, typer.Option("--rounds", min=2, help="Each measures every candidate once.")] = 7,
    device: Annotated[
        str,
        typer.Option(
            "--device",
            metavar="auto|cpu|cuda",
            help="Where to measure.",
            autocompletion=completion.words("auto", "cpu", "cuda"),
        ),
    ] = "auto",
    default_malloc: Annotated[
        bool, typer.Option("--default-malloc", help="Give freed memory back, as a plain script does.")
    ] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every measured time to this file.")] = None,
) -> None:
    """Time training steps beside the same network in plain PyTorch.

    The rules and the plain network take turns. Everything runs in one process on random images. The bare operations of
    a step are its own convolutions and matrix products, alone, on the same tensors. Run it on an idle machine.

    Example: urfb bench simpnet --json bench.json
    """
    from urfb.bench.measure import run_bench
    from urfb.cli.listing import print_figures

    networks = networks or ["simpnet", "deepernet"]
    typer.echo(f"measuring {', '.join(networks)}; this takes minutes", err=True)
    for report in run_bench(
        networks, dataset, batch_size, rounds=rounds, device=device,
        default_malloc=default_malloc, json_file=json_file,
    ):  # fmt: skip
        print_figures(report)
