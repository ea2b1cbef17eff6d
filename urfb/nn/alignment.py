"""How far the feedback weights have come to resemble the feedforward ones (section 4.2)."""

from __future__ import annotations

import torch
from torch import Tensor

from urfb.nn.asymmetric import AsymmetricLayer


def correlation(first: Tensor, second: Tensor) -> float:
    """Pearson's correlation over all entries, computed in float64; NaN where either does not vary."""
    pair = torch.stack([first.detach().flatten().double(), second.detach().flatten().double()])
    return float(torch.corrcoef(pair)[0, 1])


def weight_correlations(layer: AsymmetricLayer) -> tuple[float, float]:
    """Return corr(W, R) over all entries, and over the connections that both W and R have.

    Absent connections count as zeros in the first. The layer must have feedback weights of its own.
    """
    assert layer.feedback is not None
    over_all = correlation(layer.weight, layer.feedback)
    if layer.mask is None and layer.feedback_mask is None:
        return over_all, over_all
    shared = torch.ones_like(layer.weight, dtype=torch.bool)
    for mask in (layer.mask, layer.feedback_mask):
        if mask is not None:
            shared &= mask.bool()
    return over_all, correlation(layer.weight[shared], layer.feedback[shared])
