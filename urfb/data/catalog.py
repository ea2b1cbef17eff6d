"""The data sets, and what a user's own must declare. No torch here: the planner must answer at once."""

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
    """One data set; its splits are cut in file order, and the test images are never shuffled among the others.

    Attributes:
        name: what people call it.
        classes: how many there are; labels are whole numbers from 0 to classes − 1.
        shape: of an image, (channels, height, width).
        training: how many images train, the first ones.
        validation: how many validate, those that follow.
        test: how many are left for the test, the last ones.
        batch_size: images an update where nothing is said.
        scale: what pixels are divided by; a stored one is a whole number from 0 to `scale`, which is 255 at most.
        source: says in words where the images come from.
        read: of a user's own, the function that gets the folder of the data sets and returns all images
            [N, height, width, channels] and their labels [N], as arrays of whole numbers: those that train first, then
            those that validate, then the test's. A grid names the data set by import path: 'my_data:stripes'.
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
        """Raise ValueError, with all that is wrong, unless every number can be one of a data set."""
        ranges = {"classes": (2, 2**31), "scale": (1, 255)}
        ranges |= dict.fromkeys(("training", "validation", "test", "batch_size"), (1, 2**31))
        wrong = [
            f"{name} is {getattr(self, name)!r}, where a whole number from {low} to {high:,} is expected"
            for name, (low, high) in ranges.items()
            if type(getattr(self, name)) is not int or not low <= getattr(self, name) <= high
        ]
        if len(self.shape) != 3 or not all(type(size) is int and size > 0 for size in self.shape):
            wrong.append(f"shape is {self.shape!r}, where (channels, height, width) is expected")
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
            source="small handwritten digits, part of scikit-learn: nothing to fetch",
        ),
    )
}


def dataset_info(name: str) -> DatasetInfo:
    """Return the data set called `name`, or a user's own by its import path.

    Raises:
        DataError: there is none of the name; it says which there are.
        PluginError: the path cannot be imported, or names something else.
    """
    if is_import_path(name):
        info = load_plugin(name)
        if not isinstance(info, DatasetInfo) or info.read is None:
            kind = "a urfb.DatasetInfo without `read`" if isinstance(info, DatasetInfo) else type(info).__name__
            raise PluginError(f"'{name}' is {kind}, where a urfb.DatasetInfo with `read` is expected")
        return info
    if name not in CATALOG:
        raise DataError(f"there is no data set {name!r}: {nearest(name, CATALOG)}")
    return CATALOG[name]


def is_chance(test_error: float, info: DatasetInfo) -> bool:
    """Whether guessing would give such a test error: 1 − 1/classes, less what three standard errors leave to luck."""
    chance = 1 - 1 / info.classes
    return test_error > chance - 3 * math.sqrt(chance * (1 - chance) / info.test)


def data_directory(explicit: str | Path | None = None) -> Path:
    """Return where the data sets are: `explicit`, else the environment's URFB_DATA_DIR, else the user's cache."""
    chosen = explicit or os.environ.get("URFB_DATA_DIR")
    try:
        return Path(chosen).expanduser() if chosen else user_cache_path("urfb") / "data"
    except RuntimeError as error:
        raise DataError(f"'{chosen}' cannot be the data sets' folder ({error})") from error


def fetch_command(name: str, directory: Path) -> str:
    """Return the command that fetches or fixes a data set."""
    return f"urfb data fetch {name} --data-dir {shlex.quote(str(directory))}"
