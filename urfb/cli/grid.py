"""`urfb grid`: plan and run the experiments of a grid file."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from urfb.cli.options import DEFAULT_STORE, DataOption, StoreOption, WhereOption

app = typer.Typer(no_args_is_help=True)

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The grid file.")]
ExperimentsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="EXPERIMENT", help="Those wanted; all where none is named.")
]
EpochsOption = Annotated[
    int | None, typer.Option("--epochs", min=1, max=2**31 - 1, help="Train up to this epoch, whatever the file says.")
]


@app.command()
def plan(
    file: FileArgument,
    experiments: ExperimentsArgument = None,
    store: StoreOption = DEFAULT_STORE,
    epochs: EpochsOption = None,
    where: WhereOption = None,
) -> None:
    """List each run with its identity and its state: new, running, unfinished, failed or done. Trains nothing.

    Example: urfb grid plan experiments.yaml figure5 --where dataset=cifar10
    """
    from urfb.cli.listing import print_plan
    from urfb.grid.expand import load_grid
    from urfb.grid.plan import plan as plan_runs
    from urfb.grid.plan import select
    from urfb.store import stored_progress

    grid = load_grid(file, experiments or (), epochs=epochs)
    print_plan(plan_runs(select(grid.runs, where or ()), stored_progress(store)))


@app.command()
def run(
    file: FileArgument,
    experiments: ExperimentsArgument = None,
    store: StoreOption = DEFAULT_STORE,
    data_dir: DataOption = None,
    epochs: EpochsOption = None,
    where: WhereOption = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            min=0,
            help="Runs trained at a time: one a GPU, or one a CPU core, where not given. 0 trains in this process.",
        ),
    ] = None,
    device: Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda", help="Where to train.")] = "auto",
) -> None:
    """Train what is missing. Running it again does nothing.

    Exit code 0: all done; 1: some run failed, the others were trained; 2: bad input; 130: interrupted.

    Example: urfb grid run experiments.yaml figure4 --epochs 25 --where seed=0
    """
    from urfb.cli.progress import watching
    from urfb.data.catalog import data_directory
    from urfb.engines.runner import run_grid
    from urfb.grid.expand import load_grid
    from urfb.grid.plan import select

    # What a batch system or `kill` sends ends the command as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    grid = load_grid(file, experiments or (), epochs=epochs)
    with watching() as observer:
        try:
            outcome = run_grid(
                select(grid.runs, where or ()),
                store=store,
                data=data_directory(data_dir),
                jobs=jobs,
                device=device,
                observer=observer,
            )
        except KeyboardInterrupt:
            observer.interrupted()
            raise typer.Exit(130) from None
    if outcome.failed:
        raise typer.Exit(1)


@app.command()
def status(store: StoreOption = DEFAULT_STORE) -> None:
    """Show how many runs of the store are in which state, also while another process trains them.

    Example: urfb grid status
    """
    from urfb.cli.listing import print_status
    from urfb.store import open_store
    from urfb.store.status import run_statuses

    print_status(run_statuses(open_store(store)))
