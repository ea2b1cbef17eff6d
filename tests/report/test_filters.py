import numpy as np
import pytest

from tests.report.conftest import LOCATIONS, made
from urfb.report.filters import FILTERS, FILTERS_OF_A_START, picture

UNTIED = {"untied": "all", "untied_start": "independent"}
TIED_START = {"untied": "all", "untied_start": "tied-copy", "convention": "custom"}


def pictures_of(figure):
    return [axes.get_images()[0].get_array() for axes in figure.get_axes() if axes.get_images()]


def words_of(figure):
    parts = [figure, *figure.subfigs, *(inner for part in figure.subfigs for inner in part.subfigs)]
    return [text.get_text() for part in parts for text in part.findobj(lambda artist: hasattr(artist, "get_text"))]


def test_zero_is_grey_and_the_largest_weight_of_either_sign_is_at_an_end():
    weights = np.zeros((5, 5, 3), "float32")
    weights[0, 0, 0], weights[1, 1, 2] = 0.2, -0.4
    shown = picture(weights)
    assert shown[2, 2].tolist() == [0.5, 0.5, 0.5]
    assert shown[0, 0, 0] == pytest.approx(0.75)
    assert shown[1, 1, 2] == 0
    assert (shown.min(), shown.max()) == (0, pytest.approx(0.75))


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_filters_without_colours_are_grey(channels):
    weights = np.random.default_rng(0).normal(size=(3, 3, channels))
    shown = picture(weights)
    assert shown.shape == (3, 3, 3)
    assert (shown == shown[:, :, :1]).all()
    assert np.corrcoef(shown[:, :, 0].ravel(), weights.mean(axis=2).ravel())[0, 1] == pytest.approx(1)


def test_a_filter_of_zeros_is_grey():
    assert (picture(np.zeros((3, 3, 3))) == 0.5).all()


def test_filter_by_location_grid_shows_lowest_seed_at_last_epoch(store):
    store.add(7, rule="urfb", seed=2, **UNTIED)
    run = store.add(7, rule="urfb", seed=1, **UNTIED)
    drawn = made("8", store)
    last = {(at.row, at.column): at.weights for at in store.filters(run) if at.epoch == 7}
    expected = [picture(last[place][number]) for number in range(FILTERS) for place in LOCATIONS]
    shown = pictures_of(drawn.figure)
    assert len(shown) == len(expected) == 24
    for drawn_picture, expected_picture in zip(shown, expected, strict=True):
        assert np.array_equal(drawn_picture, expected_picture)
    titles = [axes.get_title() for axes in drawn.figure.get_axes()[:4]]
    assert [title.strip() for title in titles] == ["(8, 8)", "(8, 24)", "(24, 8)", "(24, 24)"]
    assert "location (row, column)" in words_of(drawn.figure)
    rows = [axes.get_ylabel() for axes in drawn.figure.get_axes() if axes.get_ylabel()]
    assert rows == [f"filter {number}" for number in range(1, FILTERS + 1)]
    assert any(text.endswith("seed 1, epoch 7") for text in words_of(drawn.figure))


def test_the_table_has_the_weights_and_the_similarity_over_seeds(store):
    runs = [store.add(7, rule="urfb", seed=seed, **UNTIED) for seed in range(3)]
    drawn = made("8", store)
    filters = drawn.data[drawn.data["quantity"] == "filter"]
    assert len(filters) == FILTERS * len(LOCATIONS)
    assert set(filters["runs"]) == {runs[0]}
    first = filters.iloc[0]
    [weights] = [at.weights[0] for at in store.filters(runs[0]) if (at.epoch, at.row, at.column) == (7, 8, 8)]
    assert (first["filter"], first["row"], first["column"], first["epoch"]) == (1, 8, 8, 7)
    assert [float(word) for word in first["weights"].split()] == pytest.approx(weights.ravel().tolist(), rel=1e-3)

    measured = store.alignment(run=runs).dropna(subset=["filter_similarity"])
    last = measured[measured["epoch"] == 7]["filter_similarity"]
    row = drawn.data[drawn.data["quantity"] == "similarity"].iloc[-1]
    assert (row["epoch"], row["n"], row["mean"]) == (7, 3, pytest.approx(last.mean()))
    assert (row["low"], row["high"]) == (pytest.approx(last.min()), pytest.approx(last.max()))


def test_the_similarity_is_that_of_the_layer_whose_filters_are_shown(store):
    store.add(7, rule="urfb", **UNTIED)
    for row in store.alignment_rows:
        if row["layer"] == 2:
            row["filter_similarity"] = 0.9
    similarity = made("8", store).data.query("quantity == 'similarity'")
    assert similarity["mean"].to_numpy() == pytest.approx(store.alignment(layer=1)["filter_similarity"].to_numpy())


def test_several_rules_show_filters_and_similarity_of_first_rule(store):
    store.add(7, rule="frfb", seed=0, experiments="both", **UNTIED)
    urfb = store.add(7, rule="urfb", seed=1, experiments="both", **UNTIED)
    assert set(made("8", store, "both").data["runs"]) == {urfb}


def test_the_caption_has_the_similarity_before_and_after(store):
    for seed in range(3):
        store.add(7, rule="urfb", seed=seed, **UNTIED)
    drawn = made("8", store)
    rows = drawn.data[drawn.data["quantity"] == "similarity"]
    [words] = {text for text in words_of(drawn.figure) if text.startswith("similarity")}
    for row in (rows.iloc[0], rows.iloc[-1]):
        words_of_end = f"{row['mean']:.2f} ({row['low']:.2f} to {row['high']:.2f}) after epoch {row['epoch']:.0f}"
        assert words_of_end in words.replace("\n", " ")
    assert words.endswith("3 seeds")


def test_both_starts_show_first_and_last_epoch_and_similarity(store, edges_of):
    runs = [store.add(7, rule="urfb", seed=seed, **start) for seed in range(2) for start in (UNTIED, TIED_START)]
    drawn = made("8-start", store)
    expected = [
        picture(at.weights[number])
        for run in runs[:2]
        for epoch in (0, 7)
        for number in range(FILTERS_OF_A_START)
        for at in store.filters(run)
        if at.epoch == epoch
    ]
    assert np.array_equal(pictures_of(drawn.figure), expected)
    [axes] = [axes for axes in drawn.figure.get_axes() if axes.get_ylabel() == "similarity across space"]
    similarity = drawn.data[drawn.data["quantity"] == "similarity"]
    titles = ["simpnet, CIFAR-10, untied start independent", "simpnet, CIFAR-10, untied start tied-copy"]
    assert list(similarity["panel"].unique()) == titles
    for line, band, title in zip(axes.get_lines(), axes.collections, titles, strict=True):
        rows = similarity[similarity["panel"] == title]
        assert line.get_label() == title
        assert line.get_xydata() == pytest.approx(rows[["epoch", "mean"]].to_numpy())
        assert edges_of(band) == pytest.approx(rows[["epoch", "low", "high"]].to_numpy())
    assert drawn.shortfalls == ["7 of the paper's 1,000 epochs", "2 of 3 seeds"]


def test_a_start_that_is_lacking_is_named(store):
    store.add(7, rule="urfb", **UNTIED)
    drawn = made("8-start", store)
    assert "CIFAR-10, untied start tied-copy: no run" in drawn.shortfalls
    assert not any("tied-copy" in words for words in words_of(drawn.figure))


@pytest.mark.parametrize("name", ["8", "8-start"])
def test_without_filters_the_figure_says_so(store, name):
    drawn = made(name, store)
    assert drawn.shortfalls == ["no run of this figure in the store"]
    assert pictures_of(drawn.figure) == []
    assert words_of(drawn.figure) == ["No run of this figure is in the store."]
    store.add(0, rule="urfb", state="running", tested=False, **UNTIED)
    store.alignment_rows.clear()
    assert "no filters yet" in " ".join(made(name, store).shortfalls)
