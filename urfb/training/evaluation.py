"""Loss and error over a split, and the batches of images as a network sees them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from urfb.data.batches import batches
from urfb.data.datasets import Dataset, Split
from urfb.grid.spec import RunSpec
from urfb.nn.losses import Loss

EVALUATION_BATCH = 1000


class Measured(NamedTuple):
    """Mean loss and fraction of images misclassified over a split."""

    loss: float
    error: float


@torch.inference_mode()
def evaluate(network: nn.Module, loss_function: Loss, spec: RunSpec, dataset: Dataset, split: Split) -> Measured:
    """Return the mean loss and error over a split, with dropout off."""
    network.eval()
    totals = torch.zeros(2, dtype=torch.float64, device=split.labels.device)
    for x, labels in input_batches(spec, dataset, split, EVALUATION_BATCH, None):
        outputs = network(x)
        totals += summed(loss_function(outputs, labels), outputs, labels)
    return Measured(*(totals / len(split.labels)).tolist())


def input_batches(
    spec: RunSpec, dataset: Dataset, split: Split, batch_size: int, order: Tensor | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Return a split's batches of images, scaled to 0 … 1 and offset, with their labels."""
    dtype = getattr(torch, spec.precision)
    return batches(split, batch_size, order, scale=dataset.info.scale, offset=spec.input_offset, dtype=dtype)


def summed(loss: Tensor, outputs: Tensor, labels: Tensor) -> Tensor:
    """Return a batch's summed loss and its number of errors [2], where they are: nothing waits for a GPU."""
    errors = (outputs.argmax(dim=1) != labels).sum()
    return torch.stack([loss.double() * len(labels), errors.double()])
