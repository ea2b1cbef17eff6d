"""A fake store with the runs that claims need and the numbers that a test sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pytest

from urfb.report.claims.measures import MEDIUM, PAPER, SHORT, Cell, Setting
from urfb.report.protocols import BP, BP_H, FRFB, URFB
from urfb.theory.spec import SimulationSpec

SIMPNET = "simpnet", "cifar10"


@dataclass
class FakeStore:
    """The methods of a store that claims use."""

    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    epoch_rows: list[pd.DataFrame] = field(default_factory=list)
    alignment_rows: list[pd.DataFrame] = field(default_factory=list)
    simulation_rows: list[dict[str, Any]] = field(default_factory=list)
    trajectory_rows: list[pd.DataFrame] = field(default_factory=list)

    def runs(self) -> pd.DataFrame:
        columns = ["run", "seed", "state", "epochs_done", "epochs_target", "test_error"]
        return pd.DataFrame(list(self.rows.values()), columns=columns)

    def epochs(self, *, run: list[str]) -> pd.DataFrame:
        return self._of(self.epoch_rows, "run", run)

    def alignment(self, *, run: list[str]) -> pd.DataFrame:
        return self._of(self.alignment_rows, "run", run)

    def simulations(self) -> pd.DataFrame:
        return pd.DataFrame(self.simulation_rows, columns=["simulation", "draw", "diverged_at"])

    def trajectories(self, *, simulation: list[str]) -> pd.DataFrame:
        return self._of(self.trajectory_rows, "simulation", simulation)

    def _of(self, frames: list[pd.DataFrame], name: str, wanted: list[str]) -> pd.DataFrame:
        frame = pd.concat(frames)
        return frame[frame[name].isin(wanted)]

    def add(
        self,
        cell: Cell,
        seed: int,
        setting: Setting,
        error: float = 0.4,
        *,
        epochs: int | None = None,
        state: str = "done",
        correlation: Callable[[int], float] = lambda epoch: epoch / (epoch + 20),
        **changed: Any,
    ) -> str:
        """Store a run whose errors all are `error`, with three layers measured after each epoch.

        Args:
            changed: settings that differ from those of the claim's run.

        Returns:
            The run's identity.
        """
        spec = cell.spec().model_copy(update={"seed": seed, **changed})
        target = setting.epochs(spec)
        done = target if epochs is None else epochs
        run = spec.identity
        self.rows[run] = {
            "run": run,
            "seed": seed,
            "state": state,
            "epochs_done": done,
            "epochs_target": max(done, target),
            "test_error": error if state == "done" else np.nan,
        }
        for frames in (self.epoch_rows, self.alignment_rows):  # replace a stored run
            frames[:] = [frame for frame in frames if frame["run"].iloc[0] != run]
        number = np.arange(1, done + 1)
        self.epoch_rows.append(
            pd.DataFrame({"run": run, "epoch": number, "training_error": error, "validation_error": error})
        )
        self.alignment_rows += [
            pd.DataFrame(
                {
                    "run": run,
                    "epoch": np.arange(done + 1.0),
                    "layer": layer,
                    "correlation": [correlation(epoch) for epoch in range(done + 1)],
                }
            )
            for layer in (1, 2, 3)
        ]
        return run

    def simulate(self, epsilon: float, draw: int, rate: float, diverged_at: int | None = None) -> None:
        """Store a simulation whose log₁₀ e falls by `rate` over all iterations."""
        spec = SimulationSpec(epsilon=epsilon, draw=draw)
        self.simulation_rows.append({"simulation": spec.identity, "draw": draw, "diverged_at": diverged_at})
        kept = np.array([0, 1, 2, 10, 500, 1000])  # unevenly spaced
        error = 10.0 ** (-rate * kept / 1000)
        self.trajectory_rows.append(pd.DataFrame({"simulation": spec.identity, "iteration": kept, "error": error}))

    def epochs_of(self, run: str) -> pd.DataFrame:
        return next(frame for frame in self.epoch_rows if (frame["run"] == run).all())


ENDS = {"BP": 0.30, "BP-H": 0.32, "URFB": 0.335, "FRFB": 0.36}
"""Errors that agree with claims 1 and 2."""


def fill(
    store: FakeStore,
    setting: Setting = SHORT,
    seeds: int = 5,
    ends: dict[str, float] = ENDS,
    noise: float = 0.003,
    first_seed: int = 0,
) -> None:
    """Store simpnet's four protocols on CIFAR-10, with noise shared by the runs of a seed and noise per run."""
    for seed in range(first_seed, first_seed + seeds):
        random = np.random.default_rng(seed)
        shared = random.normal(0, 0.05)
        for protocol in (BP, BP_H, URFB, FRFB):
            error = ends[protocol.name] + shared + random.normal(0, noise)
            store.add(Cell(*SIMPNET, protocol), seed, setting, error)


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


__all__ = ["ENDS", "MEDIUM", "PAPER", "SHORT", "SIMPNET", "FakeStore", "fill"]
