from __future__ import annotations

import pytest
import torch

from urfb.nn.losses import hinge_loss, softmax_loss

OUTPUTS = torch.tensor([[0.5, -2.0, 3.0], [2.0, -1.0, -0.5]], dtype=torch.float64, requires_grad=True)
LABELS = torch.tensor([0, 0])


def test_the_hinges_error_signal_is_1_or_minus_mu_or_0() -> None:
    loss = hinge_loss(OUTPUTS, LABELS, off_class_weight=0.25)
    # sample 1: [1 − .5]₊ + ¼([1 − 2]₊ + [1 + 3]₊); sample 2: 0 + ¼([1 − 1]₊ + [1 − .5]₊)
    assert loss.item() == pytest.approx((0.5 + 0.25 * 4 + 0.25 * 0.5) / 2)
    error_signal = -torch.autograd.grad(loss, OUTPUTS)[0] * len(LABELS)
    assert error_signal.tolist() == [[1, 0, -0.25], [0, 0, -0.25]]


def test_the_margin_of_the_wrong_classes_can_be_set() -> None:
    error_signal = -torch.autograd.grad(
        hinge_loss(OUTPUTS, LABELS, off_class_weight=0.25, off_class_margin=-0.25), OUTPUTS
    )[0]
    assert (error_signal * len(LABELS)).tolist() == [[1, 0, -0.25], [0, 0, 0]]


def test_the_margin_of_the_true_class_can_be_set() -> None:
    loss = hinge_loss(OUTPUTS, LABELS, off_class_weight=0.25, true_class_margin=2.5)
    assert loss.item() == pytest.approx((2 + 0.25 * 4 + 0.5 + 0.25 * 0.5) / 2)
    error_signal = -torch.autograd.grad(loss, OUTPUTS)[0] * len(LABELS)
    assert error_signal.tolist() == [[1, 0, -0.25], [1, 0, -0.25]]


def test_the_softmaxs_error_signal_is_target_minus_probability() -> None:
    error_signal = -torch.autograd.grad(softmax_loss(OUTPUTS, LABELS), OUTPUTS)[0] * len(LABELS)
    target = torch.eye(3, dtype=torch.float64)[LABELS]
    torch.testing.assert_close(error_signal, target - OUTPUTS.softmax(dim=1))
