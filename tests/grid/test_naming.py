from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from tests.helpers import tiny_spec
from urfb.grid.naming import differing, distinguishing, in_words, named, settings_of, shared
from urfb.grid.settings import SETTINGS


def names(*settings: dict[str, Any]) -> list[str]:
    return list(named([tiny_spec(**each) for each in settings]).values())


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([{"rule": "bp"}, {"rule": "urfb"}], ["bp", "urfb"]),
        ([{"step_size": 0.1}, {"step_size": 0.25}], ["step_size 0.1", "step_size 0.25"]),
        ([{"seed": 0}, {"seed": 1, "loss": "softmax"}], ["hinge seed 0", "softmax seed 1"]),
        ([{"gradient_batch": 20}, {}], ["gradient_batch 20", "gradient_batch none"]),
        ([{}], ["Conv 4 3x3; Maxpool 3; Drop .3; Full 20; Output digits urfb"]),
    ],
    ids=["rule", "step size", "loss and seed", "optional", "alone"],
)
def test_runs_are_named_by_their_differences(settings: list[dict[str, Any]], expected: list[str]) -> None:
    assert names(*settings) == expected


def test_a_setting_that_follows_from_another_is_left_out() -> None:
    two_data_sets = [{"network": "Full 5; Output", "dataset": name, "loss": "hinge"} for name in ("digits", "cifar100")]
    assert names(*two_data_sets) == ["digits", "cifar100"]  # the data sets determine the batch size and μ
    weights = [{**two_data_sets[0]}, {**two_data_sets[1]}, {**two_data_sets[1], "off_class_weight": 0.5}]
    assert names(*weights) == [
        "digits",
        "cifar100 off_class_weight 0.010101",
        "cifar100 off_class_weight 0.5",
    ]
    assert names({"connectivity": 0.5}, {}) == ["connectivity 0.5", "connectivity 1"]
    assert names({"connectivity": 0.5}, {"connectivity": 0.5, "feedback_connectivity": 0.25}) == [
        "feedback_connectivity 0.5",
        "feedback_connectivity 0.25",
    ]
    interpolated = [{"rule": "interpolated", "epsilon": epsilon} for epsilon in (0.25, 0.5)]
    assert names(*interpolated, {"rule": "urfb"}) == ["interpolated ε 0.25", "interpolated ε 0.5", "urfb"]
    assert names(interpolated[0], {"rule": "urfb"}) == ["interpolated ε 0.25", "urfb"]
    assert names({"convention": "author-code"}, {}) == ["convention author-code", "convention paper"]
    assert names({"activation_slope": 0.5}, {}) == ["convention custom", "convention paper"]
    assert names({"activation_slope": 0.5}, {"activation_slope": 0.25}) == [
        "activation_slope 0.5",
        "activation_slope 0.25",
    ]


def test_different_runs_have_different_names() -> None:
    one_value = {
        "network": "Full 7; Output", "rule": "bp", "loss": "softmax", "connectivity": 0.5, "untied": "all",
        "feedback_connectivity": 0.25, "dense_output": False, "pretraining_epochs": 1, "activation_slope": 0.25,
        "pool_padding": "end", "off_class_weight": 0.125, "off_class_margin": 0.5, "true_class_margin": 2.0,
        "input_offset": 0.5, "step_size": 0.123456789, "batch_size": 7, "precision": "float64", "seed": 3,
        "gradient_batch": 5,
    }  # fmt: skip
    specs = [tiny_spec()] + [
        tiny_spec(**dict(settings))
        for number in (1, 2)
        for settings in combinations(one_value.items(), number)
        if not {"loss", "off_class_weight"} <= dict(settings).keys()
        and not {"loss", "off_class_margin"} <= dict(settings).keys()
        and not {"loss", "true_class_margin"} <= dict(settings).keys()
        and not {"rule", "feedback_connectivity"} <= dict(settings).keys()
        and not {"network", "untied"} <= dict(settings).keys()
        and not {"network", "pretraining_epochs"} <= dict(settings).keys()
    ]
    distinct = {spec.identity: spec for spec in specs}
    run_names = named(list(distinct.values()))
    assert len(set(run_names.values())) == len(distinct)
    for pair in combinations(list(distinct.values())[:25], 2):
        assert len(set(named(pair).values())) == 2


def test_shared_settings_leave_out_usual_values() -> None:
    runs = [settings_of(tiny_spec(rule=rule, step_size=0.3)) for rule in ("bp", "urfb")]
    assert shared(runs) == ["network", "dataset", "step_size"]
    assert in_words(runs[0], ["dataset", "step_size"]) == "digits step_size 0.3"
    assert differing(runs) == ["rule"]
    assert differing([]) == shared([]) == []


def test_runs_are_distinguished_within_their_experiments() -> None:
    runs = [
        ({"a"}, settings_of(tiny_spec(step_size=0.1))),
        ({"a", "b"}, settings_of(tiny_spec(step_size=0.2))),
        ({"b"}, settings_of(tiny_spec(step_size=0.2, seed=1))),
    ]
    assert distinguishing({"a"}, runs) == ["step_size"]
    assert distinguishing({"b"}, runs) == ["seed"]
    assert distinguishing({"a", "b"}, runs) == ["step_size", "seed"]
    assert distinguishing({"a"}, runs[:1]) == ["network", "dataset", "rule"]


def test_settings_follow_only_from_settings() -> None:
    assert {cause for setting in SETTINGS.values() for cause in setting.use.follows} <= SETTINGS.keys()
