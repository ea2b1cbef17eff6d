"""What must hold of the equations of section 5 if they are integrated rightly.

Each check compares what the solver gives with what is known without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple

import numpy as np

from urfb.theory.experiment import LinearProblem, problem
from urfb.theory.integration import Derivative, discrete, ode, one_thread
from urfb.theory.spec import SimulationSpec
from urfb.theory.system import Matrices, Matrix, activities, conserved, derivative, updated_feedback

PRECISE = 1e-12
"""The solver's relative tolerance."""
SMALL = 0.1
"""The time of an expansion, in the problem's own unit; what is left out of it is some per cent of this squared."""


class Check(NamedTuple):
    """Something that was checked.

    Attributes:
        what: the statement, in the paper's notation.
        of: the simulation that it is about: draw, rule.
        value: what was found: a ratio, or a drift relative to the largest weight.
        low, high: between which it must be.
    """

    what: str
    of: str
    value: float
    low: float
    high: float

    @property
    def passed(self) -> bool:
        """Whether it holds; NaN never does."""
        return self.low <= self.value <= self.high


def checks(specs: Sequence[SimulationSpec]) -> Iterator[Check]:
    """Check what each simulation must hold to; the method plays no part.

    The expansions are of two layers, from the first size over the second to the last one, and of W(0) = 0.
    """
    unlike = dict.fromkeys(replace(spec, method="ode") for spec in specs)
    for draw, group in groupby(sorted(unlike, key=lambda spec: spec.draw), key=lambda spec: spec.draw):
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


def _expansions(spec: SimulationSpec, epsilons: Sequence[float], of: str) -> Iterator[Check]:
    sigma, W, R, _ = problem(replace(spec, epsilon=0.0))
    R0 = R[1]
    largest = [float(np.linalg.norm(matrix, 2)) for matrix in (sigma, R0)]
    t = SMALL / max(largest[0], float(np.prod(largest)) ** (2 / 3))  # 1/‖Σ‖ and (‖Σ‖‖R₀‖)^(−2/3) are times
    falls = {
        epsilon: _fall(_solved(LinearProblem(sigma, W, R, epsilon), t), sigma)
        for epsilon in dict.fromkeys([0.0, *epsilons])
    }
    for epsilon in epsilons:
        expected = t**3 * _squared(R0 @ sigma @ sigma.T)
        what = "(‖Σ‖² − e(t)) / t³‖R₀ΣΣᵗ‖² for small t"
        yield Check(what, f"{of}, ε {epsilon:g}", falls[epsilon] / expected, 0.98, 1.02)
    for epsilon in epsilons:
        if epsilon:
            expected = epsilon * t**5 / 4 * _squared(R0 @ sigma @ sigma.T @ sigma)
            what = "(e(t; ε=0) − e(t; ε)) / ε(t⁵/4)‖R₀ΣΣᵗΣ‖² for small t"
            yield Check(what, f"{of}, ε {epsilon:g}", (falls[epsilon] - falls[0.0]) / expected, 0.98, 1.02)


def _flow(spec: SimulationSpec) -> Iterator[Check]:
    """Check the whole of one simulation's solution."""
    of = f"draw {spec.draw}, " + ("BP" if spec.epsilon is None else f"ε {spec.epsilon:g}")
    given = problem(spec)
    _, start, R_start, epsilon = given
    end = spec.step_size * spec.iterations
    solved = _solved(given, end)

    before, after = (conserved(W, R_start, epsilon) for W in (start, solved))
    scale = max(float(np.abs(W_l @ W_l.T).max()) for W_l in solved)
    drift = max(float(np.abs(new - old).max()) for new, old in zip(after, before, strict=True)) / scale
    what = (
        "BP: W_lW_lᵗ − W_{l+1}ᵗW_{l+1} is constant"
        if spec.epsilon is None
        else "W_lW_lᵗ − εW_{l+1}ᵗW_{l+1} − R_{l+1}(0)W_{l+1} − (…)ᵗ is constant"
    )
    yield Check(f"{what}: drift", of, drift, 0.0, 1e-8)

    with_R = _solved_with_feedback(given, end)
    depth = len(start)
    constant = updated_feedback(with_R[depth:], -epsilon, with_R[:depth])
    drift = _apart(constant, R_start, scale=with_R[depth:])
    yield Check("R_l − εW_lᵗ is constant where Ṙ_l is integrated, too: drift", of, drift, 0.0, 1e-8)
    what = "W where Ṙ_l is integrated, too, is W where R_l = R_l(0) + εW_lᵗ: difference"
    yield Check(what, of, _apart(with_R[:depth], solved, scale=solved), 0.0, 1e-8)

    def missed(refinement: int) -> float:
        with one_thread(), np.errstate(over="ignore", invalid="ignore"):
            *_, last = discrete(given.derivative, start, spec.step_size / refinement, refinement * spec.iterations)
            return _apart(last, solved, scale=solved)

    what = "how far discrete steps end from the ODE / the same of half the step: first order"
    yield Check(what, of, missed(1) / missed(2), 1.6, 2.6)


def _solved(given: LinearProblem, end: float) -> Matrices:
    """Return W at the end."""
    return _at_end(given.derivative, given.W, end)


def _solved_with_feedback(given: LinearProblem, end: float) -> Matrices:
    """Return W and R at the end, R being integrated by its own equation, Ṙ_l = ε(W_{l−1}…W₁)(R_{l+1}…R_L E)ᵗ."""
    depth = len(given.W)

    def both_dot(state: Matrices) -> list[Matrix]:
        W, R = state[:depth], state[depth:]
        W_dot = derivative(W, R, given.sigma)
        return [*W_dot, *(given.epsilon * one.T for one in W_dot)]

    return _at_end(both_dot, [*given.W, *given.feedback(given.W)], end)


def _at_end(derivative: Derivative, start: Matrices, end: float) -> Matrices:
    """Return the state at the end; NaN if the solution does not reach it."""
    with one_thread():
        states = list(ode(derivative, start, (0.0, end), PRECISE))
    return states[-1] if len(states) == 2 else [np.full_like(M, np.nan) for M in start]


def _fall(W: Matrices, sigma: Matrix) -> float:
    """Return ‖Σ‖² − e without subtracting two numbers that are nearly the same."""
    P = activities(W)[-1]
    return float(2 * np.vdot(sigma, P) - np.vdot(P, P))


def _apart(ones: Matrices, others: Matrices, *, scale: Matrices) -> float:
    largest = max(float(np.abs(matrix).max()) for matrix in scale)
    return max(float(np.abs(one - other).max()) for one, other in zip(ones, others, strict=True)) / largest


def _squared(matrix: Matrix) -> float:
    return float(np.vdot(matrix, matrix))
