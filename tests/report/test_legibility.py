"""Figures of few and of many protocols, with long names: all that is written on them can be read."""

import numpy as np
import pytest
from matplotlib.legend import Legend

from tests.report.conftest import assert_bars_keep_off_numbers, assert_legible, made

LONG = "my_long_module.rules:a_rather_long_rule_name"
RULES = ("zipser-rumelhart", "usf", "brsf", "frsf", "sham", "shallow", "dfa")
TWELVE = [
    {"rule": "bp", "loss": "softmax"},
    {"rule": "bp"},
    {"rule": "urfb"},
    {"rule": "frfb"},
    {"rule": "urfb", "connectivity": 0.5},
    {"rule": "interpolated", "epsilon": 0.125},
    {"rule": "kolen-pollack", "decay": 0.0001},
    {"rule": "urfb", "connectivity": 0.5, "feedback_connectivity": 0.25},
    {"rule": LONG},
    *({"rule": rule} for rule in RULES[:3]),
]
FORTY = [{"rule": "interpolated", "epsilon": round(0.01 * number, 2)} for number in range(1, 41)]
PROTOCOLS = {1: TWELVE[:1], 2: TWELVE[2:4], 12: TWELVE, 40: FORTY}
FEEDBACK = {1: [{"rule": LONG}], 2: TWELVE[2:4], 12: TWELVE, 40: FORTY}


def fill(store, protocols, seeds=3, epochs=3, **changed):
    for protocol in protocols:
        for seed in range(seeds):
            store.add(epochs, seed=seed, experiments="many", **{**protocol, **changed})


def legend_labels(figure):
    return [text.get_text() for legend in figure.findobj(Legend) for text in legend.get_texts()]


@pytest.mark.parametrize("count", PROTOCOLS)
@pytest.mark.parametrize("name", ["4", "5", "epsilon", "alignment-and-error"])
def test_protocols_and_seeds_can_be_read(store, name, count):
    fill(store, (FEEDBACK if name != "4" else PROTOCOLS)[count])
    assert_legible(made(name, store, "many").figure)


@pytest.mark.parametrize("count", [1, 2, 12])
@pytest.mark.parametrize("name", ["10", "saturation", "gradients"])
def test_layers_of_many_protocols_can_be_read(store, name, count):
    fill(store, FEEDBACK[count], gradient_batch=500)
    assert_legible(made(name, store, "many").figure)


def test_layers_of_forty_protocols_can_be_read(store):
    fill(store, FORTY, seeds=1, epochs=1)
    assert_legible(made("10", store, "many").figure)


@pytest.mark.parametrize("name", ["4", "5", "10", "alignment-and-error", "epsilon"])
def test_several_panels_of_long_titles_can_be_read(store, name):
    network = "Conv 64 3x3; Conv 64 3x3; Maxpool 3 with stride 2; Drop .8; Full 500; Drop .3; Output"
    for step in (0.1, 0.01, 0.001):
        fill(store, TWELVE[1:4], seeds=2, network=network, step_size=step, off_class_weight=step)
    assert_legible(made(name, store, "many").figure)


@pytest.mark.parametrize("name", ["4", "5", "alignment-and-error"])
def test_long_runs_of_many_seeds_can_be_read(store, name):
    fill(store, TWELVE[:5], seeds=20, epochs=110)
    for row in store.rows:
        row["test_error"] = 1.0
    assert_legible(made(name, store, "many").figure)


def test_lines_of_unequal_seeds_can_be_read(store):
    for seed in range(3):
        for protocol in TWELVE[:4]:
            store.add(3 + 5 * seed, seed=seed, experiments="many", **protocol)
    for name in ("4", "alignment-and-error"):
        assert_legible(made(name, store, "many").figure)


@pytest.mark.parametrize("count", PROTOCOLS)
@pytest.mark.parametrize("seeds", [1, 2, 3, 20])
def test_bars_whiskers_and_dots_keep_off_numbers(store, count, seeds):
    if seeds * count > 240:
        seeds = 5
    fill(store, PROTOCOLS[count], seeds, epochs=1)
    draw = np.random.default_rng(1)
    for row in store.rows:
        row["test_error"] = draw.uniform(0.6, 1.0)
    assert assert_bars_keep_off_numbers(made("5", store, "many").figure) == count


@pytest.mark.parametrize("count", [2, 4])
def test_neighbouring_bars_keep_off_numbers(store, count):
    for error, untied in ((0.5, {}), (0.9, {"untied": "all", "untied_start": "independent"})):
        fill(store, TWELVE[:count], epochs=1, **untied)
        for row in store.rows[-3 * count :]:
            row["test_error"] = error + 0.01 * row["seed"]
    assert assert_bars_keep_off_numbers(made("9", store, "many").figure) == 2 * count


@pytest.mark.parametrize("count", [2, 12])
def test_tied_and_untied_bars_can_be_read(store, count):
    for untied in ({}, {"untied": "all", "untied_start": "independent"}):
        fill(store, PROTOCOLS[count], **untied)
    assert_legible(made("9", store, "many").figure)


@pytest.mark.parametrize("name", ["8", "8-start"])
def test_filters_of_several_panels_can_be_read(store, name):
    for start in ("independent", "tied-copy"):
        for step in (0.1, 0.01):
            fill(store, [{"rule": LONG}], epochs=110, untied="all", untied_start=start, step_size=step)
    assert_legible(made(name, store, "many").figure)


@pytest.mark.parametrize("name", ["4", "alignment-and-error"])
def test_forty_lines_have_a_legend_by_epsilon(store, name):
    fill(store, FORTY[::-1], seeds=1)
    figure = made(name, store, "many").figure
    texts = assert_legible(figure)
    epsilons = {float(label.split()[2]) for label in legend_labels(figure) if label.startswith("interpolated")}
    assert sorted(epsilons) == [protocol["epsilon"] for protocol in FORTY]
    assert set(legend_labels(figure)) <= {text.get_text() for text in texts}
    assert all(text.get_fontsize() >= 6 for legend in figure.findobj(Legend) for text in legend.get_texts())
