"""The documentation: nothing that its reference is made of lacks words, and the README leads somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from tests.documented import pages
from urfb.grid.schema import Experiment, GridFile, Matrix, Settings
from urfb.report.exhibits import Exhibit
from urfb.report.figures import FIGURES
from urfb.report.tables import TABLES
from urfb.store import open_for_writing, tables

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("part", [GridFile, Experiment, Matrix, Settings])
def test_every_key_of_a_grid_file_says_what_it_is(part: type[BaseModel]) -> None:
    fields = {
        name: field
        for name, field in part.model_fields.items()
        if part is Settings or name not in Settings.model_fields
    }
    assert [name for name, field in fields.items() if not field.description] == []


def test_every_column_of_a_table_says_what_it_holds() -> None:
    settings = {"run": tables.SPEC_COLUMNS, "simulation": tables.SIMULATION_COLUMNS}
    untold = [
        f"{table.name}.{column.name}"
        for table in tables.metadata.sorted_tables
        for column in table.columns
        if not column.doc
        and column.name != "id"
        and not column.foreign_keys
        and column.name not in settings.get(table.name, ())
    ]
    assert untold == []


def test_what_a_view_adds_is_a_column_of_it(tmp_path: Path) -> None:
    store = open_for_writing(str(tmp_path / "s.sqlite"))
    for view, additions in tables.VIEW_ADDITIONS.items():
        assert [column.name for column in additions if not column.doc or column.name not in store.columns(view)] == []


@pytest.mark.parametrize(("heading", "exhibits"), [("Figures beyond the paper", FIGURES), ("Tables", TABLES)])
def test_every_table_and_every_figure_that_is_not_the_papers_is_told_of(
    heading: str, exhibits: tuple[Exhibit, ...]
) -> None:
    text = (ROOT / "docs" / "reports.md").read_text(encoding="utf-8")
    section = text.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    told = [
        name.strip() for row in re.findall(r"^\| (\S[^|]*) \|", section, flags=re.MULTILINE) for name in row.split(",")
    ]
    papers = [str(number) for number in range(1, 13)] if exhibits is FIGURES else []
    assert told[0] in ("figure", "table")
    assert sorted(told[1:]) == sorted({exhibit.name for exhibit in exhibits} - set(papers))


def test_the_generated_parts_of_pages_are_current() -> None:
    generated = [page for page in pages() if "[[[cog" in (ROOT / page).read_text(encoding="utf-8")]
    assert {"README.md", "docs/results.md", "docs/reference/commands.md"} <= set(generated)
    command = [sys.executable, "-m", "cogapp", "--check", "--diff", "-P", "-I", "docs", *generated]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    update = "cog -r -P -I docs README.md docs/*.md docs/*/*.md"
    assert checked.returncode == 0, f"update them with `{update}`\n{checked.stdout}{checked.stderr}"


def test_the_readmes_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    own = [link for link in links if not link.startswith("https://")]
    assert len(own) > 10
    assert [link for link in own if not (ROOT / link).exists()] == []
