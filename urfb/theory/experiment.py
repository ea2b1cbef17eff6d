"""The simulation of section 5.1 (Figure 12), for any layer sizes, depth and ε."""

from __future__ import annotations

import platform
import socket
import time
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from datetime import datetime, timezone
from itertools import pairwise, product
from typing import Any, NamedTuple

import numpy as np
import scipy

import urfb
from urfb.errors import InputError
from urfb.theory.integration import discrete, ode, one_thread
from urfb.theory.spec import Point, Simulated, SimulationSpec
from urfb.theory.system import Matrices, Matrix, activities, correlation, derivative, error, updated_feedback
from urfb.training.provenance import commit

PURPOSES = ("teacher", "weights", "feedback")
EARLY, EVEN = 25, 225
"""The numbers of iterations that a trajectory keeps: the first ones, and more at equal distances."""
DIVERGED = 1000.0
"""A simulation has diverged when its error exceeds this multiple of its error at the start."""


class LinearProblem(NamedTuple):
    """The random matrices of a simulation: Σ, W(0), and R(0) − εW(0)ᵗ, which is R_l − εW_lᵗ at any time."""

    sigma: Matrix
    W: list[Matrix]
    R: list[Matrix]
    epsilon: float

    def feedback(self, W: Matrices) -> list[Matrix]:
        """Return R for the weights W."""
        return updated_feedback(self.R, self.epsilon, W)

    def derivative(self, W: Matrices) -> list[Matrix]:
        """Return Ẇ for the weights W."""
        return derivative(W, self.feedback(W), self.sigma)

    def error(self, W: Matrices) -> float:
        """Return e for the weights W."""
        return error(W, self.sigma)


def draw_matrices(draw: int, purpose: str, layers: Sequence[int], scale: float) -> list[Matrix]:
    """Draw a matrix [n_l, n_{l−1}] for each layer, with independent normal entries of standard deviation `scale`.

    Each purpose and layer has its own random stream, so simulations of the same draw share the matrices that both need.
    """
    return [
        scale * np.random.default_rng([draw, PURPOSES.index(purpose), layer]).standard_normal((above, below))
        for layer, (below, above) in enumerate(pairwise(layers), start=1)
    ]


def draw_problem(spec: SimulationSpec) -> LinearProblem:
    """Draw the teacher, W(0) and R(0) of a simulation."""
    if spec.teacher == "product":
        sigma = activities(draw_matrices(spec.draw, "teacher", spec.layers, spec.teacher_scale))[-1]
    else:
        (sigma,) = draw_matrices(spec.draw, "teacher", (spec.layers[0], spec.layers[-1]), spec.teacher_scale)
    W = draw_matrices(spec.draw, "weights", spec.layers, spec.weight_scale)
    if spec.start == "zero":
        W = [np.zeros_like(W_l) for W_l in W]
    if spec.epsilon is None:  # BP: R = Wᵗ
        return LinearProblem(sigma, W, [np.zeros_like(W_l.T) for W_l in W], 1.0)
    R_start = [R_l.T for R_l in draw_matrices(spec.draw, "feedback", spec.layers, spec.feedback_scale)]
    return LinearProblem(sigma, W, updated_feedback(R_start, -spec.epsilon, W), spec.epsilon)


def kept_iterations(iterations: int) -> list[int]:
    """Return the iterations that a trajectory keeps: all early ones, then evenly spaced ones; about 250 in total."""
    even = np.linspace(0, iterations, EVEN + 1).round().astype(int).tolist()
    return sorted({*range(min(EARLY, iterations)), *even})


def simulate(spec: SimulationSpec) -> Simulated:
    """Run one simulation. A simulation that diverges ends there.

    Raises:
        InputError: the error at the start is not finite.
    """
    started, began = datetime.now(timezone.utc), time.perf_counter()
    with np.errstate(over="ignore", invalid="ignore"):
        problem = draw_problem(spec)
        limit = DIVERGED * problem.error(problem.W)
    if not np.isfinite(limit):
        raise InputError(f"draw {spec.draw}: the error at the start is not finite: choose smaller scales")
    kept = kept_iterations(spec.iterations)

    def diverged(W: Matrices) -> bool:
        return not problem.error(W) <= limit  # True for NaN, too

    def point(iteration: int, W: Matrices) -> Point:
        correlations = () if spec.rule == "bp" else tuple(map(correlation, W, problem.feedback(W)))
        return Point(iteration, problem.error(W), correlations)

    points: list[Point] = []
    diverged_at = None
    with one_thread(), np.errstate(over="ignore", invalid="ignore"):
        if spec.method == "discrete":
            wanted = set(kept)
            for iteration, W in enumerate(discrete(problem.derivative, problem.W, spec.step_size, spec.iterations)):
                if diverged(W):
                    diverged_at = iteration
                    break
                if iteration in wanted:
                    points.append(point(iteration, W))
        else:
            times = [spec.step_size * iteration for iteration in kept]
            points = list(map(point, kept, ode(problem.derivative, problem.W, times, spec.tolerance, diverged)))
            if len(points) < len(kept):
                diverged_at = kept[len(points)]
    return Simulated(
        spec=spec,
        points=tuple(points),
        diverged_at=diverged_at,
        started=started.isoformat(timespec="seconds"),
        seconds=time.perf_counter() - began,
        host=socket.gethostname(),
        urfb_version=urfb.__version__,
        commit=commit(),
        python_version=platform.python_version(),
        numpy_version=np.__version__,
        scipy_version=scipy.__version__,
    )


def specs(draws: int, epsilons: Iterable[float], methods: Iterable[str], **settings: Any) -> list[SimulationSpec]:
    """Return the simulations of section 5.1: for draws 0, 1, … and each method, every ε and BP.

    Args:
        draws: the number of draws.
        epsilons: the values of ε for the feedback rules.
        methods: 'discrete', 'ode' or both.
        settings: other settings of `SimulationSpec`. `start` is only for the feedback rules: BP starts at random.

    Raises:
        InputError: a setting is not allowed.
    """
    feedback: list[dict[str, Any]] = [{"rule": "feedback", "epsilon": epsilon} for epsilon in epsilons]
    rules = [*feedback, {"rule": "bp", "start": "random"}]
    simulations = [
        SimulationSpec(**{**settings, **rule, "draw": draw, "method": method})
        for draw, method, rule in product(range(draws), methods, rules)
    ]
    return list({spec.identity: spec for spec in simulations}.values())


def run(
    wanted: Iterable[SimulationSpec], stored: Container[str], keep: Callable[[Simulated], object]
) -> Iterator[Simulated | None]:
    """Run the simulations that are not stored yet, in order, and yield each; yield None for a stored one.

    Args:
        wanted: the simulations.
        stored: the identities of the stored simulations.
        keep: a function that stores a simulation. It is called with complete simulations only, so a killed process
            leaves none in part.
    """
    for spec in wanted:
        if spec.identity in stored:
            yield None
            continue
        simulated = simulate(spec)
        keep(simulated)
        yield simulated
