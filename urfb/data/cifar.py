"""CIFAR's files read without torch, for the pictures of a report."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from urfb.data.catalog import dataset_info, fetch_command
from urfb.errors import DataError, nearest


class Files(NamedTuple):
    """Where a data set has its training images and the names of its classes: files, and the entries in them."""

    folder: str
    training: tuple[str, ...]
    labels: str
    meta: str
    label_names: str


FILES = {
    "cifar10": Files(
        folder="cifar-10-batches-py",
        training=tuple(f"data_batch_{number}" for number in range(1, 6)),
        labels="labels",
        meta="batches.meta",
        label_names="label_names",
    ),
    "cifar100": Files(
        folder="cifar-100-python",
        training=("train",),
        labels="fine_labels",
        meta="meta",
        label_names="fine_label_names",
    ),
}


class LabelledImage(NamedTuple):
    """An image of the training files: uint8 [height, width, 3]; its position among all that they hold is from 0."""

    label: int
    label_name: str
    position: int
    image: npt.NDArray[np.uint8]


def first_of_each_class(name: str, directory: Path, count: int) -> list[LabelledImage]:
    """Return the first `count` images of each class in the files of the training set, class by class.

    Nothing but lists and arrays is read of the files; their checksums are for `urfb.data.datasets.verify` to look at.

    Raises:
        DataError: the data set is none of CIFAR's, or a file is missing or damaged to the point of not being readable.
    """
    if name not in FILES:
        raise DataError(f"there are no sample images of {name!r}: {nearest(name, FILES)}")
    files, info = FILES[name], dataset_info(name)
    folder = directory / files.folder
    found: dict[int, list[LabelledImage]] = {label: [] for label in range(info.classes)}
    lacking, position = count * info.classes, 0
    try:
        label_names = _unpickled(folder / files.meta)[files.label_names]
        for file in files.training:
            if not lacking:
                break
            batch = _unpickled(folder / file)
            pixels = batch["data"].reshape(-1, *info.shape).transpose(0, 2, 3, 1)  # stored channels first
            for image, label in zip(pixels, batch[files.labels], strict=True):
                if len(found[label]) < count:
                    found[label].append(LabelledImage(label, label_names[label], position, image.astype(np.uint8)))
                    lacking -= 1
                position += 1
    except FileNotFoundError as error:
        raise DataError(f"{error.filename} is missing; run `{fetch_command(name, directory)}`") from error
    except Exception as error:  # damaged bytes fail in many ways
        raise DataError(
            f"{name}: {folder} has a file that cannot be read ({error}); run `{fetch_command(name, directory)}`"
        ) from error
    return [image for images in found.values() for image in images]


class _ArraysOnly(pickle.Unpickler):
    """Reads what CIFAR's files hold and refuses every other pickle, for one may do anything when it is read."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in {("numpy.core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")}:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no file of CIFAR does")


def _unpickled(path: Path) -> Any:
    with path.open("rb") as file, warnings.catch_warnings():
        # The files are of 2009 and write a dtype's `align` as 0, of which NumPy 2.4.0 to 2.4.4 warn.
        warnings.filterwarnings("ignore", r"dtype\(\): align should be", np.exceptions.VisibleDeprecationWarning)
        return _ArraysOnly(file, encoding="latin1").load()
