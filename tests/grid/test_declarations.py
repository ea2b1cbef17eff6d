"""A setting is declared once: what derives from the declarations of existing settings and of a new one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import tiny_spec
from urfb.grid.expand import resolve
from urfb.grid.schema import Settings
from urfb.grid.settings import SETTINGS
from urfb.grid.spec import RunSpec
from urfb.store import tables

ROOT = Path(__file__).parents[2]


def test_a_new_setting_appears_everywhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.grid.extra_setting", str(tmp_path), tiny_spec().identity]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_every_setting_of_a_run_has_a_column() -> None:
    assert {*tables.run.columns.keys()} >= {*RunSpec.model_fields} - {"epochs"} | {"convention"}


def test_a_column_has_the_type_of_its_setting() -> None:
    for name in tables.SPEC_COLUMNS:
        column, setting = tables.run.columns[name], SETTINGS[name]
        assert (column.type.python_type, column.nullable) == (setting.kind, setting.optional), name


def test_grid_files_set_all_but_derived_settings() -> None:
    assert SETTINGS.keys() - Settings.model_fields.keys() == {"layers", "source"}


@pytest.mark.parametrize(("name", "usual"), [("step_size", 0.1), ("epochs", 1000), ("loss", "hinge"), ("seed", 0)])
def test_settings_missing_from_a_grid_file_have_usual_values(name: str, usual: object) -> None:
    spec = resolve({"network": "simpnet", "dataset": "cifar10", "rule": "bp"}, {})
    assert getattr(spec, name) == SETTINGS[name].usual == usual
