"""The losses of section 3.2: means over the batch, from outputs [batch, classes] and labels [batch]."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

Loss = Callable[[Tensor, Tensor], Tensor]


def softmax_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of the softmax of the outputs with the true class."""
    return cross_entropy(outputs, labels)


def hinge_loss(
    outputs: Tensor,
    labels: Tensor,
    *,
    off_class_weight: float,
    off_class_margin: float = -1.0,
    true_class_margin: float = 1.0,
) -> Tensor:
    """Return the local multi-class hinge loss, [m_c − x_c]₊ + μ Σ_{i≠c} [x_i − m]₊ (equation 4; m_c = 1, m = −1).

    So −δ, before the batch mean, is +1 where i = c and x_c < m_c, −μ where i ≠ c and x_i > m, and 0 otherwise. Each
    output unit needs only its own activity and target.

    Args:
        outputs: [batch, classes].
        labels: [batch].
        off_class_weight: μ.
        off_class_margin: m, the activity below which the unit of a wrong class has δ = 0.
        true_class_margin: m_c, the activity above which the unit of the true class has δ = 0.
    """
    target = one_hot(labels, outputs.shape[1]).to(outputs.dtype)
    true_class = target * torch.relu(true_class_margin - outputs)
    off_class = (1 - target) * torch.relu(outputs - off_class_margin)
    return (true_class + off_class_weight * off_class).sum(dim=1).mean()
