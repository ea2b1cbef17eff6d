"""What is published is what the published store shows: the figures' numbers, and the README's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import urfb
from urfb.report.everything import everything
from urfb.report.figures import FIGURES, SIMPNET10
from urfb.report.protocols import BP, BP_H, FRFB, URFB
from urfb.report.selection import Selection, panels
from urfb.report.tables import TABLES

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "results" / "reference"
FIGURE4 = (BP, BP_H, URFB, FRFB)
COMMAND = "urfb report all --store results/reference/urfb.sqlite"


@pytest.fixture(scope="module")
def store() -> urfb.store.Store:
    return urfb.open_store(str(REFERENCE / "urfb.sqlite"))


def test_the_published_report_shows_the_published_store(store: urfb.store.Store, tmp_path: Path) -> None:
    compared = {"figures": 0, "tables": 0}
    for part in everything(store, [*FIGURES, *TABLES], tmp_path, location="results/reference/urfb.sqlite"):
        for file in part.files:
            published = REFERENCE / file.relative_to(tmp_path)
            assert published.exists(), f"{published} is not there; make it with {COMMAND}"
            if file.suffix == ".csv":
                drawn = pd.read_csv(file, comment="#")
                pd.testing.assert_frame_equal(drawn, pd.read_csv(published, comment="#"), rtol=1e-4)
                compared[file.parent.name] += 1
    assert compared == {"figures": len(FIGURES), "tables": len(TABLES)}
    made, published = (json.loads((folder / "claims.json").read_text()) for folder in (tmp_path, REFERENCE))
    assert [(one["claim"], one["verdict"]) for one in made] == [(one["claim"], one["verdict"]) for one in published]


def test_nothing_published_names_this_machines_folders() -> None:
    for file in REFERENCE.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert not any(place in content for place in (b"/root/", b"/home/", b"/work/", b"/tmp/")), file


def test_the_readmes_table_is_the_published_runs(store: urfb.store.Store) -> None:
    [panel] = panels(store.runs(), Selection((SIMPNET10,), FIGURE4))
    runs = panel.runs[panel.runs["state"] == "done"]
    expected = ["| protocol | epochs | seeds | training | validation | test |", "|---|---|---|---|---|---|"]
    for protocol in FIGURE4:
        own = runs[runs["protocol"] == protocol.name]
        if own.empty:
            continue
        errors = [f"{100 * own[f'{kind}_error'].mean():.1f}" for kind in ("training", "validation", "test")]
        expected.append(f"| {protocol.name} | {own['epochs_done'].min()} | {len(own)} | {' | '.join(errors)} |")
    readme = (ROOT / "README.md").read_text()
    found = readme.split("<!-- the published runs -->")[1].strip().split("\n\n")[0].splitlines()
    assert found == expected


def test_the_readme_says_of_the_claims_what_the_published_verdicts_are(store: urfb.store.Store) -> None:
    published = json.loads((REFERENCE / "claims.json").read_text())
    verdicts = {one["claim"]: one["verdict"] for one in published if one["setting"]["name"] == "short"}
    assert verdicts == {"1": "contradicted", "2": "supported", "5": "supported", "6": "supported"}
    readme = " ".join((ROOT / "README.md").read_text().split())
    assert "2, 5 and 6 hold in the first 10 epochs" in readme
    assert "slightly worse than softmax (1) does not" in readme

    [panel] = panels(store.runs(), Selection((SIMPNET10,), FIGURE4))
    done = panel.runs[panel.runs["state"] == "done"]
    seeds = done.groupby("protocol").size()
    assert f"{seeds['BP']} seeds (FRFB: {seeds['FRFB']})" in readme
    assert f"{len(done)} runs on two CPU cores" in readme


def test_the_pages_numbers_are_those_that_are_published() -> None:
    pages = ["docs/results.md", "README.md"]
    command = [sys.executable, "-m", "cogapp", "--check", "--diff", "-P", "-I", "docs", *pages]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, f"put them in with `cog -r -P -I docs {' '.join(pages)}`\n{checked.stdout}"


def test_the_table_of_precisions_is_the_published_runs() -> None:
    runs = urfb.open_store(str(REFERENCE / "precision.sqlite")).runs(state="done")
    document = (ROOT / "docs" / "performance.md").read_text()
    table = document.split("<!-- the published precisions -->")[1].strip().split("\n\n")[0].splitlines()
    assert len(table) == 2 + len(runs.groupby(["rule", "precision"]))
    for line in table[2:]:
        rule, precision, epochs, seeds, *errors = (cell.strip() for cell in line.strip("|").split("|"))
        own = runs[(runs["rule"] == rule) & (runs["precision"] == precision)]
        assert (int(epochs), int(seeds)) == (own["epochs_done"].min(), len(own))
        found = (own[f"{kind}_error"] for kind in ("training", "validation", "test"))
        assert errors == [f"{100 * error.min():.1f} to {100 * error.max():.1f}" for error in found]
