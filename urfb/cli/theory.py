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
    str,
    typer.Option("--epsilon", metavar="ε,…", help="Feedback rules to simulate: 0 is FRFB, 1 is URFB. BP always runs."),
]
LayersOption = Annotated[str, typer.Option("--layers", metavar="N,…", help="Layer sizes, from input to output.")]
DrawsOption = Annotated[
    int, typer.Option("--draws", metavar="N", min=1, help="Number of random draws of the teacher, W(0) and R(0).")
]
MethodOption = Annotated[
    str,
    typer.Option(
        "--method",
        metavar="both|ode|discrete",
        help="An adaptive ODE solver, the paper's discrete steps, or both.",
        autocompletion=completion.words("both", "ode", "discrete"),
    ),
]
StartOption = Annotated[
    str,
    typer.Option(
        "--start",
        metavar="zero|random",
        help="W(0) under the feedback rules. BP always starts at random.",
        autocompletion=completion.words("zero", "random"),
    ),
]
TeacherOption = Annotated[
    str,
    typer.Option(
        "--teacher",
        metavar="product|random",
        help="Teacher Y: a random network of the same layer sizes, or a random matrix.",
        autocompletion=completion.words("product", "random"),
    ),
]
StepOption = Annotated[float, typer.Option("--step-size", metavar="TIME", callback=finite, help="Time per iteration.")]
IterationsOption = Annotated[
    int,
    typer.Option("--iterations", metavar="N", min=1, help="Number of iterations. The ODE ends at the same time."),
]


def _scale(matrix: str) -> Any:
    return typer.Option(metavar="SD", callback=finite, help=f"Standard deviation of the entries of {matrix}.")


@app.command()
def run(
    draws: DrawsOption = 3,
    epsilon: EpsilonOption = "0,0.25,0.5,1",
    layers: LayersOption = "40,100,100,10",
    method: MethodOption = "both",
    start: StartOption = "zero",
    teacher: TeacherOption = "product",
    teacher_scale: Annotated[float, _scale("the teacher")] = 0.2,
    weight_scale: Annotated[float, _scale("W(0)")] = 0.2,
    feedback_scale: Annotated[float, _scale("R(0)")] = 0.2,
    step_size: StepOption = 5e-4,
    iterations: IterationsOption = 1000,
    tolerance: Annotated[
        float, typer.Option("--tolerance", metavar="X", callback=finite, help="Relative tolerance of the ODE solver.")
    ] = 1e-10,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Run the simulations of section 5.1 (Figure 12).

    Print the results: errors, and the correlations of W and R. Stored simulations are not run again.

    Exit code 0: all simulations finished; 1: at least one diverged.

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
    output: Annotated[Format, typer.Option("--format", help="Output format. csv and json list every case.")] = (
        Format.TABLE
    ),
) -> None:
    """Check the simulations against known results.

    These are expansions for small times and conserved quantities. Nothing is stored.

    Exit code 0: all checks pass; 1: at least one fails.

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
    """Return the numbers of a comma-separated list. `expected` describes them in the error message."""
    try:
        return [kind(word) for word in text.split(",") if word.strip()]
    except ValueError as error:
        raise InputError(f"{option} '{text}': give {expected}") from error
