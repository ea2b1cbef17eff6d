import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.report.conftest import EARLY_STEPS, STEPS_AN_EPOCH, made


def lines_of(axes):
    return {line.get_label(): line for line in axes.get_lines()}


def test_urfb_is_left_and_frfb_right_with_a_line_a_layer(store):
    store.add_protocols(4)
    drawn = made("10", store)
    left, right = drawn.figure.get_axes()
    assert left.get_title() == "URFB (3 seeds, 4 epochs)"
    assert right.get_title() == "FRFB (3 seeds, 4 epochs)"
    assert "No error passes through R of layer 1." in drawn.explanation
    for axes, rule in ((left, "urfb"), (right, "frfb")):
        measured = store.alignment(rule=rule, connectivity=1.0)
        lines = lines_of(axes)
        assert len(lines) == 3
        for name in ("Conv 32 5x5", "Full 500", "Output"):
            line = lines[f"{name}, all entries"]
            expected = measured[measured["layer_name"] == name].groupby("epoch")["correlation"].mean()
            early = [step / STEPS_AN_EPOCH for step in EARLY_STEPS]
            assert line.get_xdata() == pytest.approx([0, *early, 1, 2, 3, 4])
            assert line.get_ydata() == pytest.approx(expected.to_numpy())
            assert line.get_linestyle() == "-"


def test_the_table_has_the_lines_and_bands_that_are_drawn(store, edges_of):
    store.add_protocols(4, experiments="quick")
    drawn = made("10", store, "quick")
    kinds = {"all entries": "all", "connections of both": "shared"}
    of_line = drawn.data.groupby(["protocol", "layer_name", "entries"])
    compared = set()
    for axes in drawn.figure.get_axes():
        protocol = axes.get_title().split(" (")[0]
        for line, band in zip(axes.get_lines(), axes.collections, strict=True):
            layer, words = line.get_label().split(", ")
            table = of_line.get_group((protocol, layer, kinds[words]))
            assert line.get_xydata() == pytest.approx(table[["epoch", "mean"]].to_numpy())
            assert edges_of(band) == pytest.approx(table[["epoch", "low", "high"]].to_numpy())
            compared.add((protocol, layer, kinds[words]))
    assert compared == set(of_line.groups)


def test_both_panels_have_one_scale_and_one_look_a_layer(store):
    store.add_protocols(4)
    left, right = made("10", store).figure.get_axes()
    assert left.get_ylim() == right.get_ylim()
    assert left.get_xlim() == right.get_xlim()
    assert left.get_ylabel() == "correlation of W and Rᵗ"
    looks = [{name: (line.get_color(), line.get_marker()) for name, line in lines_of(a).items()} for a in (left, right)]
    assert looks[0] == looks[1]
    assert len(set(looks[0].values())) == 3


def test_a_layer_looks_the_same_with_and_without_the_output(store):
    fill = {"gradient_batch": 500, "experiments": "quick"}
    store.add(3, **fill)
    figures = [made(name, store, "quick").figure for name in ("10", "saturation")]
    looks = [
        (line.get_color(), line.get_marker())
        for figure in figures
        for label, line in lines_of(figure.get_axes()[0]).items()
        if label.startswith("Full 500")
    ]
    assert len(looks) == 2
    assert len(set(looks)) == 1


def test_the_highest_layer_comes_first_in_the_legend(store):
    store.add_protocols(4)
    [part] = made("10", store).figure.subfigs
    [legend] = part.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["layer 3: Output", "layer 2: Full 500", "layer 1: Conv 32 5x5"]


def test_a_negative_correlation_is_within_the_axes(store):
    store.add(3)
    for row in store.alignment_rows:
        row["correlation"] -= 0.5
    drawn = made("10", store)
    assert drawn.figure.get_axes()[0].get_ylim()[0] < drawn.data["low"].min() < -0.4


def test_sparse_runs_have_both_correlations(store):
    store.add(3, connectivity=0.5, experiments="quick")
    store.add(3, experiments="quick")
    drawn = made("10", store, "quick")
    dense, sparse = drawn.figure.get_axes()
    assert (dense.get_title(), sparse.get_title()) == ("URFB (1 seed, 3 epochs)", "URFB 50 % (1 seed, 3 epochs)")
    assert len(dense.get_lines()) == 3
    assert len(sparse.get_lines()) == 6
    shared = lines_of(sparse)["Output, connections of both"]
    assert shared.get_linestyle() == ":"
    counts = drawn.data.groupby(["protocol", "entries"]).size()
    points = 3 * (4 + len(EARLY_STEPS))
    kinds = [("URFB", "all"), ("URFB 50 %", "all"), ("URFB 50 %", "shared")]
    assert counts.to_dict() == dict.fromkeys(kinds, points)


def test_a_sparse_r_with_a_dense_w_has_both_correlations(store):
    store.add(2, feedback_connectivity=0.5, experiments="quick")
    assert set(made("10", store, "quick").data["entries"]) == {"all", "shared"}
    assert "dotted lines over the connections that both W and R have" in made("10", store, "quick").explanation


def test_second_stage_plot_counts_own_epochs_and_omits_frozen(store):
    two_stages = {"pretraining_epochs": 100, "pretraining_rule": "urfb", "frozen": "1"}
    store.add(103, network="deepnet_s", untied="all", untied_start="independent", **two_stages)
    drawn = made("11", store)
    urfb = drawn.figure.get_axes()[0]
    assert urfb.get_title() == "URFB (1 seed, 3 epochs)"
    line = lines_of(urfb)["Full 500, all entries"]
    measured = store.alignment(layer=2, epoch=[101.0, 102.0, 103.0])
    assert line.get_xdata() == pytest.approx([1, 2, 3])
    assert line.get_ydata() == pytest.approx(measured["correlation"].to_numpy())
    assert set(drawn.data["layer"]) == {2, 3}
    assert "URFB: 103 of the paper's 1,100 epochs" in drawn.shortfalls


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 10**6), st.data())
def test_whole_epochs_are_exact_numbers_and_no_others_are(first_stage, epoch, steps, data):
    """A measurement's epoch is step / steps an epoch. So reports compare epochs without a tolerance."""
    whole = (first_stage + epoch) * steps
    assert whole / steps - first_stage == epoch
    if steps > 1:
        assert (epoch * steps + data.draw(st.integers(1, steps - 1))) / steps % 1 != 0


def test_a_correlation_that_is_not_defined_is_left_out(store):
    store.add(3)
    for row in store.alignment_rows:
        if row["layer"] == 1:
            row["correlation"] = None
    drawn = made("10", store)
    assert set(drawn.data["layer"]) == {2, 3}


def test_missing_runs_are_listed(store):
    store.add(3)
    store.add(0, rule="frfb", state="new", epochs_target=1000, tested=False)
    store.alignment_rows = [row for row in store.alignment_rows if row["rule"] == "urfb"]
    drawn = made("10", store)
    assert drawn.shortfalls == [
        "URFB: 3 of the paper's 1,000 epochs",
        "URFB: 1 of 3 seeds",
        "FRFB: nothing measured yet",
    ]
    assert [axes.get_title() for axes in drawn.figure.get_axes()] == ["URFB (1 seed, 3 epochs)"]


def test_rows_of_one_panel_say_how_they_differ(store):
    for changed in (
        {},
        {"connectivity": 0.5},
        {"connectivity": 0.5, "feedback_connectivity": 1.0},
        {"loss": "softmax"},
    ):
        store.add(2, experiments="quick", **changed)
    drawn = made("10", store, "quick")
    assert [part.get_suptitle() for part in drawn.figure.subfigs] == [
        "simpnet, CIFAR-10, hinge, connectivity 1",
        "simpnet, CIFAR-10, softmax, connectivity 1",
        "simpnet, CIFAR-10, hinge, connectivity 0.5, feedback\nconnectivity 1",
        "simpnet, CIFAR-10, hinge, connectivity 0.5",
    ]
    assert set(drawn.data["panel"]) == {"simpnet, CIFAR-10"}


def test_a_row_alone_has_the_title_of_its_panel(store):
    store.add_protocols(2)
    [part] = made("10", store).figure.subfigs
    assert part.get_suptitle() == "simpnet, CIFAR-10"


@pytest.mark.parametrize("experiment", [None, "quick"])
def test_without_a_run_that_has_feedback_the_picture_says_so(store, experiment):
    store.add(3, rule="bp", experiments="quick")
    drawn = made("10", store, experiment)
    assert drawn.shortfalls == ["no run of this figure in the store"]
    assert [text.get_text() for text in drawn.figure.texts] == ["No run of this figure is in the store."]
    assert drawn.data.empty


def test_only_w_shaped_feedback_is_drawn_in_rows_of_four(store):
    rules = ("urfb", "frfb", "usf", "brsf", "frsf", "sham", "zipser-rumelhart")
    for rule in (*rules, "bp", "dfa", "shallow"):
        store.add(3, rule=rule, experiments="all")
    drawn = made("10", store, "all")
    figure = drawn.figure
    assert [len(part.get_axes()) for part in figure.subfigs] == [4, 3]
    assert len(figure.get_axes()) == len(rules)
    assert not any(word in axes.get_title() for axes in figure.get_axes() for word in ("BP", "DFA", "shallow"))
    assert drawn.explanation.endswith(
        "For uSF, brSF, frSF and sham, R is the tensor that carries the error signal; it may depend on W. "
        "Rules without an R of Wᵗ's shape are not shown: DFA and shallow."
    )


def test_gradients_are_drawn_as_cosines_of_the_runs_that_measured_them(store):
    store.add_protocols(3, sparse=False)
    for rule in ("urfb", "frfb"):
        store.add(3, rule=rule, gradient_batch=500)
    drawn = made("gradients", store)
    left, right = drawn.figure.get_axes()
    assert (left.get_title(), right.get_title()) == ("URFB (1 seed, 3 epochs)", "FRFB (1 seed, 3 epochs)")
    assert left.get_ylabel() == "cosine with BP's gradient"
    for axes, rule in ((left, "urfb"), (right, "frfb")):
        measured = store.alignment(rule=rule, gradient_batch=500.0, layer=1)
        line = lines_of(axes)["Conv 32 5x5, all entries"]
        assert line.get_ydata() == pytest.approx(measured["gradient_cosine"].to_numpy())
        assert lines_of(axes)["Output, all entries"].get_ydata() == pytest.approx(1)
    assert "The gradient of layer 3, the output, equals that of back-propagation." in drawn.explanation
    assert "cosine" in drawn.meaning


def test_gradients_are_drawn_for_dfa_feedback_but_not_for_bp(store):
    for rule in ("bp", "dfa", "urfb"):
        store.add(2, rule=rule, gradient_batch=500, experiments="all")
    titles = [axes.get_title() for axes in made("gradients", store, "all").figure.get_axes()]
    assert titles == ["URFB (1 seed, 2 epochs)", "DFA (1 seed, 2 epochs)"]


def test_hidden_layer_saturation_is_drawn_for_each_loss(store):
    store.add_protocols(3, sparse=False)
    drawn = made("saturation", store)
    part, *_without_runs = drawn.figure.subfigs
    assert part.get_suptitle() == "simpnet, CIFAR-10, input offset 0"
    assert [axes.get_title() for axes in part.get_axes()] == [
        f"{name} (3 seeds, 3 epochs)" for name in ("BP", "BP-H", "URFB", "FRFB")
    ]
    assert part.get_axes()[0].get_ylabel() == "saturated units"
    for axes, (rule, loss) in zip(
        part.get_axes(), [("bp", "softmax"), ("bp", "hinge"), ("urfb", "hinge"), ("frfb", "hinge")], strict=True
    ):
        measured = store.alignment(rule=rule, loss=loss, layer=2).groupby("step")["saturation"].mean()
        lines = lines_of(axes)
        assert lines["Full 500, all entries"].get_ydata() == pytest.approx(measured.to_numpy())
        assert len(measured) == 10
        assert set(lines) == {"Conv 32 5x5, all entries", "Full 500, all entries"}
    assert "passes no error signal on" in drawn.explanation


def test_protocols_without_measurements_leave_the_others_aligned(store):
    store.add_protocols(3, sparse=False, input_offset=0.5)
    for rule in ("urfb", "frfb"):
        store.add(3, rule=rule)
    parts = made("saturation", store).figure.subfigs
    assert len(parts) == 2, "without the panels of deepernet"
    columns = [
        {axes.get_title().partition(" ")[0]: axes.get_subplotspec().colspan.start for axes in part.get_axes()}
        for part in parts
    ]
    assert columns == [{"URFB": 0, "FRFB": 1}, {"URFB": 0, "FRFB": 1, "BP": 2, "BP-H": 3}]
    assert all(part.get_axes()[0].get_ylabel() == "saturated units" for part in parts[:1])


def test_a_run_whose_saturation_was_never_measured_is_no_curve_at_0(store):
    store.add(3, rule="urfb")
    for row in store.alignment_rows:
        row.pop("saturation", None)
    drawn = made("saturation", store)
    assert drawn.data.empty
    assert not drawn.figure.get_axes()


def test_seed_measured_from_a_later_epoch_keeps_the_line_in_order(store):
    for seed in (0, 1):
        store.add(20, rule="urfb", seed=seed)
    store.alignment_rows = [row for row in store.alignment_rows if row["seed"] == 1 or row["epoch"] > 12]
    drawn = made("saturation", store)
    lines = lines_of(drawn.figure.get_axes()[0])
    line = lines["Full 500, all entries"]
    assert line.get_xdata().tolist() == list(range(13, 21))
    [alone] = [line for label, line in lines.items() if label.startswith("Full 500, all entries, run")]
    early = [step / STEPS_AN_EPOCH for step in EARLY_STEPS]
    assert alone.get_xdata() == pytest.approx([0, *early, *range(1, 21)])
    drawn.figure.canvas.draw()  # matplotlib only then looks where markers are to be
