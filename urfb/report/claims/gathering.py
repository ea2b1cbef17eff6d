"""The number of each component per seed, from a store's frames, and the runs that other seeds lack."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.integrate import trapezoid

from urfb.report.claims.measures import Cell, Setting, Trained, test_error
from urfb.report.claims.statistics import LEAST_SEEDS
from urfb.report.claims.table import Accelerated, Component
from urfb.report.exhibits import Frames
from urfb.theory.spec import SimulationSpec


@dataclass(frozen=True)
class Lacking:
    """A run or a simulation that a component needs and the store lacks.

    Attributes:
        run: the identity.
        what, where: the names of the protocol and of the network with its data set.
        seed: the seed, or the draw of a simulation.
        reason: why it does not count.
        blocks: whether it is stored but unusable, which prevents the verdict *supported*.
        settings: the settings that select it in the grid: network, dataset, untied, rule and loss; None for a
            simulation.
        epochs: the number of epochs to train, if more than its experiment's target.
        cancelled: whether it was cancelled, so that only `urfb grid retry` trains it.
    """

    run: str
    what: str
    where: str
    seed: int
    reason: str
    blocks: bool = False
    settings: Mapping[str, str] | None = None
    epochs: int | None = None
    cancelled: bool = False


@dataclass(frozen=True)
class Gathered:
    """The data for one component: finite numbers by seed, the runs that other seeds lack, and a remark."""

    numbers: Mapping[int, float]
    lacking: tuple[Lacking, ...]
    remark: str = ""


class Runs:
    """The stored runs that components need, each looked up by its identity.

    The identity is a hash of all settings and of the science version, so runs with other settings never count.
    """

    def __init__(self, frames: Frames, components: Iterable[Component], setting: Setting) -> None:
        self.setting = setting
        cells = dict.fromkeys(cell for component in components for cell in component.cells)
        runs = frames.runs() if cells else pd.DataFrame(columns=["run", "seed"])
        self.seeds = setting.seeds or sorted({*setting.least_seeds, *map(int, runs["seed"].unique())})
        self._specs = {
            (cell, seed): first.model_copy(update={"seed": seed})
            for cell in cells
            for first in [cell.spec()]
            for seed in self.seeds
        }
        identities = {key: spec.identity for key, spec in self._specs.items()}
        runs = runs[runs["run"].isin(list(identities.values()))]
        self._identities = identities
        self._rows: dict[str, Any] = {str(row["run"]): row for row in runs.to_dict("records")}
        stored = list(self._rows)
        self._epochs = dict(iter(frames.epochs(run=stored).groupby("run"))) if stored else {}
        self._alignment = dict(iter(frames.alignment(run=stored).groupby("run"))) if stored else {}

    def gather(self, component: Component) -> Gathered:
        """Return a component's number for each seed with all runs, and the runs that the other seeds lack."""
        numbers: dict[int, float] = {}
        remarks: list[float] = []
        lacking: list[Lacking] = []
        for seed in self.seeds:
            missing = [lack for cell in component.cells if (lack := self._lack(cell, seed))]
            missing = missing or self._uneven(component, seed)
            if missing:
                lacking += missing
                continue
            values = {cell: component.measure(self._trained(cell, seed)) for cell in component.cells}
            number = sum(factor * values[cell] for factor, cell in component.terms)
            if component.divisor is not None:
                number = number / values[component.divisor] if values[component.divisor] > 0 else math.nan
            if math.isfinite(number):
                numbers[seed] = number
                if component.remark:
                    remarks.append(component.remark[1](self._trained(component.cells[0], seed)))
            else:
                broken = [cell for cell, value in values.items() if not math.isfinite(value)] or component.cells
                reason = "no finite value for this measure"
                lacking += [self._lacking(cell, seed, reason, blocks=True) for cell in dict.fromkeys(broken)]
        remark = f"{component.remark[0]} {np.mean(remarks):.2f}" if component.remark and remarks else ""
        return Gathered(numbers, tuple(lacking), remark)

    def _lack(self, cell: Cell, seed: int) -> Lacking | None:
        """Return what a run lacks; None if it has all epochs of the setting."""
        identity = self._identities[cell, seed]
        row = self._rows.get(identity)
        if row is None:
            return self._lacking(cell, seed, "never trained")
        state = row["state"]
        wanted, done, target = self._wanted(cell, seed), self._done(cell, seed), int(row["epochs_target"])
        if done >= wanted and (state == "done" or not self.setting.to_the_end):
            return None
        goal = max(wanted, target) if self.setting.to_the_end else wanted
        return self._lacking(
            cell,
            seed,
            f"{state}, " * (state != "done")
            + f"{done:,} of {goal:,} epochs"
            + f"; see `urfb grid logs {identity}`" * (state == "failed"),
            blocks=state == "failed",
            epochs=goal if goal > wanted else None,
            cancelled=state == "cancelled",
        )

    def _uneven(self, component: Component, seed: int) -> list[Lacking]:
        """Return the runs whose test error comes after fewer epochs than those of the seed's other runs."""
        if component.measure is not test_error:
            return []
        beyond = {cell: self._done(cell, seed) - self._wanted(cell, seed) for cell in component.cells}
        longest = max(beyond.values())
        return [
            self._lacking(
                cell, seed, f"{longest - extra:,} epochs shorter than the run that it is compared with",
                epochs=self._wanted(cell, seed) + longest,
            )
            for cell, extra in beyond.items()
            if extra < longest
        ]  # fmt: skip

    def _done(self, cell: Cell, seed: int) -> int:
        return int(self._rows[self._identities[cell, seed]]["epochs_done"])

    def _wanted(self, cell: Cell, seed: int) -> int:
        return self.setting.epochs(self._specs[cell, seed])

    def _trained(self, cell: Cell, seed: int) -> Trained:
        identity, spec = self._identities[cell, seed], self._specs[cell, seed]
        wanted = self.setting.epochs(spec)
        epochs, alignment = self._epochs[identity], self._alignment.get(identity)
        epochs = epochs[epochs["epoch"] <= wanted].sort_values("epoch")
        if alignment is None:
            alignment = pd.DataFrame(columns=["epoch", "layer", "correlation"])
        in_stage = alignment["epoch"] <= wanted
        if spec.pretraining_epochs:
            in_stage &= alignment["epoch"] > spec.pretraining_epochs
        return Trained(spec, float(self._rows[identity]["test_error"]), epochs, alignment[in_stage])

    def _lacking(self, cell: Cell, seed: int, reason: str, **more: Any) -> Lacking:
        spec = self._specs[cell, seed]
        settings = {name: str(getattr(spec, name)) for name in ("network", "dataset", "untied", "rule", "loss")}
        identity = self._identities[cell, seed]
        return Lacking(identity, cell.protocol.name, cell.where, seed, reason, settings=settings, **more)


class Simulations:
    """The simulations of section 5.1 that components need, with the paper's discrete steps and all defaults."""

    def __init__(self, frames: Frames, components: Sequence[Accelerated]) -> None:
        known = frames.simulations() if components else pd.DataFrame(columns=["simulation", "draw"])
        self.draws = sorted({*range(LEAST_SEEDS), *map(int, known["draw"].unique())})
        epsilons = {epsilon for component in components for epsilon in (component.slower, component.faster)}
        self._specs = {
            (epsilon, draw): SimulationSpec(epsilon=epsilon, draw=draw) for epsilon in epsilons for draw in self.draws
        }
        wanted = {spec.identity for spec in self._specs.values()} & set(known["simulation"])
        self._diverged = set(known["simulation"][known["diverged_at"].notna()]) if wanted else set()
        self._areas: dict[str, float] = {}
        if wanted:
            for identity, moments in frames.trajectories(simulation=sorted(wanted)).groupby("simulation"):
                self._areas[str(identity)] = _mean_log_error(moments)

    def gather(self, component: Accelerated) -> Gathered:
        """Return a component's number for each draw with both simulations, and those that the other draws lack."""
        numbers: dict[int, float] = {}
        lacking: list[Lacking] = []
        for draw in self.draws:
            specs = [self._specs[epsilon, draw] for epsilon in (component.slower, component.faster)]
            missing = [lack for spec in specs if (lack := self._lack(spec))]
            if missing:
                lacking += missing
            else:
                slower, faster = (self._areas[spec.identity] for spec in specs)
                numbers[draw] = slower - faster
        return Gathered(numbers, tuple(lacking))

    def _lack(self, spec: SimulationSpec) -> Lacking | None:
        reason, blocks = "never run", False
        if spec.identity in self._diverged:
            reason, blocks = "diverged", True
        elif spec.identity in self._areas:
            if math.isfinite(self._areas[spec.identity]):
                return None
            reason, blocks = "an error is 0 or not a number", True
        return Lacking(spec.identity, f"ε = {spec.epsilon:g}", "simulation", spec.draw, reason, blocks)


def _mean_log_error(moments: pd.DataFrame) -> float:
    """Return the mean of log₁₀ e over the iterations, by the trapezoidal rule: stored moments are unevenly spaced."""
    moments = moments.sort_values("iteration")
    error, iteration = moments["error"].to_numpy(), moments["iteration"].to_numpy()
    if len(moments) < 2 or not (error > 0).all():
        return math.nan
    return float(trapezoid(np.log10(error), iteration) / np.ptp(iteration))
