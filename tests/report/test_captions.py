"""Captions: what is drawn, from which runs, and what is missing, in sentences; one line of it on the picture."""

import matplotlib
import pytest

from tests.report.conftest import made
from urfb.report.canvas import STYLE
from urfb.report.captions import caption
from urfb.report.drawn import in_brief
from urfb.report.exhibits import chosen
from urfb.report.figures import FIGURES

TO_FIGURE_4 = "urfb grid run experiments.yaml figure4"


def caption_of(name, store, experiment=None, command=TO_FIGURE_4):
    [exhibit] = chosen(FIGURES, [name], experiment)
    data = exhibit.read(store, store.runs())
    with matplotlib.rc_context(STYLE):
        return caption(exhibit, data, exhibit.build(data), command)


def test_a_caption_names_the_figure_seeds_epochs_and_what_is_missing(store):
    store.add_protocols(25, seeds=1, sparse=False)
    store.add(30, rule="bp", loss="softmax", seed=1)
    text = caption_of("4", store).as_text()
    assert text.startswith("Figure 4 of Amit (2019), Deep Learning")
    assert ": simpnet, error by epoch. Solid lines and filled markers are training errors" in text
    assert "BP has 2 seeds and 25 to 30 epochs; BP-H, URFB and FRFB have 1 seed and 25 epochs." in text
    assert "Incomplete: the paper trains 1,000 epochs; 3 seeds are planned.\n" in text
    assert text.endswith(f"\n\nTo complete the figure, run: {TO_FIGURE_4}\n")


def test_a_complete_figure_has_a_caption_without_a_gap(store):
    store.add_protocols(2, experiments="quick", sparse=False)
    of_quick = caption_of("4", store, "quick")
    assert of_quick.as_text().count("\n") == 1
    assert of_quick.body.endswith("Each protocol has 3 seeds and 2 epochs.")
    assert of_quick.body.startswith("Runs: simpnet, CIFAR-10. Solid lines")
    assert caption_of("saturation", store, "quick").title.startswith("Figure saturation for the experiment quick: ")
    assert made("4", store, "quick").figure.texts == []


def test_panels_that_differ_have_sentences_of_their_own(store):
    store.add_protocols(3, seeds=1)
    store.add(4, dataset="cifar100", off_class_weight=1 / 99)
    body = caption_of("5", store).body
    assert "CIFAR-10: each protocol has 1 seed and 3 epochs. CIFAR-100: URFB has 1 seed and 4 epochs." in body
    assert "; no run for CIFAR-100 (BP, BP-H, FRFB, URFB 50 %, FRFB 50 %)." in body


@pytest.mark.parametrize("name", [figure.name for figure in FIGURES])
def test_latex_reads_every_caption_as_text(store, name):
    store.add_protocols(3, seeds=2)
    store.add(3, untied="all", untied_start="independent")
    text = caption_of(name, store, command="run % & _").as_latex(["made by: 100 %"])
    comment, words = text.split("\n", 1)
    assert comment == "% made by: 100 %"
    assert "run %" not in words
    assert words.isascii()
    for sign in "%&_#":
        assert words.count(sign) == words.count(f"\\{sign}") + words.count("$_") * (sign == "_"), sign


def test_latex_numbers_figures_that_are_not_the_papers(store):
    assert caption_of("epsilon", store).as_latex([]).startswith("Simpnet, error and correlation of W")
    assert caption_of("4", store).as_latex([]).startswith("Figure 4 of Amit (2019)")


@pytest.mark.parametrize(
    ("shortfalls", "brief"),
    [
        (["10 of the paper's 1,000 epochs", "CIFAR-100: 1 of 3 seeds"], "10 of 1,000 epochs, 1 of 3 seeds"),
        (["BP: 1,100 of 2,000 epochs", "URFB: 8 to 9 of 500 epochs"], "8 to 1,100 of 500 to 2,000 epochs"),
        (["BP, FRFB: no run", "URFB: no epoch yet"], "some without runs, some with no epoch yet"),
        (["FRFB: seeds 1, 2 failed"], "seeds 1, 2 failed"),
        (["no run of this figure in the store"], "no run of this figure in the store"),
    ],
)
def test_the_line_on_the_picture_is_brief(shortfalls, brief):
    assert in_brief(shortfalls) == brief
