"""Print the progress, results and checks of simulations."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import typer
from rich.progress import track

from urfb.cli.listing import print_line, printable, table
from urfb.cli.options import Format
from urfb.cli.rows import print_rows
from urfb.cli.terminal import console
from urfb.errors import counted
from urfb.theory.checks import Check
from urfb.theory.spec import Simulated
from urfb.theory.summary import Spread, Summary


def show_progress(results: Iterable[Simulated | None], total: int, store: str) -> None:
    """Show a bar on a terminal while simulations run, then print their number. None stands for a stored simulation."""
    began, new = time.monotonic(), 0
    screen = console(stderr=True)
    shown = track(results, "simulating", total, console=screen, transient=True) if screen.is_terminal else results
    for result in shown:
        new += result is not None
    seconds = time.monotonic() - began
    typer.echo(
        printable(
            f"{counted(total, 'simulation')} in {store}: {new} new in {seconds:.1f} s, {total - new} already stored"
        )
    )


def print_summaries(summaries: Sequence[Summary]) -> None:
    """Print errors and correlations of each rule and method, and the simulations that diverged."""
    iterations = list(summaries[0].errors)
    layers = sorted({layer for summary in summaries for layer in summary.correlations})
    columns = [
        "rule", "method", "draws", *(f"log₁₀ e at {iteration}" for iteration in iterations),
        *(f"corr {layer}" for layer in layers), "gap",
    ]  # fmt: skip
    rows = [
        [
            _rule(summary),
            summary.method,
            str(summary.draws),
            *(_ranged(summary.errors[iteration]) for iteration in iterations),
            *(_mean(summary.correlations.get(layer)) for layer in layers),
            "" if summary.method_gap is None else f"{summary.method_gap:.3f}",
        ]
        for summary in summaries
    ]
    table(columns, rows, right=columns[2:])
    print_line("means over draws (lowest to highest); e = tr(EᵗE); corr l: correlation of W_l and R_lᵗ at the end")
    if any(summary.method_gap is not None for summary in summaries):
        print_line(
            "gap: largest difference in log₁₀ e between the discrete steps and the ODE, above the solver's error"
        )
    for summary in summaries:
        for draw, iteration in summary.diverged.items():
            advice = "; choose a smaller --step-size" if summary.method == "discrete" else ""
            typer.echo(f"diverged: {_rule(summary)}, {summary.method}, draw {draw}, at iteration {iteration}{advice}")


def print_checks(checks: Sequence[Check], output: Format) -> None:
    """Print each check with the lowest and highest value of its cases, then the failed cases."""
    if output != Format.TABLE:
        columns = ("what", "of", "value", "low", "high", "passed")
        print_rows(columns, [(*check, check.passed) for check in checks], output)
        return
    rows = []
    for number, statement in enumerate(dict.fromkeys(check.statement for check in checks), start=1):
        cases = [check for check in checks if check.statement == statement]
        values = [check.value for check in cases]
        passed = all(check.passed for check in cases)
        rows.append(
            [
                str(number),
                "passed" if passed else "FAILED",
                str(len(cases)),
                *(f"{value:.5g}" for value in (min(values), max(values))),
                f"{cases[0].low:g} to {cases[0].high:g}",
                statement,
            ]
        )
    headers = ["check", "result", "cases", "lowest", "highest", "allowed", "statement"]
    table(headers, rows, right=headers[2:5])
    for check in checks:
        if not check.passed:
            typer.echo(f"failed: {check.statement}: {check.case}: {check.value:.5g}")


def _rule(summary: Summary) -> str:
    if summary.epsilon is None:
        return "BP"
    return f"ε {summary.epsilon:g}" + {0.0: " (FRFB)", 1.0: " (URFB)"}.get(summary.epsilon, "")


def _ranged(spread: Spread | None) -> str:
    if spread is None:
        return ""
    ends = f" ({_number(spread.low)} to {_number(spread.high)})" if spread.low < spread.high else ""
    return f"{_number(spread.mean)}{ends}"


def _mean(spread: Spread | None) -> str:
    return "" if spread is None else _number(spread.mean)


def _number(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}"  # 0.00, not −0.00
