"""Mini-batches of images that are on the device already: one gather each, no loader, no host copies."""

from __future__ import annotations

import torch
from torch import Tensor

from urfb.data.datasets import Split


def batch(
    split: Split, positions: Tensor, *, scale: float, offset: float = 0.0, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    """Return the images and labels at `positions`, int64 [batch] on the split's device.

    The images are `dtype` [batch, channels, height, width], channels_last, with the values pixel / scale − offset; the
    labels are int64 [batch].
    """
    images = split.images.index_select(0, positions)
    return images.permute(0, 3, 1, 2).to(dtype).div_(scale).sub_(offset), split.labels.index_select(0, positions)
