"""What is published is what the published store shows: the figures' numbers, and the README's."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import urfb
from urfb.report.figures import render
from urfb.report.protocols import PROTOCOLS

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "results" / "reference"


@pytest.fixture(scope="module")
def store() -> urfb.store.Store:
    return urfb.open_store(str(REFERENCE / "urfb.sqlite"))


def test_the_published_figures_show_the_published_runs(store: urfb.store.Store, tmp_path: Path) -> None:
    for figure in render(store, [], tmp_path):
        (drawn,) = (path for path in figure.files if path.suffix == ".csv")
        published = pd.read_csv(REFERENCE / "figures" / drawn.name, comment="#")
        pd.testing.assert_frame_equal(pd.read_csv(drawn, comment="#"), published, rtol=1e-4)


def test_the_readmes_table_is_the_published_runs(store: urfb.store.Store) -> None:
    runs = store.runs(network="simpnet", dataset="cifar10", state="done")
    expected = ["| protocol | epochs | seeds | training | validation | test |", "|---|---|---|---|---|---|"]
    for protocol in PROTOCOLS:
        own = runs[protocol.matches(runs)]
        errors = [f"{100 * own[f'{kind}_error'].mean():.1f}" for kind in ("training", "validation", "test")]
        expected.append(f"| {protocol.name} | {own['epochs_done'].min()} | {len(own)} | {' | '.join(errors)} |")
    readme = (ROOT / "README.md").read_text()
    found = readme.split("<!-- the published runs -->")[1].strip().split("\n\n")[0].splitlines()
    assert found == expected
