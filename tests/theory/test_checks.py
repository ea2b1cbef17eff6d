"""The checks of the equations pass for the right equations and fail for wrong ones."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
import pytest

from urfb.theory import checks as checking
from urfb.theory import experiment, system
from urfb.theory.checks import checks
from urfb.theory.experiment import specs

SMALL: dict[str, Any] = {"layers": (8, 6, 7, 4), "iterations": 60, "step_size": 0.01, "teacher_scale": 0.6}


def failing() -> set[str]:
    return {check.statement for check in checks(specs(1, [0, 0.5, 1], ["ode"], **SMALL)) if not check.passed}


@pytest.mark.parametrize("layers", [(8, 6, 4), (8, 6, 7, 4), (8, 6, 7, 5, 4)])
def test_all_checks_pass_at_any_depth(layers: tuple[int, ...]) -> None:
    results = list(checks(specs(2, [0, 0.5, 1], ["ode"], **{**SMALL, "layers": layers})))
    assert [check for check in results if not check.passed] == []
    # For each of two draws: three values of ε, two differences of e, and four statements for each of four simulations.
    assert len(results) == 2 * (3 + 2 + 4 * 4)


def test_the_expansions_hold_in_the_papers_setting() -> None:
    """An independent integrator agreed to within 0.001."""
    results = list(islice(checks(specs(1, [0.25, 1], ["ode"])), 4))
    assert all("small t" in check.statement for check in results)
    ratios = [check.value for check in results]
    assert ratios == pytest.approx([1] * 4, abs=2e-3)


@pytest.mark.parametrize(
    ("wrong", "statement"),
    [
        (lambda W_dot: [1.02 * W_dot[0], *W_dot[1:]], "is constant"),
        (lambda W_dot: [-W_l_dot for W_l_dot in W_dot], "small t"),
        (lambda W_dot: [1.1 * W_l_dot for W_l_dot in W_dot], "small t"),
    ],
)
def test_a_mistake_in_the_equations_fails_a_check(
    monkeypatch: pytest.MonkeyPatch, wrong: Callable[[list[np.ndarray]], list[np.ndarray]], statement: str
) -> None:
    right = system.derivative
    for module in (experiment, checking):
        monkeypatch.setattr(module, "derivative", lambda W, R, sigma: wrong(right(W, R, sigma)))
    assert any(statement in failed for failed in failing())


def test_feedback_that_differs_from_its_equation_fails_a_check(monkeypatch: pytest.MonkeyPatch) -> None:
    right = system.updated_feedback
    monkeypatch.setattr(experiment, "updated_feedback", lambda R, epsilon, W: right(R, 0.9 * epsilon, W))
    assert any("integrated, too" in failed for failed in failing())


def test_too_large_steps_fail_a_check() -> None:
    results = checks(specs(1, [1], ["ode"], **{**SMALL, "step_size": 1.0, "iterations": 20}))
    assert any("first order" in check.statement and not check.passed for check in results)
