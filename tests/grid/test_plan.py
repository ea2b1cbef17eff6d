from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.helpers import tiny_run
from urfb.errors import SelectionError
from urfb.events import Failed
from urfb.grid.expand import load_grid
from urfb.grid.plan import one_seed_first, plan, select
from urfb.store import open_for_writing

RUNS = load_grid(Path(__file__).parents[2] / "experiments.yaml", ["quick"]).runs
EVERY = {run.spec.identity for run in RUNS}


def test_states_come_from_store_and_short_runs_are_unfinished() -> None:
    first, second, third, fourth, *rest = (run.spec.identity for run in RUNS)
    progress = {first: ("done", 40), second: ("done", 39), third: ("failed", 5), fourth: ("running", 1)}
    planned = plan(RUNS, progress, checkpoints=EVERY)
    assert [run.state for run in planned] == ["done", "unfinished", "failed", "running"] + ["new"] * len(rest)
    assert [run.missing for run in planned] == [False] + [True] * (len(rest) + 3)
    assert [run.epochs_done for run in planned[:4]] == [40, 39, 5, 1]


def test_a_cancelled_run_is_not_missing() -> None:
    (cancelled,) = plan(RUNS[:1], {RUNS[0].spec.identity: ("cancelled", 3)}, checkpoints=set())
    assert (cancelled.state, cancelled.missing, cancelled.reason) == ("cancelled", False, "")


@pytest.mark.parametrize(
    ("progress", "reason"),
    [
        (None, "never trained"),
        (("new", 0), "never trained"),
        (("unfinished", 20), "trained 20 of 40 epochs"),
        (("done", 39), "trained 39 of 40 epochs"),
        (("unfinished", 40), "trained 40 epochs, but not tested"),
        (("unfinished", 41), "trained 41 epochs, but not tested"),
        (("done", 40), ""),
        (("done", 41), ""),
    ],
)
def test_a_runs_reason_follows_from_its_epochs(progress: tuple[str, int] | None, reason: str) -> None:
    (planned,) = plan(RUNS[:1], {} if progress is None else {RUNS[0].spec.identity: progress}, checkpoints=EVERY)
    assert planned.reason == reason


@pytest.mark.parametrize(
    ("progress", "reason"),
    [
        (("unfinished", 20), "trained 20 of 40 epochs; no checkpoint was found, so it starts over"),
        (("done", 39), "trained 39 of 40 epochs; no checkpoint was found, so it starts over"),
        (("failed", 20), "failed; no checkpoint was found, so it starts over"),
        (("unfinished", 0), "trained 0 of 40 epochs; no checkpoint was found, so it starts over"),
        (("failed", 0), "failed"),
        (("done", 40), ""),
    ],
)
def test_a_run_whose_checkpoint_is_gone_starts_over(progress: tuple[str, int], reason: str) -> None:
    (planned,) = plan(RUNS[:1], {RUNS[0].spec.identity: progress}, checkpoints=set())
    assert planned.reason == reason
    assert planned.goes_on_after == (0 if "starts over" in reason else progress[1])


def test_the_store_says_why_runs_failed_and_where_others_are_trained(tmp_path: Path) -> None:
    store = open_for_writing(str(tmp_path / "urfb.sqlite"))
    runs = [tiny_run(seed=seed) for seed in range(4)]
    store.register(runs)
    for run, failures in zip(runs, (2, 1, 1, 0), strict=True):
        for number in range(failures):
            store.claim(run.spec)
            store.record(
                run.spec.identity, Failed(f"RuntimeError: number {number}" + " of many words" * 9, "traceback")
            )
    store.claim(runs[2].spec)
    reasons = [planned.reason for planned in plan(runs, store.progress(), store.reasons(), checkpoints=set())]
    assert reasons[0].startswith("failed: RuntimeError: number 1 of many words of")
    assert reasons[0].endswith("… (2 attempts)")
    assert len(reasons[0]) < 110
    assert reasons[1].endswith("(1 attempt)")
    assert reasons[2:] == [f"is being trained on {socket.gethostname()}", "never trained"]


def test_a_run_can_be_interrupted_in_its_first_epoch() -> None:
    (planned,) = plan(RUNS[:1], {RUNS[0].spec.identity: ("unfinished", 0)}, checkpoints=EVERY)
    assert planned.reason == "interrupted in epoch 1"


@pytest.mark.parametrize(
    ("conditions", "count"),
    [
        ([], 18),
        (["rule=urfb"], 6),
        (["rule=urfb", "seed=0"], 2),
        (["rule=urfb", "seed=0-1"], 4),
        (["rule=urfb", "seed=0, 1 - 2"], 6),
        (["rule=bp,frfb", "connectivity=1"], 9),
        (["connectivity=0.5"], 6),
        (["loss=softmax"], 3),
        (["dense_output=true"], 18),
        (["dense_output=TRUE"], 18),
        ([" rule = bp , frfb", "seed=0"], 4),
        (["convention=paper", "seed=2"], 6),
        (["rule==bp"], 6),
        (["rule == bp,frfb", "seed==0"], 4),
        ([f"run={RUNS[0].spec.identity}"], 1),
    ],
)
def test_conditions_select_runs(conditions: list[str], count: int) -> None:
    assert len(select(RUNS, conditions)) == count


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("rul=bp", "did you mean 'rule'"),
        ("rule", "name=value"),
        ("=", "name=value"),
        ("rule=urbf", "no run has this value: did you mean 'urfb'"),
        ("seed=7", "no run has this value"),
        ("seed=x", "seed is a number"),
        ("seed=-99999999999999999999", "seed is a number"),
        ("dense_output=false", "no run has this value"),
        ("dense_output=1", "true or false"),
        ("experiments=quick", "write the names of experiments after the grid file, as in `urfb grid plan "),
        ("seed=2-0", "seed is a number; to allow several, write seed=A,B or seed=A-B"),
        ("seed=0-999999999", "seed is a number; to allow several, write seed=A,B or seed=A-B"),
        ("seed=1-3", "seed=3: no run has this value"),
        ("batch_size=1-3", "batch_size is a number; to allow several, write batch_size=A,B"),
        ("seed===0", "name=value"),
        ("seed==", "name=value"),
        ("seed:0", "write a condition as name=value, as in --where seed=0"),
        (" seed  0 ", "as in --where seed=0"),
        ("rule bp,urfb", "as in --where rule=bp,urfb"),
        ("not rule=bp", "name=value, as in --where rule=urfb"),
        ("rule in bp,urfb", "name=value, as in --where rule=urfb"),
        ("seed!=0", "'!=' is not allowed in a condition: list the values to select, as in --where seed=A,B"),
        ("seed <> 0", "'<>' is not allowed"),
        ("seed>2", "'>' is not allowed in a condition: list the values to select"),
        ("seed <= 2", "'<=' is not allowed"),
    ],
)
def test_conditions_that_cannot_be_read_are_refused(condition: str, message: str) -> None:
    with pytest.raises(SelectionError, match=message):
        select(RUNS, [condition])


def test_second_condition_on_the_same_setting_is_refused() -> None:
    with pytest.raises(SelectionError, match="--where 'seed = 1': there already is a condition on seed"):
        select(RUNS, ["seed=0", "rule=bp", "seed = 1"])


def test_one_seed_of_everything_is_trained_before_the_next() -> None:
    settings = [("bp", 0), ("bp", 1), ("bp", 2), ("urfb", 5), ("urfb", 6), ("frfb", 1)]
    runs = [tiny_run(rule=rule, seed=seed) for rule, seed in settings]
    done = {runs[0].spec.identity: ("done", 2)}
    ordered = [planned.run.spec for planned in one_seed_first(plan(runs, done, checkpoints=set()))]
    assert [(spec.rule, spec.seed) for spec in ordered] == [
        ("bp", 0), ("urfb", 5), ("frfb", 1), ("bp", 1), ("urfb", 6), ("bp", 2),
    ]  # fmt: skip
