from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.mutations import MUTATIONS
from tests.mutations.mutation import Mutation

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=str)
def test_every_mutation_applies_once_and_can_be_run(mutation: Mutation) -> None:
    """`python -m tests.mutations` runs the mutations; this test only checks that they match the current code."""
    assert mutation.before != mutation.after
    ast.parse(mutation.applied(ROOT))
    for test in mutation.tests:
        file, _, name = test.partition("::")
        assert f"def {name.partition('[')[0]}" in (ROOT / file).read_text(encoding="utf-8"), f"there is no test {test}"
