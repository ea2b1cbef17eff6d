"""The documentation: every key and column has a text, every exhibit is listed, and the README's links exist."""

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
def test_every_key_of_a_grid_file_is_documented(part: type[BaseModel]) -> None:
    fields = {
        name: field
        for name, field in part.model_fields.items()
        if part is Settings or name not in Settings.model_fields
    }
    assert [name for name, field in fields.items() if not field.description] == []


def test_every_column_of_a_table_is_documented() -> None:
    settings = {"run": tables.SPEC_COLUMNS, "simulation": tables.SIMULATION_COLUMNS}
    undocumented = [
        f"{table.name}.{column.name}"
        for table in tables.metadata.sorted_tables
        for column in table.columns
        if not column.doc
        and column.name != "id"
        and not column.foreign_keys
        and column.name not in settings.get(table.name, ())
    ]
    assert undocumented == []


def test_every_addition_of_a_view_is_a_documented_column(tmp_path: Path) -> None:
    store = open_for_writing(str(tmp_path / "s.sqlite"))
    for view, additions in tables.VIEW_ADDITIONS.items():
        assert [column.name for column in additions if not column.doc or column.name not in store.columns(view)] == []


@pytest.mark.parametrize(("heading", "exhibits"), [("Figures beyond the paper", FIGURES), ("Tables", TABLES)])
def test_every_table_and_every_figure_beyond_the_paper_is_documented(
    heading: str, exhibits: tuple[Exhibit, ...]
) -> None:
    text = (ROOT / "docs" / "reports.md").read_text(encoding="utf-8")
    section = text.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    header, *listed = [
        name.strip() for row in re.findall(r"^\| (\S[^|]*) \|", section, flags=re.MULTILINE) for name in row.split(",")
    ]
    papers = [str(number) for number in range(1, 13)] if exhibits is FIGURES else []
    assert header in ("figure", "table")
    assert sorted(listed) == sorted({exhibit.name for exhibit in exhibits} - set(papers))


def test_the_generated_parts_of_pages_are_current() -> None:
    generated = [page for page in pages() if "[[[cog" in (ROOT / page).read_text(encoding="utf-8")]
    assert {"README.md", "docs/results.md", "docs/reference/commands.md"} <= set(generated)
    command = [sys.executable, "-m", "cogapp", "--check", "--diff", "-P", "-I", "docs", *generated]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    update = "cog -r -P -I docs README.md docs/*.md docs/*/*.md"
    assert checked.returncode == 0, f"update them with `{update}`\n{checked.stdout}{checked.stderr}"


def test_the_readmes_links_exist() -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    files = [link for link in links if not link.startswith("https://")]
    assert len(files) > 10
    assert [file for file in files if not (ROOT / file).exists()] == []
