"""Mini-batches of images that are on the device already: a slice or one gather each, no loader, no host copies."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from urfb.data.datasets import Split


def batches(
    split: Split,
    batch_size: int,
    order: Tensor | None,
    *,
    scale: float,
    offset: float = 0.0,
    dtype: torch.dtype = torch.float32,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (images, labels) in the split's order, or in `order`: int64 positions in the split, on its device.

    `images` is `dtype` [B, channels, height, width], channels_last, with the values pixel / scale − offset; `labels` is
    int64 [B]. B is `batch_size`, except that the last batch has what is left.
    """
    count = len(split.labels) if order is None else len(order)
    for start in range(0, count, batch_size):
        if order is None:
            images = split.images[start : start + batch_size]
            labels = split.labels[start : start + batch_size]
        else:
            chosen = order[start : start + batch_size]
            images = split.images.index_select(0, chosen)
            labels = split.labels.index_select(0, chosen)
        yield images.permute(0, 3, 1, 2).to(dtype).div_(scale).sub_(offset), labels
