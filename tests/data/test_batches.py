import pytest
import torch

from urfb.data.batches import batch
from urfb.data.datasets import Split


@pytest.fixture
def split():
    images = torch.randint(0, 256, (10, 5, 4, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Split(images, torch.arange(10))


def test_images_and_labels_are_those_at_the_positions(split):
    positions = torch.tensor([7, 0, 3])
    images, labels = batch(split, positions, scale=255)
    assert torch.equal(labels, positions)
    assert torch.equal(images, split.images[positions].permute(0, 3, 1, 2) / 255)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_images_are_channels_last_in_the_wanted_dtype(split, dtype):
    images, _ = batch(split, torch.arange(4), scale=255, dtype=dtype)
    assert images.dtype == dtype
    assert images.shape == (4, 3, 5, 4)
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_the_offset_is_taken_after_the_scale(split):
    images, _ = batch(split, torch.arange(10), scale=16, offset=0.5, dtype=torch.float64)
    assert torch.equal(images, split.images.permute(0, 3, 1, 2).double() / 16 - 0.5)


def test_the_split_does_not_change(split):
    before = split.images.clone()
    batch(split, torch.arange(10), scale=255, offset=0.5)
    assert torch.equal(split.images, before)
