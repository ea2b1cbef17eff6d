"""The files of the data sets: fetched, verified, and loaded as the three splits that live on the device."""

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
from typing import Any
from urllib.error import URLError

import numpy as np
import torch
from torch import Tensor

from urfb.data.catalog import DatasetInfo, dataset_info, fetch_command
from urfb.errors import DataError
from urfb.files import atomic_write
from urfb.plugins import USERS_ERRORS, described, users_code

STALL_SECONDS = 30.0  # a download that brings not a byte for so long has failed
MNIST_FOLDER = Path("MNIST", "raw")
# The unpacked files, which are what is read, and their MD5; torchvision knows only those of the archives.
MNIST_FILES = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


@dataclass(frozen=True)
class Split:
    """Images and their labels, in file order, on one device.

    `images` is uint8 [N, height, width, channels] and contiguous, so that a batch permuted to
    [B, channels, height, width] is in PyTorch's channels_last format without a copy. `labels` is int64 [N].
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
    """Load the data set `name` from `directory` to `device`; its splits have the sizes that the catalog states.

    Raises DataError when `name` is unknown, when a file cannot be used, or when what the function of a user's
    own data set returns is not what it declares.
    """
    info = dataset_info(name)
    sizes = [info.training, info.validation, info.test]
    try:
        images, labels = _read(info, directory) if info.read is None else _read_users(name, info, directory)
        splits = list(zip(torch.split(images, sizes), torch.split(labels, sizes), strict=True))
    except Exception:  # damaged bytes make torchvision fail in many ways
        if info.read is None:
            verify(name, directory)  # names the file; if every file is right, the error was not about them
        raise
    return Dataset(info, *(Split(images.to(device), labels.to(device)) for images, labels in splits))


def verify(name: str, directory: Path) -> None:
    """Check every file of the data set against its checksum; a user's own, which has none, by reading it.

    Raises DataError, naming each file that cannot be used, or when `name` is unknown.
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
    """Return "ready", or what is the worst of any file: "unreadable", "damaged" or "missing".

    Raises DataError when `name` is unknown.
    """
    return _worst(faults(name, directory))


def _worst(faulty: dict[Path, str]) -> str:
    kinds = {fault.split()[0] for fault in faulty.values()}
    return next((kind for kind in ("unreadable", "damaged", "missing") if kind in kinds), "ready")


def faults(name: str, directory: Path) -> dict[Path, str]:
    """Return the files that cannot be used, each "missing", "damaged" or "unreadable (the reason)": {} means ready.

    Raises DataError when `name` is unknown.
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
    """Download the data set to `directory` and unpack it, unless it is there and right; shows its progress.

    Of MNIST, only the archives of files that are missing or damaged are fetched. An archive that is already there with
    the right checksum is unpacked, not downloaded again.

    Raises DataError when `name` is unknown, a file cannot be read or written, or the download fails; then it says which
    file to put where by hand.
    """
    faulty = faults(name, directory)
    if _worst(faulty) == "unreadable":  # a download would not help
        verify(name, directory)
    if not faulty:
        return
    # Not torchvision's own download=True: it checks neither CIFAR's meta file nor the content of MNIST's unpacked
    # files, and so would leave them damaged.
    source = _torchvision(name)
    if name == "mnist":
        for file, md5 in source.resources:
            archive = directory / MNIST_FOLDER / file
            if archive.with_suffix("") in faulty:
                _fetch_archive(name, directory, [mirror + file for mirror in source.mirrors], archive, md5)
    else:
        _fetch_archive(name, directory, [source.url], directory / source.filename, source.tgz_md5)


def _fetch_archive(name: str, directory: Path, addresses: list[str], archive: Path, md5: str) -> None:
    """Unpack `archive` into its folder; download it first, unless it is there and right."""
    from torchvision.datasets.utils import check_integrity, extract_archive

    try:
        if not check_integrity(archive, md5):
            _download(name, directory, addresses, archive, md5)
        extract_archive(archive, archive.parent)
    except OSError as error:
        raise DataError(
            f"{name}: {archive} could not be written and unpacked ({error}). Make sure that there is room and that you "
            "may write there, or choose another folder with --data-dir"
        ) from error


def _download(name: str, directory: Path, addresses: list[str], archive: Path, md5: str) -> None:
    """Download `archive` from the first address that has it, completely or not at all."""
    from torchvision.datasets.utils import download_url

    failures = []
    for address in addresses:
        try:
            with atomic_write(archive) as partial, _stalls_end():
                download_url(address, partial.parent, partial.name, md5)
            return
        except TimeoutError:
            failures.append(f"{address}: nothing came for {STALL_SECONDS:g} seconds")
        except (URLError, HTTPException, ConnectionError, ssl.SSLError) as error:
            failures.append(f"{address}: {error}")
        except RuntimeError:  # the checksum is wrong, or the way there has too many redirections
            failures.append(f"{address}: what came is not this file, or not all of it")
    raise DataError(
        f"{name}: {archive} could not be fetched ({'; '.join(failures)}). Check the network and try again; "
        f"or get {addresses[0]} (md5 {md5}) by other means, save it as {archive}, "
        f"and run `{fetch_command(name, directory)}`, which unpacks it"
    )


@contextmanager
def _stalls_end() -> Iterator[None]:
    """Raise TimeoutError where the network brings nothing for STALL_SECONDS; torchvision itself waits forever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _torchvision(name: str) -> Any:
    """Return torchvision's class for a data set; importing it takes as long as importing torch."""
    from torchvision.datasets import CIFAR10, CIFAR100, MNIST

    return {"cifar10": CIFAR10, "cifar100": CIFAR100, "mnist": MNIST}[name]


def _checksums(name: str, directory: Path) -> dict[Path, str]:
    """Return the MD5 of every file that is read; of a data set without files that urfb knows, nothing."""
    info = dataset_info(name)
    if info.name == "digits" or info.read is not None:
        return {}
    if name == "mnist":
        return {directory / MNIST_FOLDER / file: md5 for file, md5 in MNIST_FILES.items()}
    source = _torchvision(name)
    files = [*source.train_list, *source.test_list, (source.meta["filename"], source.meta["md5"])]
    return {directory / source.base_folder / file: md5 for file, md5 in files}


def _read_users(name: str, info: DatasetInfo, directory: Path) -> tuple[Tensor, Tensor]:
    """Return a user's own images and labels as `_read` does, after checking them."""
    assert info.read is not None
    try:
        with users_code():
            images, labels = (np.asarray(part) for part in info.read(directory))
    except USERS_ERRORS as error:
        raise DataError(f"'{name}' cannot be read from {directory}: {described(error)}") from error
    channels, height, width = info.shape
    count = info.training + info.validation + info.test
    problems = [
        f"{part} have shape {array.shape}, where {shape} is expected: {meaning}"
        for part, array, shape, meaning in (
            ("images", images, (count, height, width, channels), "[N, height, width, channels] of its three splits"),
            ("labels", labels, (count,), "one an image"),
        )
        if array.shape != shape
    ]
    for part, array, highest in (("pixels", images, info.scale), ("labels", labels, info.classes - 1)):
        if not np.issubdtype(array.dtype, np.integer):
            problems.append(f"{part} are {array.dtype}, where whole numbers from 0 to {highest} are expected")
        elif array.size and (array.min() < 0 or array.max() > highest):
            problems.append(f"{part} go from {array.min()} to {array.max()}, where 0 to {highest} is allowed")
    if problems:
        raise DataError(f"'{name}': what its function returns is not what it declares: {'; '.join(problems)}")
    return (
        torch.from_numpy(np.ascontiguousarray(images, dtype=np.uint8)),
        torch.from_numpy(np.ascontiguousarray(labels, dtype=np.int64)),
    )


def _read(info: DatasetInfo, directory: Path) -> tuple[Tensor, Tensor]:
    """Return all images, uint8 [N, height, width, channels], and all labels, int64 [N], the test images last."""
    channels, height, width = info.shape
    if info.name == "digits":
        from sklearn.datasets import load_digits

        digits = load_digits()
        parts = [(digits.images, digits.target)]
    elif info.name == "mnist":
        from torchvision.datasets.mnist import read_image_file, read_label_file

        # Not torchvision's class: it checks no content, and prefers what its old versions left in MNIST/processed.
        verify(info.name, directory)
        raw = directory / MNIST_FOLDER
        parts = [
            (read_image_file(raw / f"{part}-images-idx3-ubyte"), read_label_file(raw / f"{part}-labels-idx1-ubyte"))
            for part in ("train", "t10k")
        ]
    else:
        with warnings.catch_warnings():
            # CIFAR's pickles are of 2009 and write a dtype's `align` as 0, of which NumPy 2.4.0 to 2.4.4 warn.
            warnings.filterwarnings("ignore", r"dtype\(\): align should be", np.exceptions.VisibleDeprecationWarning)
            files = [_torchvision(info.name)(directory, train=train, download=False) for train in (True, False)]
        parts = [(file.data, file.targets) for file in files]
    images = torch.cat([torch.as_tensor(images, dtype=torch.uint8) for images, _ in parts])
    labels = torch.cat([torch.as_tensor(labels, dtype=torch.int64) for _, labels in parts])
    return images.reshape(-1, height, width, channels).contiguous(), labels
