"""Suggestions for unknown names."""

from __future__ import annotations

import pytest

from urfb.data.catalog import CATALOG
from urfb.errors import SYNONYMS, nearest
from urfb.grid.settings import SETTINGS
from urfb.nn.rules import RULES


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("lr", "step_size"),
        ("learning_rate", "step_size"),
        ("learning-rate", "step_size"),
        ("η", "step_size"),
        ("batch", "batch_size"),
        ("batchsize", "batch_size"),
        ("bs", "batch_size"),
        ("model", "network"),
        ("architecture", "network"),
        ("net", "network"),
        ("data", "dataset"),
        ("n_epochs", "epochs"),
        ("max_epochs", "epochs"),
        ("num_epochs", "epochs"),
        ("eps", "epsilon"),
        ("seeds", "seed"),
        ("random_seed", "seed"),
        ("connectivty", "connectivity"),
    ],
)
def test_names_from_other_tools_suggest_the_setting(written: str, meant: str) -> None:
    assert nearest(written, SETTINGS).startswith(f"did you mean '{meant}'? (allowed: network, ")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("FA", "frfb"),
        ("feedback_alignment", "frfb"),
        ("Feedback Alignment", "frfb"),
        ("DFA", "dfa"),
        ("backprop", "bp"),
        ("back-propagation", "bp"),
        ("sign_symmetry", "usf"),
        ("BP", "bp"),
        ("FRFB", "frfb"),
        ("URFB", "urfb"),
        ("urbf", "urfb"),
    ],
)
def test_names_from_other_papers_suggest_the_rule(written: str, meant: str) -> None:
    assert nearest(written, RULES).startswith(f"did you mean '{meant}'?")


@pytest.mark.parametrize(
    ("written", "allowed", "meant"),
    [
        ("cross_entropy", ("softmax", "hinge"), "softmax"),
        ("CE", ("softmax", "hinge"), "softmax"),
        ("CIFAR-10", CATALOG, "cifar10"),
        ("cifar-100", CATALOG, "cifar100"),
        ("fp32", ("float32", "float64", "tf32"), "float32"),
        ("gpu", ("auto", "cpu", "cuda"), "cuda"),
        ("finished", ("unfinished", "done"), "done"),
    ],
)
def test_names_from_other_tools_suggest_the_value(written: str, allowed: tuple[str, ...], meant: str) -> None:
    assert nearest(written, allowed).startswith(f"did you mean '{meant}'?")


def test_only_allowed_names_are_suggested() -> None:
    assert nearest("lr", ["matrix", "defaults"]) == "allowed: matrix, defaults"
    assert nearest("FA", ["bp", "dfa"]).startswith("did you mean 'dfa'?")


def test_a_prefix_suggests_the_whole_name() -> None:
    assert nearest("Kolen", RULES).startswith("did you mean 'kolen-pollack'?")


def test_a_long_list_is_cut() -> None:
    names = [f"{number:016x}" for number in range(1000)]
    assert nearest("zz", names) == f"allowed: {', '.join(names[:5])}, and 995 more"
    assert nearest("zz", []) == "allowed: none"


def test_synonyms_are_in_normalized_form() -> None:
    synonyms = [synonym for others in SYNONYMS.values() for synonym in others]
    assert [synonym for synonym in synonyms if synonym != synonym.lower() or set(synonym) & set("-_ ")] == []
    assert len(synonyms) == len(set(synonyms))
