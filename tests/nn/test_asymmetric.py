"""Gradients of the rules, in float64, compared with plain autograd and with the paper's equations."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from urfb.nn.losses import hinge_loss, softmax_loss
from urfb.nn.modules import Network
from urfb.nn.networks import NETWORKS
from urfb.nn.rules import RULES

IMAGES = torch.rand(6, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 1, 2, 3, 4, 4])


def build(rule: str, text: str = NETWORKS["simpnet"], **settings: float) -> Network:
    return Network(text, (3, 32, 32), 10, RULES[rule], seed=0, dtype=torch.float64, **settings).eval()  # type: ignore[arg-type]


def weights(network: Network) -> list[Tensor]:
    return [layer.weight for layer in network.layers]


def feedback(network: Network) -> list[Tensor]:
    return [layer.feedback for layer in network.layers if layer.feedback is not None]


def gradients(network: Network, of: list[Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(hinge_loss(network(IMAGES), LABELS, off_class_weight=1 / 9), of)


def plain_simpnet(x: Tensor, W: list[Tensor]) -> Tensor:
    """Compute simpnet in plain PyTorch, with autograd's back-propagation."""
    x = functional.conv2d(x, W[0], padding=2).clamp(-1, 1)
    x = functional.max_pool2d(functional.pad(x, (1, 1, 1, 1)), 3, 2)
    x = (x.permute(0, 2, 3, 1).flatten(1) @ W[1].T).clamp(-1, 1)
    return x @ W[2].T


@pytest.mark.parametrize("loss", [softmax_loss, lambda x, y: hinge_loss(x, y, off_class_weight=1 / 9)])
def test_back_propagation_is_autograds(loss: object) -> None:
    network = build("bp")
    W = [weight.detach().clone().requires_grad_() for weight in weights(network)]
    computed = torch.autograd.grad(loss(network(IMAGES), LABELS), weights(network))  # type: ignore[operator]
    autograds = torch.autograd.grad(loss(plain_simpnet(IMAGES, W), LABELS), W)  # type: ignore[operator]
    for gradient, expected in zip(computed, autograds, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", NETWORKS)
def test_separate_feedback_that_starts_transposed_is_back_propagation(name: str) -> None:
    bp, urfb = build("bp", NETWORKS[name]), build("urfb", NETWORKS[name])
    for layer in urfb.layers:
        assert layer.feedback is not None
        layer.feedback.data.copy_(layer.weight.data)
    for bp_gradient, urfb_gradient in zip(gradients(bp, weights(bp)), gradients(urfb, weights(urfb)), strict=True):
        torch.testing.assert_close(bp_gradient, urfb_gradient, rtol=1e-12, atol=1e-14)


def test_the_error_signal_goes_down_through_r() -> None:
    """In a network of full layers, compare with each δ and increment computed as in section 3.1."""
    network = build("urfb", "Full 7; Full 5; Output")
    W, R = weights(network), feedback(network)
    x = [IMAGES.permute(0, 2, 3, 1).flatten(1)]
    h = []
    for weight in W:
        h.append(x[-1] @ weight.T)
        x.append(h[-1].clamp(-1, 1))
    output = h[-1].detach().requires_grad_()
    delta = torch.autograd.grad(hinge_loss(output, LABELS, off_class_weight=1 / 9), output)[0]
    expected = []
    for level in (2, 1, 0):
        expected.insert(0, delta.T @ x[level])
        if level:
            delta = (h[level - 1].abs() <= 1) * (delta @ R[level])
    for gradient, wanted in zip(gradients(network, W), expected, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=1e-12, atol=1e-14)


def test_w_and_r_get_the_same_increment_under_urfb_and_r_none_under_frfb() -> None:
    urfb, frfb = build("urfb"), build("frfb")
    both = gradients(urfb, [*weights(urfb), *feedback(urfb)])
    for of_weight, of_feedback in zip(both[:3], both[3:], strict=True):
        assert torch.equal(of_weight, of_feedback)
    assert all(not fixed.requires_grad for fixed in feedback(frfb))
    for frfb_gradient, urfb_gradient in zip(gradients(frfb, weights(frfb)), both[:3], strict=True):
        assert torch.equal(frfb_gradient, urfb_gradient)  # R is the same, so the first step of W is, too


def test_every_rule_starts_from_the_same_w_and_draws_r_separately() -> None:
    bp, urfb, frfb = build("bp"), build("urfb"), build("frfb")
    for layers in zip(bp.layers, urfb.layers, frfb.layers, strict=True):
        assert all(torch.equal(layers[0].weight, layer.weight) for layer in layers)
        limit = (6 / fans(layers[0].weight)) ** 0.5
        assert 0.9 * limit < float(layers[0].weight.detach().abs().max()) <= limit
        assert layers[1].feedback is not None
        assert layers[2].feedback is not None
        assert torch.equal(layers[1].feedback, layers[2].feedback)
        pair = torch.stack([layers[1].weight.detach().flatten(), layers[1].feedback.detach().flatten()])
        assert abs(float(torch.corrcoef(pair)[0, 1])) < 0.1


def fans(weight: Tensor) -> int:
    return (weight.shape[0] + weight.shape[1]) * weight.shape[2:].numel()


def test_masks_are_independent_keep_zeros_and_spare_output_layer() -> None:
    network = build("urfb", connectivity=0.5, feedback_connectivity=0.25)
    full = network.layers[1]
    assert full.mask is not None
    assert full.feedback_mask is not None
    assert full.mask.mean().item() == pytest.approx(0.5, abs=0.01)
    assert full.feedback_mask.mean().item() == pytest.approx(0.25, abs=0.01)
    assert (full.mask * full.feedback_mask).mean().item() == pytest.approx(0.125, abs=0.01)
    assert network.layers[-1].mask is None
    both = [*weights(network), *feedback(network)]
    for _ in range(3):
        increments = gradients(network, both)
        with torch.no_grad():
            torch._foreach_add_(both, increments, alpha=-0.1)
    for layer, (values, mask) in itertools.product(
        network.layers[:-1], [("weight", "mask"), ("feedback", "feedback_mask")]
    ):
        held = getattr(layer, values)[getattr(layer, mask) == 0]
        assert held.numel() > 0
        assert (held == 0).all()


def test_unmasked_increment_applies_to_w_and_r_where_connected() -> None:
    network = build("urfb", connectivity=0.5, feedback_connectivity=0.5)
    full = network.layers[1]
    assert full.feedback is not None
    assert full.mask is not None
    assert full.feedback_mask is not None
    of_weight, of_feedback = gradients(network, [full.weight, full.feedback])
    shared = (full.mask * full.feedback_mask).bool()
    assert torch.equal(of_weight[shared], of_feedback[shared])
    only_feedback = (full.feedback_mask * (1 - full.mask)).bool()
    assert of_feedback[only_feedback].abs().max() > 0
    assert (of_weight[only_feedback] == 0).all()


def test_masked_back_propagation_is_autograds_with_masked_weights() -> None:
    network = build("bp", connectivity=0.5, feedback_connectivity=0.5)
    W = [weight.detach().clone().requires_grad_() for weight in weights(network)]
    masks = [torch.ones_like(layer.weight) if layer.mask is None else layer.mask for layer in network.layers]
    masked = [weight * mask for weight, mask in zip(W, masks, strict=True)]
    autograds = torch.autograd.grad(softmax_loss(plain_simpnet(IMAGES, masked), LABELS), W)
    computed = torch.autograd.grad(softmax_loss(network(IMAGES), LABELS), weights(network))
    for gradient, expected in zip(computed, autograds, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-14)
