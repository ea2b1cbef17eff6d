"""The table of data sets, and the declaration of a custom one. No torch, so that planning is fast."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from urfb.errors import DataError, PluginError, nearest
from urfb.plugins import is_import_path, load_plugin


@dataclass(frozen=True)
class DatasetInfo:
    """A data set. Its splits are cut in file order: training images first, then validation, then test.

    Attributes:
        name: the name for display.
        classes: the number of classes. Labels are whole numbers from 0 to classes − 1.
        shape: the shape of an image, (channels, height, width).
        training: the number of training images.
        validation: the number of validation images.
        test: the number of test images.
        batch_size: the default number of images per update.
        scale: the number that pixels are divided by, at most 255. Stored pixels are whole numbers from 0 to `scale`.
        source: the origin of the images, in words.
        read: for a custom data set, a function that takes the folder of the data sets and returns all images,
            [N, height, width, channels], and their labels, [N], as arrays of whole numbers in the order of the splits.
            A grid file names the data set by import path, such as 'my_data:stripes'.
    """

    name: str
    classes: int
    shape: tuple[int, int, int]
    training: int
    validation: int
    test: int
    batch_size: int
    scale: int
    source: str
    read: Callable[[Path], tuple[Any, Any]] | None = None

    def __post_init__(self) -> None:
        """Check every number.

        Raises:
            ValueError: some numbers are out of range or not whole; the message lists all of them.
        """
        ranges = {"classes": (2, 2**31), "scale": (1, 255)}
        ranges |= dict.fromkeys(("training", "validation", "test", "batch_size"), (1, 2**31))
        wrong = [
            f"{name} must be a whole number from {low} to {high:,}, not {getattr(self, name)!r}"
            for name, (low, high) in ranges.items()
            if type(getattr(self, name)) is not int or not low <= getattr(self, name) <= high
        ]
        if len(self.shape) != 3 or not all(type(size) is int and size > 0 for size in self.shape):
            wrong.append(f"shape must be (channels, height, width), not {self.shape!r}")
        if wrong:
            raise ValueError(f"data set {self.name!r}: {'; '.join(wrong)}")


CATALOG: dict[str, DatasetInfo] = {
    info.name: info
    for info in (
        DatasetInfo(
            name="cifar10",
            classes=10,
            shape=(3, 32, 32),
            training=45_000,
            validation=5_000,
            test=10_000,
            batch_size=500,
            scale=255,
            source="CIFAR-10, colour photographs; https://www.cs.toronto.edu/~kriz/cifar.html",
        ),
        DatasetInfo(
            name="cifar100",
            classes=100,
            shape=(3, 32, 32),
            training=45_000,
            validation=5_000,
            test=10_000,
            batch_size=500,
            scale=255,
            source="CIFAR-100, colour photographs, fine labels; https://www.cs.toronto.edu/~kriz/cifar.html",
        ),
        DatasetInfo(
            name="mnist",
            classes=10,
            shape=(1, 28, 28),
            training=55_000,
            validation=5_000,
            test=10_000,
            batch_size=500,
            scale=255,
            source="MNIST, handwritten digits; http://yann.lecun.com/exdb/mnist/",
        ),
        DatasetInfo(
            name="digits",
            classes=10,
            shape=(1, 8, 8),
            training=1_297,
            validation=250,
            test=250,
            batch_size=50,
            scale=16,
            source="small handwritten digits; part of scikit-learn, so no download is needed",
        ),
    )
}


FILES = {
    "cifar10": [
        f"cifar-10-batches-py/{file}"
        for file in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch", "batches.meta")
    ],
    "cifar100": [f"cifar-100-python/{file}" for file in ("train", "test", "meta")],
    "mnist": [
        f"MNIST/raw/{split}-{kind}-ubyte" for split in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
    ],
}
"""The files of each data set that needs a download, relative to the folder of the data sets."""


def lacks_files(name: str, directory: Path) -> bool:
    """Return whether a file of a data set does not exist. The content of the files is not checked."""
    return any(not (directory / file).exists() for file in FILES.get(name, ()))


def dataset_info(name: str) -> DatasetInfo:
    """Return a data set of the table by its name, or a custom data set by its import path.

    Raises:
        DataError: there is no data set of this name; the message lists the names.
        PluginError: the path cannot be imported, or names something else.
    """
    if is_import_path(name):
        info = load_plugin(name)
        if not isinstance(info, DatasetInfo) or info.read is None:
            kind = "one without it" if isinstance(info, DatasetInfo) else type(info).__name__
            raise PluginError(f"'{name}' must be a urfb.DatasetInfo with `read`, not {kind}")
        return info
    if name not in CATALOG:
        raise DataError(f"there is no data set {name!r}: {nearest(name, CATALOG)}")
    return CATALOG[name]


def is_chance(test_error: float, info: DatasetInfo) -> bool:
    """Return whether guessing explains a test error: it is above 1 − 1/classes minus three standard errors."""
    chance = 1 - 1 / info.classes
    return test_error > chance - 3 * math.sqrt(chance * (1 - chance) / info.test)


def data_directory(explicit: str | Path | None = None) -> Path:
    """Return the folder of the data sets: `explicit`, or the environment's URFB_DATA_DIR, or the user's cache."""
    chosen = explicit or os.environ.get("URFB_DATA_DIR")
    try:
        return Path(chosen).expanduser() if chosen else user_cache_path("urfb") / "data"
    except RuntimeError as error:
        raise DataError(f"'{chosen}' cannot be used as the folder of the data sets ({error})") from error


def fetch_command(name: str, directory: Path) -> str:
    """Return the command that downloads or repairs a data set."""
    return f"urfb data fetch {name} --data-dir {shlex.quote(str(directory))}"
