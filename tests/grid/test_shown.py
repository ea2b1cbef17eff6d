from __future__ import annotations

from typing import Any

from tests.helpers import tiny_spec
from urfb.grid.shown import costs_of, memory_of


def memory(**settings: Any) -> int:
    return sum(memory_of(tiny_spec(**settings)).values())


def test_memory_is_for_each_mask_and_for_the_images_of_a_batch() -> None:
    sizes = [memory(), memory(feedback_connectivity=0.5), memory(connectivity=0.5, feedback_connectivity=0.5)]
    assert sizes == sorted(set(sizes))
    assert memory(connectivity=0.5, feedback_connectivity=1.0) == sizes[1]
    assert memory(batch_size=5) < memory(batch_size=50) < memory(batch_size=500)


def test_costs_are_those_of_the_last_stage() -> None:
    two_stages = tiny_spec(rule="bp", pretraining_epochs=1, pretraining_rule="urfb", frozen="none", untied="all")
    assert costs_of(two_stages) == costs_of(tiny_spec(rule="bp", untied="all"))
    assert costs_of(two_stages).feedback == 0
