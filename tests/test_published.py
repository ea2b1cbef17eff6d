"""The published figures, tables, verdicts and README agree with the published store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

import urfb
from urfb.report.everything import verdicts
from urfb.report.exhibits import Exhibit
from urfb.report.figures import FIGURES
from urfb.report.rendering import render
from urfb.report.tables import TABLES

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "results" / "reference"
COMMAND = "urfb report all --store results/reference/urfb.sqlite"


@pytest.fixture(scope="module")
def store() -> urfb.store.Store:
    return urfb.open_store(str(REFERENCE / "urfb.sqlite"))


@pytest.mark.parametrize("path", sorted(REFERENCE.glob("*.sqlite")), ids=lambda path: path.name)
def test_a_published_store_has_this_versions_schema(path: Path) -> None:
    urfb.open_store(str(path))  # raises for any other schema, and says how to upgrade it


@pytest.mark.usefixtures("coarse_pictures")
@pytest.mark.parametrize("exhibits", [FIGURES, TABLES], ids=["figures", "tables"])
def test_the_published_figures_and_tables_show_the_published_store(
    store: urfb.store.Store, exhibits: Sequence[Exhibit], tmp_path: Path
) -> None:
    for made in render(store, exhibits, tmp_path, "results/reference/urfb.sqlite"):
        folder = REFERENCE / f"{made.exhibit.kind}s"
        for file in made.files:
            assert (folder / file.name).exists(), f"{folder / file.name} is missing; make it with {COMMAND}"
        drawn, published = (pd.read_csv(place / made.files[-1].name, comment="#") for place in (tmp_path, folder))
        pd.testing.assert_frame_equal(drawn, published, rtol=1e-4)


def test_the_published_verdicts_are_those_of_the_published_store(store: urfb.store.Store) -> None:
    published = json.loads((REFERENCE / "claims.json").read_text())
    results = verdicts(store, "results/reference/urfb.sqlite")
    found = [(result.name, result.setting.name, result.verdict.value) for result in results]
    assert found == [(claim["claim"], claim["setting"]["name"], claim["verdict"]) for claim in published], COMMAND
    assert all((REFERENCE / name).exists() for name in ("claims.txt", "page.html"))


def test_nothing_published_names_this_machines_folders() -> None:
    for file in REFERENCE.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert not any(place in content for place in (b"/root/", b"/home/", b"/work/", b"/tmp/")), file


def test_the_readmes_claims_match_the_published_verdicts() -> None:
    published = json.loads((REFERENCE / "claims.json").read_text())
    verdicts = {claim["claim"]: claim["verdict"] for claim in published if claim["setting"]["name"] == "short"}
    assert verdicts == {"1": "contradicted", "2": "supported", "5": "supported", "6": "supported"}
    readme = " ".join((ROOT / "README.md").read_text().split())
    assert "In these 10 epochs, claims 2, 5 and 6 of the paper are supported." in readme
    assert "Claim 1, that the hinge loss is slightly worse than softmax, is contradicted" in readme


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
