"""Identities that hold for rules, masks and untied layers, in float64 over several training steps."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers import tiny_spec
from urfb.data.datasets import Dataset, load
from urfb.grid.spec import RunSpec
from urfb.nn.losses import hinge_loss
from urfb.nn.modules import Network
from urfb.nn.rules import RULES
from urfb.training.networks import build_learner, build_network
from urfb.training.passes import Passes

TEXT = "Conv 4 3x3; Conv 4 3x2; SUM; Maxpool 3; Drop .3; Conv 3 2x2; Maxpool 2; Full 12; Output"
PARAMETERS: dict[str, dict[str, float]] = {
    **{rule: {} for rule in RULES},
    "kolen-pollack": {"decay": 0.01},
    "interpolated": {"epsilon": 0.5},
}


@pytest.fixture(scope="module")
def digits() -> Dataset:
    """The digits with only 200 training images, which are four steps per epoch."""
    full = load("digits", Path())
    training = type(full.training)(full.training.images[:200], full.training.labels[:200])
    return Dataset(full.info, training, full.validation, full.test)


def spec_of(rule: str, **settings: Any) -> RunSpec:
    settings = {"network": TEXT, "precision": "float64", "step_size": 0.5, **PARAMETERS.get(rule, {}), **settings}
    return tiny_spec(rule=rule, **settings)


def trained(spec: RunSpec, digits: Dataset, start: Network | None = None) -> Network:
    """Return the network after an epoch, from `start` or as the run draws it."""
    network = build_network(spec, digits.info) if start is None else start
    assert isinstance(network, Network)
    Passes(build_learner(network, spec), spec, digits).train(1)
    return network


def drawn(spec: RunSpec, digits: Dataset) -> Network:
    network = build_network(spec, digits.info)
    assert isinstance(network, Network)
    return network


def weights(network: Network) -> list[Tensor]:
    return [layer.weight.detach() for layer in network.layers]


def feedback(network: Network) -> list[Tensor]:
    return [layer.feedback.detach() for layer in network.layers if layer.feedback is not None]


def shared(network: Network) -> list[Tensor]:
    """Return masks of the connections that both W and R have."""
    every = []
    for layer in network.layers:
        both = torch.ones_like(layer.weight, dtype=torch.bool)
        for mask in (layer.mask, layer.feedback_mask):
            both &= torch.ones_like(both) if mask is None else mask.bool()
        every.append(both)
    return every


def assert_equal(tensors: list[Tensor], expected: list[Tensor], tolerance: float = 0.0) -> None:
    for tensor, value in zip(tensors, expected, strict=True):
        torch.testing.assert_close(tensor, value, rtol=0, atol=tolerance)


UNTIED = pytest.mark.parametrize("untied", ["none", "2 3", "all"])
SPARSE = pytest.mark.parametrize("connectivity", [1.0, 0.5])


@UNTIED
@SPARSE
@pytest.mark.parametrize("rule", ["sham", "zipser-rumelhart"])
def test_feedback_that_is_w_transposed_is_back_propagation(
    rule: str, untied: str, connectivity: float, digits: Dataset
) -> None:
    settings = {"untied": untied, "connectivity": connectivity}
    network, bp = trained(spec_of(rule, **settings), digits), trained(spec_of("bp", **settings), digits)
    assert_equal(weights(network), weights(bp), 1e-12)
    if rule == "zipser-rumelhart":
        assert_equal(feedback(network), weights(network), 1e-12)


@UNTIED
@SPARSE
@pytest.mark.parametrize("rule", ["urfb", "kolen-pollack"])
def test_w_minus_r_is_fixed_in_urfb_and_decays_in_kolen_pollack(
    rule: str, untied: str, connectivity: float, digits: Dataset
) -> None:
    spec = spec_of(rule, untied=untied, connectivity=connectivity, feedback_connectivity=0.7)
    start = drawn(spec, digits)
    end = trained(spec, digits, copy.deepcopy(start))
    kept = (1 - 0.01) ** 4 if rule == "kolen-pollack" else 1.0
    rows = zip(weights(start), feedback(start), weights(end), feedback(end), shared(start), strict=True)
    for w0, r0, w, r, both in rows:
        assert (w - w0)[both].abs().max() > 1e-3
        torch.testing.assert_close((w - r)[both], kept * (w0 - r0)[both], rtol=0, atol=1e-12)


@UNTIED
def test_epsilon_interpolates_from_frfb_to_urfb_and_beyond(untied: str, digits: Dataset) -> None:
    for epsilon, rule in ((0.0, "frfb"), (1.0, "urfb")):
        interpolated = trained(spec_of("interpolated", epsilon=epsilon, untied=untied), digits)
        known = trained(spec_of(rule, untied=untied), digits)
        assert_equal(weights(interpolated), weights(known))
        assert_equal(feedback(interpolated), feedback(known))
    for epsilon in (-1.0, 0.25, 2.0):
        spec = spec_of("interpolated", epsilon=epsilon, untied=untied)
        start = drawn(spec, digits)
        end = trained(spec, digits, copy.deepcopy(start))
        moved = [after - before for before, after in zip(weights(start), weights(end), strict=True)]
        assert_equal(
            [after - before for before, after in zip(feedback(start), feedback(end), strict=True)],
            [epsilon * difference for difference in moved],
            1e-12,
        )


@pytest.mark.parametrize("rule", ["frfb", "usf", "frsf", "dfa"])
def test_fixed_feedback_does_not_change(rule: str, digits: Dataset) -> None:
    spec = spec_of(rule, untied="2")
    assert_equal(feedback(trained(spec, digits)), feedback(drawn(spec, digits)))


@pytest.mark.parametrize("rule", ["usf", "brsf", "frsf"])
def test_sign_symmetric_feedback_has_the_current_signs_of_w(rule: str, digits: Dataset) -> None:
    network = trained(spec_of(rule, untied="2", connectivity=0.5), digits)
    for layer in network.layers:
        carrier = layer.carrier()
        assert carrier is not None
        assert torch.equal(carrier.sign(), layer.weight.sign())
        magnitudes = carrier.abs()[layer.weight != 0]
        assert (magnitudes.std() < 1e-12) == (rule == "usf")
    fixed, again = drawn(spec_of(rule), digits), trained(spec_of(rule), digits)
    changed = [not torch.equal(*pair) for pair in zip(feedback(fixed), feedback(again), strict=True)]
    assert all(changed) == any(changed) == (rule == "brsf")


@UNTIED
@pytest.mark.parametrize("rule", sorted(RULES))
def test_missing_connections_stay_zero_and_match_in_every_rule(rule: str, untied: str, digits: Dataset) -> None:
    spec = spec_of(rule, untied=untied, connectivity=0.5)
    torch.manual_seed(0)  # other draws must have no effect
    torch.rand(3)
    network = trained(spec, digits)
    for layer, urfb in zip(network.layers, drawn(spec_of("urfb", untied=untied, connectivity=0.5), digits).layers,
                           strict=True):  # fmt: skip
        if layer.is_output:
            assert layer.mask is None
            assert not (layer.weight == 0).any()
            continue
        assert layer.mask is not None
        assert torch.equal(layer.mask, urfb.mask)  # type: ignore[arg-type]
        assert torch.equal(layer.weight == 0, layer.mask == 0)
        if layer.feedback is not None:
            assert torch.equal(layer.feedback == 0, layer.feedback_mask == 0)  # type: ignore[operator]


@pytest.mark.parametrize("rule", sorted(RULES))
def test_untied_copies_convolve_and_gradients_sum_to_the_filters(rule: str, digits: Dataset) -> None:
    untied_spec = spec_of(rule, untied="all", untied_start="tied-copy")
    tied, untied = drawn(spec_of(rule), digits).eval(), drawn(untied_spec, digits).eval()
    x = torch.rand(5, 1, 8, 8, dtype=torch.float64)
    labels = torch.arange(5)
    results = []
    for network in (tied, untied):
        outputs = network(x)
        learning = [layer.weight for layer in network.layers if layer.weight.requires_grad]
        loss = hinge_loss(outputs, labels, off_class_weight=1 / 9)
        results.append((outputs, torch.autograd.grad(loss, learning)))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=0, atol=1e-12)
    for tied_gradient, untied_gradient in zip(results[0][1], results[1][1], strict=True):
        by_location = untied_gradient.dim() == 5
        summed = untied_gradient.sum(0).permute(0, 3, 1, 2) if by_location else untied_gradient
        assert tied_gradient.abs().max() > 1e-6
        torch.testing.assert_close(tied_gradient, summed, rtol=0, atol=1e-12)


def test_draws_differ_by_layer_seed_stage_and_between_w_and_r() -> None:
    values, masks = [], []
    for seed, stage in ((0, 1), (1, 1), (0, 2)):
        network = Network(
            "Full 40; Full 40; Full 40; Output", (1, 5, 8), 10, RULES["urfb"], seed=seed, stage=stage,
            connectivity=0.5, feedback_connectivity=0.5, dtype=torch.float64,
        )  # fmt: skip
        for layer in network.layers[:-1]:
            for drawn, mask in ((layer.weight, layer.mask), (layer.feedback, layer.feedback_mask)):
                assert drawn is not None
                assert mask is not None
                values.append(drawn.detach().abs().flatten())
                masks.append(mask.flatten())
    between = torch.corrcoef(torch.stack(masks)) - torch.eye(18)
    assert between.abs().max() < 0.15  # six standard deviations of a correlation over 1,600
    for first, second in itertools.combinations(range(18), 2):
        both = (masks[first] * masks[second]).bool()
        assert torch.corrcoef(torch.stack([values[first][both], values[second][both]]))[0, 1].abs() < 0.3


def test_all_rules_start_from_the_same_draws(digits: Dataset) -> None:
    sparse = {"connectivity": 0.5, "untied": "2"}
    urfb = drawn(spec_of("urfb", feedback_connectivity=0.7, **sparse), digits)
    for rule in ("frfb", "interpolated", "kolen-pollack"):
        network = drawn(spec_of(rule, feedback_connectivity=0.7, **sparse), digits)
        assert_equal(weights(network), weights(urfb))
        assert_equal(feedback(network), feedback(urfb))
    layers = zip(drawn(spec_of("urfb"), digits).layers, drawn(spec_of("frsf"), digits).layers, strict=True)
    for urfb_layer, frsf_layer in layers:
        assert torch.equal(urfb_layer.feedback, frsf_layer.feedback)  # type: ignore[arg-type]
    single = drawn(spec_of("urfb", precision="float32", **sparse), digits)
    double = drawn(spec_of("urfb", **sparse), digits)
    assert_equal(weights(single), [values.float() for values in weights(double)])
    assert_equal(feedback(single), [values.float() for values in feedback(double)])


def test_untied_masks_vary_by_location_and_output_mask_is_optional(digits: Dataset) -> None:
    network = drawn(spec_of("urfb", untied="2", connectivity=0.5, dense_output=False), digits)
    mask = network.conv_layers[1].mask
    assert mask is not None
    assert len({tuple(location.flatten().tolist()) for location in mask}) == 64
    output = network.layers[-1]
    assert output.mask is not None
    assert output.feedback_mask is not None
    assert (output.weight == 0).double().mean().item() == pytest.approx(0.5, abs=0.15)
    assert not torch.equal(output.mask, output.feedback_mask)


@pytest.mark.parametrize("untied", [(), (1,)])
def test_usf_and_dfa_feedback_have_glorots_size(untied: tuple[int, ...]) -> None:
    text = "Conv 20 3x3; Full 30; Output"
    conv, full, output = (
        ((6 / (2 * 9 + 20 * 9)) ** 0.5, 2 * 36), ((6 / (720 + 30)) ** 0.5, 720), ((6 / (30 + 10)) ** 0.5, 30),
    )  # fmt: skip
    for rule in ("usf", "dfa"):
        network = Network(text, (2, 6, 6), 10, RULES[rule], seed=0, untied=untied, dtype=torch.float64)
        for layer, (limit, units_below) in zip(network.layers, (conv, full, output), strict=True):
            assert layer.feedback is not None
            if rule == "usf":
                torch.testing.assert_close(layer.feedback, torch.full_like(layer.weight, limit / 3**0.5))
            else:
                bound = (6 / (units_below + 10)) ** 0.5
                assert layer.feedback.shape == (10, units_below)
                assert 0.95 * bound < layer.feedback.abs().max() <= bound


def test_brsf_redraws_per_training_batch_within_the_bounds_of_w(digits: Dataset) -> None:
    def epoch_of_draws(epoch: int, seed: int) -> list[list[Tensor]]:
        spec = spec_of("brsf", seed=seed, connectivity=0.5)
        network, draws = drawn(spec, digits), []

        def note(trained: torch.nn.Module, step: int) -> None:
            before = [values.clone() for values in feedback(network)]
            network.eval()(torch.rand(2, 1, 8, 8, dtype=torch.float64))
            network.train()
            assert_equal(feedback(network), before)
            draws.append(before)

        Passes(build_learner(network, spec), spec, digits).train(epoch, note)
        return draws

    runs = [epoch_of_draws(1, 0), epoch_of_draws(2, 0), epoch_of_draws(1, 1)]
    for draws in zip(*itertools.chain(*runs), strict=True):  # the draws of one layer, in three epochs of four batches
        assert len({tuple(draw.flatten().tolist()) for draw in draws}) == 12
    for layer, values in zip(drawn(spec_of("urfb"), digits).layers, runs[0][0], strict=True):
        assert layer.feedback is not None
        limit, largest = float(layer.feedback.detach().abs().max()), float(values.abs().max())
        assert 0.8 * limit < largest < 1.25 * limit
    assert_equal(epoch_of_draws(1, 0)[3], runs[0][3])


def test_untied_start_is_copies_or_independent_glorot_draws(digits: Dataset) -> None:
    tied = drawn(spec_of("urfb"), digits).conv_layers[1]
    copies = drawn(spec_of("urfb", untied="2", untied_start="tied-copy"), digits).conv_layers[1]
    independent = drawn(spec_of("urfb", untied="2"), digits).conv_layers[1]
    for name in ("weight", "feedback"):
        bank, copied, draw = (getattr(layer, name) for layer in (tied, copies, independent))
        assert torch.equal(copied, bank.permute(0, 2, 3, 1).expand_as(copied))
        assert len({tuple(location.flatten().tolist()) for location in draw}) == 64
        limit = (6 / (4 * 6 + 4 * 6)) ** 0.5  # for 4 channels and 4 filters of 3×2
        assert 0.98 * limit < draw.abs().max() <= limit


@pytest.mark.parametrize("untied", [(), (1, 2)])
def test_back_propagations_gradients_are_finite_differences(untied: tuple[int, ...]) -> None:
    network = Network(
        "Conv 3 3x3; Conv 3 2x3; SUM; Maxpool 3; Full 6; Output", (2, 5, 6), 4, RULES["bp"], seed=1,
        untied=untied, dtype=torch.float64,
    ).eval()  # fmt: skip
    stream = torch.Generator().manual_seed(3)
    x, labels = torch.rand(4, 2, 5, 6, dtype=torch.float64, generator=stream), torch.arange(4)

    def loss() -> Tensor:
        return hinge_loss(network(x), labels, off_class_weight=1 / 3)

    for layer in network.layers:
        layer.weight.data = layer.weight.data.contiguous()
    gradients = torch.autograd.grad(loss(), [layer.weight for layer in network.layers])
    step = 1e-6
    for layer, gradient in zip(network.layers, gradients, strict=True):
        for entry in torch.randperm(layer.weight.numel(), generator=stream)[:15]:
            flat = layer.weight.data.view(-1)
            values = []
            for shift in (step, -2 * step):
                flat[entry] += shift
                values.append(loss().item())
            flat[entry] += step
            difference = (values[0] - values[1]) / (2 * step)
            assert gradient.reshape(-1)[entry].item() == pytest.approx(difference, abs=1e-7)


def test_every_error_signal_is_formed_from_the_weights_before_the_update(digits: Dataset) -> None:
    """Remark 1: the gradients of all layers are computed before any layer is updated."""
    spec = spec_of("urfb", network="Full 9; Full 8; Full 7; Full 6; Output", batch_size=200)
    start = drawn(spec, digits)
    end = trained(spec, digits, copy.deepcopy(start))
    x = digits.training.images.permute(0, 3, 1, 2).double() / 16
    activity, hs = [x.permute(0, 2, 3, 1).flatten(1)], []  # one batch has all images, so their order does not matter
    W, R = weights(start), feedback(start)
    for number, w in enumerate(W):
        hs.append(activity[-1] @ w.T)
        activity.append(hs[-1] if number == 4 else hs[-1].clamp(-1, 1))
    outputs = activity[-1].clone().requires_grad_()
    (delta,) = torch.autograd.grad(hinge_loss(outputs, digits.training.labels, off_class_weight=1 / 9), outputs)
    for number in reversed(range(5)):
        increment = -0.5 * delta.T @ activity[number]
        torch.testing.assert_close(weights(end)[number], W[number] + increment, rtol=0, atol=1e-12)
        if number:
            delta = (delta @ R[number]) * (hs[number - 1].abs() <= 1)


def test_under_shallow_nothing_below_the_output_layer_changes(digits: Dataset) -> None:
    spec = spec_of("shallow", untied="1")
    before, after = weights(drawn(spec, digits)), weights(trained(spec, digits))
    assert_equal(before[:-1], after[:-1])
    assert not torch.equal(before[-1], after[-1])


def test_dfa_lower_layers_ignore_weights_that_carry_no_error() -> None:
    """Error signals depend only on δ_L and R. W of the layers above affects only the forward pass."""
    text = "Conv 3 3x3; Maxpool 3; Full 8; Output"
    network = Network(text, (1, 6, 6), 4, RULES["dfa"], seed=0, dtype=torch.float64).eval()
    assert network.layers[1].feedback is not None
    assert network.layers[1].feedback.shape == (4, 3 * 3 * 3)
    x = torch.rand(5, 1, 6, 6, dtype=torch.float64)

    def lowest(delta: Tensor) -> Tensor:
        return torch.autograd.grad(network(x), network.layers[0].weight, delta)[0]

    delta = torch.randn(5, 4, dtype=torch.float64)
    before = lowest(delta)
    with torch.no_grad():
        network.layers[2].weight.mul_(-3)  # no σ above it
    torch.testing.assert_close(lowest(delta), before, rtol=0, atol=1e-14)
    torch.testing.assert_close(lowest(2 * delta), 2 * before, rtol=0, atol=1e-14)
    with torch.no_grad():
        network.layers[1].feedback.mul_(-3)
    torch.testing.assert_close(lowest(delta), -3 * before, rtol=0, atol=1e-13)
