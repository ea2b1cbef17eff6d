import numpy as np
import pytest

from urfb.errors import SelectionError
from urfb.report.figures import SIMPNET10, SIMPNET100, TIED_START, UNTIED_SIMPNET
from urfb.report.protocols import BP, FRFB, INTERPOLATED, PROTOCOLS, URFB, protocols_in
from urfb.report.selection import Selection, panels


def titles(found):
    return [panel.title for panel in found]


@pytest.mark.parametrize(
    "changed",
    [
        {"network": "deepnet"},
        {"convention": "author-code"},
        {"step_size": 1.0},
        {"batch_size": 50},
        {"input_offset": 0.5},
        {"precision": "float64"},
        {"dense_output": False},
        {"untied": "all", "untied_start": "independent"},
        {"pretraining_epochs": 100, "pretraining_rule": "urfb", "frozen": "1"},
        {"rule": "interpolated", "epsilon": 1.0},
        {"dataset": "cifar100"},
        {"connectivity": 0.5},
        {"feedback_connectivity": 0.5},
        {"gradient_batch": 500},
        {"science_version": 0},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_the_papers_selection_leaves_out_what_the_paper_did_not_run(store, changed):
    wanted = store.add(2)
    store.add(2, **changed)
    [panel] = panels(store.runs(), Selection((SIMPNET10,), (BP, URFB, FRFB)))
    assert list(panel.runs["run"]) == [wanted]


@pytest.mark.parametrize(
    ("changed", "title"),
    [
        ({"off_class_weight": 0.5}, "simpnet, CIFAR-10, off class weight 0.5"),
        ({"off_class_margin": -0.2}, "simpnet, CIFAR-10, off class margin -0.2"),
        ({"activation_slope": 0.75}, "simpnet, CIFAR-10, activation slope 0.75"),
        ({"layers": "Full 9; Output"}, "simpnet, CIFAR-10, layers Full 9; Output"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_runs_that_differ_otherwise_get_a_panel_of_their_own(store, changed, title):
    store.add(2)
    other = store.add(2, **changed)
    found = panels(store.runs(), Selection((SIMPNET10,), (URFB,)))
    assert len(found) == 2
    assert [list(panel.runs["run"]) for panel in found if panel.title == title] == [[other]]


@pytest.mark.parametrize(
    "changed",
    [
        {"convention": "author-code"},
        {"step_size": 1.0},
        {"batch_size": 50},
        {"input_offset": 0.5},
        {"precision": "float64"},
        {"dense_output": False},
        {"gradient_batch": 500},
        {"pretraining_epochs": 100, "pretraining_rule": "urfb", "frozen": "1"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_run_of_another_setting_is_no_other_seed_of_a_protocol(store, changed):
    first = store.add(2, experiments="quick")
    other = store.add(2, seed=1, experiments="quick", **changed)
    found = panels(store.runs(), Selection(experiment="quick"))
    assert sorted(list(panel.runs["run"]) for panel in found) == sorted([[first], [other]])


def test_protocol_selects_named_epsilon_and_no_unnamed_decay(store):
    wanted = store.add(2, rule="interpolated", epsilon=0.5)
    store.add(2, rule="interpolated", epsilon=0.75)
    store.add(2, rule="interpolated", epsilon=0.5, decay=0.01)
    [panel] = panels(store.runs(), Selection((SIMPNET10,), INTERPOLATED))
    assert list(panel.runs["run"]) == [wanted]


def test_softmax_runs_share_a_panel_with_each_hinge_variant(store):
    softmax = store.add(2, rule="bp", loss="softmax")
    store.add(2, off_class_weight=0.5)
    store.add(2, off_class_weight=1.0)
    found = panels(store.runs(), Selection((SIMPNET10,), (BP, URFB)))
    assert titles(found) == ["simpnet, CIFAR-10, off class weight 0.5", "simpnet, CIFAR-10, off class weight 1"]
    assert all(softmax in set(panel.runs["run"]) and len(panel.runs) == 2 for panel in found)


def test_built_in_rules_share_a_panel_with_each_version_of_a_custom_rule(store):
    usual = {store.add(2, rule=rule, experiments="mine") for rule in ("urfb", "frfb")}
    first = store.add(2, rule="my_rules:half", source="a1", experiments="mine")
    [panel] = panels(store.runs(), Selection(experiment="mine"))
    assert set(panel.runs["run"]) == {*usual, first}
    assert panel.title == "simpnet, CIFAR-10"

    second = store.add(2, rule="my_rules:half", source="b2", experiments="mine")
    found = panels(store.runs(), Selection(experiment="mine"))
    assert titles(found) == ["simpnet, CIFAR-10, source a1", "simpnet, CIFAR-10, source b2"]
    assert [set(panel.runs["run"]) for panel in found] == [{*usual, first}, {*usual, second}]


def test_an_empty_store_still_has_the_papers_panels(store):
    found = panels(store.runs(), Selection((SIMPNET10, SIMPNET100), PROTOCOLS))
    assert titles(found) == ["simpnet, CIFAR-10", "simpnet, CIFAR-100"]
    assert all(panel.runs.empty and panel.protocols == PROTOCOLS for panel in found)


def test_an_experiment_has_a_panel_for_each_setting(store):
    store.add_protocols(2, seeds=2, experiments="quick")
    store.add(2, step_size=1.0, experiments="quick,figure4")
    store.add(2, step_size=0.01, experiments="quickest")
    found = panels(store.runs(), Selection(experiment="quick"))
    assert titles(found) == ["simpnet, CIFAR-10, step size 0.1", "simpnet, CIFAR-10, step size 1"]
    assert found[0].protocols == PROTOCOLS
    assert found[0].seeds == 2
    assert found[1].protocols == (URFB,)


def test_an_experiment_takes_only_its_own_runs(store):
    mine = store.add(2, experiments="quick")
    store.add(2, seed=1, experiments=None)
    store.add(2, seed=2, experiments=np.nan)
    [panel] = panels(store.runs(), Selection(experiment="quick"))
    assert list(panel.runs["run"]) == [mine]


def test_an_unknown_experiment_lists_the_known_ones(store):
    store.add(2, experiments="figure4,quick")
    with pytest.raises(SelectionError, match=r"did you mean 'quick'\? \(allowed: figure4, quick\)"):
        panels(store.runs(), Selection(experiment="quik"))
    with pytest.raises(SelectionError, match=r"^no experiment 'nope' in the store: allowed: figure4, quick$"):
        panels(store.runs(), Selection(experiment="nope"))


def test_a_title_does_not_list_what_a_convention_implies(store):
    own = {"layers": "Conv 16 5x5; Output", "activation_slope": 0.5, "pool_padding": "end", "convention": "author-code"}
    store.add(2)
    store.add(2, **own, off_class_weight=0.5)
    titles = {panel.title for panel in panels(store.runs(), Selection(({},)))}
    assert titles == {
        "simpnet, CIFAR-10, convention paper, off class weight 0.111111",
        "simpnet, CIFAR-10, convention author-code, off class weight 0.5",
    }


def test_titles_of_tied_layers_omit_settings_of_untied_layers(store):
    store.add(2)
    store.add(2, untied="all", untied_start="independent")
    titles = {panel.title for panel in panels(store.runs(), Selection(({},)))}
    assert titles == {
        "simpnet, CIFAR-10, untied none",
        "simpnet, CIFAR-10, untied all, untied start independent",
    }


def test_a_store_without_experiments_says_so(store):
    with pytest.raises(SelectionError, match="no runs of any experiment yet"):
        panels(store.runs(), Selection(experiment="quick"))


def test_protocols_that_the_paper_does_not_have_are_named_in_its_manner(store):
    store.add(1)
    store.add(1, loss="softmax")
    store.add(1, rule="bp", loss="hinge", connectivity=0.5)
    store.add(1, rule="bp", loss="softmax", connectivity=0.25)
    store.add(1, connectivity=0.5, feedback_connectivity=1.0)
    names = [protocol.name for protocol in protocols_in(store.runs())]
    assert names == ["URFB", "URFB softmax", "URFB W 50 %, R 100 %", "BP-H 50 %", "BP 25 %"]
    assert len({protocol.colour for protocol in protocols_in(store.runs())}) == 5


def test_the_papers_protocols_differ_in_colour_and_in_marker_or_hatch():
    assert len({protocol.colour for protocol in PROTOCOLS}) == len({protocol.marker for protocol in PROTOCOLS}) == 6


def test_rules_are_named_as_the_field_names_them_with_their_parameters(store):
    store.add(2, rule="interpolated", epsilon=0.25)
    store.add(2, rule="interpolated", epsilon=0.5, decay=0.01)
    store.add(2, rule="usf", connectivity=0.5, feedback_connectivity=0.5)
    store.add(2, rule="kolen-pollack", decay=0.01)
    store.add(2, rule="my_rules:noisy")
    names = [protocol.name for protocol in protocols_in(store.runs())]
    assert names == [
        "interpolated ε 0.25",
        "interpolated ε 0.5 λ 0.01",
        "Kolen–Pollack λ 0.01",
        "my_rules:noisy",
        "uSF 50 %",
    ]


def test_a_panel_without_runs_is_titled_by_what_the_selection_says(store):
    store.add(2)
    wanted = Selection((SIMPNET10, {**SIMPNET10, "batch_size": 50}, {**SIMPNET10, "step_size": 1.0}), (URFB,))
    assert titles(panels(store.runs(), wanted)) == [
        "simpnet, CIFAR-10, step size 0.1, batch size 500",
        "simpnet, CIFAR-10, step size 0.1, batch size 50",
        "simpnet, CIFAR-10, step size 1, batch size 500",
    ]


@pytest.mark.parametrize("filled", [(), (0,), (1,), (0, 1)])
def test_a_start_of_the_other_convention_is_told_by_the_start_alone(store, filled):
    starts = ({"untied_start": "independent"}, {"untied_start": "tied-copy", "convention": "custom"})
    for number in filled:
        store.add(2, untied="all", **starts[number])
    found = panels(store.runs(), Selection((UNTIED_SIMPNET, TIED_START), (URFB,)))
    assert titles(found) == [f"simpnet, CIFAR-10, untied start {start}" for start in ("independent", "tied-copy")]
    assert [len(panel.runs) for panel in found] == [int(number in filled) for number in (0, 1)]
