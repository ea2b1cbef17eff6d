from __future__ import annotations

from tests.helpers import tiny_spec
from urfb.grid.shown import costs_of


def test_costs_are_those_of_the_last_stage() -> None:
    two_stages = tiny_spec(rule="bp", pretraining_epochs=1, pretraining_rule="urfb", frozen="none", untied="all")
    assert costs_of(two_stages) == costs_of(tiny_spec(rule="bp", untied="all"))
    assert costs_of(two_stages).feedback == 0
