import pytest
import torch

from urfb.data.batches import batches
from urfb.data.datasets import Split


@pytest.fixture
def split():
    images = torch.randint(0, 256, (10, 5, 4, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Split(images, torch.arange(10))


def test_without_an_order_the_batches_are_the_split_in_file_order(split):
    found = list(batches(split, 4, None, scale=255))
    assert [len(labels) for _, labels in found] == [4, 4, 2]
    assert torch.equal(torch.cat([labels for _, labels in found]), split.labels)
    pixels = torch.cat([images for images, _ in found])
    assert torch.equal(pixels, split.images.permute(0, 3, 1, 2) / 255)


def test_an_order_moves_images_and_labels_together(split):
    order = torch.randperm(10, generator=torch.Generator().manual_seed(1))
    found = list(batches(split, 3, order, scale=255))
    assert [len(labels) for _, labels in found] == [3, 3, 3, 1]
    assert torch.equal(torch.cat([labels for _, labels in found]), order)
    for images, labels in found:
        assert torch.equal(images, split.images[labels].permute(0, 3, 1, 2) / 255)


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_images_are_channels_last_in_the_wanted_dtype(split, ordered, dtype):
    order = torch.arange(10) if ordered else None
    for images, _ in batches(split, 4, order, scale=255, dtype=dtype):
        assert images.dtype == dtype
        assert images.shape[1:] == (3, 5, 4)
        assert images.is_contiguous(memory_format=torch.channels_last)


def test_the_offset_is_taken_after_the_scale(split):
    images, _ = next(batches(split, 10, None, scale=16, offset=0.5, dtype=torch.float64))
    assert torch.equal(images, split.images.permute(0, 3, 1, 2).double() / 16 - 0.5)


def test_the_split_stays_as_it_was(split):
    before = split.images.clone()
    list(batches(split, 4, None, scale=255, offset=0.5))
    assert torch.equal(split.images, before)
