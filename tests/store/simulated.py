"""The results of simulations of section 5, without simulating."""

from __future__ import annotations

from typing import Any

from urfb.theory.spec import Point, Simulated, SimulationSpec

POINTS = (Point(0, 4.0, (None, None)), Point(3, 1.0, (0.25, 0.5)), Point(10, 0.5, (0.5, 0.75)))


def simulated(points: tuple[Point, ...] = POINTS, diverged_at: int | None = None, **settings: Any) -> Simulated:
    """Return a simulation of two layers; `settings` change its spec."""
    settings = {"layers": (4, 3, 2), "epsilon": 0.5, "iterations": 10, "step_size": 0.25, **settings}
    return Simulated(
        SimulationSpec(**settings), points, diverged_at, "2026-01-01T00:00:00+00:00", 0.5, "host", "0.1.0", "abc",
        "3.11", "2.1", "1.15",
    )  # fmt: skip


def simulated_bp(**settings: Any) -> Simulated:
    """Return a simulation of BP, which has no correlations."""
    points = tuple(point._replace(correlations=()) for point in POINTS)
    return simulated(points, rule="bp", epsilon=None, start="random", **settings)
