"""Mini-batches of images that are already on the device: one gather each, with no data loader and no host copies."""

from __future__ import annotations

import torch
from torch import Tensor

from urfb.data.datasets import Split


def batch(
    split: Split, positions: Tensor, *, scale: float, offset: float = 0.0, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    """Return the images and labels at `positions`, int64 [batch] on the split's device.

    The images have the type `dtype` and the shape [batch, channels, height, width], in channels_last format. Their
    values are pixel / scale − offset. The labels are int64 [batch].
    """
    images = split.images.index_select(0, positions)
    return images.permute(0, 3, 1, 2).to(dtype).div_(scale).sub_(offset), split.labels.index_select(0, positions)
