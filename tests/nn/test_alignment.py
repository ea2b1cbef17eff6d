from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.functional import cross_entropy

from urfb.nn.alignment import filter_similarity, gradient_cosines, weight_alignment
from urfb.nn.asymmetric import AsymmetricLayer
from urfb.nn.modules import Network
from urfb.nn.rules import RULES

ONE_TO_SIX = torch.arange(6) % 5
TEXT = "Conv 4 3x3; Conv 4 3x3; Maxpool 3; Full 12; Output"


def network(rule: str, **settings: object) -> Network:
    return Network(TEXT, (2, 6, 7), 5, RULES[rule], seed=0, dtype=torch.float64, **settings).eval()  # type: ignore[arg-type]


def gradients(network: Network, loss: Tensor) -> dict[Tensor, Tensor]:
    weights = [layer.weight for layer in network.layers if layer.weight.requires_grad]
    return dict(zip(weights, torch.autograd.grad(loss, weights), strict=True))


def cosines(network: Network, loss_of_batch: Callable[[], Tensor]) -> dict[AsymmetricLayer, float]:
    return gradient_cosines(network.layers, gradients(network, loss_of_batch()), loss_of_batch)


def test_each_number_matches_numpy_on_all_and_on_shared_entries() -> None:
    layer = network("urfb", connectivity=0.5, feedback_connectivity=0.7).layers[2]
    assert layer.feedback is not None
    assert layer.mask is not None
    assert layer.feedback_mask is not None
    layer.feedback.data += layer.weight.data * layer.feedback_mask
    W, R = layer.weight.detach().numpy().ravel(), layer.feedback.detach().numpy().ravel()
    shared = (layer.mask * layer.feedback_mask).numpy().ravel() == 1
    alignment = weight_alignment(layer)
    assert alignment is not None
    assert alignment.correlation == pytest.approx(np.corrcoef(W, R)[0, 1])
    assert alignment.correlation_shared == pytest.approx(np.corrcoef(W[shared], R[shared])[0, 1])
    assert alignment.correlation_shared > alignment.correlation + 0.1
    assert alignment.angle == pytest.approx(math.degrees(math.acos(W @ R / np.linalg.norm(W) / np.linalg.norm(R))))
    assert alignment.sign_agreement == pytest.approx(np.mean(np.sign(W[shared]) == np.sign(R[shared])))
    assert alignment.norm_ratio == pytest.approx(np.linalg.norm(R) / np.linalg.norm(W))


def test_w_is_compared_with_the_error_carrier_unless_w_carries() -> None:
    for rule in ("bp", "dfa", "shallow"):
        assert all(weight_alignment(layer) is None for layer in network(rule).layers)
    for layer in network("sham").layers:
        assert weight_alignment(layer) == pytest.approx((1, 1, 0, 1, 1), abs=1e-5)
    for rule in ("usf", "brsf", "frsf"):
        for layer in network(rule, connectivity=0.5).layers:
            alignment = weight_alignment(layer)
            assert alignment is not None
            assert layer.feedback is not None
            assert alignment.sign_agreement == 1
            W, R = layer.weight.detach().numpy().ravel(), layer.feedback.detach().numpy().ravel()
            carrier = np.sign(W) * np.abs(R)
            assert alignment.correlation == pytest.approx(np.corrcoef(W, carrier)[0, 1])
            assert alignment.norm_ratio == pytest.approx(np.linalg.norm(R) / np.linalg.norm(W))
            assert alignment.angle < 50


def test_constant_weights_have_no_correlation() -> None:
    layer = network("frfb").layers[-1]
    layer.weight.data.zero_()
    alignment = weight_alignment(layer)
    assert alignment is not None
    assert np.isnan([alignment.correlation, alignment.correlation_shared, alignment.angle]).all()


@pytest.mark.parametrize("untied", [(), (1, 2)])
def test_gradients_are_compared_with_bp_at_the_same_weights(untied: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x, labels = torch.rand(6, 2, 6, 7, dtype=torch.float64), torch.arange(6) % 5
    of_rule = network("urfb", untied=untied)
    layers = of_rule.layers
    measured = cosines(of_rule, lambda: cross_entropy(of_rule(x), labels))
    of_bp = network("bp", untied=untied)  # starts from the same W
    bp_gradients = torch.autograd.grad(cross_entropy(of_bp(x), labels), [layer.weight for layer in of_bp.layers])
    rule_gradients = torch.autograd.grad(cross_entropy(of_rule(x), labels), [layer.weight for layer in layers])
    for layer, rule_gradient, bp_gradient in zip(layers, rule_gradients, bp_gradients, strict=True):
        assert measured[layer] == pytest.approx(
            float((rule_gradient * bp_gradient).sum() / rule_gradient.norm() / bp_gradient.norm())
        )
    assert measured[layers[-1]] == pytest.approx(1)
    assert all(abs(measured[layer]) < 0.99 for layer in layers[:-1])
    assert not any(layer.back_propagates for layer in layers)


@pytest.mark.parametrize("rule", ["urfb", "frfb", "dfa", "usf", "frsf", "brsf"])
def test_the_true_gradient_is_autograds_under_every_rule(rule: str) -> None:
    x, labels = torch.rand(6, 2, 6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), ONE_TO_SIX
    of_rule = network(rule)
    measured = cosines(of_rule, lambda: cross_entropy(of_rule(x), labels))
    W = [layer.weight.detach().clone().requires_grad_() for layer in of_rule.layers]
    grid = x
    for bank in W[:2]:
        grid = functional.conv2d(grid, bank, padding=1).clamp(-1, 1)
    grid = functional.max_pool2d(functional.pad(grid, (1, 1, 1, 1)), 3, 2)
    outputs = (grid.permute(0, 2, 3, 1).flatten(1) @ W[2].T).clamp(-1, 1) @ W[3].T
    bp_gradients = torch.autograd.grad(cross_entropy(outputs, labels), W)
    rule_gradients = torch.autograd.grad(cross_entropy(of_rule(x), labels), [layer.weight for layer in of_rule.layers])
    for layer, rule_gradient, bp_gradient in zip(of_rule.layers, rule_gradients, bp_gradients, strict=True):
        assert measured[layer] == pytest.approx(
            float((rule_gradient * bp_gradient).sum() / rule_gradient.norm() / bp_gradient.norm()), abs=1e-10
        )
    assert all(measured[layer] < 0.99 for layer in of_rule.layers[:-1])


def test_tiny_gradients_have_a_cosine_and_zero_gradients_have_none() -> None:
    x, labels = torch.rand(6, 2, 6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), ONE_TO_SIX
    of_rule = network("urfb")
    full, small, zero = (
        cosines(of_rule, lambda scale=scale: scale * cross_entropy(of_rule(x), labels)).values()
        for scale in (1, 1e-12, 0)
    )
    assert list(small) == pytest.approx(list(full))
    assert np.isnan(list(zero)).all()


def test_equal_gradients_have_cosine_1_and_fixed_layers_none() -> None:
    x, labels = torch.rand(6, 2, 6, 7, dtype=torch.float64), torch.arange(6) % 5
    for of_rule in (network("bp"), network("sham"), network("zipser-rumelhart")):
        measured = cosines(of_rule, lambda network=of_rule: cross_entropy(network(x), labels))
        assert list(measured.values()) == pytest.approx([1] * 4)
    shallow = network("shallow")
    assert list(cosines(shallow, lambda: cross_entropy(shallow(x), labels))) == shallow.layers[-1:]


def test_filter_similarity_is_mean_correlation_of_location_pairs() -> None:
    torch.manual_seed(0)
    weight = torch.randn(5, 3, 2, 2, 4) + torch.randn(1, 3, 2, 2, 4)
    pairs = [
        np.corrcoef(weight[location, unit].numpy().ravel(), weight[earlier, unit].numpy().ravel())[0, 1]
        for unit in range(3)
        for location in range(5)
        for earlier in range(location)
    ]
    assert filter_similarity(weight) == pytest.approx(np.mean(pairs))
    copies = network("urfb", untied=(1, 2), untied_start="tied-copy").layers[1].weight
    independent = network("urfb", untied=(1, 2), untied_start="independent").layers[1].weight
    assert filter_similarity(copies) == pytest.approx(1)
    assert abs(filter_similarity(independent)) < 0.02
