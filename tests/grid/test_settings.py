"""How settings are resolved: rules with parameters, untied layers, stages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers import tiny_spec
from urfb.grid.expand import load_grid, resolve
from urfb.grid.spec import RunSpec
from urfb.nn.rules import RULES

ROOT = Path(__file__).parents[2]


def spec_of(**settings: Any) -> RunSpec:
    return resolve({"network": "deepnet_s", "dataset": "cifar10", "rule": "urfb", **settings}, {})


def from_yaml(folder: Path, settings: str, matrix: str = "") -> list[RunSpec]:
    """Return the runs of a grid with these settings and axes."""
    path = folder / "grid.yaml"
    defaults = f"{{network: deepnet_s, dataset: cifar10, rule: bp, {settings}}}"
    path.write_text(f"experiments: {{a: {{defaults: {defaults}, matrix: {{{matrix}}}}}}}")
    return [run.spec for run in load_grid(path).runs]


@pytest.mark.parametrize("rule", sorted(RULES))
def test_every_rule_has_its_own_run(rule: str) -> None:
    parameters = dict.fromkeys(RULES[rule].required, 0.5)
    spec = tiny_spec(rule=rule, **parameters)
    assert spec.rule_of(1).description == RULES[rule].description
    assert all(getattr(spec.rule_of(1), name) == 0.5 for name in parameters)
    identities = {tiny_spec(rule=name, **dict.fromkeys(RULES[name].required, 0.5)).identity for name in RULES}
    assert spec.identity in identities
    assert len(identities) == len(RULES)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rule": "interpolated"}, "rule interpolated needs epsilon"),
        ({"rule": "kolen-pollack"}, "rule kolen-pollack needs decay"),
        ({"rule": "urfb", "epsilon": 0.5}, "epsilon is only for interpolated, but the rule is urfb"),
        ({"rule": "bp", "decay": 0.1}, "decay is only for interpolated and kolen-pollack, but the rule is bp"),
        ({"rule": "usf", "connectivity": 0.5, "feedback_connectivity": 0.2}, "under rule usf feedback has the conn"),
        ({"untied": "7"}, "untied 7: the network has 6 conv layers"),
        ({"untied_start": "tied-copy"}, "untied_start is given, but no layer is untied"),
        ({"frozen": "1"}, "only a run with a first stage takes frozen: set pretraining_epochs"),
        (
            {"frozen": "none", "pretraining_rule": "bp"},
            "only a run with a first stage takes pretraining_rule and frozen",
        ),
        ({"loss": "softmax", "true_class_margin": 0.5}, "only the hinge loss takes true_class_margin"),
        ({"batch_size": 45_001}, "batch_size 45001 is more than the 45000 training images"),
        ({"pretraining_epochs": 5, "frozen": "9"}, "frozen 9: the network has 6 conv layers"),
        (
            {"pretraining_epochs": 5, "pretraining_rule": "kolen-pollack"},
            "needs decay, which a first stage cannot have",
        ),
        ({"gradient_batch": 45_001}, "gradient_batch 45001 is more than the 45000 training images"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        spec_of(**settings)


def test_settings_may_equal_their_bounds(tmp_path: Path) -> None:
    spec = spec_of(batch_size=45_000, gradient_batch=45_000, off_class_weight=0.0)
    assert (spec.batch_size, spec.gradient_batch, spec.off_class_weight) == (45_000, 45_000, 0.0)
    one_stage, explicit = (from_yaml(tmp_path, settings) for settings in ("", "pretraining_epochs: 0"))
    assert explicit == one_stage
    assert spec_of(rule="interpolated", epsilon=0.5, decay=0.01).rule_of(1).decay == 0.01
    assert spec_of(rule="kolen-pollack", decay=0.0).rule_of(1).decay == 0.0


def test_the_default_target_is_the_papers() -> None:
    assert spec_of().epochs == 1000


@pytest.mark.parametrize(
    ("written", "resolved"),
    [
        ("untied: all", "all"),
        ("untied: none", "none"),
        ("untied: 3", "3"),
        ("untied: [3, 2]", "2 3"),
        ("untied: '2 3 3'", "2 3"),
        ("untied: [1, 2, 3, 4, 5, 6]", "all"),
    ],
)
def test_untied_layers_have_one_canonical_form(tmp_path: Path, written: str, resolved: str) -> None:
    (spec,) = from_yaml(tmp_path, written)
    assert spec.untied == resolved
    assert spec.untied_start == (None if resolved == "none" else "independent")


def test_each_item_of_a_list_in_a_matrix_is_a_value(tmp_path: Path) -> None:
    runs = from_yaml(tmp_path, "", "untied: [none, 2, [2, 3], all], seed: [0]")
    assert [spec.untied for spec in runs] == ["none", "2", "2 3", "all"]


def test_conventions_set_start_and_batch_size_of_untied_layers() -> None:
    paper, author = spec_of(untied="all"), spec_of(untied="all", convention="author-code")
    assert (paper.untied_start, paper.batch_size) == ("independent", 500)
    assert (author.untied_start, author.batch_size) == ("tied-copy", 50)
    assert spec_of(convention="author-code").batch_size == 500
    assert (paper.convention, author.convention) == ("paper", "author-code")
    assert spec_of(untied="all", untied_start="tied-copy").convention == "custom"


def test_a_network_depends_on_the_convention() -> None:
    paper, author = (spec_of(network="deepernet", convention=name) for name in ("paper", "author-code"))
    assert (paper.network, author.network) == ("deepernet", "deepernet")
    assert (paper.layers.count("2x2"), author.layers.count("2x2")) == (0, 1)
    assert paper.layers == spec_of(network="deepernet").layers


def test_a_frozen_layer_stays_tied_and_the_rest_is_untied() -> None:
    spec = spec_of(untied="all", pretraining_epochs=100)
    assert (spec.pretraining_rule, spec.frozen, spec.untied) == ("urfb", "1", "2 3 4 5 6")
    assert spec.identity == spec_of(untied="2 3 4 5 6", pretraining_epochs=100, frozen="1").identity
    assert spec.identity != spec_of(untied="2 3 4 5 6").identity


def test_stages_count_own_epochs_and_only_second_freezes_layers() -> None:
    two_stages = spec_of(pretraining_epochs=21, frozen="2 3")
    assert [two_stages.epoch_of_stage(epoch) for epoch in (1, 21, 22, 30)] == [1, 21, 1, 9]
    assert two_stages.frozen_layers == {2, 3}
    assert spec_of().epoch_of_stage(21) == 21
    assert spec_of().frozen_layers == set()


def test_the_papers_two_stage_runs_are_in_the_grid() -> None:
    runs = [run.spec for run in load_grid(ROOT / "experiments.yaml", ["figure9-deepnet_s-untied"]).runs]
    assert {spec.untied for spec in runs} == {"2 3 4 5 6"}
    assert {(spec.pretraining_epochs, spec.epochs) for spec in runs} == {(100, 1100)}
    assert {spec.rule_of(100).epsilon for spec in runs} == {1.0}
    assert {spec.rule_of(101).epsilon for spec in runs if spec.rule == "frfb"} == {0.0}
