import pytest
from matplotlib.colors import to_hex

from tests.report.conftest import made
from urfb.report.protocols import BP, BP_H, FRFB, URFB


def lines_of(drawn):
    return {line.get_label(): line for line in drawn.figure.axes[0].get_lines()}


def legend_of(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def status_of(drawn):
    return [text.get_text() for text in drawn.figure.texts]


def test_the_lines_are_the_mean_errors_in_percent(store):
    store.add_protocols(5, sparse=False)
    drawn = made("4", store)
    lines = lines_of(drawn)
    epochs = store.epochs()
    for protocol in (BP, BP_H, URFB, FRFB):
        for name, style in (("training", "-"), ("validation", ":")):
            line = lines[f"{protocol.name}, {name}"]
            same = epochs[(epochs["rule"] == protocol.rule) & (epochs["loss"] == protocol.loss)]
            expected = 100 * same.groupby("epoch")[f"{name}_error"].mean()
            assert line.get_xdata() == pytest.approx([1, 2, 3, 4, 5])
            assert line.get_ydata() == pytest.approx(expected.to_numpy())
            assert line.get_linestyle() == style
            assert to_hex(line.get_color()) == protocol.colour
            assert line.get_marker() == protocol.marker
    assert len(lines) == 8


def test_the_axes_say_what_they_are(store):
    store.add_protocols(5, sparse=False)
    [axes] = made("4", store).figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "error (%)")
    assert axes.get_title() == "simpnet, CIFAR-10 (3 seeds, 5 epochs)"
    assert sorted(legend_of(axes)) == ["BP", "BP-H", "FRFB", "URFB", "training", "validation"]


def test_the_band_goes_from_the_smallest_to_the_largest_seed(store):
    for seed in range(3):
        store.add(4, seed=seed)
    drawn = made("4", store)
    training = store.epochs().groupby("epoch")["training_error"]
    rows = drawn.data[drawn.data["set"] == "training"]
    assert rows["low"].to_numpy() == pytest.approx(100 * training.min().to_numpy())
    assert rows["high"].to_numpy() == pytest.approx(100 * training.max().to_numpy())
    assert len(drawn.figure.axes[0].collections) == 2
    assert "bands span the smallest to the largest value" in drawn.explanation


def test_the_table_has_the_lines_and_bands_that_are_drawn(store, edges_of):
    store.add_protocols(4)
    long = store.add(6, seed=3)
    drawn = made("4", store)
    [axes] = drawn.figure.axes
    lines = [line for line in axes.get_lines() if long not in line.get_label()]
    for line, band in zip(lines, axes.collections, strict=True):
        protocol, name = line.get_label().split(", ")
        table = drawn.data[(drawn.data["protocol"] == protocol) & (drawn.data["set"] == name) & ~drawn.data["alone"]]
        assert line.get_xydata().tolist() == pytest.approx(table[["epoch", "mean"]].to_numpy())
        several = table[table["n"] > 1]
        assert edges_of(band) == pytest.approx(several[["epoch", "low", "high"]].to_numpy())


@pytest.mark.parametrize("epochs", [1, 2, 40])
def test_each_line_has_a_few_markers(store, epochs):
    store.add_protocols(epochs, seeds=1, experiments="quick")
    for line in lines_of(made("4", store, "quick")).values():
        marked = line.get_markevery()
        assert 1 <= len(marked) <= 5
        assert max(marked) < epochs


def test_the_axes_contain_the_lines_of_every_panel(store):
    for dataset in ("cifar10", "cifar100"):
        for seed in (0, 1):
            store.add(3, dataset=dataset, seed=seed, experiments="quick")
    for row in store.epoch_rows:
        row["training_error"] -= 0.2 * row["seed"]  # bands are wide
    drawn = made("4", store, "quick")
    for axes, (_, lines) in zip(drawn.figure.axes, drawn.data.groupby("panel", sort=False), strict=True):
        bottom, top = axes.get_ylim()
        assert bottom < lines["low"].min() < lines["high"].max() < top


@pytest.mark.parametrize(("errors", "bottom"), [((0.1, 0.9), 0), ((0.47, 0.88), 40), ((0.78, 0.99), 75)])
def test_an_axis_starts_at_the_tick_below_the_lowest_error(store, errors, bottom):
    store.add(2)
    for row, error in zip(store.epoch_rows, errors, strict=True):
        row["training_error"] = row["validation_error"] = error
    drawn = made("4", store)
    [axes] = drawn.figure.axes
    assert axes.get_ylim()[0] == axes.get_yticks()[0] == bottom
    assert ("do not start at 0" in drawn.explanation) == (bottom > 0)


def test_panels_of_one_data_set_have_the_same_axes_and_others_their_own(store):
    for offset, epochs in ((0.0, 12), (0.5, 4)):
        store.add(epochs, input_offset=offset)
        store.add(6, network="deepernet", dataset="cifar100", off_class_weight=1 / 99, input_offset=offset)
    first, second, *others = made("input-offset", store).figure.axes
    assert (first.get_xlim(), first.get_ylim()) == (second.get_xlim(), second.get_ylim())
    assert first.get_xlim()[1] > 12
    assert all(axes.get_ylim() != first.get_ylim() for axes in others)


def test_a_panel_without_runs_is_left_out(store):
    store.add(3, input_offset=0.5)
    drawn = made("input-offset", store)
    [axes] = drawn.figure.axes
    assert axes.get_title() == "simpnet, CIFAR-10, input offset 0.5\n(1 seed, 3 epochs)"
    assert any("input offset 0;" in shortfall and shortfall.endswith("no run") for shortfall in drawn.shortfalls)


def test_one_seed_has_no_band(store):
    store.add(4)
    drawn = made("4", store)
    assert not drawn.figure.axes[0].collections
    assert "band" not in drawn.explanation


def test_means_end_with_the_shortest_seed_and_longer_ones_are_thin(store):
    runs = [store.add(epochs, seed=seed) for seed, epochs in enumerate((6, 4, 8))]
    drawn = made("4", store)
    rows = drawn.data[drawn.data["set"] == "validation"]
    errors = 100 * store.epochs().set_index(["run", "epoch"])["validation_error"]
    mean = rows[~rows["alone"]]
    assert list(mean["epoch"]) == [1, 2, 3, 4]
    assert set(mean["runs"]) == {" ".join(runs)}
    assert mean["mean"].to_numpy() == pytest.approx(errors.groupby("epoch").mean().loc[:4].to_numpy())
    lines = lines_of(drawn)
    for run, last in ((runs[0], 6), (runs[2], 8)):
        of_run = rows[rows["alone"] & (rows["runs"] == run)]
        assert list(of_run["epoch"]) == list(range(1, last + 1)), "a line that started at epoch 4 would seem to jump"
        assert of_run["mean"].to_numpy() == pytest.approx(errors[run].to_numpy())
        assert set(of_run["n"]) == {1}
        thin, thick = lines[f"URFB, validation, run {run}"], lines["URFB, validation"]
        assert thin.get_xydata() == pytest.approx(of_run[["epoch", "mean"]].to_numpy())
        assert thin.get_color() == thick.get_color()
        assert thin.get_linewidth() < thick.get_linewidth()
    assert not any(runs[1] in label for label in lines)
    assert "Thin lines are single seeds" in drawn.explanation
    assert drawn.figure.axes[0].get_title() == "simpnet, CIFAR-10 (3 seeds, 4 to 8 epochs)"


def test_seeds_of_one_length_have_no_thin_line(store):
    for seed in range(2):
        store.add(12, seed=seed)
    drawn = made("4", store)
    assert not drawn.data["alone"].any()
    assert len(lines_of(drawn)) == 2
    assert "Thin" not in drawn.explanation


def test_seeds_without_an_epoch_in_common_are_thin_lines(store):
    first, second = store.add(2, seed=0), store.add(4, seed=1)
    store.epoch_rows = [row for row in store.epoch_rows if row["run"] == first or row["epoch"] > 2]
    drawn = made("4", store)
    assert drawn.data["alone"].all()
    assert set(lines_of(drawn)) == {
        f"URFB, {name}, run {run}" for name in ("training", "validation") for run in (first, second)
    }


def test_protocols_of_different_extent_have_their_seeds_in_the_legend(store):
    store.add(6)
    store.add(4, rule="frfb", seed=0)
    store.add(4, rule="frfb", seed=1)
    [axes] = made("4", store).figure.axes
    assert {"URFB (1 seed)", "FRFB (2 seeds)"} < set(legend_of(axes))


def test_another_step_size_changes_nothing(store):
    store.add(4)
    alone = made("4", store).data
    store.add(4, step_size=0.01)
    store.add(9, step_size=1.0, seed=1)
    assert made("4", store).data.equals(alone)


def test_the_figure_says_that_runs_are_missing(store):
    store.add(1000, rule="bp", loss="softmax")
    store.add(25)
    store.add(12, rule="frfb", state="failed", seed=2)
    drawn = made("4", store)
    assert drawn.shortfalls == [
        "BP, URFB, FRFB: 1 of 3 seeds",
        "BP-H: no run",
        "URFB: 25 of the paper's 1,000 epochs",
        "FRFB: 12 of the paper's 1,000 epochs",
        "FRFB: seed 2 failed",
    ]
    assert status_of(drawn) == ["Incomplete. See the caption."]


def test_a_run_that_has_only_been_planned_is_not_drawn(store):
    store.add(0, state="new", epochs_target=1000, tested=False)
    drawn = made("4", store)
    assert drawn.data.empty
    assert drawn.runs.empty
    assert "URFB: no epoch yet" in drawn.shortfalls


def test_a_short_seed_among_long_ones_is_counted(store):
    store.add(1000, seed=0)
    store.add(25, seed=1)
    assert "URFB: 25 of the paper's 1,000 epochs in 1 of 2 runs" in made("4", store).shortfalls


def test_a_complete_figure_lacks_nothing(store):
    store.add_protocols(1000, sparse=False)
    assert made("4", store).shortfalls == []


def test_an_empty_store_gives_a_picture_that_says_so(store):
    drawn = made("4", store)
    assert drawn.shortfalls == ["no run of this figure in the store"]
    assert status_of(drawn) == ["No run of this figure is in the store."]
    assert not drawn.figure.axes
    assert list(drawn.data.columns) == [
        "panel",
        "protocol",
        "set",
        "epoch",
        "mean",
        "low",
        "high",
        "n",
        "alone",
        "runs",
    ]


def test_an_experiment_is_measured_by_its_own_target(store):
    store.add_protocols(5, seeds=1, experiments="quick")
    store.add(3, step_size=1.0, epochs_target=5, state="unfinished", experiments="quick")
    drawn = made("4", store, "quick")
    assert drawn.shortfalls == ["CIFAR-10, step size 1: 3 of 5 epochs"]
    first, second = drawn.figure.axes
    assert len(first.get_lines()) == 12
    assert len(second.get_lines()) == 2
    assert second.get_title() == "simpnet, CIFAR-10, step size 1 (1 seed, 3 epochs)"


def test_a_legend_of_long_words_stays_within_the_figure(store):
    for rule, loss in (("bp", "softmax"), ("bp", "hinge"), ("urfb", "hinge"), ("frfb", "hinge")):
        for seed, epochs in enumerate((10, 10 if rule == "frfb" else 20)):
            store.add(epochs, network="deepernet", dataset="cifar100", rule=rule, loss=loss, seed=seed,
                      off_class_weight=1 / 99)  # fmt: skip
    figure = made("7", store).figure
    figure.canvas.draw()
    legend = figure.get_axes()[0].get_legend().get_window_extent()
    assert 0 <= legend.x0 < legend.x1 <= figure.bbox.x1
