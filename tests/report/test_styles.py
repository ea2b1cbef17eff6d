"""The style `paper`: exact widths, no titles and no status line, and text of 6 to 8 points."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from tests.report.conftest import FakeStore, assert_legible, made
from urfb.report.everything import everything
from urfb.report.exhibits import chosen
from urfb.report.figures import FIGURES
from urfb.report.rendering import render
from urfb.report.styles import Style

WIDTHS = {85: ("1", "4", "7", "8", "9"), 180: ("2", "3", "5", "6", "10", "11", "alignment-and-error", "epsilon")}
DEEP = {"network": "deepernet", "dataset": "cifar100", "off_class_weight": 1 / 99}
UNTIED = {"untied": "all", "untied_start": "independent"}


def millimetres(inches: float) -> float:
    return float(25.4 * inches)


@pytest.fixture
def filled(store: FakeStore) -> FakeStore:
    """A store with runs for the figures of `WIDTHS`."""
    for changed in ({}, {"dataset": "cifar100", "off_class_weight": 1 / 99}, DEEP, {**DEEP, "network": "deepnet"}):
        store.add_protocols(3, seeds=2, **changed)
    store.add_protocols(3, seeds=1, sparse=False, **UNTIED)
    deep = {"network": "deepnet_s", "pretraining_epochs": 100, "pretraining_rule": "urfb", "frozen": "1", **UNTIED}
    for rule in ("urfb", "frfb"):
        store.add(103, rule=rule, **deep)
    store.add(3, rule="interpolated", epsilon=0.25)
    return store


@pytest.mark.parametrize(("width", "name"), [(width, name) for width, names in WIDTHS.items() for name in names])
def test_a_manuscripts_figure_has_the_width_of_its_columns(filled: FakeStore, width: int, name: str) -> None:
    if name == "9":
        filled.rows = [row for row in filled.rows if row["network"] == "simpnet"]
    figure = made(name, filled, style=Style.PAPER).figure
    assert millimetres(figure.get_size_inches()[0]) == pytest.approx(width, abs=1e-9)
    assert figure.texts == []
    sizes = {round(text.get_fontsize(), 6) for text in assert_legible(figure)}
    assert min(sizes) >= 6
    assert max(sizes) <= 8


@pytest.mark.parametrize("name", ["4", "9", "10", "alignment-and-error", "epsilon"])
def test_a_manuscripts_figure_has_no_title_and_no_status_line(store: FakeStore, name: str) -> None:
    store.add_protocols(3, seeds=2)
    store.add(3, rule="interpolated", epsilon=0.25)
    on_screen = {text.get_text() for text in assert_legible(made(name, store).figure)}
    on_paper = {text.get_text() for text in assert_legible(made(name, store, style=Style.PAPER).figure)}
    for words in ("simpnet, CIFAR-10", "Incomplete", "seeds"):
        assert any(words in text for text in on_screen), words
        assert not any(words in text for text in on_paper), words


def test_panels_keep_their_labels_without_seeds_and_epochs(store: FakeStore) -> None:
    store.add_protocols(3, seeds=2)
    store.add_protocols(3, seeds=1, dataset="cifar100", off_class_weight=1 / 99)
    left, right = made("5", store, style=Style.PAPER).figure.axes
    assert (left.get_title(), right.get_title()) == ("simpnet, CIFAR-10", "simpnet, CIFAR-100")
    left, right = made("10", store, style=Style.PAPER).figure.axes
    assert (left.get_title(), right.get_title()) == ("URFB", "FRFB")


@pytest.mark.parametrize("name", ["8", "8-start"])
def test_many_panels_wrap_within_the_width_of_a_page(store: FakeStore, name: str) -> None:
    for step in (0.1, 0.01, 0.001):
        store.add(3, step_size=step, experiments="many", **UNTIED)
    drawn = made(name, store, "many", Style.PAPER)
    assert millimetres(drawn.figure.get_size_inches()[0]) == pytest.approx(180)
    assert_legible(drawn.figure)
    assert made(name, store, "many").figure.get_size_inches()[0] > 180 / 25.4


def test_the_caption_has_what_a_manuscripts_figure_8_leaves_out(store: FakeStore) -> None:
    store.add(3, **UNTIED)
    drawn = made("8", store, style=Style.PAPER)
    assert "Filters: seed 0, epoch 3; similarity across space:" in drawn.explanation


def test_files_have_the_exact_width_and_a_folder_of_their_own(store: FakeStore, tmp_path: Path) -> None:
    store.add_protocols(3, seeds=1)
    shown = chosen(FIGURES, ["4", "10"], None)
    for style in Style:
        assert all(one.made for one in render(store, shown, tmp_path / style.folder, style=style))
        assert not any(one.made for one in render(store, shown, tmp_path / style.folder, style=style))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figures", "figures-paper"]
    with Image.open(tmp_path / "figures-paper" / "figure04.png") as picture:
        assert millimetres(picture.width / 300) == pytest.approx(85, abs=0.1)
    box = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ", (tmp_path / "figures-paper" / "figure10.pdf").read_bytes())
    assert box is not None
    assert millimetres(float(box.group(1)) / 72) == pytest.approx(180, abs=0.1)
    heads = [(tmp_path / style.folder / "figure04.csv").read_text() for style in Style]
    assert [head.count("--style paper\n") for head in heads] == [0, 1]


@pytest.mark.usefixtures("coarse_pictures")
def test_a_whole_report_has_figures_in_the_style_and_a_page_for_a_screen(store: FakeStore, tmp_path: Path) -> None:
    store.add_protocols(3, seeds=1)
    parts = list(everything(store, chosen(FIGURES, ["4"], None), tmp_path, style=Style.PAPER))
    assert parts[0].files[0] == tmp_path / "figures-paper" / "figure04.png"
    assert "--style" not in (tmp_path / "page.html").read_text()
    assert not (tmp_path / "figures").exists()
