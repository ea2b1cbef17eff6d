from __future__ import annotations

import subprocess
import sys
from pkgutil import resolve_name

import pytest

from urfb.learning.catalog import ALGORITHMS
from urfb.learning.learner import Learner


def test_the_catalog_imports_neither_torch_nor_grids() -> None:
    program = """
import sys, urfb.learning.catalog
print([name for name in sys.modules if name == "torch" or name.startswith("urfb.grid")])
"""
    printed = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert printed.strip() == "[]"


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_has_a_learner_and_settings_with_defaults(name: str) -> None:
    algorithm = ALGORITHMS[name]
    assert issubclass(resolve_name(algorithm.learner), Learner)
    assert algorithm.settings().model_dump(exclude_defaults=True) == {}
    assert algorithm.doc
