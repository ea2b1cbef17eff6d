"""Small runs and grids, which train in less than a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from urfb.data.catalog import CATALOG
from urfb.grid.expand import GridRun, resolve
from urfb.grid.spec import RunSpec

TINY = "Conv 4 3x3; Maxpool 3; Drop .3; Full 20; Output"


def tiny_spec(**settings: Any) -> RunSpec:
    """Return a run on the digits that takes about a tenth of a second per epoch."""
    return resolve({"network": TINY, "dataset": "digits", "rule": "urfb", "epochs": 2, **settings}, {})


def tiny_run(*experiments: str, **settings: Any) -> GridRun:
    """Return the same run as part of a grid."""
    return GridRun(tiny_spec(**settings), experiments or ("tiny",))


def grid_file(folder: Path, *, epochs: int = 2, seeds: int = 2, **defaults: Any) -> Path:
    """Write a grid of BP and URFB runs on the digits."""
    settings = ", ".join(f"{name}: {value}" for name, value in defaults.items())
    path = folder / "grid.yaml"
    path.write_text(
        f"networks:\n  tiny: {TINY}\n"
        f"experiments:\n  tiny:\n    defaults: {{network: tiny, dataset: digits, epochs: {epochs}, {settings}}}\n"
        f"    matrix:\n      rule: [bp, urfb]\n      seed: {list(range(seeds))}\n"
    )
    return path


STEPS_AN_EPOCH = -(-CATALOG["digits"].training // CATALOG["digits"].batch_size)
