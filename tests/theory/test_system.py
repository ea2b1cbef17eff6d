"""The equations of section 5 against the paper's own formulas, plain loops and an independent integrator; float64."""

from __future__ import annotations

import numpy as np
import pytest

from urfb.theory.experiment import LinearProblem, draw_matrices, draw_problem
from urfb.theory.integration import discrete, ode
from urfb.theory.spec import SimulationSpec
from urfb.theory.system import Matrices, conserved, correlation, derivative, error, updated_feedback

SIZES = (5, 4, 6, 3)


def random_matrices(purpose: str = "weights", sizes: tuple[int, ...] = SIZES) -> list[np.ndarray]:
    return draw_matrices(3, purpose, sizes, 0.7)


def transposed(matrices: Matrices) -> list[np.ndarray]:
    return [matrix.T for matrix in matrices]


def close(left: Matrices, right: Matrices, tolerance: float = 1e-12) -> None:
    assert len(left) == len(right)
    for actual, expected in zip(left, right, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def test_two_layers_follow_the_papers_formulas() -> None:
    W1, W2 = random_matrices(sizes=(5, 4, 3))
    R1, R2 = transposed(random_matrices("feedback", (5, 4, 3)))
    (sigma,) = random_matrices("teacher", (5, 3))
    E = sigma - W2 @ W1
    close(derivative([W1, W2], [R1, R2], sigma), [R2 @ E, E @ W1.T])
    close(derivative([W1, W2], [W1.T, W2.T], sigma), [W2.T @ E, E @ W1.T])
    assert error([W1, W2], sigma) == pytest.approx(np.trace(E.T @ E), rel=1e-13)


def test_three_layers_follow_the_papers_formulas() -> None:
    W1, W2, W3 = random_matrices()
    R1, R2, R3 = transposed(random_matrices("feedback"))
    (sigma,) = random_matrices("teacher", (5, 3))
    E = sigma - W3 @ W2 @ W1
    close(derivative([W1, W2, W3], [R1, R2, R3], sigma), [R2 @ R3 @ E, R3 @ E @ W1.T, E @ (W2 @ W1).T])


def test_transposed_feedback_descends_gradient_of_half_the_error() -> None:
    W = random_matrices()
    (sigma,) = random_matrices("teacher", (5, 3))
    W_dot = derivative(W, transposed(W), sigma)
    step = 1e-6
    for layer, row, column in ((0, 1, 2), (1, 5, 3), (2, 0, 4)):
        errors = []
        for sign in (1, -1):
            moved = [matrix.copy() for matrix in W]
            moved[layer][row, column] += sign * step
            errors.append(error(moved, sigma))
        slope = (errors[0] - errors[1]) / (2 * step)
        assert W_dot[layer][row, column] == pytest.approx(-slope / 2, rel=1e-7)


def test_epsilon_1_started_at_the_transpose_is_back_propagation() -> None:
    """The rule of Zipser and Rumelhart: R_l = R_l(0) + W_lᵗ − W_l(0)ᵗ always equals W_lᵗ."""
    W, moved = random_matrices(), random_matrices("teacher")
    (sigma,) = random_matrices("teacher", (5, 3))
    offset = updated_feedback(transposed(W), -1.0, W)
    close(derivative(moved, updated_feedback(offset, 1.0, moved), sigma), derivative(moved, transposed(moved), sigma))


def test_correlation_is_pearsons_and_not_defined_where_w_is_0() -> None:
    W, R = random_matrices()[0], random_matrices("feedback")[0].T
    assert correlation(W, R) == pytest.approx(np.corrcoef(W.ravel(), R.T.ravel())[0, 1], rel=1e-12)
    assert correlation(W, 3 * W.T + 1) == pytest.approx(1)
    assert correlation(np.zeros((4, 5)), R) is None


@pytest.mark.parametrize("epsilon", [None, 0.0, 0.5, 1.0, -0.5])
@pytest.mark.parametrize("layers", [(5, 4, 3), (5, 4, 6, 3), (4, 3, 3, 5, 2)])
def test_conserved_matrices_are_constant_along_the_derivative(layers: tuple[int, ...], epsilon: float | None) -> None:
    """Their derivative, by the product rule, is 0 for any weights."""
    start = "random" if epsilon is None else "zero"
    rule = "bp" if epsilon is None else "feedback"
    problem = draw_problem(SimulationSpec(layers=layers, rule=rule, epsilon=epsilon, start=start))
    W = draw_matrices(9, "weights", layers, 0.7)
    W_dot, step = problem.derivative(W), 1e-5
    ahead, behind = ([M + sign * step * M_dot for M, M_dot in zip(W, W_dot, strict=True)] for sign in (1, -1))
    changes = [
        (new - old) / (2 * step)
        for new, old in zip(
            conserved(ahead, problem.R, problem.epsilon), conserved(behind, problem.R, problem.epsilon), strict=True
        )
    ]
    assert len(changes) == len(layers) - 2
    assert max(np.abs(change).max() for change in changes) < 1e-9
    assert max(np.abs(M_dot).max() for M_dot in W_dot) > 1e-3


def plain_euler(problem: LinearProblem, step_size: float, steps: int) -> list[np.ndarray]:
    """Update three layers and R itself by the shared increment, in plain code."""
    W1, W2, W3 = (matrix.copy() for matrix in problem.W)
    R1, R2, R3 = (matrix.copy() for matrix in problem.feedback(problem.W))
    for _ in range(steps):
        E = problem.sigma - W3 @ W2 @ W1
        dW1, dW2, dW3 = R2 @ R3 @ E, R3 @ E @ W1.T, E @ W1.T @ W2.T
        for weights, feedback, increment in ((W1, R1, dW1), (W2, R2, dW2), (W3, R3, dW3)):
            weights += step_size * increment
            feedback += problem.epsilon * step_size * increment.T
    return [W1, W2, W3]


def runge_kutta(problem: LinearProblem, end: float, steps: int) -> list[np.ndarray]:
    """Integrate W and R with Ṙ = εẆᵗ by the classical method of order 4, independently of urfb."""
    depth, step = len(problem.W), end / steps

    def motion(state: list[np.ndarray]) -> list[np.ndarray]:
        W_dot = derivative(state[:depth], state[depth:], problem.sigma)
        return [*W_dot, *(problem.epsilon * W_l_dot.T for W_l_dot in W_dot)]

    def moved(state: list[np.ndarray], by: list[np.ndarray], times: float) -> list[np.ndarray]:
        return [M + times * M_dot for M, M_dot in zip(state, by, strict=True)]

    state = [*problem.W, *problem.feedback(problem.W)]
    for _ in range(steps):
        k1 = motion(state)
        k2 = motion(moved(state, k1, step / 2))
        k3 = motion(moved(state, k2, step / 2))
        k4 = motion(moved(state, k3, step))
        mean = [(a + 2 * b + 2 * c + d) / 6 for a, b, c, d in zip(k1, k2, k3, k4, strict=True)]
        state = moved(state, mean, step)
    return state[:depth]


CASES = [("feedback", 0.0, "zero"), ("feedback", 0.5, "zero"), ("feedback", 1.0, "random"), ("bp", None, "random")]


@pytest.mark.parametrize(("rule", "epsilon", "start"), CASES)
def test_discrete_steps_equal_a_plain_loop(rule: str, epsilon: float | None, start: str) -> None:
    problem = draw_problem(
        SimulationSpec(layers=(12, 10, 11, 6), rule=rule, epsilon=epsilon, start=start, weight_scale=0.4)
    )
    states = list(discrete(problem.derivative, problem.W, 0.02, 200))
    assert len(states) == 201
    close(states[0], problem.W)
    close(states[-1], plain_euler(problem, 0.02, 200), 1e-10)


@pytest.mark.parametrize(("rule", "epsilon", "start"), CASES)
@pytest.mark.parametrize("layers", [(12, 10, 6), (12, 10, 11, 6)])
def test_the_solver_agrees_with_an_independent_integrator(
    layers: tuple[int, ...], rule: str, epsilon: float | None, start: str
) -> None:
    problem = draw_problem(SimulationSpec(layers=layers, rule=rule, epsilon=epsilon, start=start, weight_scale=0.4))
    solution = list(ode(problem.derivative, problem.W, [0.0, 1.0, 2.0], 1e-12))
    close(solution[1], runge_kutta(problem, 1.0, 400), 1e-8)
    close(solution[2], runge_kutta(problem, 2.0, 800), 1e-8)
