"""What data sets there are. No torch here: the planner reads this too, and must answer at once."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from urfb.errors import DataError, nearest


@dataclass(frozen=True)
class DatasetInfo:
    """One data set; its splits are cut in file order, and the test images are never shuffled among the others.

    `training`, `validation` and `test` count images of `shape` (channels, height, width). A stored pixel is a whole
    number from 0 to `scale`. `batch_size` is the default one, `source` says in words where the images come from.
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
    """Return the data set called `name`; raises DataError, with the names there are, when there is none."""
    if name not in CATALOG:
        raise DataError(f"there is no data set {name!r}: {nearest(name, CATALOG)}")
    return CATALOG[name]


def data_directory(explicit: str | Path | None = None) -> Path:
    """Return where the data sets are: `explicit`, else the environment's URFB_DATA_DIR, else the user's cache."""
    chosen = explicit or os.environ.get("URFB_DATA_DIR")
    try:
        return Path(chosen).expanduser() if chosen else user_cache_path("urfb") / "data"
    except RuntimeError as error:
        raise DataError(f"'{chosen}' cannot be the data sets' folder ({error})") from error


def fetch_command(name: str, directory: Path) -> str:
    """Return the command that fetches or mends a data set."""
    return f"urfb data fetch {name} --data-dir {shlex.quote(str(directory))}"
