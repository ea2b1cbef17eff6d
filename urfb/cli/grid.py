"""`urfb grid`: plan and run the experiments of a grid file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
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
        help="Grid files (.yaml or .yml), then names of experiments. Without names: all experiments.",
        show_default=False,
        autocompletion=completion.experiments,
    ),
]
EpochsOption = Annotated[
    int | None,
    typer.Option(
        "--epochs",
        metavar="N",
        min=1,
        max=2**31 - 1,
        help="Train every run to this epoch, instead of the file's number.",
    ),
]
JobsOption = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        metavar="N",
        min=0,
        help="Number of runs to train at the same time. 0 trains one after the other, in this process.",
        show_default="one per GPU or CPU core, as memory allows",
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda",
        help="Device to train on.",
        autocompletion=completion.words("auto", "cpu", "cuda"),
    ),
]
EngineOption = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="local|ray",
        help="Train on this machine or on a Ray cluster.",
        autocompletion=completion.words("local", "ray"),
    ),
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="auto|local|HOST:PORT",
        help="Ray cluster to use. 'local' starts one on this machine.",
        show_default="$RAY_ADDRESS, or the cluster on this machine",
    ),
]
LimitOption = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Train at most this many runs.")]
FailFastOption = Annotated[
    bool, typer.Option("--fail-fast", help="Stop after the first run that fails. The others keep a checkpoint.")
]
CheckpointOption = Annotated[
    float,
    typer.Option(
        "--checkpoint-every",
        min=0,
        metavar="SECONDS",
        callback=finite,
        help="Time between checkpoints: the most training that a crash can lose. 0 saves after every batch.",
    ),
]
KeepOption = Annotated[
    bool,
    typer.Option(
        "--keep-checkpoints/--discard-checkpoints", help="Whether to keep the checkpoints of runs that are done."
    ),
]


@app.command()
def plan(
    arguments: GridArguments,
    store: StoreOption = DEFAULT_STORE,
    data_dir: DataOption = None,
    epochs: EpochsOption = None,
    where: WhereOption = None,
    jobs: JobsOption = None,
    device: DeviceOption = "auto",
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate", help="Measure time and memory of a few steps of each kind of run, which is slow."),
    ] = False,
) -> None:
    """List the runs of a grid, with the reason for each state. Trains nothing.

    A run is new, running, unfinished, failed, cancelled or done. Below the list is an estimate of the time and disk
    space for the missing runs, from the stored times of similar runs, and the data sets that must be downloaded.

    Example: urfb grid plan experiments.yaml figure5 --where dataset=cifar10
    """
    from urfb.cli.listing import print_line, print_plan, unasked_text
    from urfb.data.catalog import data_directory, fetch_command, lacks_files
    from urfb.engines.planner import plan_grid
    from urfb.grid.expand import files_and_experiments, load_grids
    from urfb.grid.plan import select
    from urfb.store.engine import Location

    grid = load_grids(*files_and_experiments(arguments), epochs=epochs)
    runs = select(grid.runs, where or ())
    planned = plan_grid(runs, store=store, jobs=jobs, device=device, calibrate=calibrate)
    print_plan(planned)
    if not (location := Location.of(store)).exists:
        print_line(f"store: there is none at {location.in_full} yet; `urfb grid run` creates it")
    directory = data_directory(data_dir)
    for name in sorted({run.run.spec.dataset for run in planned.runs if run.missing}):
        if lacks_files(name, directory):
            print_line(f"data: {name} is missing in {directory}; run `{fetch_command(name, directory)}`")
    if notice := unasked_text(grid, store):
        print_line(notice)


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
    """Train the missing runs of a grid: new, unfinished or failed ones.

    The first seed of all runs is trained before the next one. If you run the command again, it trains only what is
    still missing.

    Ctrl-C, SIGTERM or closing the terminal stops training within seconds, even in the middle of an epoch. Every run
    saves a checkpoint and continues from there next time. A second signal stops at once.

    Exit code 0: success; 1: a run failed, and the others were trained; 2: bad input; 130: interrupted.

    Example: urfb grid run experiments.yaml figure4 --epochs 25 --where seed=0
    """
    from urfb.cli.listing import unasked_text
    from urfb.grid.expand import files_and_experiments, load_grids
    from urfb.grid.plan import select

    grid = load_grids(*files_and_experiments(arguments), epochs=epochs)
    _train(
        select(grid.runs, where or ()), data_dir, store=store, jobs=jobs, device=device, engine=engine, address=address,
        limit=limit, fail_fast=fail_fast, seconds_between_checkpoints=checkpoint_every,
        keep_checkpoints=keep_checkpoints, notice=partial(unasked_text, grid, store),
    )  # fmt: skip


@app.command()
def retry(
    arguments: GridArguments,
    store: StoreOption = DEFAULT_STORE,
    data_dir: DataOption = None,
    epochs: EpochsOption = None,
    where: WhereOption = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only runs that failed, not cancelled ones.")] = False,
    max_attempts: Annotated[
        int | None,
        typer.Option("--max-attempts", metavar="N", min=1, help="Skip runs that have failed this many times."),
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
    """Train only the runs that failed or were cancelled.

    They continue from their last checkpoints.

    Example: urfb grid retry experiments.yaml --failed --max-attempts 3
    """
    from urfb.engines.runner import failed_or_cancelled
    from urfb.grid.expand import files_and_experiments, load_grids
    from urfb.grid.plan import select

    grid = load_grids(*files_and_experiments(arguments), epochs=epochs)
    runs = failed_or_cancelled(select(grid.runs, where or ()), store, cancelled=not failed, max_attempts=max_attempts)
    if not runs:
        typer.echo("nothing to retry: none of these runs " + ("failed" if failed else "failed or was cancelled"))
        return
    _train(
        runs, data_dir, store=store, jobs=jobs, device=device, engine=engine, address=address, cancelled=True,
        limit=limit, fail_fast=fail_fast, seconds_between_checkpoints=checkpoint_every,
        keep_checkpoints=keep_checkpoints,
    )  # fmt: skip


def _train(runs: Sequence[GridRun], data_dir: Path | None, *, notice: Callable[[], str] = str, **settings: Any) -> None:
    """Call `run_grid`, show its progress, with a notice after the plan, and exit with its exit code."""
    from urfb.cli.progress import watching
    from urfb.data.catalog import data_directory
    from urfb.engines.runner import run_grid
    from urfb.engines.signals import stopping_on_signals

    with watching(notice) as observer, stopping_on_signals() as stop:
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
    """Cancel runs, so that `urfb grid run` no longer trains them.

    A runner that is training one of them stops its training. Results and checkpoints stay. `urfb grid retry` trains
    cancelled runs again.

    Example: urfb grid cancel --where rule=frfb --where seed=3,4
    """
    from urfb.cli.listing import counted_runs
    from urfb.store import open_for_writing, open_store

    identities = open_store(store).identities(runs or (), where or ())
    cancelled = open_for_writing(store).cancel(identities)
    typer.echo("\n  ".join([f"cancelled {counted_runs(len(cancelled))}", *cancelled]))
    if unchanged := len(identities) - len(cancelled):
        typer.echo(f"{counted_runs(unchanged)} already done or cancelled")


@app.command()
def logs(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="Identity of the run, or its first characters.", autocompletion=completion.runs
        ),
    ],
    store: StoreOption = DEFAULT_STORE,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing while the run is in training.")] = False,
) -> None:
    """Print the log of a run.

    The log has the settings, machine and versions of each attempt, the output of your own code, and the traceback of a
    failure.

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
        bool, typer.Option("--orphans", help="Also remove the files of runs that are not in the store.")
    ] = False,
) -> None:
    """Remove the checkpoints of runs that are done.

    Their results stay. If you later ask for more epochs, these runs start again at epoch 1.

    Example: urfb grid clean --store results/urfb.sqlite
    """
    from urfb.cli.listing import counted_runs, size_text
    from urfb.cli.rows import counted_files
    from urfb.engines.runner import remove_checkpoints
    from urfb.store import open_store
    from urfb.store.removal import orphaned_files

    removed, freed = remove_checkpoints(store)
    typer.echo(f"removed the checkpoints of {counted_runs(removed)} ({size_text(freed)})")
    files = orphaned_files(open_store(store))
    if orphans:
        files.remove()
        typer.echo(f"removed {counted_files(files)} of runs that are not in the store")
    elif files.checkpoints or files.logs:
        typer.echo(f"{counted_files(files)} of runs that are not in the store: --orphans removes them")


@app.command()
def watch(
    store: StoreOption = DEFAULT_STORE,
    every: Annotated[
        float,
        typer.Option(
            "--every", metavar="SECONDS", min=0.1, max=86_400, callback=finite, help="Time between two updates."
        ),
    ] = 2.0,
) -> None:
    """Show the runs in training until none is left.

    These are the runs of all runners that use the store.

    Example: urfb grid watch --store postgresql://lab@server/urfb
    """
    from urfb.cli.watching import watch_store
    from urfb.store import open_store

    watch_store(open_store(store), every)


@app.command()
def status(store: StoreOption = DEFAULT_STORE) -> None:
    """Count the runs in the store by experiment and state.

    This works while runs are in training.

    Example: urfb grid status
    """
    from urfb.cli.listing import print_status
    from urfb.store import open_store
    from urfb.store.status import run_statuses

    print_status(run_statuses(open_store(store)))
