"""`urfb grid`: plan and run the experiments of a grid file."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from urfb.cli.options import DEFAULT_STORE, DataOption, StoreOption, WhereOption

app = typer.Typer(no_args_is_help=True)

GridArguments = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE|EXPERIMENT",
        help="Grid files, which end in .yaml or .yml, and the experiments wanted; all where none is named.",
        show_default=False,
    ),
]
EpochsOption = Annotated[
    int | None, typer.Option("--epochs", min=1, max=2**31 - 1, help="Train up to this epoch, whatever the file says.")
]


@app.command()
def plan(
    arguments: GridArguments,
    store: StoreOption = DEFAULT_STORE,
    epochs: EpochsOption = None,
    where: WhereOption = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=0, help="Estimate for so many runs at a time, as `urfb grid run` does.")
    ] = None,
    device: Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda", help="Where to train.")] = "auto",
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Measure a few steps of each unlike run here; takes a while.")
    ] = False,
) -> None:
    """List each run with its identity, its state (new, running, unfinished, failed, cancelled or done) and why.

    Below them stands what the missing runs will take, as far as stored times of like runs tell. Trains nothing.

    Example: urfb grid plan experiments.yaml figure5 --where dataset=cifar10
    """
    from urfb.cli.listing import print_plan
    from urfb.engines.planner import plan_grid
    from urfb.grid.expand import files_and_experiments, load_grids
    from urfb.grid.plan import select

    grid = load_grids(*files_and_experiments(arguments), epochs=epochs)
    runs = select(grid.runs, where or ())
    print_plan(plan_grid(runs, store=store, jobs=jobs, device=device, calibrate=calibrate))


@app.command()
def run(
    arguments: GridArguments,
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
    from urfb.grid.expand import files_and_experiments, load_grids
    from urfb.grid.plan import select

    # What a batch system or `kill` sends ends the command as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    grid = load_grids(*files_and_experiments(arguments), epochs=epochs)
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

    print_status(open_store(store).runs())
