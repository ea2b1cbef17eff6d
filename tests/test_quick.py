"""The first thing a new user does: the experiment `quick`, its figures, and reading its numbers with pandas."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import urfb

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_quick_gives_runs_figures_and_the_papers_order(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from urfb.cli import app; app()"]
    store = tmp_path / "urfb.sqlite"
    subprocess.run([*command, "grid", "run", ROOT / "experiments.yaml", "quick", "--store", store], check=True)
    figures = subprocess.run(
        [*command, "report", "figures", "--experiment", "quick", "--store", store],
        check=True,
        capture_output=True,
        text=True,
    )
    assert "incomplete" not in figures.stdout
    for number in ("04", "05", "10"):
        for suffix in ("png", "pdf", "csv"):
            assert (tmp_path / "figures" / f"quick-figure{number}.{suffix}").stat().st_size > 1000
    runs = urfb.open_store(str(store)).runs()
    assert (runs["state"] == "done").all()
    error = runs[runs["connectivity"] == 1].groupby(["rule", "loss"])["test_error"].mean()
    assert error["bp", "hinge"] < error["frfb", "hinge"]
    assert error["urfb", "hinge"] < error["frfb", "hinge"]
