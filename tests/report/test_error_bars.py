import math

import numpy as np
import pytest
from matplotlib.colors import to_hex

from tests.report.conftest import made
from urfb.report.colours import UNTIED
from urfb.report.protocols import PROTOCOLS, TIED_AND_UNTIED


def texts_of(axes):
    return [text.get_text() for text in axes.texts]


def test_the_bars_are_the_mean_test_errors_in_percent(store):
    store.add_protocols(3)
    store.add_protocols(3, dataset="cifar100", off_class_weight=1 / 99)
    drawn = made("5", store)
    assert [axes.get_title() for axes in drawn.figure.axes] == ["simpnet, CIFAR-10", "simpnet, CIFAR-100"]
    for axes, dataset in zip(drawn.figure.axes, ("cifar10", "cifar100"), strict=True):
        runs = store.runs(dataset=dataset)
        assert len(axes.patches) == 6
        for bar, protocol in zip(axes.patches, PROTOCOLS, strict=True):
            assert bar.get_height() == pytest.approx(100 * runs.loc[protocol.matches(runs), "test_error"].mean())
            assert to_hex(bar.get_facecolor()) == protocol.colour
            assert (bar.get_hatch() or "") == protocol.hatch
        names = [label.get_text() for label in axes.get_xticklabels()]
        assert names == ["BP", "BP-H", "URFB", "FRFB", "URFB\n50 %", "FRFB\n50 %"]
        assert axes.get_ylim() == drawn.figure.axes[0].get_ylim()
    assert drawn.figure.axes[0].get_ylim()[0] == 0
    assert drawn.figure.axes[0].get_ylabel() == "test error (%)"


def test_the_interval_is_students(store):
    for seed in range(3):
        store.add(3, seed=seed)
    errors = 100 * store.runs()["test_error"]
    bar = made("5", store).data.query("n == 3").iloc[0]
    assert bar["mean"] == pytest.approx(errors.mean())
    # The 97.5 % point of Student's t with two degrees of freedom is 4.303.
    assert bar["high"] - bar["mean"] == pytest.approx(4.303 * errors.std() / 3**0.5, rel=1e-4)
    assert bar["mean"] - bar["low"] == pytest.approx(bar["high"] - bar["mean"])


def test_two_seeds_are_dots_without_a_whisker(store):
    store.add(3, seed=0)
    store.add(3, seed=1, test_error=0.9)
    drawn = made("5", store)
    [bar] = drawn.data.query("n > 0").to_dict("records")
    assert (bar["n"], math.isnan(bar["low"]), math.isnan(bar["high"])) == (2, True, True)
    axes = drawn.figure.axes[0]
    assert not axes.get_lines()
    [dots] = axes.collections
    heights = [height for _, height in dots.get_offsets().tolist()]
    assert sorted(heights) == pytest.approx(sorted(100 * store.runs()["test_error"]))
    assert axes.get_ylim()[1] > 90
    assert "from three seeds on" in drawn.meaning
    assert "three or more seeds" in drawn.explanation


def test_several_seeds_are_dots_and_one_is_not(store):
    for seed in range(3):
        store.add(3, seed=seed)
    store.add(3, rule="frfb")
    axes = made("5", store).figure.axes[0]
    dots = axes.collections[-1].get_offsets().tolist()
    errors = 100 * store.runs(rule="urfb")["test_error"]
    assert [height for _, height in dots] == pytest.approx(errors.to_list())
    assert len({x for x, _ in dots}) == 3
    assert {round(x) for x, _ in dots} == {2}  # where the bar of URFB is
    assert min(abs(x - 2) for x, _ in dots) > 0.08  # not on the whisker


def test_the_table_has_the_bars_and_whiskers_that_are_drawn(store):
    store.add_protocols(3, sparse=False)
    store.add(3, connectivity=0.5)
    drawn = made("5", store)
    axes, table = drawn.figure.axes[0], drawn.data.query("n > 0 and panel == 'simpnet, CIFAR-10'")
    assert [bar.get_height() for bar in axes.patches] == pytest.approx(table["mean"].to_list())
    several = table.query("n >= 3")
    assert len(several) == 4
    *whiskers, _ = axes.collections
    for whisker, bar in zip(whiskers, several.to_dict("records"), strict=True):
        [ends] = whisker.get_segments()
        assert ends[:, 1] == pytest.approx((bar["low"], bar["high"]))


def test_each_bar_says_its_error_seeds_and_epochs(store):
    store.add(1000)
    axes = made("5", store).figure.axes[0]
    error = 100 * store.runs()["test_error"].iloc[0]
    assert {f"{error:.1f}", "1", "1,000", "seeds", "epochs"} < set(texts_of(axes))


def test_what_is_missing_is_missing_in_its_place(store):
    store.add(3)
    store.add(3, rule="frfb", tested=False, state="unfinished")
    drawn = made("5", store)
    axes = drawn.figure.axes[0]
    missing = {text.get_text(): text for text in axes.texts if text.get_text().startswith("no ")}
    assert missing["no test error yet"].xy[0] == 3
    assert texts_of(axes).count("no run") == 4
    assert len(axes.patches) == 1
    assert len(drawn.figure.axes) == 1, "nothing of CIFAR-100"
    assert "CIFAR-10 (FRFB): no test error yet" in drawn.shortfalls
    assert "CIFAR-10 (BP, BP-H, URFB 50 %, FRFB 50 %); CIFAR-100: no run" in drawn.shortfalls
    lacking = drawn.data[drawn.data["n"] == 0]
    assert len(lacking) == 11
    assert lacking["mean"].isna().all()


def test_a_bar_never_averages_over_different_epochs(store):
    store.add(3, seed=0)
    long = store.add(6, seed=1)
    drawn = made("5", store)
    bar = drawn.data.query("n > 0").iloc[0]
    assert (bar["n"], bar["epochs"], bar["runs"]) == (1, 6, long)
    assert math.isnan(bar["low"])
    assert list(drawn.runs["run"]) == [long]


@pytest.mark.parametrize("experiment", [None, "quick"])
def test_unequal_bars_are_validation_errors_after_the_same_epoch(store, experiment):
    for seed, epochs in enumerate((3, 6)):
        store.add(epochs, seed=seed, experiments="quick")
        store.add(6, rule="frfb", seed=seed, experiments="quick")
        store.add(3, rule="bp", seed=seed, experiments="quick")
    drawn = made("5", store, experiment)
    bars = drawn.data.query("n > 0").set_index("protocol")
    errors = 100 * store.epochs(epoch=3).groupby("rule")["validation_error"].mean()
    assert bars["mean"].to_dict() == pytest.approx(
        {"BP-H": errors["bp"], "URFB": errors["urfb"], "FRFB": errors["frfb"]}
    )
    assert set(bars["epochs"]) == {3}
    assert set(bars["n"]) == {2}, "the seed of 6 epochs has a third epoch, too"
    assert set(bars["set"]) == {"validation"}
    assert drawn.figure.axes[0].get_ylabel() == "validation error (%)"
    assert "different numbers of epochs" in drawn.explanation
    assert set(drawn.runs["drawn_epochs"]) == {3}


def test_bars_of_equal_epochs_are_test_errors(store):
    store.add_protocols(3)
    store.add_protocols(6, dataset="cifar100", off_class_weight=1 / 99)
    drawn = made("5", store)
    assert set(drawn.data["set"]) == {"test"}
    assert "different" not in drawn.explanation


TWO_STAGES = {"untied": "all", "untied_start": "independent", "pretraining_epochs": 100, "pretraining_rule": "urfb"}


@pytest.mark.parametrize(
    ("tied", "untied", "comparable"),
    [(3, 106, False), (500, 1100, False), (106, 106, True)],  # 500 and 1,100 are the paper's own
)
def test_a_first_stage_is_never_compared(store, tied, untied, comparable):
    store.add(tied, network="deepnet_s", rule="frfb")
    store.add(untied, network="deepnet_s", frozen="1", **TWO_STAGES)
    drawn = made("9", store)
    bars = drawn.data.query("n > 0")
    assert dict(zip(bars["protocol"], bars["epochs"], strict=True)) == {"FRFB tied": tied, "URFB untied": untied}
    assert set(bars["set"]) == {"test"}
    assert ("are not comparable" in drawn.explanation) != comparable


def test_validation_errors_of_a_second_stage_are_compared(store):
    store.add(106, network="deepnet_s", frozen="1", **TWO_STAGES)
    store.add(103, network="deepnet_s", frozen="1", rule="frfb", **TWO_STAGES)
    bars = made("9", store).data.query("n > 0")
    assert dict(zip(bars["set"], bars["epochs"], strict=True)) == {"validation": 103}


def test_the_epochs_are_those_of_the_test_not_of_the_training(store):
    store.add(6, test_epoch=4.0, state="running")
    drawn = made("5", store)
    assert drawn.data.query("n > 0")["epochs"].item() == 4


def test_an_empty_store_gives_a_picture_that_says_so(store):
    drawn = made("5", store)
    assert drawn.shortfalls == ["no run of this figure in the store"]
    assert [text.get_text() for text in drawn.figure.texts] == ["No run of this figure is in the store."]
    assert (drawn.data["n"] == 0).all()
    assert len(drawn.data) == 12


def test_an_experiment_shows_the_protocols_it_has(store):
    store.add_protocols(3, seeds=2, sparse=False, experiments="quick", dataset="digits", network="digitnet")
    store.add_protocols(3, seeds=2)
    drawn = made("5", store, "quick")
    [axes] = drawn.figure.axes
    assert axes.get_title() == "digitnet, digits"
    assert len(axes.patches) == 4
    assert drawn.shortfalls == []


def test_an_interval_wider_than_the_axes_keeps_its_number_within(store):
    for seed, error in enumerate((0.5, 0.7, 0.9)):
        store.add(3, seed=seed, test_error=error)
    axes = made("5", store).figure.axes[0]
    [number] = [text for text in axes.texts if text.get_text() == "70.0"]
    assert number.xy[1] == 100
    assert axes.get_ylim() == (0, 112)


def test_bars_lie_where_their_names_do_not_fit_below(store):
    for epsilon in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
        for seed in range(3):
            store.add(3, rule="interpolated", epsilon=epsilon, seed=seed, experiments="many")
    drawn = made("5", store, "many")
    [axes] = drawn.figure.axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx(drawn.data["mean"].to_list())
    assert [label.get_text() for label in axes.get_yticklabels()] == drawn.data["protocol"].to_list()
    assert axes.get_xlabel() == "test error (%)"
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first one at the top
    assert {f"{mean:.1f}" for mean in drawn.data["mean"]} | {"3", "seeds", "epochs"} == set(texts_of(axes))


def add_tied_and_untied(store, epochs=3, seeds=2, **changed):
    for loss, rule in (("softmax", "bp"), ("hinge", "bp"), ("hinge", "urfb"), ("hinge", "frfb")):
        for seed in range(seeds):
            for untied in ({}, {"untied": "all", "untied_start": "independent"}):
                error = 0.3 + 0.01 * len(rule + loss) + 0.02 * len(untied) + 0.001 * changed.get("batch_size", 500)
                store.add(epochs, rule=rule, loss=loss, seed=seed, test_error=error, **untied, **changed)


def test_tied_and_untied_bars_are_in_pairs_with_one_name_below(store):
    add_tied_and_untied(store)
    [axes] = made("9", store).figure.axes
    bars = sorted((bar.get_x() + bar.get_width() / 2, bar) for bar in axes.patches)
    places = [place for place, _ in bars]
    assert np.diff(places) == pytest.approx([1, 2, 1, 2, 1, 2, 1])
    colours = [to_hex(bar.get_facecolor()) for _, bar in bars]
    assert colours == [protocol.colour for protocol in PROTOCOLS[:4] for _ in range(2)]
    assert [(bar.get_hatch() or "") for _, bar in bars] == ["", UNTIED] * 4
    assert [label.get_text() for label in axes.get_xticklabels()] == ["BP", "BP-H", "URFB", "FRFB"]
    assert axes.get_xticks() == pytest.approx([0.5, 3.5, 6.5, 9.5])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["tied", "untied"]
    # The numbers stand at their bars.
    numbers = {text.xy[0]: text.get_text() for text in axes.texts if text.get_text().count(".") == 1}
    assert numbers == {round(place): f"{bar.get_height():.1f}" for place, bar in bars}


def test_without_untied_protocols_there_is_no_legend_and_no_gap(store):
    store.add_protocols(3, seeds=1)
    left = made("5", store).figure.axes[0]
    assert left.get_legend() is None
    assert left.get_xticks() == pytest.approx(range(6))


def test_unlike_batches_pair_largest_tied_with_smallest_untied(store):
    add_tied_and_untied(store)
    add_tied_and_untied(store, batch_size=50)
    drawn = made("9-batch", store)
    titles = [f"simpnet, CIFAR-10, batch size {words}" for words in ("500", "50", "500 tied, 50 untied")]
    assert [axes.get_title() for axes in drawn.figure.axes] == titles
    like_500, like_50, unlike = (drawn.data[drawn.data["panel"] == title].set_index("protocol") for title in titles)
    for protocol in TIED_AND_UNTIED:
        expected = (like_50 if protocol.untied else like_500).loc[protocol.name]
        assert unlike.loc[protocol.name, "mean"] == expected["mean"]
        assert unlike.loc[protocol.name, "runs"] == expected["runs"]
    assert sorted(drawn.runs["run"]) == sorted(store.runs()["run"])
    assert drawn.shortfalls == ["3 of the paper's 1,000 epochs", "2 of 3 seeds"]


def test_of_one_batch_there_is_nothing_unlike(store):
    add_tied_and_untied(store)
    drawn = made("9-batch", store)
    assert [axes.get_title() for axes in drawn.figure.axes] == ["simpnet, CIFAR-10, batch size 500"]
    assert "CIFAR-10, batch size 50: no run" in drawn.shortfalls
