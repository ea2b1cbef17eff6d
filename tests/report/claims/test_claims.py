import itertools
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from tests.report.claims.conftest import ENDS, SIMPNET, fill
from urfb.errors import SelectionError
from urfb.grid.expand import load_grid
from urfb.grid.plan import select
from urfb.report.claims import CLAIMS, MEDIUM, PAPER, SHORT, Verdict, evaluate, exit_code
from urfb.report.claims.formatting import as_json, as_text
from urfb.report.claims.measures import Cell
from urfb.report.claims.statistics import LEAST_SEEDS
from urfb.report.claims.table import Component
from urfb.report.protocols import BP, BP_H, FRFB, URFB

ROOT = Path(__file__).parents[3]

# Network, data set, untied.
SIMPNET_10, SIMPNET_100 = (*SIMPNET, False), ("simpnet", "cifar100", False)
DEEPNET, DEEPERNET = ("deepnet", "cifar100", False), ("deepernet", "cifar100", False)
DEEPNET_S = ("deepnet_s", "cifar10", False)
UNTIED = ((*SIMPNET, True), ("deepnet_s", "cifar10", True))


def verdicts(results):
    return {result.name: result.verdict for result in results}


def cells(setting):
    parts = [part for claim in CLAIMS.values() for part in claim.components(setting)]
    return dict.fromkeys(cell for part in parts if isinstance(part, Component) for cell in part.cells)


def test_runs_that_agree_with_the_paper_support_its_claims(store):
    fill(store)
    results = evaluate(store, setting=SHORT)
    assert verdicts(results) == dict.fromkeys("1256", Verdict.SUPPORTED)
    assert exit_code(results) == 0
    assert all(result.commands == () for result in results)


def test_numbers_are_paired_differences_of_last_three_epochs(store):
    fill(store, noise=0)
    run = store.add(Cell(*SIMPNET, BP_H), 0, SHORT)
    store.epochs_of(run).loc[:, "validation_error"] = np.linspace(0.9, 0.0, 10)
    bp = store.epochs_of(store.add(Cell(*SIMPNET, BP), 0, SHORT))
    bp.loc[:, "validation_error"] = 0.25
    (result,) = evaluate(store, ["1"], SHORT)
    assert result.components[0].numbers[0] == pytest.approx(0.1 - 0.25)
    assert [result.components[0].numbers[seed] for seed in range(1, 5)] == pytest.approx([0.02] * 4)


def test_the_reverse_order_of_protocols_contradicts(store):
    fill(store, ends=ENDS | {"BP-H": 0.28, "FRFB": 0.30})
    results = evaluate(store, ["1", "2"], SHORT)
    assert verdicts(results) == dict.fromkeys("12", Verdict.CONTRADICTED)
    assert exit_code(results) == 1


def test_noise_is_undecided_and_suggests_a_number_of_seeds(store):
    fill(store, noise=0.03, seeds=6)
    (result,) = evaluate(store, ["2"], SHORT)
    assert result.verdict is Verdict.UNDECIDED
    assert exit_code([result]) == 3
    part = result.components[0]
    assert part.lacking == ()
    assert part.tested.seeds_needed > 6
    assert f"about {part.tested.seeds_needed} seeds would decide" in " ".join(as_text([result]).split())


def test_each_component_uses_the_documented_runs_and_range(store):
    """Give each run its own error and halve its first 500 validation errors, so that no other runs match."""
    random = np.random.default_rng(0)
    errors = {}
    for network, dataset, untied in (SIMPNET_10, SIMPNET_100, DEEPNET, DEEPERNET, DEEPNET_S, *UNTIED):
        for protocol in (BP, BP_H, URFB, FRFB):
            error = random.uniform(0.2, 0.8)
            errors[(network, dataset, untied), protocol.name] = error
            run = store.add(Cell(network, dataset, protocol, untied), 0, PAPER, error / 2)
            store.rows[run]["test_error"] = error
            epochs = store.epochs_of(run)
            epochs.loc[epochs["epoch"] > 500, "validation_error"] = error

    def less(one, other, place):
        return errors[place, one] - errors[place, other]

    def decreases(place):
        one, other = (0.9 - errors[place, name] / 2 for name in ("URFB", "BP-H"))
        return one / other

    def untying(tied, untied, names):
        return np.mean([errors[untied, name] - errors[tied, name] for name in names])

    close, slightly, worse, much_worse = (-0.04, 0.04), (0, 0.04), (0, np.inf), (0.04, np.inf)
    every = (SIMPNET_10, SIMPNET_100, DEEPNET, DEEPERNET)
    pairs = tuple(zip((SIMPNET_10, DEEPNET_S), UNTIED, strict=True))
    depth = less("FRFB", "BP-H", SIMPNET_100)
    expected = {
        "1": [(less("BP-H", "BP", place), slightly) for place in every],
        "2": [
            part
            for place in (SIMPNET_10, SIMPNET_100)
            for part in (
                (less("FRFB", "URFB", place), worse),
                (less("FRFB", "URFB", place) * 0.75, worse),
                (less("URFB", "BP-H", place), slightly),
            )
        ],
        "3": [
            part
            for place in (DEEPNET, DEEPERNET)
            for part in ((less("URFB", "BP-H", place), close), (less("FRFB", "BP-H", place), much_worse))
        ],
        "4": [
            part
            for tied, untied in pairs
            for part in (
                (untying(tied, untied, ("BP", "BP-H", "URFB", "FRFB")), slightly),
                (less("URFB", "BP-H", untied), close),
                (less("FRFB", "URFB", untied), worse),
            )
        ],
        "5": [(1000 / 1020, (-np.inf, 0.9999)), (1, worse), (1100 / 1120, (-np.inf, 0.9999)), (1, worse)],
        "6": [
            part
            for place in (SIMPNET_10, DEEPNET_S)
            for part in (*[(decreases(place), (0.8, 1.25))] * 2, (3 / 23, (-np.inf, 0.5)))
        ],
        "comparable": [part for place in every for part in ((less("URFB", "BP-H", place), close), (0, (-0.1, 0.1)))],
        "depth": [(less("FRFB", "BP-H", place) - depth, much_worse) for place in (DEEPNET, DEEPERNET)],
        "untied": [(untying(tied, untied, ["URFB"]), close) for tied, untied in pairs],
        "local-loss": [(less("BP-H", "BP", place), close) for place in every],
    }
    results = evaluate(store, list(expected), PAPER)
    for result in results:
        numbers, ranges = zip(*expected[result.name], strict=True)
        assert [part.numbers[0] for part in result.components] == pytest.approx(numbers), result.name
        assert [(part.claimed.low, part.claimed.high) for part in result.components] == list(ranges), result.name
    assert {part.word for result in results for part in result.components if part.every} == {"never the same"}


def test_one_of_several_components_contradicts_at_its_share_of_alpha(store):
    for seed, error in enumerate([-0.0180, -0.0030, -0.0100, -0.0280, -0.0060]):
        for protocol, shift in ((BP, 0), (BP_H, 0.02), (URFB, 0.04), (FRFB, 0.04 + error)):
            store.add(Cell(*SIMPNET, protocol), seed, SHORT, 0.3 + shift)
    (result,) = evaluate(store, ["2"], SHORT)
    first = result.components[0]
    assert first.tested.high < 0 < first.tested.strict_high
    assert first.tested.strict_level == pytest.approx(1 - 2 * 0.05 / 3)
    assert result.verdict is Verdict.UNDECIDED


def test_one_component_of_two_is_not_enough(store):
    fill(store, ends=ENDS | {"URFB": ENDS["BP-H"] + 0.04})  # FRFB is no worse than URFB
    (result,) = evaluate(store, ["2"], SHORT)
    assert [part.verdict for part in result.components].count(Verdict.UNDECIDED) >= 1
    assert result.verdict is Verdict.UNDECIDED


@pytest.mark.parametrize("seeds", [1, 3, 4])
def test_too_few_seeds_support_nothing(store, seeds):
    fill(store, seeds=seeds, noise=1e-6)
    results = evaluate(store, setting=SHORT)
    assert set(verdicts(results).values()) == {Verdict.UNDECIDED}
    lacking = results[0].components[0].lacking
    assert {(lack.what, lack.seed) for lack in lacking} == {
        (name, seed) for name in ("BP", "BP-H") for seed in range(seeds, LEAST_SEEDS)
    }


def test_too_few_epochs_support_nothing(store):
    for seed in range(5):
        for protocol in (BP, BP_H):
            store.add(Cell(*SIMPNET, protocol), seed, SHORT, ENDS[protocol.name], epochs=9, state="unfinished")
    (result,) = evaluate(store, ["1"], SHORT)
    assert result.verdict is Verdict.UNDECIDED
    assert result.components[0].numbers == {}
    assert {lack.reason for lack in result.components[0].lacking} == {"unfinished, 9 of 10 epochs"}


def test_a_missing_seed_is_reported_with_its_command(store):
    fill(store)
    del store.rows[Cell(*SIMPNET, URFB).spec().model_copy(update={"seed": 3}).identity]
    (result,) = evaluate(store, ["2"], SHORT, "my store.sqlite")
    assert result.verdict is Verdict.UNDECIDED
    assert {(lack.what, lack.seed, lack.reason) for part in result.components for lack in part.lacking} == {
        ("URFB", 3, "never trained")
    }
    assert result.commands == (
        "urfb grid run experiments.yaml short --where rule=urfb --where loss=hinge --where seed=3 "
        "--store 'my store.sqlite'",
    )


def test_another_seed_replaces_a_missing_one(store):
    fill(store, seeds=6)
    del store.rows[Cell(*SIMPNET, URFB).spec().model_copy(update={"seed": 3}).identity]
    (result,) = evaluate(store, ["2"], SHORT)
    assert result.verdict is Verdict.SUPPORTED
    assert list(result.components[0].numbers) == [0, 1, 2, 4, 5]
    assert result.components[0].lacking == ()


@pytest.mark.parametrize(
    "other",
    [
        {"precision": "bfloat16"},
        {"activation_slope": 0.5},
        {"step_size": 0.01},
        {"batch_size": 50},
        {"input_offset": 0.5},
        {"gradient_batch": 100},
        {"connectivity": 0.5},
    ],
)
def test_runs_with_other_settings_do_not_count(store, other):
    fill(store, seeds=4)
    for protocol in (BP, BP_H, URFB, FRFB):
        store.add(Cell(*SIMPNET, protocol), 4, SHORT, ENDS[protocol.name], **other)
    results = evaluate(store, setting=SHORT)
    assert set(verdicts(results).values()) == {Verdict.UNDECIDED}
    assert list(results[0].components[0].numbers) == [0, 1, 2, 3]


def test_short_runs_do_not_count_at_the_papers_length(store):
    fill(store, SHORT)
    assert set(verdicts(evaluate(store, setting=PAPER)).values()) == {Verdict.UNDECIDED}
    (result,) = evaluate(store, ["1"], PAPER)
    on_cifar10 = result.components[0]
    assert on_cifar10.numbers == {}
    assert {lack.reason for lack in on_cifar10.lacking} == {"10 of 1,000 epochs"}


def test_short_setting_reads_ten_epochs_and_no_test_error(store):
    fill(store, PAPER)
    for frame in store.epoch_rows:
        frame.loc[frame["epoch"] > 10, "validation_error"] = np.nan
    for row in store.rows.values():
        row["test_error"] = np.nan
    for frame in store.alignment_rows:
        frame.loc[frame["epoch"] > 10, "correlation"] = 1.0
    assert set(verdicts(evaluate(store, setting=SHORT)).values()) == {Verdict.SUPPORTED}


def test_medium_setting_reads_200_epochs_of_seeds_1_to_5_only(store):
    fill(store, PAPER, seeds=8)
    for frame in store.epoch_rows:
        frame["validation_error"] = np.where(frame["epoch"] > 200, np.nan, frame["validation_error"])
    for row in store.rows.values():
        row["test_error"] = np.nan
    for frame in store.alignment_rows:
        frame.loc[frame["epoch"] > 200, "correlation"] = 1.0
    bp_h = store.epochs_of(Cell(*SIMPNET, BP_H).spec().model_copy(update={"seed": 2}).identity)
    bp_h.loc[bp_h["epoch"].between(191, 200), "validation_error"] = np.linspace(0.5, 0.6, 10)
    bp_h.loc[bp_h["epoch"] == 190, "validation_error"] = 0.9
    bp = store.epochs_of(Cell(*SIMPNET, BP).spec().model_copy(update={"seed": 2}).identity)
    results = {result.name: result for result in evaluate(store, setting=MEDIUM)}
    assert results["5"].verdict is Verdict.SUPPORTED
    on_cifar10 = results["1"].components[0]
    assert list(on_cifar10.numbers) == [1, 2, 3, 4, 5]
    assert on_cifar10.numbers[2] == pytest.approx(0.55 - bp["validation_error"].iloc[199])


def test_the_medium_setting_asks_for_its_own_seeds_and_epochs(store):
    fill(store, SHORT, seeds=11)
    (result,) = evaluate(store, ["5"], MEDIUM, "s.sqlite")
    assert {(lack.seed, lack.reason) for part in result.components for lack in part.lacking} == {
        (seed, "10 of 200 epochs") for seed in range(1, 6)
    }
    assert result.commands == (
        "urfb grid run experiments.yaml medium --where network=simpnet --where dataset=cifar10 --where untied=none "
        "--where rule=urfb --where loss=hinge --where seed=1,2,3,4,5 --store s.sqlite",
    )


def test_three_medium_seeds_have_an_interval_but_no_verdict(store):
    fill(store, MEDIUM, seeds=3, first_seed=1, noise=1e-6)
    (result,) = evaluate(store, ["5"], MEDIUM)
    assert result.verdict is Verdict.UNDECIDED
    text = " ".join(as_text([result]).split())
    assert "90 % interval" in text
    assert "has 3 of 5 seeds" in text


def test_undecided_medium_setting_does_not_suggest_more_seeds(store):
    fill(store, MEDIUM, seeds=5, first_seed=1, noise=0.03)
    text = " ".join(as_text(evaluate(store, ["1"], MEDIUM)).split())
    assert "but the setting medium tests only the seeds 1 to 5" in text
    assert "add seeds" not in text


def test_a_failed_run_prevents_supported(store):
    fill(store)
    run = store.add(Cell(*SIMPNET, FRFB), 5, SHORT, epochs=3, state="failed")
    (result,) = evaluate(store, ["2"], SHORT)
    assert result.components[0].tested.verdict is Verdict.SUPPORTED
    assert result.components[0].verdict is Verdict.UNDECIDED
    assert result.verdict is Verdict.UNDECIDED
    assert result.components[0].lacking[0].reason == f"failed, 3 of 10 epochs; see `urfb grid logs {run}`"
    assert evaluate(store, ["1"], SHORT)[0].verdict is Verdict.SUPPORTED  # claim 1 needs no FRFB


def test_a_run_that_fails_after_the_tenth_epoch_counts(store):
    fill(store)
    store.add(Cell(*SIMPNET, FRFB), 4, SHORT, 0.36, epochs=12, state="failed")
    assert not evaluate(store, ["2"], SHORT)[0].components[0].lacking


def test_an_error_that_is_not_a_number_prevents_supported(store):
    fill(store, seeds=6)
    run = store.add(Cell(*SIMPNET, URFB), 5, SHORT)
    store.epochs_of(run).loc[8, "validation_error"] = np.nan
    (result,) = evaluate(store, ["2"], SHORT)
    assert result.verdict is Verdict.UNDECIDED
    assert 5 not in result.components[0].numbers
    assert [(lack.what, lack.seed) for lack in result.components[0].lacking] == [("URFB", 5)]


def test_a_cancelled_run_needs_grid_retry(store):
    fill(store)
    store.add(Cell(*SIMPNET, BP), 2, SHORT, epochs=4, state="cancelled")
    (result,) = evaluate(store, ["1"], SHORT)
    assert result.commands[0].startswith("urfb grid retry experiments.yaml short")


def test_equal_numbers_in_all_seeds_do_not_divide_by_zero(store):
    fill(store, noise=0, ends=dict.fromkeys(ENDS, 0.3))
    results = evaluate(store, setting=SHORT)
    assert verdicts(results)["1"] is Verdict.UNDECIDED  # neither worse nor better
    assert verdicts(results)["6"] is Verdict.SUPPORTED
    assert json.loads(as_json(results))[0]["components"][0]["tested"]["p_t"] is None


def test_at_the_papers_length_test_errors_are_compared(store):
    fill(store, PAPER)
    (result,) = evaluate(store, ["6"], PAPER)
    assert [part.verdict for part in result.components] == [Verdict.SUPPORTED] * 3 + [Verdict.UNDECIDED] * 3
    (result,) = evaluate(store, ["2"], PAPER)
    first = result.components[0]
    assert first.what == "test error, FRFB − URFB"
    assert first.verdict is Verdict.SUPPORTED
    for row in store.rows.values():
        row["test_error"] = 0.5
    assert evaluate(store, ["2"], PAPER)[0].components[0].tested.mean == 0


def test_test_errors_after_different_epochs_are_not_compared(store):
    fill(store, PAPER)
    store.add(Cell(*SIMPNET, URFB), 2, PAPER, 0.33, epochs=1500)
    (result,) = evaluate(store, ["2"], PAPER, "s.sqlite")
    first = result.components[0]
    assert 2 not in first.numbers
    assert [(lack.what, lack.reason) for lack in first.lacking] == [
        ("FRFB", "500 epochs shorter than the run that it is compared with")
    ]
    assert any(command.endswith("--where seed=2 --epochs 1500 --store s.sqlite") for command in result.commands)


def test_a_run_with_a_larger_target_has_no_test_error_yet(store):
    fill(store, PAPER)
    run = store.add(Cell(*SIMPNET, URFB), 2, PAPER, 0.33, epochs=1200, state="running")
    store.rows[run]["epochs_target"] = 2000
    lacking = evaluate(store, ["2"], PAPER)[0].components[0].lacking
    assert [(lack.reason, lack.epochs) for lack in lacking] == [("running, 1,200 of 2,000 epochs", 2000)]


def test_depth_is_an_interaction_of_rule_and_network(store):
    ends = {("simpnet", "BP-H"): 0.60, ("simpnet", "FRFB"): 0.65}
    ends |= {("deepnet", "BP-H"): 0.50, ("deepnet", "FRFB"): 0.80}
    ends |= {("deepernet", "BP-H"): 0.42, ("deepernet", "FRFB"): 0.90}
    for seed in range(5):
        for (network, name), error in ends.items():
            cell = Cell(network, "cifar100", FRFB if name == "FRFB" else BP_H)
            store.add(cell, seed, PAPER, error + 0.001 * seed * (network == "deepnet"))
    (result,) = evaluate(store, ["depth"], PAPER)
    assert result.verdict is Verdict.SUPPORTED
    assert [part.tested.mean for part in result.components] == pytest.approx([0.25, 0.43])
    worse_by_as_much = Cell("deepnet", "cifar100", FRFB)
    for seed in range(5):
        store.add(worse_by_as_much, seed, PAPER, 0.55 + 0.001 * seed)
    assert evaluate(store, ["depth"], PAPER)[0].verdict is Verdict.CONTRADICTED


def test_untied_networks_of_two_stages_are_compared_with_tied_ones(store):
    for seed in range(5):
        for protocol in (BP, BP_H, URFB, FRFB):
            for network in ("simpnet", "deepnet_s"):
                for untied in (False, True):
                    shift = 0.01 * untied + 0.001 * seed
                    store.add(Cell(network, "cifar10", protocol, untied), seed, PAPER, ENDS[protocol.name] + shift)
    results = evaluate(store, ["4", "untied"], PAPER)
    assert set(verdicts(results).values()) == {Verdict.SUPPORTED}
    assert results[0].components[0].tested.mean == pytest.approx(0.01)
    run = Cell("deepnet_s", "cifar10", URFB, untied=True).spec().identity
    assert store.rows[run]["epochs_done"] == 1100


@pytest.mark.parametrize(
    ("correlation", "parts"),
    [
        (lambda epoch: epoch / (epoch + 20), [Verdict.SUPPORTED, Verdict.SUPPORTED]),
        (lambda epoch: 1 - 0.5**epoch * 1e-4, [Verdict.CONTRADICTED, Verdict.SUPPORTED]),
        (lambda epoch: 0.5 - epoch / 40, [Verdict.SUPPORTED, Verdict.CONTRADICTED]),
        (lambda epoch: 0.5, [Verdict.SUPPORTED, Verdict.UNDECIDED]),  # a constant has no rank correlation
    ],
)
def test_claim_5_tests_how_the_correlation_changes(store, correlation, parts):
    for seed in range(5):
        store.add(Cell(*SIMPNET, URFB), seed, SHORT, correlation=correlation)
    (result,) = evaluate(store, ["5"], SHORT)
    assert [part.verdict for part in result.components] == parts


def test_weights_that_become_the_same_in_one_seed_contradict_claim_5(store):
    for seed in range(5):
        store.add(Cell(*SIMPNET, URFB), seed, SHORT, correlation=lambda epoch: epoch / 20)
    store.add(Cell(*SIMPNET, URFB), 5, SHORT, correlation=lambda epoch: min(epoch / 9, 0.99995))
    first = evaluate(store, ["5"], SHORT)[0].components[0]
    assert first.tested.high < first.claimed.high
    assert first.verdict is Verdict.CONTRADICTED


def test_claim_5_reads_only_the_second_stage(store):
    for seed in range(5):
        store.add(Cell(*SIMPNET, URFB), seed, PAPER)
        in_stages = Cell("deepnet_s", "cifar10", URFB, untied=True)
        store.add(in_stages, seed, PAPER, correlation=lambda epoch: 1.0 if epoch <= 100 else epoch / 2000)
    (result,) = evaluate(store, ["5"], PAPER)
    assert result.verdict is Verdict.SUPPORTED
    assert result.components[2].tested.mean == pytest.approx(1100 / 2000)


def test_claim_6_tests_the_layers_between_the_first_and_the_output(store):
    def set_layer(layer, value):
        for frame in store.alignment_rows:
            frame.loc[frame["layer"] == layer, "correlation"] = value

    fill(store)
    set_layer(1, 0.99)
    set_layer(3, 0.9)
    (result,) = evaluate(store, ["6"], SHORT)
    assert result.verdict is Verdict.SUPPORTED
    assert "output layer (not tested): 0.90" in as_text([result])
    set_layer(2, 0.6)
    assert evaluate(store, ["6"], SHORT)[0].components[2].verdict is Verdict.CONTRADICTED


def test_claim_6_compares_decreases_from_chance_in_three_epochs(store):
    fill(store, noise=0, ends=ENDS)
    for frame in store.epoch_rows:
        frame.loc[frame["epoch"] > 3, ["training_error", "validation_error"]] = 0.01
        frame["training_error"] = frame["training_error"].astype(float)
    run = Cell(*SIMPNET, URFB).spec().identity
    frame = store.epochs_of(run)
    frame.loc[:, "training_error"] = [0.9, 0.6, 0.3] + [0.0] * 7
    bp = store.epochs_of(Cell(*SIMPNET, BP_H).spec().identity)
    bp.loc[:, "training_error"] = 0.5
    (result,) = evaluate(store, ["6"], SHORT)
    assert result.components[0].numbers[0] == pytest.approx((0.9 - 0.6) / (0.9 - 0.5))
    bp.loc[:, "training_error"] = 0.9  # BP-H learns nothing, so there is no ratio
    assert 0 not in evaluate(store, ["6"], SHORT)[0].components[0].numbers


def test_larger_epsilon_is_faster_in_the_simulation(store):
    for draw in range(5):
        for rate, epsilon in ((3, 0), (4, 0.25), (5, 0.5), (7, 1)):
            store.simulate(epsilon, draw, rate + draw / 10)
    results = evaluate(store, ["linear", "epsilon"])
    assert set(verdicts(results).values()) == {Verdict.SUPPORTED}
    # log₁₀ e falls evenly from 0 to −rate, so its mean is −rate / 2
    assert results[0].components[0].numbers == pytest.approx(dict.fromkeys(range(5), 2.0))


@pytest.mark.parametrize("useless", [{"rate": 7, "diverged_at": 90}, {"rate": 1e6}], ids=["diverged", "error of 0"])
def test_the_simulation_needs_enough_draws_with_finite_errors(store, useless):
    for draw in range(3):
        for rate, epsilon in ((3, 0), (7, 1)):
            store.simulate(epsilon, draw, rate)
    (result,) = evaluate(store, ["linear"], location="s.sqlite")
    assert result.verdict is Verdict.UNDECIDED
    assert result.commands == ("urfb theory run --draws 5 --store s.sqlite",)
    for draw in (3, 4):
        store.simulate(0, draw, 3)
        store.simulate(1, draw, 7)
    assert evaluate(store, ["linear"])[0].verdict is Verdict.SUPPORTED
    store.simulate(0, 5, 3)
    store.simulate(1, 5, **useless)
    assert evaluate(store, ["linear"])[0].verdict is Verdict.UNDECIDED


@pytest.mark.parametrize("setting", [PAPER, MEDIUM, SHORT])
def test_the_commands_train_what_an_empty_store_lacks(store, setting):
    """Check that the commands select exactly the missing runs of their experiment, with the right epochs."""
    grid = load_grid(ROOT / "experiments.yaml", [setting.experiment]).runs
    for result in evaluate(store, setting=setting):
        assert result.verdict is Verdict.UNDECIDED
        selected = {}
        for command in result.commands:
            words = shlex.split(command)
            if words[1] == "grid":
                assert words[:5] == ["urfb", "grid", "run", "experiments.yaml", setting.experiment]
                where = [value for option, value in itertools.pairwise(words) if option == "--where"]
                selected |= {run.spec.identity: run.spec.epochs for run in select(grid, where)}
        missing = {lack.run for part in result.components for lack in part.lacking if lack.settings}
        assert selected.keys() == missing


@pytest.mark.parametrize("setting", [PAPER, MEDIUM, SHORT])
def test_experiments_train_the_runs_and_epochs_that_claims_need(setting):
    grid = {run.spec.identity: run.spec for run in load_grid(ROOT / "experiments.yaml", [setting.experiment]).runs}
    for cell in cells(setting):
        for seed in setting.least_seeds:
            spec = cell.spec().model_copy(update={"seed": seed})
            assert grid[spec.identity].epochs == setting.epochs(spec)


def test_text_fits_80_columns_and_is_complete(store):
    fill(store, seeds=3)
    text = as_text(evaluate(store, setting=SHORT, location="/a folder/of stores/urfb.sqlite"))
    assert max(map(len, text.splitlines())) <= 80
    for word in ("claimed", "interval", "has 3 of 5 seeds", "short", "NOT ENOUGH RUNS", "urfb grid run"):
        assert word in text


def test_a_number_that_rounds_to_0_has_no_sign(store):
    for seed in range(5):
        store.add(Cell(*SIMPNET, BP_H), seed, SHORT, 0.3 - 1e-6 * seed)
        store.add(Cell(*SIMPNET, BP), seed, SHORT, 0.3)
    text = as_text(evaluate(store, ["1"], SHORT))
    assert "mean 0.00 points" in text
    assert "−0.00 " not in text


def test_a_wrapped_command_still_works_in_a_shell(store):
    results = evaluate(store, ["3"], location="/a --b/it's.sqlite")
    text = as_text(results)
    printed = re.findall(r"^ +(urfb grid run(?:.*\\\n)*.*)$", text, re.MULTILINE)
    joined = [shlex.split(command.replace("\\\n", "")) for command in printed]
    assert joined == [shlex.split(command) for command in results[0].commands]


def test_json_is_complete_and_has_no_nan(store):
    fill(store, seeds=4)
    first, sixth = json.loads(as_json(evaluate(store, ["1", "6"], SHORT)), parse_constant=pytest.fail)
    assert [first["claim"], sixth["claim"]] == ["1", "6"]
    assert first["verdict"] == "not enough runs"
    assert first["setting"]["name"] == "short"
    part = first["components"][0]
    assert part["claimed"] == {"low": 0, "high": 0.04}
    assert part["tested"]["n"] == 4
    assert set(part["numbers"]) == {"0", "1", "2", "3"}
    assert part["lacking"][0]["seed"] == 4
    assert sixth["components"][2]["claimed"]["low"] is None
    assert "output layer (not tested): 0.13" in sixth["components"][2].values()


def test_unknown_claims_and_settings_that_lack_a_claim_are_errors(store):
    with pytest.raises(SelectionError, match="did you mean 'depth'"):
        evaluate(store, ["dept"])
    with pytest.raises(SelectionError, match="setting short does not test claim 3; use --setting paper or medium"):
        evaluate(store, ["3"], SHORT)
    with pytest.raises(SelectionError, match="setting medium does not test claim 6; use --setting paper or short"):
        evaluate(store, ["6"], MEDIUM)


def test_the_documentation_lists_all_claims_and_their_settings():
    document = (ROOT / "docs" / "claims.md").read_text()
    rows = re.findall(r"^\| `([\w-]+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", document, re.MULTILINE)
    assert {name: sentence for name, sentence, *_ in rows} == {name: claim.sentence for name, claim in CLAIMS.items()}
    tested = {name: [form.strip() != "–" for form in forms] for name, _, *forms in rows}
    assert tested == {
        name: [bool(claim.components(setting)) for setting in (PAPER, MEDIUM, SHORT)] for name, claim in CLAIMS.items()
    }
