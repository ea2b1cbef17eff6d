"""`urfb bench`: the speed of training steps on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from urfb.cli import completion


def bench(
    networks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NETWORK",
            help="Networks to measure.",
            show_default="simpnet and deepernet",
            autocompletion=completion.networks,
        ),
    ] = None,
    dataset: Annotated[
        str,
        typer.Option(
            "--dataset",
            metavar="NAME",
            help="Data set, for the size of its images and its number of classes.",
            autocompletion=completion.datasets,
        ),
    ] = "cifar10",
    batch_size: Annotated[int, typer.Option("--batch-size", metavar="N", min=1, help="Images per step.")] = 500,
    rounds: Annotated[
        int,
        typer.Option("--rounds", metavar="N", min=2, help="Number of measurements of each rule and of plain PyTorch."),
    ] = 7,
    device: Annotated[
        str,
        typer.Option(
            "--device",
            metavar="auto|cpu|cuda",
            help="Device to measure on.",
            autocompletion=completion.words("auto", "cpu", "cuda"),
        ),
    ] = "auto",
    default_malloc: Annotated[
        bool, typer.Option("--default-malloc", help="Return freed memory to the system, as a plain script does.")
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all measured times to this file.")
    ] = None,
) -> None:
    """Compare the speed of training steps with plain PyTorch.

    The rules and the same network in plain PyTorch are measured in turn, in one process, on random images. The bare
    operations of a step are its convolutions and matrix products alone, on the same tensors. Use an idle machine.

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
