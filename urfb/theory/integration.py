"""Integrate the equations of section 5, by the paper's discrete steps or by an adaptive solver."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp
from threadpoolctl import threadpool_limits

from urfb.errors import InputError
from urfb.theory.system import Matrices, Matrix

MOST_EVALUATIONS = 100_000
"""The maximum number of evaluations of the derivative for one solution.

Even a solution at rest needs steps as short as its fastest decay, so without a maximum a late end would take for ever.
"""

Derivative = Callable[[Matrices], Matrices]
Stop = Callable[[Matrices], bool]


def one_thread() -> AbstractContextManager[Any]:
    """Limit matrix products to one thread. For small matrices, more are slower, much slower on a busy machine."""
    limits: AbstractContextManager[Any] = threadpool_limits(1, "blas")
    return limits


def discrete(derivative: Derivative, start: Matrices, step_size: float, steps: int) -> Iterator[Matrices]:
    """Yield the state before the first of `steps` Euler steps and after each: W ← W + step_size · Ẇ."""
    state = start
    yield state
    for _ in range(steps):
        state = [M + step_size * M_dot for M, M_dot in zip(state, derivative(state), strict=True)]
        yield state


def ode(
    derivative: Derivative, start: Matrices, times: Sequence[float], tolerance: float, stop: Stop | None = None
) -> Iterator[Matrices]:
    """Yield the solution of the differential equations at `times`, by an adaptive Runge–Kutta method of order 8.

    The solution ends early if `stop` returns True or if it grows to infinity. Then fewer states than times are yielded,
    but always the first.

    Args:
        derivative: the derivative as a function of the state, which is any number of matrices.
        start: the state at the first of `times`.
        times: the times of the states to yield, in ascending order.
        tolerance: the relative tolerance; the absolute tolerance is a thousandth of it.
        stop: a function of the state that returns whether the solution is meaningless from there on.

    Raises:
        InputError: the solution needs more than `MOST_EVALUATIONS` evaluations of the derivative.
    """
    shapes = [M.shape for M in start]
    cuts = np.cumsum([M.size for M in start])[:-1]

    def unpack(y: Matrix) -> list[Matrix]:
        return [part.reshape(shape) for part, shape in zip(np.split(y, cuts), shapes, strict=True)]

    def pack(state: Matrices) -> Matrix:
        return np.concatenate([M.ravel() for M in state])

    evaluations = 0

    def y_dot(_: float, y: Matrix) -> Matrix:
        nonlocal evaluations
        evaluations += 1
        if evaluations > MOST_EVALUATIONS:
            raise InputError(
                f"the differential equations need more than {MOST_EVALUATIONS:,} evaluations to reach time "
                f"{times[-1]:g}: end earlier (--iterations, --step-size), or skip them (--method discrete)"
            )
        return pack(derivative(unpack(y)))

    def stopped(_: float, y: Matrix) -> float:
        return -1.0 if stop is not None and stop(unpack(y)) else 1.0

    stopped.terminal = True  # type: ignore[attr-defined]
    with np.errstate(all="ignore"):
        solution: Any = solve_ivp(
            y_dot,
            (times[0], times[-1]),
            pack(start),
            method="DOP853",
            t_eval=times,
            rtol=tolerance,
            atol=tolerance / 1000,
            events=stopped,
        )
    # If even the first step fails, there is no array.
    yield from (unpack(y) for y in (solution.y.T if len(solution.t) else [pack(start)]))
