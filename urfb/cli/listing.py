"""Tables and lists as the terminal shows them."""

from __future__ import annotations

import csv
import json
import math
import statistics
import sys
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from io import StringIO
from typing import TYPE_CHECKING

import typer
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from urfb.cli.options import Format
from urfb.cli.terminal import console
from urfb.errors import SelectionError
from urfb.grid.plan import STATES
from urfb.grid.settings import SETTINGS
from urfb.grid.spec import RunSpec

if TYPE_CHECKING:
    import pandas as pd

    from urfb.bench.measure import Figures
    from urfb.doctor import Finding
    from urfb.engines.estimate import Estimate
    from urfb.engines.planner import GridPlan
    from urfb.grid.shown import ShownNetwork
    from urfb.store.merge import Merged
    from urfb.store.status import RunStatus

COLOURS = {
    "done": "green", "failed": "red", "running": "cyan", "unfinished": "yellow", "cancelled": "dim",
    "ok": "green", "warning": "yellow", "problem": "red",
}  # fmt: skip
COLOURED_ROWS = 1000
"""A longer table is plain text on a terminal, too: rich, which measures each cell, takes seconds for it."""

# What the table format shows; csv and json have every column.
SHOWN = {
    "runs": (
        "run network dataset rule loss connectivity seed state epochs_done epochs_target "
        "training_error validation_error test_error"
    ),
    "epochs": (
        "run network dataset rule loss connectivity seed epoch running_loss training_loss training_error "
        "validation_loss validation_error seconds"
    ),
    "alignment": (
        "run network dataset rule loss connectivity seed step epoch layer layer_name correlation correlation_shared"
    ),
}


def describe(spec: RunSpec) -> str:
    """Return a run in a few words: 'simpnet cifar10 urfb hinge 50 % seed 0'."""
    return " ".join(
        [spec.network, spec.dataset, described_rule(spec), spec.loss, *_peculiarities(spec), f"seed {spec.seed}"]
    )


def described_rule(spec: RunSpec) -> str:
    """Return a run's rule with its parameters: 'interpolated ε 0.5'."""
    parameters = (("ε", spec.epsilon), ("λ", spec.decay))
    return " ".join([spec.rule, *(f"{symbol} {value:g}" for symbol, value in parameters if value is not None)])


def _peculiarities(spec: RunSpec) -> list[str]:
    words = []
    if spec.convention != "paper":
        words.append(spec.convention)
    if spec.connectivity != 1 or spec.feedback_connectivity != 1:
        words.append(f"{spec.connectivity:.0%}".replace("%", " %"))
    if spec.pretraining_epochs:
        words.append(f"after {spec.pretraining_epochs} tied epochs")
    if spec.untied != "none":
        words.append(f"untied {spec.untied}")
    if spec.precision != "float32":
        words.append(spec.precision)
    return words


def printable(text: str, *, keep: str = "") -> str:
    """Return a text that does nothing to a terminal: control characters, but those in `keep`, are written out."""
    return "".join(
        character.encode("unicode_escape").decode()
        if character not in keep and unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        else character
        for character in text
    )


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = ()) -> None:
    """Print a table: with colours on a terminal, as plain aligned text elsewhere; `right` has numbers.

    On a terminal that is too narrow for it, what all rows have in common stands above, and the other columns below one
    another, each time beside the first one, which names the row. Nothing is cut.
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
        shown = [at for at in shown if at == 0 or len({row[at] for row in rows}) > 1]
        common = [f"{columns[at]} {value or 'empty'}" for at, value in enumerate(rows[0]) if at not in shown]
        if common:
            screen.print(Text(f"in all rows: {', '.join(common)}"))
    parts = [shown[:1]]
    for at in shown[1:]:
        if len(parts[-1]) > 1 and _width([widths[other] for other in (*parts[-1], at)]) > screen.width:
            parts.append(shown[:1])
        parts[-1].append(at)
    for part in parts:
        drawn = Table(box=None, header_style="bold", pad_edge=False)
        for at in part:
            # As Text, so that square brackets in a name are not taken for markup.
            drawn.add_column(
                Text(columns[at]),
                justify="right" if columns[at] in right else "left",
                overflow="fold",
                no_wrap=at == 0 and widths[0] <= screen.width // 2,
            )
        for row in rows:
            drawn.add_row(*(Text(row[at], style=COLOURS.get(row[at], "")) for at in part))
        screen.print(drawn)


def _width(widths: Sequence[int]) -> int:
    """Return how wide a table with columns of these widths is."""
    return sum(widths) + 2 * (len(widths) - 1)


def print_plan(plan: GridPlan) -> None:
    """Print each run of a plan with the reason for its state, how many are in which state, and what is to come."""
    planned = plan.runs
    specs = [one.run.spec for one in planned]
    listed = [name for name, setting in SETTINGS.items() if setting.use.listed]
    differing = [name for name in listed if len({getattr(spec, name) for spec in specs}) > 1]
    rows = []
    for one in planned:
        spec = one.run.spec
        density = f"{spec.connectivity:g}" if spec.connectivity == spec.feedback_connectivity else (
            f"{spec.connectivity:g}/{spec.feedback_connectivity:g}"
        )  # fmt: skip
        rows.append(
            [
                spec.identity,
                one.state,
                f"{one.epochs_done}/{spec.epochs}",
                spec.network,
                spec.dataset,
                described_rule(spec),
                spec.loss,
                density,
                *(_cell(getattr(spec, name)) for name in differing),
                str(spec.seed),
                ", ".join(one.run.experiments),
                one.reason,
            ]
        )
    if rows:
        columns = ["run", "state", "epochs", "network", "dataset", "rule", "loss", "connectivity", *differing]
        table([*columns, "seed", "experiments", "reason"], rows)
    counts = Counter(one.state for one in planned)
    summary = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    typer.echo(f"{counted_runs(len(planned))}: {summary}" if planned else "no run agrees with these conditions")
    if plan.estimate is not None:
        _print_estimate(plan, plan.estimate)


def _print_estimate(plan: GridPlan, estimate: Estimate) -> None:
    """Print what the missing runs will take, and what that rests on."""
    slots, threads = len(plan.workplaces), plan.workplaces[0].threads
    where = f"{slots} at a time on {plan.device_name}, {threads} CPU thread{'s' * (threads > 1)} each"
    time = "unknown" if estimate.seconds is None else f"about {_duration(estimate.seconds)}"
    if estimate.seconds is not None and estimate.untimed:
        time += f" for {estimate.runs - estimate.untimed} of {estimate.runs} runs"
    typer.echo(f"time: {time}, {where}")
    if estimate.untimed:
        typer.echo(f"  no timing of {counted_runs(estimate.untimed)}: --calibrate measures them")
    if plan.calibrated:
        typer.echo("  from a few steps of each unlike run, measured now on random images")
    elif estimate.epochs:
        others = f"; {counted_runs(estimate.by_other_rules)} by another rule or connectivity" * (
            estimate.by_other_rules > 0
        )
        typer.echo(f"  from {estimate.epochs} stored epochs of like runs on such a device with as many threads{others}")
    if estimate.memory is not None:
        typer.echo(f"memory: up to {_size(estimate.memory)}, measured")
    own = f", without those of {counted_runs(estimate.uncounted)} of a model of your own" * (estimate.uncounted > 0)
    typer.echo(
        f"disk: up to {_size(estimate.checkpoints + estimate.rows)}: checkpoints {_size(estimate.checkpoints)}{own}, "
        f"rows {_size(estimate.rows)}"
    )


def counted_runs(number: int) -> str:
    """Return '1 run' or '2 runs'."""
    return f"{number} run{'s' * (number != 1)}"


def _duration(seconds: float) -> str:
    """Return a duration in the unit that suits it."""
    minutes, hours = seconds / 60, seconds / 3600
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 90:
        return f"{minutes:.0f} min"
    if hours < 48:
        return f"{hours:.1f} h"
    return f"{hours / 24:.1f} days"


def _size(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def print_network(shown: ShownNetwork) -> None:
    """Print a network, statement by statement, and what it costs in all."""
    spec, counted = shown.spec, shown.costs
    columns = ["", "statement", "output", "W", "R", "MFLOP forward", "MFLOP step"]
    rows = [
        [
            str(number),
            one.statement + (", untied" if one.untied else ""),
            "×".join(map(str, one.shape)),
            *(f"{count:,}" if count else "" for count in (one.weights, one.feedback)),
            *(f"{count / 1e6:.3f}" if count else "" for count in (one.forward, one.step)),
        ]
        for number, one in enumerate(counted.statements, start=1)
    ]
    total = [
        f"{counted.weights:,}",
        f"{counted.feedback:,}",
        f"{counted.forward / 1e6:.3f}",
        f"{counted.step / 1e6:.3f}",
    ]
    rows.append(["", "in all", "", *total])
    name = "network" if spec.network == spec.layers else spec.network  # a text is in the table below
    typer.echo(f"{name} on {spec.dataset}, rule {spec.rule}, convention {spec.convention}")
    table(columns, rows, right=columns[3:])
    typer.echo("MFLOP: a million multiplications and additions, an image; step: forward, increments and error signal.")


def print_figures(measured: Sequence[Figures]) -> None:
    """Print what was measured of one network."""
    first, *_ = measured
    columns = [first.network, "ms a step", "from", "to", "steps/s", "times as fast", "GFLOP/s", "bare ms", "step/bare"]
    rows = []
    for one in measured:
        median = statistics.median(one.step_ms)
        rows.append(
            [
                one.candidate,
                *(f"{value:,.4g}" for value in (median, min(one.step_ms), max(one.step_ms), 1e3 / median)),
                f"{statistics.median(one.ratios(first)):.2f}",
                f"{one.flop / median / 1e6:,.0f}",
                f"{statistics.median(one.bare_ms):,.4g}",
                f"{one.over_bare:.2f}",
                f"{one.evaluation_share:.0%}" if one.evaluation_ms else "",
                f"{one.memory / 2**20:,.0f}",
            ]
        )
    columns += ["evaluation", "MiB"]
    table(columns, rows, right=columns[1:])
    typer.echo(
        "medians, the fastest and the slowest; bare: a step's own products alone; evaluation: its share of an epoch; "
        "MiB: of memory"
    )


def print_status(runs: Sequence[RunStatus]) -> None:
    """Print how many runs are in which state, for each experiment and in all."""
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
    for run in runs:
        if run.state == "failed":
            typer.echo(printable(f"failed: {run.run} {run.network} {run.dataset} {run.rule}: {run.reason}"))


def print_frame(frame: pd.DataFrame, view: str, output: Format) -> None:
    """Print a frame of the store."""
    match output:
        case Format.CSV if sys.stdout.isatty():
            _print_raw(frame.to_csv(index=False))
        case Format.CSV:
            frame.to_csv(sys.stdout, index=False)
        case Format.JSON:
            _print_raw(frame.to_json(orient="records", indent=1, force_ascii=False, double_precision=15))
        case Format.TABLE:
            columns = SHOWN[view].split()
            cells = [["" if value != value else _cell(value) for value in row]
                     for row in frame[columns].itertuples(index=False)]  # fmt: skip
            table(columns, cells)
            typer.echo(f"{len(frame)} rows" + (" (every column: --format csv)" if len(frame) else ""))


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[object]], output: Format) -> None:
    """Print rows of any values.

    Raises:
        SelectionError: two columns have one name, which JSON cannot say.
    """
    match output:
        case Format.CSV:
            written = StringIO()
            csv.writer(written, lineterminator="\n").writerows([columns, *(map(_plain, row) for row in rows)])
            _print_raw(written.getvalue().removesuffix("\n"))
        case Format.JSON:
            twice = [name for name, times in Counter(columns).items() if times > 1]
            if twice:
                raise SelectionError(f"two columns are called '{twice[0]}': give one another name with AS, for JSON")
            records = [dict(zip(columns, map(_finite, map(_plain, row)), strict=True)) for row in rows]
            _print_raw(json.dumps(records, indent=1, ensure_ascii=False))
        case Format.TABLE:
            table(columns, [[_cell(value) for value in row] for row in rows])


def print_merged(merged: Sequence[Merged]) -> None:
    """Print how many runs each source gave, and name those that two stores had, or that could not be taken."""
    said = {
        "replaced": "{run}: {theirs} in place of {ours}",
        "kept": "{run}: {ours} stay; {theirs} are left out",
        "busy": "{run}: is being trained here and left alone; merge again when it has ended",
    }
    for source in dict.fromkeys(one.source for one in merged):
        found = {kind: [one for one in merged if (one.source, one.kind) == (source, kind)]
                 for kind in ("run", "simulation")}  # fmt: skip
        runs = found["run"]
        counted = []
        for kind, ones in found.items():
            if ones:
                counts = Counter(one.outcome for one in ones)
                each = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
                counted.append(f"{len(ones)} {kind}s: {each}")
        typer.echo(f"{source}: {'; '.join(counted)}")
        for one in runs:
            if one.outcome in said:
                words = said[one.outcome].format(run=one.run, theirs=one.source_version, ours=one.target_version)
                typer.echo(f"  {one.outcome}: {words}")


def print_findings(findings: Sequence[Finding], output: Format) -> None:
    """Print what an examination has found; people read the advice in the same line."""
    columns, rows = ["level", "what", "advice"], [tuple(finding) for finding in findings]
    if output == Format.TABLE:
        columns, rows = columns[:2], [(level, f"{what}: {advice}" if advice else what) for level, what, advice in rows]
    print_rows(columns, rows, output)


def _print_raw(text: str) -> None:
    """Print a text for programs as it is, but to a terminal without what would control it."""
    # Not typer.echo, which takes colours out of what is no terminal's, and so would change values.
    sys.stdout.write((printable(text, keep="\n") if sys.stdout.isatty() else text) + "\n")


def _plain(value: object) -> object:
    """Return a value as CSV and JSON can hold it: bytes in hexadecimal."""
    if isinstance(value, bytes):
        return value.hex()
    return value if value is None or isinstance(value, (str, int, float)) else str(value)


def _finite(value: object) -> object:
    """Return a value as JSON can hold it, which knows no infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
