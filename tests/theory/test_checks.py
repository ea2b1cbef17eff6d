"""What the equations must hold to is found to hold, and a mistake in them is found."""

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
    return {one.statement for one in checks(specs(1, [0, 0.5, 1], ["ode"], **SMALL)) if not one.passed}


@pytest.mark.parametrize("layers", [(8, 6, 4), (8, 6, 7, 4), (8, 6, 7, 5, 4)])
def test_everything_holds_whatever_the_depth(layers: tuple[int, ...]) -> None:
    found = list(checks(specs(2, [0, 0.5, 1], ["ode"], **{**SMALL, "layers": layers})))
    assert [one for one in found if not one.passed] == []
    # Of each of two draws: three ε and two differences of e, and four statements of each of four simulations
    assert len(found) == 2 * (3 + 2 + 4 * 4)


def test_the_expansions_hold_in_the_papers_own_setting() -> None:
    """As an independent integrator had it, to a thousandth."""
    found = list(islice(checks(specs(1, [0.25, 1], ["ode"])), 4))
    assert all("small t" in one.statement for one in found)
    ratios = [one.value for one in found]
    assert ratios == pytest.approx([1] * 4, abs=2e-3)


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        (lambda W_dot: [1.02 * W_dot[0], *W_dot[1:]], "is constant"),
        (lambda W_dot: [-one for one in W_dot], "small t"),
        (lambda W_dot: [1.1 * one for one in W_dot], "small t"),
    ],
)
def test_a_mistake_in_the_equations_is_found(
    monkeypatch: pytest.MonkeyPatch, wrong: Callable[[list[np.ndarray]], list[np.ndarray]], found: str
) -> None:
    right = system.derivative
    for module in (experiment, checking):
        monkeypatch.setattr(module, "derivative", lambda W, R, sigma: wrong(right(W, R, sigma)))
    assert any(found in what.replace("is constant", "is constant") for what in failing())


def test_feedback_that_is_not_what_its_equation_gives_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = system.updated_feedback
    monkeypatch.setattr(experiment, "updated_feedback", lambda R, epsilon, W: right(R, 0.9 * epsilon, W))
    assert any("integrated, too" in what for what in failing())


def test_steps_that_are_too_large_to_follow_the_equations_are_found() -> None:
    found = checks(specs(1, [1], ["ode"], **{**SMALL, "step_size": 1.0, "iterations": 20}))
    assert any("first order" in one.statement and not one.passed for one in found)
