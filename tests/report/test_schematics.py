import re

import matplotlib
import pytest
import torch
from matplotlib.text import Text

from tests.report.conftest import assert_legible
from urfb.nn.losses import hinge_loss
from urfb.nn.modules import Network
from urfb.nn.rules import RULES
from urfb.report.canvas import STYLE
from urfb.report.exhibits import Data
from urfb.report.schematics import feedback, feedforward

FIGURES = [feedforward, feedback]
NUMBER = r"−?\d+(?:\.\d+)?"


def drawn_by(draw):
    with matplotlib.rc_context(STYLE):
        return draw(Data([], {}))


def array(data, kind, layer):
    """Return the numbers of a kind and layer: [units], or [to, from] of connections."""
    rows = data[(data["kind"] == kind) & (data["layer"] == layer)]
    if kind in ("h", "x", "δ"):
        assert rows["from"].isna().all()
        return torch.tensor(rows.sort_values("to")["value"].to_numpy())
    return torch.tensor(rows.pivot(index="to", columns="from", values="value").to_numpy())


def value(data, kind, layer, to, source=None):
    rows = data[(data["kind"] == kind) & (data["layer"] == layer) & (data["to"] == to)]
    return (rows if source is None else rows[rows["from"] == source])["value"].item()


def texts_of(figure):
    """Return all texts, with mathtext without its braces."""
    texts = [text.get_text() for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    return [re.sub(r"[${}\\]", "", text) for text in texts]


def as_float(text):
    return float(text.replace("−", "-"))


@pytest.fixture(scope="module")
def trained():
    """The network of the figures as urfb trains it, after one example: h, x, δ and the increments of each layer."""
    data = drawn_by(feedback).data
    units = len(array(data, "x", 0))
    network = Network(
        f"Full {units}; Full {units}; Output", (units, 1, 1), units, RULES["urfb"], seed=0, dtype=torch.float64
    )
    inputs, outputs = [], []

    def keep(_, x, h):
        h.retain_grad()
        inputs.append(x[0])
        outputs.append(h)

    for number, layer in enumerate(network.layers, 1):
        with torch.no_grad():
            layer.weight.copy_(array(data, "W", number))
            layer.feedback.copy_(array(data, "R", number).T)  # kept in W's shape
        layer.register_forward_hook(keep)
    final = network(array(data, "x", 0).reshape(1, units, 1, 1))
    hinge_loss(final, torch.tensor([0]), off_class_weight=1 / (units - 1)).backward()
    return network, inputs, outputs


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_the_numbers_are_those_of_urfbs_own_network(trained, layer):
    network, inputs, outputs = trained
    data, trained_layer = drawn_by(feedback).data, network.layers[layer - 1]
    expected = {
        ("x", layer - 1): inputs[layer - 1][0],
        ("h", layer): outputs[layer - 1][0].detach(),
        ("δ", layer): outputs[layer - 1].grad[0],
        ("ΔW", layer): -trained_layer.weight.grad,
        ("ΔR", layer): -trained_layer.feedback.grad.T,
    }
    for (kind, where), numbers in expected.items():
        torch.testing.assert_close(array(data, kind, where), numbers, rtol=1e-12, atol=1e-12)


def test_the_output_is_linear_and_the_first_figure_has_the_same_numbers(trained):
    data = drawn_by(feedforward).data
    torch.testing.assert_close(array(data, "x", 3), trained[2][-1][0].detach())
    whole = drawn_by(feedback).data
    assert whole.merge(data).shape == data.shape


def test_the_example_is_instructive():
    data = drawn_by(feedback).data
    signals = array(data, "R", 3) @ array(data, "δ", 3)
    saturated = array(data, "h", 2).abs() > 1
    assert saturated.tolist() == [True, False, False]
    assert signals[0] != 0, "it is σ′ that stops the signal"
    assert array(data, "δ", 2)[0] == 0
    assert array(data, "x", 3).argmax() != 0, "the example is not yet classified rightly"
    assert (array(data, "ΔW", 2)[1] != 0).all(), "every connection of unit (2, 2) learns"


def test_w_and_r_take_the_same_increment():
    data = drawn_by(feedback).data
    for layer in (1, 2, 3):
        assert torch.equal(array(data, "ΔW", layer), array(data, "ΔR", layer).T)


def test_figure_1_writes_every_activity_and_the_sum_of_the_chosen_unit():
    drawn = drawn_by(feedforward)
    texts = texts_of(drawn.figure)
    for layer in range(4):
        for number in array(drawn.data, "x", layer).tolist():
            lines = [line for text in texts for line in text.split("\n")]
            written = [as_float(match[1]) for line in lines if (match := re.fullmatch(rf"x ({NUMBER})", line))]
            assert min(abs(shown - number) for shown in written) < 0.005 + 1e-9
    [sum_] = [text for text in texts if text.startswith("h_2,2 =")]
    terms = re.findall(rf"\(?({NUMBER})\)?·\(?({NUMBER})\)?", sum_)
    assert [tuple(map(as_float, term)) for term in terms] == [
        pytest.approx((value(drawn.data, "W", 2, 2, j), value(drawn.data, "x", 1, j))) for j in (1, 2, 3)
    ]
    total = sum(as_float(weight) * as_float(activity) for weight, activity in terms)
    assert total == pytest.approx(value(drawn.data, "h", 2, 2))
    assert as_float(sum_.split()[-1]) == pytest.approx(value(drawn.data, "x", 2, 2))


def test_figure_2_writes_what_comes_down_and_what_is_learned():
    drawn = drawn_by(feedback)
    texts, data = texts_of(drawn.figure), drawn.data
    for text in (f"R_3,2{k}\n{value(data, 'R', 3, 2, k):g}" for k in (1, 2, 3)):
        assert text.replace("-", "−") in texts
    [total] = [text for text in texts if text.startswith("Sigma_k")]
    assert as_float(total.split()[-1]) == pytest.approx(
        sum(value(data, "R", 3, 2, k) * value(data, "δ", 3, k) for k in (1, 2, 3))
    )
    increments = [as_float(text.split()[-1]) for text in texts if text.startswith(f"−{value(data, 'δ', 2, 2):g}·")]
    assert increments == pytest.approx([value(data, "ΔW", 2, 2, j) for j in (1, 2, 3)])
    assert increments == pytest.approx([value(data, "ΔR", 2, j, 2) for j in (1, 2, 3)])
    for j in (1, 2, 3):
        assert f"W_2,2{j}\n{value(data, 'W', 2, 2, j):g}".replace("-", "−") in texts
        assert f"R_2,{j}2\n{value(data, 'R', 2, j, 2):g}".replace("-", "−") in texts


def test_the_order_of_computation_runs_from_the_top_down():
    figure = drawn_by(feedback).figure
    heights = {}
    for text in figure.findobj(Text):
        if re.fullmatch("[123]", text.get_text()):
            heights.setdefault(int(text.get_text()), []).append(text.get_position()[1])
    assert sorted(heights) == [1, 2, 3]
    assert min(heights[1]) > max(heights[2])
    assert min(heights[2]) > max(heights[3])


@pytest.mark.parametrize("draw", FIGURES)
def test_all_that_is_written_can_be_read(draw):
    assert_legible(drawn_by(draw).figure)


@pytest.mark.parametrize("draw", FIGURES)
def test_the_figures_need_no_run_and_lack_nothing(draw):
    drawn = drawn_by(draw)
    assert drawn.runs.empty
    assert drawn.shortfalls == []
