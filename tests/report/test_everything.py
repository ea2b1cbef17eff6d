"""`urfb report all`: everything in one folder, of which only what has changed is made again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.report.conftest import FakeStore
from urfb.report.everything import everything
from urfb.report.figures import FIGURES
from urfb.report.tables import TABLES

pytestmark = pytest.mark.usefixtures("coarse_pictures")
SHOWN = [exhibit for exhibit in (*FIGURES, *TABLES) if exhibit.name in ("4", "5", "10")]
PARTS = ["Figure 4", "Figure 5", "Figure 10", "Table 5", "Table 10", "Claims", "Page"]


def made(store: FakeStore, folder: Path, **options: bool) -> list[str]:
    return [part.name for part in everything(store, SHOWN, folder, **options) if part.made]


def test_everything_is_in_one_folder(store: FakeStore, tmp_path: Path) -> None:
    store.add_protocols(3, seeds=1)
    parts = list(everything(store, SHOWN, tmp_path / "report", location="my.sqlite"))
    assert [part.name for part in parts] == PARTS
    names = {str(file.relative_to(tmp_path / "report")) for part in parts for file in part.files}
    assert {"figures/figure04.pdf", "tables/table05.tex", "claims.json", "claims.txt", "page.html"} <= names
    assert all(file.exists() for part in parts for file in part.files)
    assert parts[0].shortfalls == ["3 of the paper's 1,000 epochs", "1 of 3 seeds"]
    verdicts = json.loads((tmp_path / "report" / "claims.json").read_text())
    assert {verdict["setting"]["name"] for verdict in verdicts} == {"paper", "medium", "short"}
    text = (tmp_path / "report" / "claims.txt").read_text()
    assert text.startswith("12 claims of the paper: 0 supported, 0 contradicted, 12 not enough runs\n")
    assert all(f"in the setting {setting}" in text for setting in ("paper", "medium", "short"))
    assert "--store my.sqlite" in text


def test_only_what_has_changed_is_made_again(store: FakeStore, tmp_path: Path) -> None:
    store.add_protocols(3, seeds=1)
    assert made(store, tmp_path) == PARTS
    assert made(store, tmp_path) == []
    next(row for row in store.alignment_rows if row["rule"] == "urfb")["correlation"] += 0.1
    assert made(store, tmp_path) == ["Figure 10", "Table 10", "Page"]
    (tmp_path / "claims.txt").write_text("something else")
    assert made(store, tmp_path) == ["Claims"]
    assert made(store, tmp_path, force=True) == PARTS


def test_an_experiments_report_has_no_verdicts_on_the_paper(store: FakeStore, tmp_path: Path) -> None:
    store.add_protocols(3, seeds=1, experiments="quick")
    shown = [exhibit.of_experiment("quick") for exhibit in SHOWN]
    parts = list(everything(store, shown, tmp_path, experiment="quick"))
    assert [part.name for part in parts] == [name for name in PARTS if name != "Claims"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figures", "quick-page.html", "tables"]


def test_an_empty_store_has_a_whole_report(store: FakeStore, tmp_path: Path) -> None:
    assert made(store, tmp_path) == PARTS
    assert "no run of this figure in the store" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("exhibit", [*FIGURES, *TABLES], ids=lambda exhibit: exhibit.stem)
def test_paper_exhibit_has_title_statement_and_grid_command(exhibit) -> None:  # type: ignore[no-untyped-def]
    assert exhibit.title
    if exhibit.kind == "figure":
        assert exhibit.says
    if exhibit.selection.panels:
        assert exhibit.completed_by.startswith("grid run experiments.yaml")


@pytest.mark.slow
def test_the_whole_command_loads_no_torch_and_leaves_the_store_as_it_is(tmp_path: Path) -> None:
    store = tmp_path / "urfb.sqlite"
    store.write_bytes((Path(__file__).parents[2] / "results" / "reference" / "urfb.sqlite").read_bytes())
    before = store.read_bytes()
    code = (
        "import sys; from urfb.cli import app; "
        f"app(['report', 'all', '--store', {str(store)!r}], standalone_mode=False); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "page.html").exists()
    assert store.read_bytes() == before
