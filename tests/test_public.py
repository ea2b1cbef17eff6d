"""The public names, which users import, and the names that the reference documents."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path

import urfb
import urfb.report

REFERENCE = Path(__file__).parents[1] / "docs" / "reference" / "python.md"


def test_the_public_names_do_not_change() -> None:
    assert urfb.__all__ == ["RULES", "DatasetInfo", "Rule", "__version__", "convert", "load_weights", "open_store"]
    assert urfb.report.__all__ == ["Data", "Drawn", "Tabulated", "figure", "table"]
    assert all(hasattr(package, name) for package in (urfb, urfb.report) for name in package.__all__)


def test_every_documented_name_exists() -> None:
    documented = re.findall(r"^### (urfb\.\S+)$", REFERENCE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(documented) > 10
    for name in documented:
        assert pkgutil.resolve_name(name) is not None
