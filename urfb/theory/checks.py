"""Checks that the equations of section 5 are integrated correctly.

Each check compares the solver's result with a result that needs no solver.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple

import numpy as np

from urfb.theory.experiment import LinearProblem, draw_problem
from urfb.theory.integration import Derivative, discrete, ode, one_thread
from urfb.theory.spec import SimulationSpec
from urfb.theory.system import Matrices, Matrix, activities, conserved, derivative, updated_feedback

PRECISE = 1e-12
"""The solver's relative tolerance."""
SMALL = 0.1
"""The time of an expansion, in the problem's time unit. The omitted terms are a few per cent of its square."""


class Check(NamedTuple):
    """A statement about a simulation, and the value that decides it.

    Attributes:
        statement: the statement, in the paper's notation.
        case: the draw and rule of the simulation.
        value: a ratio, or a drift relative to the largest weight.
        low, high: the bounds within which the value must be.
    """

    statement: str
    case: str
    value: float
    low: float
    high: float

    @property
    def passed(self) -> bool:
        """Whether the value is within its bounds; False for NaN."""
        return self.low <= self.value <= self.high


def checks(specs: Sequence[SimulationSpec]) -> Iterator[Check]:
    """Yield checks of the equations of each simulation, whatever its method.

    The expansions use W(0) = 0 and two layers, with the first, second and last of the simulation's sizes.
    """
    distinct = dict.fromkeys(replace(spec, method="ode") for spec in specs)
    for draw, group in groupby(sorted(distinct, key=lambda spec: spec.draw), key=lambda spec: spec.draw):
        simulations = list(group)
        epsilons = [spec.epsilon for spec in simulations if spec.epsilon is not None]
        if epsilons:
            sizes = simulations[0].layers
            shallow = replace(
                next(spec for spec in simulations if spec.epsilon is not None),
                layers=(sizes[0], sizes[1], sizes[-1]), start="zero",
            )  # fmt: skip
            yield from _expansions(shallow, epsilons, f"draw {draw}, two layers")
        for spec in simulations:
            yield from _flow(spec)


def _expansions(spec: SimulationSpec, epsilons: Sequence[float], case: str) -> Iterator[Check]:
    sigma, W, R, _ = draw_problem(replace(spec, epsilon=0.0))
    R0 = R[1]
    largest = [float(np.linalg.norm(matrix, 2)) for matrix in (sigma, R0)]
    t = SMALL / max(largest[0], float(np.prod(largest)) ** (2 / 3))  # 1/‖Σ‖ and (‖Σ‖‖R₀‖)^(−2/3) are times
    falls = {
        epsilon: _fall(_solve(LinearProblem(sigma, W, R, epsilon), t), sigma)
        for epsilon in dict.fromkeys([0.0, *epsilons])
    }
    for epsilon in epsilons:
        expected = t**3 * _squared(R0 @ sigma @ sigma.T)
        statement = "(‖Σ‖² − e(t)) / t³‖R₀ΣΣᵗ‖² for small t"
        yield Check(statement, f"{case}, ε {epsilon:g}", falls[epsilon] / expected, 0.98, 1.02)
    for epsilon in epsilons:
        if epsilon:
            expected = epsilon * t**5 / 4 * _squared(R0 @ sigma @ sigma.T @ sigma)
            statement = "(e(t; ε=0) − e(t; ε)) / ε(t⁵/4)‖R₀ΣΣᵗΣ‖² for small t"
            yield Check(statement, f"{case}, ε {epsilon:g}", (falls[epsilon] - falls[0.0]) / expected, 0.98, 1.02)


def _flow(spec: SimulationSpec) -> Iterator[Check]:
    """Yield checks of the complete solution of a simulation."""
    case = f"draw {spec.draw}, " + ("BP" if spec.epsilon is None else f"ε {spec.epsilon:g}")
    problem = draw_problem(spec)
    _, start, R_start, epsilon = problem
    end = spec.step_size * spec.iterations
    solution = _solve(problem, end)

    before, after = (conserved(W, R_start, epsilon) for W in (start, solution))
    scale = max(float(np.abs(W_l @ W_l.T).max()) for W_l in solution)
    drift = max(float(np.abs(new - old).max()) for new, old in zip(after, before, strict=True)) / scale
    statement = (
        "BP: W_lW_lᵗ − W_{l+1}ᵗW_{l+1} is constant"
        if spec.epsilon is None
        else "W_lW_lᵗ − εW_{l+1}ᵗW_{l+1} − R_{l+1}(0)W_{l+1} − (…)ᵗ is constant"
    )
    yield Check(f"{statement}: drift", case, drift, 0.0, 1e-8)

    with_R = _solve_with_feedback(problem, end)
    depth = len(start)
    constant = updated_feedback(with_R[depth:], -epsilon, with_R[:depth])
    drift = _distance(constant, R_start, scale=with_R[depth:])
    yield Check("R_l − εW_lᵗ is constant if Ṙ_l is integrated, too: drift", case, drift, 0.0, 1e-8)
    statement = "W is the same if Ṙ_l is integrated, too, as with R_l = R_l(0) + εW_lᵗ: difference"
    yield Check(statement, case, _distance(with_R[:depth], solution, scale=solution), 0.0, 1e-8)

    def distance(refinement: int) -> float:
        with one_thread(), np.errstate(over="ignore", invalid="ignore"):
            *_, last = discrete(problem.derivative, start, spec.step_size / refinement, refinement * spec.iterations)
            return _distance(last, solution, scale=solution)

    statement = "distance of the discrete steps from the ODE at the end / the same at half the step: first order"
    yield Check(statement, case, distance(1) / distance(2), 1.6, 2.6)


def _solve(problem: LinearProblem, end: float) -> Matrices:
    """Return W at the time `end`."""
    return _final_state(problem.derivative, problem.W, end)


def _solve_with_feedback(problem: LinearProblem, end: float) -> Matrices:
    """Return W and R at the time `end`, with R integrated by its equation, Ṙ_l = ε(W_{l−1}…W₁)(R_{l+1}…R_L E)ᵗ."""
    depth = len(problem.W)

    def both_dot(state: Matrices) -> list[Matrix]:
        W, R = state[:depth], state[depth:]
        W_dot = derivative(W, R, problem.sigma)
        return [*W_dot, *(problem.epsilon * W_l_dot.T for W_l_dot in W_dot)]

    return _final_state(both_dot, [*problem.W, *problem.feedback(problem.W)], end)


def _final_state(derivative: Derivative, start: Matrices, end: float) -> Matrices:
    """Return the state at the time `end`; NaN if the solution does not reach it."""
    with one_thread():
        states = list(ode(derivative, start, (0.0, end), PRECISE))
    return states[-1] if len(states) == 2 else [np.full_like(M, np.nan) for M in start]


def _fall(W: Matrices, sigma: Matrix) -> float:
    """Return ‖Σ‖² − e without subtracting two nearly equal numbers."""
    P = activities(W)[-1]
    return float(2 * np.vdot(sigma, P) - np.vdot(P, P))


def _distance(left: Matrices, right: Matrices, *, scale: Matrices) -> float:
    largest = max(float(np.abs(matrix).max()) for matrix in scale)
    return max(float(np.abs(L - R).max()) for L, R in zip(left, right, strict=True)) / largest


def _squared(matrix: Matrix) -> float:
    return float(np.vdot(matrix, matrix))
