"""Fetch, verify and load the files of the data sets."""

from __future__ import annotations

import hashlib
import socket
import ssl
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import URLError

import numpy as np
import torch
from torch import Tensor

from urfb.data.catalog import DatasetInfo, dataset_info, fetch_command
from urfb.errors import DataError
from urfb.files import atomic_write
from urfb.plugins import USERS_ERRORS, described, users_code

STALL_SECONDS = 30.0  # a download fails after this time without a byte
MNIST_FOLDER = Path("MNIST", "raw")
# The MD5 of the unpacked files, which are the files that are read; torchvision has only the MD5 of the archives.
MNIST_FILES = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


@dataclass(frozen=True)
class Split:
    """Images and their labels, in file order, on one device.

    `images` is uint8 [N, height, width, channels] and contiguous, so a batch permuted to [B, channels, height, width]
    is in PyTorch's channels_last format without a copy. `labels` is int64 [N].
    """

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Dataset:
    """A data set and its three splits."""

    info: DatasetInfo
    training: Split
    validation: Split
    test: Split


def load(name: str, directory: Path, device: str | torch.device = "cpu") -> Dataset:
    """Load the data set `name` from `directory` to `device`.

    Raises:
        DataError: `name` is unknown, a file cannot be used, or `read` of a custom data set does not return what the
            data set declares.
    """
    info = dataset_info(name)
    sizes = [info.training, info.validation, info.test]
    try:
        images, labels = _read(info, directory) if info.read is None else _read_users(name, info, directory)
        splits = list(zip(torch.split(images, sizes), torch.split(labels, sizes), strict=True))
    except Exception:  # damaged bytes make torchvision fail in many ways
        if info.read is None:
            verify(name, directory)  # raises an error that names the damaged file, if any
        raise
    return Dataset(info, *(Split(images.to(device), labels.to(device)) for images, labels in splits))


def verify(name: str, directory: Path) -> None:
    """Check every file of a data set against its checksum, or read a custom data set, which has no checksums.

    Raises:
        DataError: `name` is unknown, or files cannot be used; the message names them.
    """
    if dataset_info(name).read is not None:
        load(name, directory)
        return
    faulty = faults(name, directory)
    if not faulty:
        return
    path, fault = next(iter(faulty.items()))
    if set(faulty.values()) == {fault} and faulty.keys() == _checksums(name, directory).keys():
        problem = f"all files are {fault} in {path.parent} ({', '.join(path.name for path in faulty)})"
    else:
        problem = ", ".join(f"{path} is {fault}" for path, fault in faulty.items())
    if _worst(faulty) == "unreadable":
        advice = "correct that, or choose another folder with --data-dir"
    else:
        advice = f"run `{fetch_command(name, directory)}`"
    raise DataError(f"{name}: {problem}; {advice}")


def state(name: str, directory: Path) -> str:
    """Return "ready", or the worst state of any file: "unreadable", "damaged" or "missing".

    Raises:
        DataError: `name` is unknown.
    """
    return _worst(faults(name, directory))


def _worst(faulty: dict[Path, str]) -> str:
    kinds = {fault.split()[0] for fault in faulty.values()}
    return next((kind for kind in ("unreadable", "damaged", "missing") if kind in kinds), "ready")


def faults(name: str, directory: Path) -> dict[Path, str]:
    """Return the files that cannot be used and their states: "missing", "damaged" or "unreadable (REASON)".

    Raises:
        DataError: `name` is unknown.
    """
    faulty = {}
    for path, md5 in _checksums(name, directory).items():
        try:
            if hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() != md5:
                faulty[path] = "damaged"
        except FileNotFoundError:
            faulty[path] = "missing"
        except OSError as error:
            faulty[path] = f"unreadable ({error.strerror})"
    return faulty


def fetch(name: str, directory: Path) -> None:
    """Download a data set to `directory` and unpack it, unless all files are already right. Show the progress.

    For MNIST, fetch only the archives of files that are missing or damaged. An archive that is already in the folder
    with the right checksum is unpacked without a download.

    Raises:
        DataError: `name` is unknown, a file cannot be read or written, or the download fails. After a failed download,
            the message says which files to download by hand, and where to save them.
    """
    faulty = faults(name, directory)
    if _worst(faulty) == "unreadable":  # a download would not help
        verify(name, directory)
    if not faulty:
        return
    # torchvision's download=True is not enough: it checks neither CIFAR's meta file nor the content of MNIST's unpacked
    # files, so it would leave them damaged.
    source = _torchvision(name)
    if name == "mnist":
        raw = directory / MNIST_FOLDER
        archives = [
            _Archive([mirror + file for mirror in source.mirrors], raw / file, md5)
            for file, md5 in source.resources
            if raw / file.removesuffix(".gz") in faulty
        ]
    else:
        archives = [_Archive([source.url], directory / source.filename, source.tgz_md5)]
    for number, archive in enumerate(archives):
        _fetch_archive(name, directory, archive, archives[number:])


class _Archive(NamedTuple):
    """A file to download and unpack: its addresses, which have the same file, its path and its MD5."""

    addresses: list[str]
    path: Path
    md5: str


def _fetch_archive(name: str, directory: Path, archive: _Archive, needed: list[_Archive]) -> None:
    """Unpack an archive into its folder, after downloading it if it is missing or damaged."""
    from torchvision.datasets.utils import check_integrity, extract_archive

    try:
        if not check_integrity(archive.path, archive.md5):
            _download(name, directory, archive, needed)
        extract_archive(archive.path, archive.path.parent)
    except OSError as error:
        raise DataError(
            f"{name}: {archive.path} could not be written and unpacked ({error}). Check the free space and the "
            "permissions, or choose another folder with --data-dir"
        ) from error


def _download(name: str, directory: Path, archive: _Archive, needed: list[_Archive]) -> None:
    """Download an archive from the first address that has it, completely or not at all.

    Raises:
        DataError: no address has it; the message lists all archives that are still needed.
    """
    from torchvision.datasets.utils import check_integrity, download_url

    failures = []
    for address in archive.addresses:
        try:
            with atomic_write(archive.path) as partial, _stalls_end():
                download_url(address, partial.parent, partial.name, archive.md5)
            return
        except TimeoutError:
            failures.append(f"{address}: no data for {STALL_SECONDS:g} seconds")
        except (URLError, HTTPException, ConnectionError, ssl.SSLError) as error:
            failures.append(f"{address}: {error}")
        except RuntimeError:  # a wrong checksum, or too many redirections
            failures.append(f"{address}: the downloaded file is wrong or incomplete")
    absent = [other for other in needed if not check_integrity(other.path, other.md5)]
    this, them = ("this file", "it") if len(absent) == 1 else ("these files", "them")
    raise DataError(
        "\n".join(
            [
                f"{name}: {archive.path} could not be fetched ({'; '.join(failures)})",
                f"Check the network and try again, or get {this} by other means:",
                *(f"  {other.addresses[0]} (md5 {other.md5})" for other in absent),
                f"Save {them}, packed or unpacked, in {archive.path.parent}, and run:",
                f"  {fetch_command(name, directory)}",
            ]
        )
    )


@contextmanager
def _stalls_end() -> Iterator[None]:
    """Raise TimeoutError after STALL_SECONDS without data from the network; torchvision itself would wait forever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _torchvision(name: str) -> Any:
    """Return torchvision's class for a data set, imported here because the import takes as long as torch's."""
    from torchvision.datasets import CIFAR10, CIFAR100, MNIST

    return {"cifar10": CIFAR10, "cifar100": CIFAR100, "mnist": MNIST}[name]


def _checksums(name: str, directory: Path) -> dict[Path, str]:
    """Return the MD5 of every file of a data set; {} if urfb knows no files of it."""
    info = dataset_info(name)
    if info.name == "digits" or info.read is not None:
        return {}
    if name == "mnist":
        return {directory / MNIST_FOLDER / file: md5 for file, md5 in MNIST_FILES.items()}
    source = _torchvision(name)
    files = [*source.train_list, *source.test_list, (source.meta["filename"], source.meta["md5"])]
    return {directory / source.base_folder / file: md5 for file, md5 in files}


def _read_users(name: str, info: DatasetInfo, directory: Path) -> tuple[Tensor, Tensor]:
    """Return the checked images and labels of a custom data set, as `_read` does."""
    assert info.read is not None
    try:
        with users_code():
            images, labels = (np.asarray(part) for part in info.read(directory))
    except USERS_ERRORS as error:
        raise DataError(f"'{name}' cannot be read from {directory}: {described(error)}") from error
    channels, height, width = info.shape
    count = info.training + info.validation + info.test
    problems = [
        f"{part} must have the shape {shape}, {meaning}, not {array.shape}"
        for part, array, shape, meaning in (
            ("images", images, (count, height, width, channels), "[N, height, width, channels] for all three splits"),
            ("labels", labels, (count,), "one label per image"),
        )
        if array.shape != shape
    ]
    for part, array, highest in (("pixels", images, info.scale), ("labels", labels, info.classes - 1)):
        if not np.issubdtype(array.dtype, np.integer):
            problems.append(f"{part} must be whole numbers from 0 to {highest}, not {array.dtype}")
        elif array.size and (array.min() < 0 or array.max() > highest):
            problems.append(f"{part} must be from 0 to {highest}, but they are from {array.min()} to {array.max()}")
    if problems:
        raise DataError(f"'{name}': `read` does not return what the data set declares: {'; '.join(problems)}")
    return (
        torch.from_numpy(np.ascontiguousarray(images, dtype=np.uint8)),
        torch.from_numpy(np.ascontiguousarray(labels, dtype=np.int64)),
    )


def _read(info: DatasetInfo, directory: Path) -> tuple[Tensor, Tensor]:
    """Return all images, uint8 [N, height, width, channels], and all labels, int64 [N], in the order of the splits."""
    channels, height, width = info.shape
    if info.name == "digits":
        from sklearn.datasets import load_digits

        digits = load_digits()
        parts = [(digits.images, digits.target)]
    elif info.name == "mnist":
        from torchvision.datasets.mnist import read_image_file, read_label_file

        # torchvision's class is not used, because it checks no content and prefers old files in MNIST/processed.
        verify(info.name, directory)
        raw = directory / MNIST_FOLDER
        parts = [
            (read_image_file(raw / f"{part}-images-idx3-ubyte"), read_label_file(raw / f"{part}-labels-idx1-ubyte"))
            for part in ("train", "t10k")
        ]
    else:
        with warnings.catch_warnings():
            # CIFAR's pickles, from 2009, store a dtype's `align` as 0, about which NumPy 2.4.0 to 2.4.4 warn.
            warnings.filterwarnings("ignore", r"dtype\(\): align should be", np.exceptions.VisibleDeprecationWarning)
            files = [_torchvision(info.name)(directory, train=train, download=False) for train in (True, False)]
        parts = [(file.data, file.targets) for file in files]
    images = torch.cat([torch.as_tensor(images, dtype=torch.uint8) for images, _ in parts])
    labels = torch.cat([torch.as_tensor(labels, dtype=torch.int64) for _, labels in parts])
    return images.reshape(-1, height, width, channels).contiguous(), labels
