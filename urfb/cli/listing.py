"""Print tables and lists."""

from __future__ import annotations

import shlex
import statistics
import sys
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from urfb.cli.options import DEFAULT_STORE
from urfb.cli.terminal import console, wrapped
from urfb.errors import counted
from urfb.grid.naming import differing, distinguishing, in_words, settings_of, shared, value_text
from urfb.grid.plan import STATES

if TYPE_CHECKING:
    from urfb.bench.measure import Figures
    from urfb.engines.estimate import Estimate
    from urfb.engines.planner import GridPlan
    from urfb.grid.expand import Grid
    from urfb.grid.shown import ShownNetwork
    from urfb.store.status import RunStatus

COLOURS = {
    "done": "green", "failed": "red", "running": "cyan", "unfinished": "yellow", "cancelled": "dim",
    "ok": "green", "warning": "yellow", "problem": "red",
}  # fmt: skip
COLOURED_ROWS = 1000
"""A longer table is plain text on a terminal too, because rich would take seconds to measure its cells."""


def printable(text: str, *, keep: str = "") -> str:
    """Return a text that cannot control a terminal: control characters, except those in `keep`, are escaped."""
    if text.isprintable():  # the fast path: a long table has 100,000 cells
        return text
    return "".join(
        character.encode("unicode_escape").decode()
        if character not in keep and unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        else character
        for character in text
    )


def table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = (), keys: Sequence[str] = ()
) -> None:
    """Print a table: with colours on a terminal, as aligned plain text elsewhere.

    If the terminal is too narrow, columns with the same value in all rows are printed as one line above the table. The
    other columns are split into several tables, each with the first column and the `keys` that fit. No text is cut.

    Args:
        columns: the headings.
        rows: the cells of each row.
        right: the headings of right-aligned columns, for numbers.
        keys: the headings of the columns that identify a row, the most important first.
    """
    screen = console()
    columns, *rows = [[printable(cell) for cell in row] for row in (columns, *rows)]
    widths = [max(map(cell_len, column)) for column in zip(columns, *rows, strict=True)]
    if not (screen.is_terminal or sys.stdout.isatty()) or len(rows) > COLOURED_ROWS:
        for row in (columns, *rows):
            cells = (
                f"{' ' * (width - cell_len(cell))}{cell}"
                if name in right
                else f"{cell}{' ' * (width - cell_len(cell))}"
                for name, cell, width in zip(columns, row, widths, strict=True)
            )
            typer.echo("  ".join(cells).rstrip())
        return
    shown = list(range(len(columns)))
    if _width(widths) > screen.width and len(rows) > 1:
        shown = [index for index in shown if index == 0 or len({row[index] for row in rows}) > 1]
        common = [f"{columns[index]} {value or 'empty'}" for index, value in enumerate(rows[0]) if index not in shown]
        if common:
            screen.print(Text(wrapped(f"all rows: {', '.join(common)}", screen.width)))
    for number, part in enumerate(_parts(shown, [columns.index(key) for key in keys], widths, screen.width)):
        if number:
            screen.print()
        drawn = Table(box=None, header_style="bold", pad_edge=False)
        for index in part:
            # rich would read square brackets in a str as markup.
            drawn.add_column(
                Text(columns[index]),
                justify="right" if columns[index] in right else "left",
                overflow="fold",
                no_wrap=index == 0 and widths[0] <= screen.width // 2,
            )
        for row in rows:
            drawn.add_row(*(Text(row[index], style=COLOURS.get(row[index], "")) for index in part))
        screen.print(drawn)


def _width(widths: Sequence[int]) -> int:
    """Return the width of a table with columns of these widths."""
    return sum(widths) + 2 * (len(widths) - 1)


def _parts(shown: Sequence[int], keys: Sequence[int], widths: Sequence[int], screen: int) -> list[list[int]]:
    """Divide the columns of a table into parts that fit a screen, where possible; see `table`.

    Args:
        shown: the numbers of the columns.
        keys: the numbers of the columns to repeat as far as they fit next to any other column.
        widths: the width of each column.
        screen: the width of the screen.
    """
    repeated = [*shown[:1]]
    for key in keys:
        widest = max((widths[index] for index in shown if index not in (*keys, *repeated)), default=0)
        if key in shown[1:] and _width([*(widths[index] for index in (*repeated, key)), widest]) <= screen:
            repeated.append(key)
    parts = [repeated]
    for index in shown:
        if index not in repeated:
            if len(parts[-1]) > len(repeated) and _width([widths[column] for column in (*parts[-1], index)]) > screen:
                parts.append(repeated)
            parts[-1] = [*parts[-1], index]
    return [sorted(part) for part in parts]


def print_plan(plan: GridPlan) -> None:
    """Print each run of a plan with the reason for its state, the number of runs in each state, and the estimate."""
    planned = plan.runs
    runs = [settings_of(planned_run.run.spec) for planned_run in planned]
    names = differing(runs)
    rows = [
        [
            planned_run.run.spec.identity,
            planned_run.state,
            f"{planned_run.epochs_done}/{planned_run.run.spec.epochs}",
            *_differences(run, names),
            ", ".join(planned_run.run.experiments),
            planned_run.reason,
        ]
        for planned_run, run in zip(planned, runs, strict=True)
    ]
    if rows:
        print_shared(runs)
        columns = ["run", "state", "epochs", *names, "experiments", "reason"]
        if not any(planned_run.reason for planned_run in planned):
            columns, rows = columns[:-1], [row[:-1] for row in rows]
        table(columns, rows)
    counts = Counter(planned_run.state for planned_run in planned)
    summary = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    typer.echo(f"{counted_runs(len(planned))}: {summary}" if planned else "no runs match these conditions")
    if plan.estimate is not None:
        _print_estimate(plan, plan.estimate)


def unasked_text(grid: Grid, store: str) -> str:
    """Return a line about stored runs of a grid's experiments that its files do not ask for; '' if there are none."""
    from urfb.store import open_existing
    from urfb.store.status import unasked_runs

    opened = open_existing(store)
    experiments = {name for run in grid.runs for name in run.experiments}
    unasked = unasked_runs(opened, experiments, grid.identities) if opened else {}
    if not unasked:
        return ""
    names, files = ",".join(unasked), list(map(str, grid.paths))
    command = ["urfb", "results", "runs", *(word for file in files for word in ("--not-in", file))]
    command += ["--where", f"experiments={names}", *(["--store", store] if store != DEFAULT_STORE else [])]
    return (
        f"experiment {names}: the store also has {counted_runs(len(set().union(*unasked.values())))} not in "
        f"{', '.join(files)}; list them with: {shlex.join(command)}"
    )


def shared_in_words(runs: Sequence[Mapping[str, Any]]) -> str:
    """Return the unusual settings that all runs share, in words; an empty text if there are none."""
    common = [f"{name} {value_text(runs[0][name])}" for name in shared(runs)]
    return f"{'all runs' if len(runs) > 1 else 'run'}: {', '.join(common)}" if common else ""


def print_shared(runs: Sequence[Mapping[str, Any]]) -> None:
    """Print the unusual settings that all runs share, if there are any."""
    if text := shared_in_words(runs):
        print_line(text)


def print_line(text: str) -> None:
    """Print a line, which is broken between phrases where a terminal is too narrow."""
    screen = console()
    typer.echo(wrapped(printable(text), screen.width) if screen.is_terminal else printable(text))


def _differences(run: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Return a run's values of the settings in which the runs differ."""
    return ["" if run[name] is None else value_text(run[name]) for name in names]


def _print_estimate(plan: GridPlan, estimate: Estimate) -> None:
    """Print the time, memory and disk space that the missing runs need, and the basis of the estimate."""
    slots, threads = len(plan.slots), plan.slots[0].threads
    where = f"{slots} at a time on {plan.device_name}, {counted(threads, 'CPU thread')} each"
    time = "unknown" if estimate.seconds is None else f"about {_duration(estimate.seconds)}"
    if estimate.seconds is not None and estimate.untimed:
        time += f" for {estimate.runs - estimate.untimed} of {estimate.runs} runs"
    typer.echo(f"time: {time}, {where}")
    if estimate.untimed:
        typer.echo(f"  no stored times for {counted_runs(estimate.untimed)}: --calibrate measures them")
    if plan.calibrated:
        typer.echo("  measured now, in a few steps of each kind of run on random images")
    elif estimate.epochs:
        unlike = estimate.by_other_rules
        rules = f"; for {counted_runs(unlike)}, from another rule or connectivity" if unlike else ""
        typer.echo(
            f"  from {counted(estimate.epochs, 'stored epoch')} of similar runs on such a device with as many "
            f"threads{rules}"
        )
    if estimate.memory is not None:
        typer.echo(f"memory: up to {size_text(estimate.memory)}, measured")
    rows, unknown = (
        size_text(estimate.rows),
        f"of {counted_runs(estimate.uncounted)} of a custom model, of unknown size",
    )
    if estimate.uncounted == estimate.runs:
        typer.echo(f"disk: rows {rows}, and the checkpoints {unknown}")
        return
    total = size_text(estimate.checkpoints + estimate.rows)
    typer.echo(f"disk: up to {total}: checkpoints {size_text(estimate.checkpoints)}, rows {rows}")
    if estimate.uncounted:
        typer.echo(f"  plus the checkpoints {unknown}")


def counted_runs(number: int) -> str:
    """Return '1 run' or '2 runs'."""
    return counted(number, "run")


def _duration(seconds: float) -> str:
    """Return a duration in seconds, minutes, hours or days."""
    minutes, hours = seconds / 60, seconds / 3600
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 90:
        return f"{minutes:.0f} min"
    if hours < 48:
        return f"{hours:.1f} h"
    return f"{hours / 24:.1f} days"


def size_text(count: float) -> str:
    """Return a number of bytes in KiB, MiB or GiB."""
    power, unit = (30, "GiB") if count >= 2**30 else (20, "MiB") if count >= 2**20 else (10, "KiB")
    return f"{count / 2**power:.1f} {unit}"


def print_network(shown: ShownNetwork) -> None:
    """Print the statements of a network with their weights and arithmetic, and the totals."""
    spec, costs = shown.spec, shown.costs
    columns = ["", "statement", "output", "W", "R", "MFLOP forward", "MFLOP step"]
    rows = [
        [
            str(number),
            layer.statement + (", untied" if layer.untied else ""),
            "×".join(map(str, layer.shape)),
            *(f"{count:,}" if count else "" for count in (layer.weights, layer.feedback)),
            *(f"{count / 1e6:.3f}" if count else "" for count in (layer.forward, layer.step)),
        ]
        for number, layer in enumerate(costs.statements, start=1)
    ]
    total = [
        f"{costs.weights:,}",
        f"{costs.feedback:,}",
        f"{costs.forward / 1e6:.3f}",
        f"{costs.step / 1e6:.3f}",
    ]
    rows.append(["", "total", "", *total])
    name = "network" if spec.network == spec.layers else spec.network  # the table shows the statements
    typer.echo(f"{name} on {spec.dataset}, rule {spec.rule}, convention {spec.convention}")
    table(columns, rows, right=columns[3:])
    print_line(
        "MFLOP: millions of multiplications and additions per image; step: forward pass, error signal and increments"
    )


def print_figures(measured: Sequence[Figures]) -> None:
    """Print the measured times of a network."""
    first, *_ = measured
    columns = [first.network, "ms/step", "min", "max", "steps/s", "speed-up", "GFLOP/s", "bare ms", "step/bare"]
    rows = []
    for figures in measured:
        median = statistics.median(figures.step_ms)
        rows.append(
            [
                figures.candidate,
                *(f"{value:,.4g}" for value in (median, min(figures.step_ms), max(figures.step_ms), 1e3 / median)),
                f"{statistics.median(figures.ratios(first)):.2f}",
                f"{figures.flop / median / 1e6:,.0f}",
                f"{statistics.median(figures.bare_ms):,.4g}",
                f"{figures.over_bare:.2f}",
                f"{figures.evaluation_share:.0%}" if figures.evaluation_ms else "",
                f"{figures.memory / 2**20:,.0f}",
            ]
        )
    columns += ["evaluation", "MiB"]
    table(columns, rows, right=columns[1:])
    print_line(
        f"medians over rounds; speed-up: relative to {first.candidate}; bare: a step's convolutions and matrix "
        "products alone; evaluation: its share of the time; MiB: peak memory of a step"
    )


def print_status(runs: Sequence[RunStatus]) -> None:
    """Print the number of runs in each state, by experiment and in total, and why runs failed."""
    if not runs:
        typer.echo("the store has no runs yet")
        return
    groups = {name: [run for run in runs if name in run.experiments]
              for name in sorted({name for run in runs for name in run.experiments})}  # fmt: skip
    rows = []
    for name, group in [*groups.items(), ("all", runs)]:
        counts = Counter(run.state for run in group)
        target = f"{sum(run.epochs_done for run in group)}/{sum(run.epochs_target for run in group)}"
        rows.append([name, *(str(counts[state]) for state in STATES), str(len(group)), target])
    table(["experiment", *STATES, "runs", "epochs"], rows)
    failed = [run for run in runs if run.state == "failed"]
    experiments = {name for run in failed for name in run.experiments}
    names = distinguishing(experiments, [(set(run.experiments), run.settings) for run in runs])
    for run in failed:
        print_line(f"failed: {run.run} {in_words(run.settings, names)}: {run.reason}")
