"""The verdict on a claim over all settings, and its evidence."""

from __future__ import annotations

from dataclasses import replace

from tests.report.claims.conftest import SIMPNET, FakeStore, fill
from urfb.report.claims import MEDIUM, PAPER, SHORT, Verdict, evaluate
from urfb.report.claims.evaluating import ClaimResult
from urfb.report.claims.findings import Finding, findings
from urfb.report.claims.formatting import as_summary, evidence
from urfb.report.claims.measures import Cell, Setting
from urfb.report.protocols import FRFB


def result(setting: Setting, verdict: Verdict, name: str = "1") -> ClaimResult:
    (empty,) = evaluate(FakeStore(), [name], setting)  # type: ignore[arg-type]
    return replace(empty, verdict=verdict)


def test_the_longest_setting_that_decides_gives_the_verdict() -> None:
    undecided, contradicted, supported = Verdict.UNDECIDED, Verdict.CONTRADICTED, Verdict.SUPPORTED
    expected = {
        (undecided, undecided, supported): SHORT,
        (undecided, contradicted, supported): MEDIUM,
        (supported, contradicted, undecided): PAPER,
        (undecided, undecided, undecided): PAPER,
    }
    for verdicts, setting in expected.items():
        results = [result(*pair) for pair in zip((PAPER, MEDIUM, SHORT), verdicts, strict=True)]
        [finding] = findings(reversed(results))
        assert list(finding.results) == results
        assert finding.deciding.setting is setting
        assert finding.verdict is finding.deciding.verdict


def test_a_claim_counts_once() -> None:
    results = [
        result(PAPER, Verdict.UNDECIDED),
        result(PAPER, Verdict.UNDECIDED, "3"),
        result(MEDIUM, Verdict.CONTRADICTED),
        result(SHORT, Verdict.SUPPORTED),
    ]
    text = as_summary(findings(results))
    assert text.splitlines()[:3] == [
        "2 claims of the paper: 0 supported, 1 contradicted, 1 not enough runs",
        "  contradicted: 1 (medium)",
        "  not enough runs: 3",
    ]


def test_evidence_has_the_mean_its_interval_and_the_seeds(store: FakeStore) -> None:
    fill(store, noise=0)
    [claim] = evaluate(store, ["1"], SHORT)  # type: ignore[arg-type]
    assert evidence(claim) == [
        "validation error, mean of epochs 8 to 10, BP-H − BP: 2.0 (2.0 to 2.0) points, claimed 0 to 4 points, 5 seeds"
    ]
    [early] = evaluate(store, ["6"], SHORT)  # type: ignore[arg-type]
    assert [words.partition(" error")[0] for words in evidence(early)[:2]] == [
        "decrease of the training",
        "decrease of the validation",
    ]


def test_evidence_of_several_networks_names_them(store: FakeStore) -> None:
    fill(store, PAPER, noise=0)
    [claim] = evaluate(store, ["1"], PAPER)  # type: ignore[arg-type]
    assert evidence(claim) == [
        "simpnet, CIFAR-10: test error, BP-H − BP: 2.0 (2.0 to 2.0) points, claimed 0 to 4 points, 5 seeds"
    ]


def test_an_undecided_claim_says_how_many_seeds_each_setting_has(store: FakeStore) -> None:
    fill(store, MEDIUM, seeds=3, first_seed=1)
    [finding] = findings(found for setting in (PAPER, MEDIUM, SHORT) for found in evaluate(store, ["5"], setting))  # type: ignore[arg-type]
    assert finding.shortfall == (
        "0 of 5 seeds in the setting paper; 3 of 5 seeds in the setting medium; 3 of 5 seeds in the setting short"
    )
    fill(store, MEDIUM, seeds=6, first_seed=0)
    [decided] = findings(evaluate(store, ["5"], MEDIUM))  # type: ignore[arg-type]
    assert (decided.verdict, decided.shortfall) == (Verdict.SUPPORTED, "")


def test_the_component_with_the_fewest_seeds_counts(store: FakeStore) -> None:
    fill(store, seeds=4)
    for seed in (2, 3):
        del store.rows[Cell(*SIMPNET, FRFB).spec().model_copy(update={"seed": seed}).identity]
    [result] = evaluate(store, ["2"], SHORT)  # type: ignore[arg-type]
    assert [component.tested.n for component in result.components] == [2, 2, 4]
    assert Finding((result,)).shortfall == "2 of 5 seeds in the setting short"


def test_an_undecided_claim_with_enough_seeds_says_so(store: FakeStore) -> None:
    fill(store, seeds=6, noise=0.03)
    [result] = evaluate(store, ["2"], SHORT)  # type: ignore[arg-type]
    assert Finding((result,)).shortfall == "undecided with 6 seeds in the setting short"
    fill(store, seeds=6)
    run = next(iter(store.rows))
    store.rows[run] |= {"state": "failed", "epochs_done": 3}
    [result] = evaluate(store, ["1"], SHORT)  # type: ignore[arg-type]
    assert Finding((result,)).shortfall == "some runs are unusable in the setting short"
