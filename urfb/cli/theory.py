"""`urfb theory`: section 5 of the paper, the linear network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from urfb.cli import completion
from urfb.cli.options import DEFAULT_STORE, Format, StoreOption, finite
from urfb.errors import InputError

if TYPE_CHECKING:
    from urfb.theory.spec import SimulationSpec

Number = TypeVar("Number", int, float)

app = typer.Typer(no_args_is_help=True)

EpsilonOption = Annotated[
    str, typer.Option("--epsilon", metavar="ε,…", help="Of the feedback rules: 0 is FRFB, 1 is URFB. BP is always run.")
]
LayersOption = Annotated[str, typer.Option("--layers", metavar="N,…", help="Sizes, input first, output last.")]
DrawsOption = Annotated[int, typer.Option("--draws", min=1, help="How many draws of teacher, W(0) and R(0).")]
MethodOption = Annotated[
    str,
    typer.Option(
        "--method",
        metavar="both|ode|discrete",
        help="An adaptive solver, or the paper's steps.",
        autocompletion=completion.words("both", "ode", "discrete"),
    ),
]
StartOption = Annotated[
    str,
    typer.Option(
        "--start",
        metavar="zero|random",
        help="W(0) under the feedback rules; BP starts at random.",
        autocompletion=completion.words("zero", "random"),
    ),
]
TeacherOption = Annotated[
    str,
    typer.Option(
        "--teacher",
        metavar="product|random",
        help="Y: of a network of such sizes, or any entries.",
        autocompletion=completion.words("product", "random"),
    ),
]
ScaleOption = Annotated[float, typer.Option(metavar="SD", callback=finite, help="Standard deviation of its entries.")]
StepOption = Annotated[float, typer.Option("--step-size", callback=finite, help="Time of an iteration.")]
IterationsOption = Annotated[int, typer.Option("--iterations", min=1, help="How many; the ODE ends at the same time.")]


@app.command()
def run(
    draws: DrawsOption = 3,
    epsilon: EpsilonOption = "0,0.25,0.5,1",
    layers: LayersOption = "40,100,100,10",
    method: MethodOption = "both",
    start: StartOption = "zero",
    teacher: TeacherOption = "product",
    teacher_scale: ScaleOption = 0.2,
    weight_scale: ScaleOption = 0.2,
    feedback_scale: ScaleOption = 0.2,
    step_size: StepOption = 5e-4,
    iterations: IterationsOption = 1000,
    tolerance: Annotated[
        float, typer.Option("--tolerance", callback=finite, help="Relative, of the adaptive solver.")
    ] = 1e-10,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Run the simulations of section 5.1 (Figure 12) and print them.

    What is stored already is not run again. Printed are errors and the correlations of W and R.

    Exit code 0: every simulation went to its end; 1: one diverged.

    Example: urfb theory run --draws 3 --epsilon 0,0.25,0.5,1
    """
    from urfb.cli.simulating import print_summaries, show_progress
    from urfb.store import open_for_writing
    from urfb.theory.experiment import run as run_all
    from urfb.theory.spec import METHODS
    from urfb.theory.summary import summarize

    specs = _specs(
        draws, epsilon, layers, METHODS if method == "both" else [method], start=start, teacher=teacher,
        teacher_scale=teacher_scale, weight_scale=weight_scale, feedback_scale=feedback_scale, step_size=step_size,
        iterations=iterations, tolerance=tolerance,
    )  # fmt: skip
    opened = open_for_writing(store)
    stored = set(opened.simulations()["simulation"])
    show_progress(run_all(specs, stored, opened.keep_simulation), len(specs), str(opened.location))
    opened.verify()
    identities = [spec.identity for spec in specs]
    summaries = summarize(opened.trajectories(simulation=identities), opened.trajectory_layers(simulation=identities))
    print_summaries(summaries)
    if any(summary.diverged for summary in summaries):
        raise typer.Exit(1)


@app.command()
def check(
    draws: DrawsOption = 1,
    epsilon: EpsilonOption = "0,0.25,0.5,1",
    layers: LayersOption = "40,100,100,10",
    step_size: StepOption = 5e-4,
    iterations: IterationsOption = 1000,
    output: Annotated[Format, typer.Option("--format", help="How to print it; csv and json have each case.")] = (
        Format.TABLE
    ),
) -> None:
    """Check the integration against what is known without it.

    That is expansions for small times, and what is conserved.

    Exit code 0: everything holds; 1: something does not. Nothing is stored.

    Example: urfb theory check --layers 40,100,10 --draws 3
    """
    from urfb.cli.simulating import print_checks
    from urfb.theory.checks import checks

    specs = _specs(draws, epsilon, layers, ["ode"], step_size=step_size, iterations=iterations)
    results = list(checks(specs))
    print_checks(results, output)
    if not all(result.passed for result in results):
        raise typer.Exit(1)


def _specs(draws: int, epsilon: str, layers: str, methods: Sequence[str], **settings: Any) -> list[SimulationSpec]:
    from urfb.theory.experiment import specs

    epsilons = _numbers("--epsilon", epsilon, float, "numbers with commas between them, as in 0,0.25,0.5,1")
    sizes = _numbers("--layers", layers, int, "whole numbers with commas between them, as in 40,100,100,10")
    return specs(draws, epsilons, methods, layers=tuple(sizes), **settings)


def _numbers(option: str, text: str, kind: Callable[[str], Number], expected: str) -> list[Number]:
    """Read numbers with commas between them; `expected` describes them in the error."""
    try:
        return [kind(word) for word in text.split(",") if word.strip()]
    except ValueError as error:
        raise InputError(f"{option} '{text}': give {expected}") from error
