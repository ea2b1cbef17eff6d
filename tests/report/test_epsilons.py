import pytest

from tests.report.conftest import made
from urfb.report.protocols import FRFB, INTERPOLATED, URFB

RULES = {0.0: {"rule": "frfb"}, 1.0: {"rule": "urfb"}} | {
    epsilon: {"rule": "interpolated", "epsilon": epsilon} for epsilon in (0.25, 0.5)
}


def fill(store, epochs=6, seeds=3, **changed):
    for rule in RULES.values():
        for seed in range(seeds):
            store.add(epochs, seed=seed, **rule, **changed)


def line_of(axes, label):
    return {line.get_label(): line for line in axes.get_lines()}[label]


def test_errors_and_correlations_are_drawn_against_epsilon(store):
    fill(store)
    drawn = made("epsilon", store)
    left, right = drawn.figure.get_axes()
    line = line_of(left, "validation error")
    assert list(line.get_xdata()) == [0, 0.25, 0.5, 1]
    epochs = store.epochs(rule="frfb", epoch=6)
    assert line.get_ydata()[0] == pytest.approx(100 * epochs["validation_error"].mean())
    for layer, name in ((3, "Output"), (2, "Full 500"), (1, "Conv 32 5x5")):
        line = line_of(right, f"layer {layer}: {name}")
        alignment = store.alignment(rule="urfb", layer=layer, epoch=6.0)
        assert list(line.get_xdata()) == [0, 0.25, 0.5, 1]
        assert line.get_ydata()[-1] == pytest.approx(alignment["correlation"].mean())
    assert drawn.shortfalls == ["6 of the paper's 1,000 epochs"]


def test_the_table_has_the_points_and_students_intervals_that_are_drawn(store):
    fill(store)
    drawn = made("epsilon", store)
    left, _ = drawn.figure.get_axes()
    errors = drawn.data[drawn.data["quantity"] == "error"]
    assert line_of(left, "validation error").get_ydata() == pytest.approx(errors["mean"].to_numpy())
    bars = left.collections[0].get_segments()
    assert [bar[:, 1].tolist() for bar in bars] == [
        [pytest.approx(row["low"]), pytest.approx(row["high"])] for row in errors.to_dict("records")
    ]
    values = 100 * store.epochs(rule="urfb", epoch=6)["validation_error"]
    # The 97.5 % point of Student's t with two degrees of freedom is 4.303.
    half = 4.303 * values.std() / 3**0.5
    assert errors["high"].iloc[-1] - errors["mean"].iloc[-1] == pytest.approx(half, rel=1e-3)
    assert set(errors["n"]) == {3}


def test_all_are_compared_after_the_last_epoch_that_each_has_reached(store):
    fill(store, epochs=6)
    store.add(20, rule="urfb", seed=7)
    store.add(3, rule="frfb", seed=8)
    drawn = made("epsilon", store)
    assert set(drawn.data["epoch"]) == {6}
    errors = drawn.data[drawn.data["quantity"] == "error"].set_index("epsilon")
    assert errors["n"].to_dict() == {0: 3, 0.25: 3, 0.5: 3, 1: 4}
    long = 100 * store.epochs(seed=7, epoch=6)["validation_error"].item()
    short = 100 * store.epochs(rule="urfb", seed=[0, 1, 2], epoch=6)["validation_error"].sum()
    assert errors.loc[1, "mean"] == pytest.approx((long + short) / 4)
    assert drawn.figure.subfigs[0].get_suptitle() == "simpnet, CIFAR-10, epoch 6"


def test_correlations_use_the_last_epoch_measured_in_all_runs(store):
    fill(store)
    store.alignment_rows = [row for row in store.alignment_rows if row["rule"] != "frfb" or row["epoch"] <= 4]
    drawn = made("epsilon", store)
    epochs = drawn.data.groupby("quantity")["epoch"].agg(set)
    assert epochs.to_dict() == {"error": {6}, "correlation": {4}}
    assert drawn.data.groupby(["quantity", "epsilon"]).size()["correlation"].to_dict() == dict.fromkeys(RULES, 3)


def test_two_seeds_are_dots_without_an_interval(store):
    fill(store, seeds=2)
    drawn = made("epsilon", store)
    left, right = drawn.figure.get_axes()
    assert drawn.data[["low", "high"]].isna().all(axis=None)
    assert not any(bars.get_segments() for axes in (left, right) for bars in axes.collections)
    dots = [
        sorted(line.get_ydata()) for axes in (left, right) for line in axes.get_lines() if line.get_markersize() < 3
    ]
    assert dots[0] == pytest.approx(sorted(100 * store.epochs(epoch=6)["validation_error"]))
    assert [len(of_layer) for of_layer in dots[1:]] == [8, 8, 8]


def test_each_epsilon_has_the_colour_and_marker_of_its_protocol(store):
    fill(store)
    left, right = made("epsilon", store).figure.get_axes()
    for protocol in (FRFB, *INTERPOLATED, URFB):
        point = line_of(left, protocol.name)
        assert (point.get_color(), point.get_marker()) == (protocol.colour, protocol.marker)
    assert {line.get_markerfacecolor() for line in right.get_lines()} == {"white"}  # so no layer looks like a protocol


def test_an_epsilon_without_runs_is_lacking(store):
    store.add(6, rule="frfb")
    store.add(6, rule="urfb")
    drawn = made("epsilon", store)
    assert "interpolated ε 0.25, interpolated ε 0.5: no run" in drawn.shortfalls
    assert list(line_of(drawn.figure.get_axes()[0], "validation error").get_xdata()) == [0, 1]


def test_rules_without_an_epsilon_have_no_place(store):
    fill(store, experiments="rules")
    for rule in ("bp", "dfa", "usf", "zipser-rumelhart"):
        store.add(6, rule=rule, experiments="rules")
    drawn = made("epsilon", store, "rules")
    assert set(drawn.data["epsilon"]) == {0, 0.25, 0.5, 1}


def test_an_empty_store_gives_a_picture_that_says_so(store):
    drawn = made("epsilon", store)
    assert drawn.shortfalls == ["no run of this figure in the store"]
    assert drawn.data.empty


def test_every_seed_is_visible_next_to_its_epsilon(store):
    for seed in range(12):
        store.add(6, seed=seed, rule="frfb")
        store.add(6, seed=seed, rule="urfb")
    left, _ = made("epsilon", store).figure.get_axes()
    places, heights = left.get_lines()[-1].get_data()
    assert sorted(heights) == pytest.approx(sorted(100 * store.epochs(epoch=6)["validation_error"]))
    assert len(set(places)) == 24
    assert max(places) < left.get_xlim()[1]
    assert all(0 < place % 1 < 0.125 for place in places)  # closer to their ε than to the next, which is 0.25 away
