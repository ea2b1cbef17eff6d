"""The similarity of feedback and feedforward weights, and of the gradients that they lead to (section 4.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from urfb.nn.asymmetric import AsymmetricLayer, back_propagation


class WeightAlignment(NamedTuple):
    """How W and R of one layer relate. `events.AlignmentPoint` defines each number; an undefined number is NaN."""

    correlation: float
    correlation_shared: float
    angle: float
    sign_agreement: float
    norm_ratio: float


@torch.no_grad()
def weight_alignment(layer: AsymmetricLayer) -> WeightAlignment | None:
    """Compare W with the feedback weights that carry the error signal; return None if Wᵗ or no weights carry it."""
    carrier = layer.carrier()
    if carrier is None:
        return None
    weight, feedback = layer.weight.double(), carrier.double()
    shared = torch.ones_like(weight, dtype=torch.bool)
    for mask in (layer.mask, layer.feedback_mask):
        if mask is not None:
            shared &= mask.bool()
    correlation = _correlation(weight, feedback)
    return WeightAlignment(
        correlation,
        correlation if shared.all() else _correlation(weight[shared], feedback[shared]),
        float(torch.rad2deg(torch.acos(_cosine(weight, feedback)))),
        float((weight.sign() == feedback.sign())[shared].double().mean()),
        float(feedback.norm() / weight.norm()),
    )


def _correlation(first: Tensor, second: Tensor) -> float:
    """Return Pearson's correlation over all entries; NaN if either tensor is constant."""
    return float(torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1])


def _cosine(first: Tensor, second: Tensor) -> Tensor:
    """Return the cosine of two tensors as vectors; NaN only if either is exactly 0."""
    cosine: Tensor = torch.dot(first.flatten(), second.flatten()) / (first.norm() * second.norm())
    return cosine.clamp(-1, 1)


def gradient_cosines(
    layers: Sequence[AsymmetricLayer], gradients: Mapping[Tensor, Tensor], loss_of_batch: Callable[[], Tensor]
) -> dict[AsymmetricLayer, float]:
    """Return the cosine between each layer's increments under its rule and under true back-propagation.

    Both increments are for the same weights and the same batch.

    Args:
        layers: the layers of a network. Layers whose W does not learn are left out of the result.
        gradients: the gradient of each tensor that learns, on a fixed batch, with dropout off.
        loss_of_batch: a function that computes the loss of the same batch.
    """
    learning = [layer for layer in layers if layer.weight.requires_grad]
    weights = [layer.weight for layer in learning]
    with back_propagation(layers):
        bp_gradients = torch.autograd.grad(loss_of_batch(), weights)
    return {
        layer: float(_cosine(gradients[layer.weight].double(), bp_gradient.double()))
        for layer, bp_gradient in zip(learning, bp_gradients, strict=True)
    }


@torch.no_grad()
def filter_similarity(weight: Tensor) -> float:
    """Return the correlation of a filter at two locations, averaged over all filters and all pairs of locations.

    Args:
        weight: W of an untied layer, [locations, filters, k, k, channels].
    """
    filters = weight.double().flatten(2)
    filters = torch.nn.functional.normalize(filters - filters.mean(dim=2, keepdim=True), dim=2)
    locations = len(filters)
    # The sum over all pairs of vectors is the square of their sum, which includes each vector with itself.
    pairs = filters.sum(dim=0).square().sum(dim=1) - filters.square().sum(dim=(0, 2))
    return float((pairs / (locations * (locations - 1))).mean()) if locations > 1 else float("nan")
