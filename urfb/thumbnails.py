"""The images that Figure 3 shows: out of the data sets, and kept in a store, so that a report needs no data set."""

from __future__ import annotations

from pathlib import Path

from urfb.data.cifar import LabelledImage, first_of_each_class

IMAGES_PER_CLASS = {"cifar10": 10, "cifar100": 1}
"""Of each data set of Figure 3, in its order."""


def sample_images(dataset: str, directory: Path) -> list[LabelledImage]:
    """Return the first images of each class, in the order of the training files.

    Raises:
        DataError: Figure 3 shows no such data set, or a file of it is missing or cannot be read.
    """
    return first_of_each_class(dataset, directory, IMAGES_PER_CLASS.get(dataset, 0))


def keep_thumbnails(dataset: str, directory: Path, location: str) -> None:
    """Put the images of a data set that Figure 3 shows into a store; it is made where there is none yet.

    Raises:
        DataError: Figure 3 shows no such data set, or a file of it is missing or damaged; the store is as it was.
        StoreError: the store cannot be written.
    """
    from urfb.data.datasets import verify
    from urfb.store import Thumbnail, open_for_writing

    images = sample_images(dataset, directory)
    verify(dataset, directory)  # what is published is right to the last pixel
    store = open_for_writing(location)
    try:
        store.keep_thumbnails(Thumbnail(dataset, one.label, one.position, one.label_name, one.image) for one in images)
    finally:
        store.close()
