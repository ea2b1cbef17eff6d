"""One simulation of section 5, completely specified, and its result. Plain Python."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from urfb.errors import InputError, nearest

THEORY_VERSION = 1
"""The version of the numbers. Raise it by hand when they change beyond rounding; older simulations then run again."""

METHODS = ("discrete", "ode")
RULES = ("bp", "feedback")
STARTS = ("zero", "random")
TEACHERS = ("product", "random")
CHOICES = {"method": METHODS, "rule": RULES, "start": STARTS, "teacher": TEACHERS}
"""The settings whose value is a word, with the allowed words."""
MOST_STEPS = 1_000_000


@dataclass(frozen=True)
class SimulationSpec:
    """All settings that the numbers of a simulation depend on.

    Attributes:
        layers: the layer sizes n₀, …, n_L, input first.
        rule: `bp`, or `feedback` with R_l = R_l(0) + εW_lᵗ.
        epsilon: ε under `feedback`: 0 is FRFB, 1 is URFB. None under `bp`.
        draw: the seed of the teacher, W(0) and R(0). Simulations of the same draw share them.
        method: `discrete` takes the paper's iterations, W ← W + step_size · Ẇ. `ode` is an adaptive solver.
        start: W(0): `zero` or `random`. Under `bp` only `random`, because at 0 no layer would ever move.
        teacher: the teacher, which produces Y: `product` is a network W_L…W₁ of the same sizes, `random` a matrix of
            independent entries.
        teacher_scale: the standard deviation of the teacher's entries.
        weight_scale: the standard deviation of the entries of W(0).
        feedback_scale: the standard deviation of the entries of R(0).
        step_size: the time per iteration.
        iterations: the number of iterations. `ode` ends at the same time.
        tolerance: the relative tolerance of `ode`. Its absolute tolerance is a thousandth of it.

    Raises:
        InputError: settings are not allowed; the message lists all of them.
    """

    layers: tuple[int, ...] = (40, 100, 100, 10)
    rule: str = "feedback"
    epsilon: float | None = None
    draw: int = 0
    method: str = "discrete"
    start: str = "zero"
    teacher: str = "product"
    teacher_scale: float = 0.2
    weight_scale: float = 0.2
    feedback_scale: float = 0.2
    step_size: float = 5e-4
    iterations: int = 1000
    tolerance: float = 1e-10

    def __post_init__(self) -> None:
        problems = [
            f"{name} '{getattr(self, name)}': {nearest(getattr(self, name), allowed)}"
            for name, allowed in CHOICES.items()
            if getattr(self, name) not in allowed
        ]
        if len(self.layers) < 3 or min(self.layers) < 1:
            problems.append(
                f"layers {'-'.join(map(str, self.layers))}: give three sizes or more, each at least 1, input first"
            )
        if (self.epsilon is None) != (self.rule == "bp"):
            problems.append("epsilon: 'feedback' needs a number, and 'bp' takes none")
        elif self.epsilon is not None and not math.isfinite(self.epsilon):
            problems.append(f"epsilon {self.epsilon}: give a finite number")
        if self.rule == "bp" and self.start == "zero":
            problems.append("start 'zero': BP would stay at 0; choose 'random'")
        for name in ("teacher_scale", "weight_scale", "feedback_scale", "step_size", "tolerance"):
            if not 0 < getattr(self, name) < math.inf:
                problems.append(f"{name} {getattr(self, name)}: give a number above 0")
        if not 1e-13 <= self.tolerance <= 1e-2:
            problems.append(f"tolerance {self.tolerance}: allowed is 1e-13 to 0.01")
        if not 1 <= self.iterations <= MOST_STEPS:
            problems.append(f"iterations {self.iterations}: allowed is 1 to {MOST_STEPS:,}")
        if not 0 <= self.draw < 2**63:
            problems.append(f"draw {self.draw}: allowed is 0 to 2⁶³ − 1")
        if problems:
            raise InputError("\n".join(problems))

    @property
    def settings(self) -> dict[str, Any]:
        """The settings by name, as in a store; None for a setting that has no effect on the simulation."""
        settings = asdict(self) | {"layers": "-".join(map(str, self.layers))}
        if self.epsilon is not None:
            settings["epsilon"] = self.epsilon + 0.0  # −0 is 0
        if self.rule == "bp":
            settings["feedback_scale"] = None
        if self.start == "zero":
            settings["weight_scale"] = None
        if self.method == "discrete":
            settings["tolerance"] = None
        return settings

    @property
    def identity(self) -> str:
        """A hash of the settings that the numbers depend on."""
        settings = {
            name: float(value) if name in ("epsilon", "step_size", "tolerance") or name.endswith("_scale") else value
            for name, value in self.settings.items()
            if value is not None
        }
        canonical = json.dumps({"theory": THEORY_VERSION, **settings}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


class Point(NamedTuple):
    """A moment of a simulation.

    Attributes:
        iteration: the number of iterations since the start; the time is `step_size` times it.
        error: the error e = tr(EᵗE).
        correlations: the correlation of W_l and R_lᵗ for each layer, lowest first; None if W_l or R_l is constant.
            Empty under BP, where R_l is W_lᵗ.
    """

    iteration: int
    error: float
    correlations: tuple[float | None, ...]


@dataclass(frozen=True)
class Simulated:
    """A simulation that has ended.

    Attributes:
        spec: the settings of the simulation.
        points: the kept moments, including the first and the last.
        diverged_at: the iteration at which the error had become too large to be meaningful; None if it never did. The
            points end before it.
        started: the date and time of the start, in UTC.
        seconds: the duration.
        host, urfb_version, commit, python_version, numpy_version, scipy_version: the machine and the software.
    """

    spec: SimulationSpec
    points: tuple[Point, ...]
    diverged_at: int | None
    started: str
    seconds: float
    host: str
    urfb_version: str
    commit: str | None
    python_version: str
    numpy_version: str
    scipy_version: str
