"""What a person sees of simulations: how far they are, what they gave, and whether they can be right."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import typer
from rich.progress import track

from urfb.cli.listing import print_rows, printable, table
from urfb.cli.options import Format
from urfb.cli.terminal import console
from urfb.theory.checks import Check
from urfb.theory.spec import Simulated
from urfb.theory.summary import Spread, Summary


def show_progress(ended: Iterable[Simulated | None], total: int, store: str) -> None:
    """Show a bar on a terminal while simulations end, then say how many there were; None for one that is stored."""
    began, new = time.monotonic(), 0
    screen = console(stderr=True)
    shown = track(ended, "simulating", total, console=screen, transient=True) if screen.is_terminal else ended
    for one in shown:
        new += one is not None
    seconds = time.monotonic() - began
    typer.echo(printable(f"{total} simulations in {store}: {new} run in {seconds:.1f} s, {total - new} stored before"))


def print_summaries(summaries: Sequence[Summary]) -> None:
    """Print errors and correlations of each rule and method, and name what diverged."""
    iterations = list(summaries[0].errors)
    layers = sorted({layer for one in summaries for layer in one.correlations})
    columns = [
        "rule", "method", "draws", *(f"log₁₀ e at {iteration}" for iteration in iterations),
        *(f"corr {layer}" for layer in layers), "apart",
    ]  # fmt: skip
    rows = [
        [
            _rule(one),
            one.method,
            str(one.draws),
            *(_ranged(one.errors[iteration]) for iteration in iterations),
            *(_mean(one.correlations.get(layer)) for layer in layers),
            "" if one.method_gap is None else f"{one.method_gap:.3f}",
        ]
        for one in summaries
    ]
    table(columns, rows, right=columns[2:])
    typer.echo("means over draws, the lowest and the highest; e = tr(EᵗE); corr l: of W_l and R_lᵗ at the end")
    if any(one.method_gap is not None for one in summaries):
        typer.echo(
            "apart: the most that log₁₀ e of the discrete steps and of the ODE differ by, above the solver's own error"
        )
    for one in summaries:
        for draw, iteration in one.diverged.items():
            advice = "; choose a smaller --step-size" if one.method == "discrete" else ""
            typer.echo(f"diverged: {_rule(one)}, {one.method}, draw {draw}, at iteration {iteration}{advice}")


def print_checks(checks: Sequence[Check], output: Format) -> None:
    """Print each statement with the lowest and highest value of its cases, then the cases that do not hold."""
    if output != Format.TABLE:
        columns = ("what", "of", "value", "low", "high", "passed")
        print_rows(columns, [(*one, one.passed) for one in checks], output)
        return
    rows = []
    for statement in dict.fromkeys(one.statement for one in checks):
        cases = [one for one in checks if one.statement == statement]
        values = [one.value for one in cases]
        holds = all(one.passed for one in cases)
        rows.append(
            [
                statement,
                str(len(cases)),
                *(f"{value:.5g}" for value in (min(values), max(values))),
                f"{cases[0].low:g} to {cases[0].high:g}",
                "holds" if holds else "FAILS",
            ]
        )
    heads = ["what", "cases", "lowest", "highest", "allowed", ""]
    table(heads, rows, right=heads[1:4])
    for one in checks:
        if not one.passed:
            typer.echo(f"fails: {one.statement}: {one.case}: {one.value:.5g}")


def _rule(one: Summary) -> str:
    if one.epsilon is None:
        return "BP"
    return f"ε {one.epsilon:g}" + {0.0: " (FRFB)", 1.0: " (URFB)"}.get(one.epsilon, "")


def _ranged(spread: Spread | None) -> str:
    if spread is None:
        return ""
    ends = f" ({_number(spread.low)} to {_number(spread.high)})" if spread.low < spread.high else ""
    return f"{_number(spread.mean)}{ends}"


def _mean(spread: Spread | None) -> str:
    return "" if spread is None else _number(spread.mean)


def _number(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}"  # 0.00 where it would be −0.00
