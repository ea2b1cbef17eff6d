import pytest

from tests.report.conftest import EARLY_STEPS, STEPS_AN_EPOCH, made


def lines_of(axes):
    return {line.get_label(): line for line in axes.get_lines()}


def fill(store, epochs=10, seeds=2):
    for rule in ("bp", "urfb", "frfb"):
        for seed in range(seeds):
            store.add(epochs, rule=rule, seed=seed)


def test_correlations_of_error_carrying_layers_are_drawn_by_step(store, edges_of):
    fill(store)
    left = made("alignment-and-error", store).figure.get_axes()[0]
    lines = lines_of(left)
    drawn = [f"{rule}, layer {layer}" for rule in ("URFB", "FRFB") for layer in (3, 2)]
    assert [label for label in lines if "layer" in label] == drawn
    measured = store.alignment(rule="urfb", layer=2).groupby("step")["correlation"].agg(["mean", "min", "max"])
    line = lines["URFB, layer 2"]
    assert list(line.get_xdata()) == [0, *EARLY_STEPS, *(STEPS_AN_EPOCH * epoch for epoch in range(1, 11))]
    assert line.get_ydata() == pytest.approx(measured["mean"].to_numpy())
    band = next(edges for edges in map(edges_of, left.collections[:2]) if edges[-1, 2] == measured["max"].iloc[-1])
    assert band == pytest.approx(measured[["min", "max"]].reset_index().to_numpy())
    assert left.get_xscale() == "symlog"
    assert [text.xy[0] for text in left.texts if text.get_text() == "epoch 1"] == [STEPS_AN_EPOCH]


def test_errors_are_drawn_against_the_mean_correlation_of_these_layers(store):
    fill(store)
    right = made("alignment-and-error", store).figure.get_axes()[1]
    alignment = store.alignment(rule="frfb", layer=[2, 3])
    correlation = alignment[alignment["epoch"] % 1 == 0].groupby("epoch")["correlation"].mean()
    error = 100 * store.epochs(rule="frfb").groupby("epoch")["validation_error"].mean()
    line = lines_of(right)["FRFB"]
    assert line.get_xdata() == pytest.approx(correlation.loc[1:].to_numpy())
    assert line.get_ydata() == pytest.approx(error.to_numpy())


def test_marked_epoch_bars_span_smallest_to_largest_error(store):
    fill(store)
    urfb, _ = made("alignment-and-error", store).figure.get_axes()[1].collections
    errors = store.epochs(rule="urfb", epoch=[1, 2, 3, 5, 10]).groupby("epoch")["validation_error"]
    ends = 100 * errors.agg(["min", "max"]).to_numpy()
    assert [bar[:, 1] for bar in urfb.get_segments()] == [pytest.approx(both) for both in ends]


def test_bp_levels_use_hinge_when_both_losses_are_present(store):
    for loss in ("softmax", "hinge"):
        store.add(3, rule="bp", loss=loss, experiments="both")
    store.add(3, experiments="both")
    labels = lines_of(made("alignment-and-error", store, "both").figure.get_axes()[1])
    assert {label.partition(", ")[0] for label in labels if "epoch" in label} == {"BP-H"}


def test_bp_error_is_a_level_line_for_each_distinct_epoch(store):
    fill(store)
    second = {
        row["seed"]: row["validation_error"] for row in store.epoch_rows if (row["rule"], row["epoch"]) == ("bp", 2)
    }
    for row in store.epoch_rows:
        if (row["rule"], row["epoch"]) == ("bp", 3):
            row["validation_error"] = second[row["seed"]] - 0.001
    right = made("alignment-and-error", store).figure.get_axes()[1]
    error = 100 * store.epochs(rule="bp").groupby("epoch")["validation_error"].mean()
    levels = {label: line for label, line in lines_of(right).items() if label.startswith("BP-H")}
    assert list(levels) == [f"BP-H, epoch {epoch}" for epoch in (1, 2, 5, 10)]
    bottom, top = right.get_ylim()
    for label, line in levels.items():
        assert line.get_ydata() == pytest.approx([error[int(label.rpartition(" ")[2])]] * 2)
        assert bottom < line.get_ydata()[0] < top


def test_epochs_are_written_next_to_points_far_enough_apart(store):
    fill(store, epochs=3)
    assert epochs_at(store, "URFB") == ["1", "2", "3"]
    urfb = [row for row in store.epoch_rows if row["rule"] == "urfb"]
    for row in urfb:
        row["validation_error"] = 0.6
    for row in store.alignment_rows:
        row["correlation"] = 0.3 if row["rule"] == "urfb" else row["correlation"]
    assert epochs_at(store, "URFB") == ["1"]


def epochs_at(store, protocol):
    """Return which epochs are written at the points of a protocol's line."""
    right = made("alignment-and-error", store).figure.get_axes()[1]
    points = lines_of(right)[protocol].get_xydata().tolist()
    return [text.get_text() for text in right.texts if list(text.xy) in points]


def test_the_table_has_what_is_drawn(store):
    fill(store)
    drawn = made("alignment-and-error", store)
    correlations, errors = (drawn.data[drawn.data["quantity"] == name] for name in ("correlation", "error"))
    assert set(correlations["layer"]) == {2, 3}
    assert errors.groupby("protocol")["epoch"].count().to_dict() == {"BP-H": 10, "URFB": 10, "FRFB": 10}
    assert errors.loc[errors["protocol"] == "BP-H", "correlation"].isna().all()
    left, right = drawn.figure.get_axes()
    for protocol in ("URFB", "FRFB"):
        of_protocol = errors[errors["protocol"] == protocol]
        line = lines_of(right)[protocol]
        assert line.get_xydata() == pytest.approx(of_protocol[["correlation", "mean"]].to_numpy())
        layer = correlations[(correlations["protocol"] == protocol) & (correlations["layer"] == 3)]
        assert lines_of(left)[f"{protocol}, layer 3"].get_ydata() == pytest.approx(layer["mean"].to_numpy())


def test_without_runs_of_back_propagation_there_are_no_levels(store):
    store.add(5)
    drawn = made("alignment-and-error", store)
    assert not any(label.startswith("BP") for label in lines_of(drawn.figure.get_axes()[1]))
    assert "BP-H, FRFB: no run" in drawn.shortfalls
    assert "Horizontal lines" not in drawn.explanation


def test_an_empty_store_gives_a_picture_that_says_so(store):
    drawn = made("alignment-and-error", store)
    assert drawn.shortfalls == ["no run of this figure in the store"]
    assert drawn.data.empty


def test_an_experiment_without_anything_but_back_propagation_is_drawn(store):
    store.add(3, rule="bp", experiments="only")
    drawn = made("alignment-and-error", store, "only")
    assert set(drawn.data["protocol"]) == {"BP-H"}
