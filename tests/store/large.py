"""Creates a large store and measures how long it takes to read it: `python -m tests.store.large FILE`."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import insert, select, update

from tests.helpers import tiny_run
from urfb import open_store
from urfb.store import open_for_writing, tables

LAYERS = ("Conv 4 3x3", "Full 20", "Output")
POINTS = 60


def make_large_store(path: Path, *, runs: int, epochs: int) -> None:
    """Write a store of finished runs with random results and 60 alignment points per run and layer."""
    random = np.random.default_rng(0)
    store = open_for_writing(str(path))
    rules = ("urfb", "frfb")
    grid = [tiny_run("large", rule=rules[number % 2], seed=number // 2, epochs=epochs) for number in range(runs)]
    store.register(grid)
    with store.writing() as connection:
        ids = connection.execute(select(tables.run.c.id).order_by(tables.run.c.id)).scalars().all()
        connection.execute(update(tables.run).values(state="done", epochs_done=epochs))
        for run_id in ids:
            connection.execute(
                insert(tables.attempt).values(
                    run_id=run_id, started="2026-01-01T00:00:00+00:00", host="host", process=1, device="cpu",
                    device_name="a processor", threads=1, urfb_version="0.1.0", python_version="3.12",
                    torch_version="2.11", first_epoch=1, ended="2026-01-02T00:00:00+00:00", outcome="done",
                )
            )  # fmt: skip
            connection.execute(insert(tables.epoch), _epochs(run_id, random.random((epochs, 7)).tolist()))
            connection.execute(insert(tables.test).values(run_id=run_id, epoch=epochs, test_loss=0.5, test_error=0.25))
            steps = np.linspace(0, epochs * 26, POINTS).astype(int).tolist()
            connection.execute(
                insert(tables.layer_alignment),
                [
                    {"run_id": run_id, "layer": layer, "step": step, "epoch": step / 26, "layer_name": name}
                    | dict(zip(("correlation", "correlation_shared", "angle"), random.random(3).tolist(), strict=True))
                    for layer, name in enumerate(LAYERS, start=1)
                    for step in steps
                ],
            )
    store.close()


def _epochs(run_id: int, values: list[list[float]]) -> list[dict[str, Any]]:
    names = [column.name for column in tables.epoch.columns if column.name not in ("run_id", "epoch")]
    rows = []
    for number, row in enumerate(values, start=1):
        measured: dict[str, Any] = dict(zip(names, row, strict=True))
        if number > 10 and number % 5 and number != len(values):
            measured |= {"training_loss": None, "training_error": None}
        rows.append({"run_id": run_id, "epoch": number, **measured})
    return rows


def _seconds(action: Callable[[], object]) -> str:
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        action()
        taken.append(time.perf_counter() - began)
    return f"{sorted(taken)[2]:.2f} s ({min(taken):.2f} to {max(taken):.2f})"


def main(path: Path) -> None:
    """Create a store of 1,000 runs of 1,000 epochs, unless it exists, and print how long it takes to read it."""
    if not path.exists():
        make_large_store(path, runs=1000, epochs=1000)
    status = [sys.executable, "-c", "from urfb.cli import app; app()", "grid", "status", "--store", str(path)]
    store = open_store(str(path))
    print(f"{path.stat().st_size / 2**20:.1f} MiB; median of five (fastest to slowest):")
    print("urfb grid status:", _seconds(lambda: subprocess.run(status, check=True, stdout=subprocess.DEVNULL)))
    print("store.runs():", _seconds(store.runs))
    print("store.epochs():", _seconds(store.epochs))
    print("store.epochs(rule='urfb', seed=0):", _seconds(lambda: store.epochs(rule="urfb", seed=0)))
    print("store.alignment():", _seconds(store.alignment))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
