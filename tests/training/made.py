"""A data set of a few random images, for tests that compute a run's measurements by hand."""

from __future__ import annotations

from dataclasses import replace

import torch

from urfb.data.catalog import CATALOG
from urfb.data.datasets import Dataset, Split

CLASSES = 4
SCALE = 16


def random_dataset(training: int = 6, validation: int = 5, test: int = 7) -> Dataset:
    """Return splits of the given sizes, with different images, on a 9×8 grid, which is neither even nor square."""
    stream = torch.Generator().manual_seed(5)
    info = replace(
        CATALOG["digits"], shape=(2, 9, 8), classes=CLASSES, training=training, validation=validation, test=test,
        scale=SCALE,
    )  # fmt: skip

    def split(size: int) -> Split:
        images = torch.randint(0, SCALE + 1, (size, 9, 8, 2), generator=stream, dtype=torch.uint8)
        return Split(images, torch.randint(0, CLASSES, (size,), generator=stream))

    return Dataset(info, split(training), split(validation), split(test))
