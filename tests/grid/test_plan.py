from __future__ import annotations

from pathlib import Path

import pytest

from urfb.errors import SelectionError
from urfb.grid.expand import load_grid
from urfb.grid.plan import plan, select

RUNS = load_grid(Path(__file__).parents[2] / "experiments.yaml", ["quick"]).runs


def test_states_come_from_the_store_and_a_nearer_target_counts_as_unfinished() -> None:
    first, second, third, fourth, *rest = (run.spec.identity for run in RUNS)
    progress = {first: ("done", 40), second: ("done", 39), third: ("failed", 5), fourth: ("running", 1)}
    planned = plan(RUNS, progress)
    assert [one.state for one in planned] == ["done", "unfinished", "failed", "running"] + ["new"] * len(rest)
    assert [one.missing for one in planned] == [False] + [True] * (len(rest) + 3)
    assert [one.epochs_done for one in planned[:4]] == [40, 39, 5, 1]


@pytest.mark.parametrize(
    ("conditions", "count"),
    [
        ([], 18),
        (["rule=urfb"], 6),
        (["rule=urfb", "seed=0"], 2),
        (["rule=bp,frfb", "connectivity=1"], 9),
        (["connectivity=0.5"], 6),
        (["loss=softmax"], 3),
        (["dense_output=true"], 18),
        (["convention=paper", "seed=2"], 6),
        ([f"run={RUNS[0].spec.identity}"], 1),
    ],
)
def test_all_conditions_hold_and_of_the_values_of_one_any(conditions: list[str], count: int) -> None:
    assert len(select(RUNS, conditions)) == count


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("rul=bp", "did you mean 'rule'"),
        ("rule", "name=value"),
        ("=", "name=value"),
        ("rule=urbf", "no run has that: did you mean 'urfb'"),
        ("seed=7", "no run has that"),
        ("seed=x", "seed is a number"),
        ("dense_output=1", "true or false"),
    ],
)
def test_conditions_that_cannot_be_read_are_refused(condition: str, said: str) -> None:
    with pytest.raises(SelectionError, match=said):
        select(RUNS, [condition])
