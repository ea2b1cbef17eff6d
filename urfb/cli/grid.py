"""`urfb grid`: plan and run the experiments of a grid file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from urfb.cli import completion
from urfb.cli.options import DEFAULT_STORE, DataOption, RunsArgument, StoreOption, WhereOption, finite

if TYPE_CHECKING:
    from urfb.grid.expand import GridRun

app = typer.Typer(no_args_is_help=True)

GridArguments = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE|EXPERIMENT",
        help="Grid files, which end in .yaml or .yml, and the experiments wanted; all where none is named.",
        show_default=False,
        autocompletion=completion.experiments,
    ),
]
EpochsOption = Annotated[
    int | None, typer.Option("--epochs", min=1, max=2**31 - 1, help="Train up to this epoch, whatever the file says.")
]

JobsOption = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        min=0,
        help="Runs trained at a time: one a GPU, or one a CPU core, where not given. 0 trains in this process.",
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda",
        help="Where to train.",
        autocompletion=completion.words("auto", "cpu", "cuda"),
    ),
]
EngineOption = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="local|ray",
        help="Train on this machine, or on a Ray cluster.",
        autocompletion=completion.words("local", "ray"),
    ),
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="auto|local|HOST:PORT",
        help="Of the Ray cluster: the one that runs here, where not given; 'local' starts one on this machine.",
    ),
]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, help="Train so many runs at most.")]
FailFastOption = Annotated[
    bool, typer.Option("--fail-fast", help="Stop after the first run that fails; the others keep a checkpoint.")
]
CheckpointOption = Annotated[
    float,
    typer.Option(
        "--checkpoint-every",
        min=0,
        metavar="SECONDS",
        callback=finite,
        help="How much training a crash may cost at most; 0 saves after each batch.",
    ),
]
KeepOption = Annotated[
    bool,
    typer.Option("--keep-checkpoints/--discard-checkpoints", help="Of runs that are done."),
]


@app.command()
def plan(
    arguments: GridArguments,
    store: StoreOption = DEFAULT_STORE,
    epochs: EpochsOption = None,
    where: WhereOption = None,
    jobs: JobsOption = None,
    device: DeviceOption = "auto",
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Measure a few steps of each unlike run here; takes a while.")
    ] = False,
) -> None:
    """List the runs, each with its state and why; trains nothing.

    A state is new, running, unfinished, failed, cancelled or done. Below the runs stands what the missing ones will
    take, as far as stored times of like runs tell.

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
    jobs: JobsOption = None,
    device: DeviceOption = "auto",
    engine: EngineOption = "local",
    address: AddressOption = None,
    limit: LimitOption = None,
    fail_fast: FailFastOption = False,
    checkpoint_every: CheckpointOption = 60.0,
    keep_checkpoints: KeepOption = True,
) -> None:
    """Train what is missing, and what failed before. Running it again does nothing.

    One seed of everything is trained first, then the next.

    Ctrl-C, SIGTERM or a closed terminal stops the training within seconds, in the middle of an epoch too; every run
    keeps a checkpoint. A second one stops it at once.

    Exit code 0: all done; 1: some run failed, the others were trained; 2: bad input; 130: interrupted.

    Example: urfb grid run experiments.yaml figure4 --epochs 25 --where seed=0
    """
    from urfb.grid.expand import files_and_experiments, load_grids
    from urfb.grid.plan import select

    grid = load_grids(*files_and_experiments(arguments), epochs=epochs)
    _train(
        select(grid.runs, where or ()), data_dir, store=store, jobs=jobs, device=device, engine=engine, address=address,
        limit=limit, fail_fast=fail_fast, seconds_between_checkpoints=checkpoint_every,
        keep_checkpoints=keep_checkpoints,
    )  # fmt: skip


@app.command()
def retry(
    arguments: GridArguments,
    store: StoreOption = DEFAULT_STORE,
    data_dir: DataOption = None,
    epochs: EpochsOption = None,
    where: WhereOption = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only those that failed, not those cancelled.")] = False,
    max_attempts: Annotated[
        int | None, typer.Option("--max-attempts", min=1, help="Leave those alone that have failed so often.")
    ] = None,
    jobs: JobsOption = None,
    device: DeviceOption = "auto",
    engine: EngineOption = "local",
    address: AddressOption = None,
    limit: LimitOption = None,
    fail_fast: FailFastOption = False,
    checkpoint_every: CheckpointOption = 60.0,
    keep_checkpoints: KeepOption = True,
) -> None:
    """Train the runs that failed or were cancelled, and no others.

    They go on from their last checkpoints.

    Example: urfb grid retry experiments.yaml --failed --max-attempts 3
    """
    from urfb.engines.runner import failed_or_cancelled
    from urfb.grid.expand import files_and_experiments, load_grids
    from urfb.grid.plan import select

    grid = load_grids(*files_and_experiments(arguments), epochs=epochs)
    runs = failed_or_cancelled(select(grid.runs, where or ()), store, cancelled=not failed, max_attempts=max_attempts)
    if not runs:
        typer.echo("nothing to try again: none of these runs " + ("failed" if failed else "failed or was cancelled"))
        return
    _train(
        runs, data_dir, store=store, jobs=jobs, device=device, engine=engine, address=address, cancelled=True,
        limit=limit, fail_fast=fail_fast, seconds_between_checkpoints=checkpoint_every,
        keep_checkpoints=keep_checkpoints,
    )  # fmt: skip


def _train(runs: Sequence[GridRun], data_dir: Path | None, **settings: Any) -> None:
    """Call `run_grid`, show its progress, and exit with the code of its outcome."""
    from urfb.cli.progress import watching
    from urfb.data.catalog import data_directory
    from urfb.engines.runner import run_grid
    from urfb.engines.signals import stopping_on_signals

    with watching() as observer, stopping_on_signals() as stop:
        try:
            outcome = run_grid(runs, data=data_directory(data_dir), observer=observer, stop=stop, **settings)
        except KeyboardInterrupt:
            observer.interrupted(at_once=True)
            raise typer.Exit(130) from None
        if stop() and outcome.left:
            observer.interrupted(at_once=False)
            raise typer.Exit(130)
    if outcome.failed:
        raise typer.Exit(1)


@app.command()
def cancel(
    runs: RunsArgument = None,
    store: StoreOption = DEFAULT_STORE,
    where: WhereOption = None,
) -> None:
    """Let nobody train these runs any more.

    Whoever trains them now stops. What is stored of them stays, and so do their checkpoints; `urfb grid retry` takes
    it back.

    Example: urfb grid cancel --where rule=frfb --where seed=3,4
    """
    from urfb.store import open_for_writing, open_store

    identities = open_store(store).identities(runs or (), where or ())
    cancelled = open_for_writing(store).cancel(identities)
    typer.echo("\n  ".join([f"{len(cancelled)} runs cancelled", *cancelled]))
    if len(cancelled) < len(identities):
        typer.echo(f"{len(identities) - len(cancelled)} were done or cancelled already")


@app.command()
def logs(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="Its identity, or how that begins.", autocompletion=completion.runs)
    ],
    store: StoreOption = DEFAULT_STORE,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on while the run is trained.")] = False,
) -> None:
    """Print the log of a run.

    It says where and with what the run was trained, what it printed, and how it failed.

    Example: urfb grid logs 3f2a --follow
    """
    from urfb.cli.listing import printable
    from urfb.store import open_store

    for text in open_store(store).log(run, follow=follow):
        typer.echo(printable(text, keep="\n\t"), nl=False)


@app.command()
def clean(
    store: StoreOption = DEFAULT_STORE,
    orphans: Annotated[
        bool, typer.Option("--orphans", help="Remove the files of runs that the store does not have, too.")
    ] = False,
) -> None:
    """Remove the checkpoints of runs that are done.

    Their results stay; more epochs would train them anew.

    Example: urfb grid clean --store results/urfb.sqlite
    """
    from urfb.cli.listing import counted_files
    from urfb.engines.runner import remove_checkpoints
    from urfb.store import open_store
    from urfb.store.removal import orphaned_files

    removed, freed = remove_checkpoints(store)
    typer.echo(f"removed the checkpoints of {removed} runs, {freed / 1e6:,.1f} MB")
    files = orphaned_files(open_store(store))
    if orphans:
        files.remove()
        typer.echo(f"removed {counted_files(files)} of runs that the store does not have")
    elif files.checkpoints or files.logs:
        typer.echo(f"{counted_files(files)} are of runs that the store does not have: --orphans removes them")


@app.command()
def watch(
    store: StoreOption = DEFAULT_STORE,
    every: Annotated[
        float, typer.Option("--every", min=0.1, max=86_400, callback=finite, help="Seconds between two looks.")
    ] = 2.0,
) -> None:
    """Show the runs that are being trained, by whomever, until none is.

    Example: urfb grid watch --store postgresql://lab@server/urfb
    """
    from urfb.cli.watching import watch_store
    from urfb.store import open_store

    watch_store(open_store(store), every)


@app.command()
def status(store: StoreOption = DEFAULT_STORE) -> None:
    """Show how many runs of the store are in which state.

    It may be asked while another process trains them.

    Example: urfb grid status
    """
    from urfb.cli.listing import print_status
    from urfb.store import open_store
    from urfb.store.status import run_statuses

    print_status(run_statuses(open_store(store)))
