import gzip
import hashlib
import pickle
import resource
import shutil
import socket
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10, MNIST

from urfb.data import datasets
from urfb.data.catalog import CATALOG, lacks_files
from urfb.data.datasets import faults, fetch, load, verify
from urfb.errors import DataError


def md5(content):
    return hashlib.md5(content).hexdigest()


def files_below(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


@contextmanager
def full_disk():
    """Limit files to 1 MiB, which fails at the same place as a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


# ---- digits, which need no download


def test_digits_are_cut_in_file_order(tmp_path):
    from sklearn.datasets import load_digits

    dataset = load("digits", tmp_path)
    splits = [dataset.training, dataset.validation, dataset.test]
    assert [tuple(split.images.shape) for split in splits] == [(1297, 8, 8, 1), (250, 8, 8, 1), (250, 8, 8, 1)]
    original = load_digits()
    assert np.array_equal(torch.cat([split.images for split in splits])[..., 0], original.images)
    assert np.array_equal(torch.cat([split.labels for split in splits]), original.target)
    assert all(split.images.dtype == torch.uint8 and split.labels.dtype == torch.int64 for split in splits)
    assert int(dataset.training.images.max()) == dataset.info.scale


def test_digits_need_no_files(tmp_path):
    verify("digits", tmp_path / "nowhere")
    fetch("digits", tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("function", [load, verify, fetch])
def test_an_unknown_name_suggests_the_nearest(function, tmp_path):
    with pytest.raises(DataError, match="did you mean 'digits'"):
        function("digit", tmp_path)


# ---- the real files of CIFAR


def test_cifar10_is_cut_in_file_order(real_data):
    dataset = load("cifar10", real_data)
    with (real_data / "cifar-10-batches-py" / "data_batch_5").open("rb") as file:
        last = pickle.load(file, encoding="latin1")
    splits = [dataset.training, dataset.validation, dataset.test]
    assert [len(split.labels) for split in splits] == [45_000, 5_000, 10_000]
    for split in splits:
        assert split.images.shape == (len(split.labels), 32, 32, 3)
        assert split.images.is_contiguous()
    # The validation images are the second half of the fifth of five files of 10,000, which stores channels first.
    assert torch.equal(dataset.validation.labels, torch.tensor(last["labels"][5_000:]))
    images = torch.from_numpy(last["data"][5_000:]).reshape(-1, 3, 32, 32)
    assert torch.equal(dataset.validation.images.permute(0, 3, 1, 2), images)
    assert dataset.test.labels.bincount().tolist() == [1_000] * 10


def test_cifar100_has_the_fine_labels(real_data):
    dataset = load("cifar100", real_data)
    assert dataset.test.labels.bincount().tolist() == [100] * 100


@pytest.fixture
def damageable_cifar10(real_data, tmp_path):
    """Return a folder of links to the real CIFAR-10, in which a test can replace files."""
    folder = tmp_path / "it's here" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for file in (real_data / "cifar-10-batches-py").iterdir():
        (folder / file.name).symlink_to(file)
    return folder


@pytest.mark.parametrize("name", ["test_batch", "batches.meta"])
@pytest.mark.parametrize("function", [verify, load])
def test_a_damaged_file_is_named(function, name, damageable_cifar10):
    damaged = damageable_cifar10 / name
    original = damaged.resolve()
    damaged.unlink()
    shutil.copy(original, damaged)
    flip_a_byte(damaged)
    with pytest.raises(DataError) as caught:
        function("cifar10", damageable_cifar10.parent)
    assert f"{damaged} is damaged;" in str(caught.value)
    assert "`urfb data fetch cifar10 --data-dir '" in str(caught.value), "the path has a space: it must be quoted"
    assert "data_batch" not in str(caught.value), "the good files are not blamed"


@pytest.mark.parametrize("function", [verify, load])
def test_every_missing_file_is_named(function, damageable_cifar10):
    (damageable_cifar10 / "data_batch_2").unlink()
    (damageable_cifar10 / "batches.meta").unlink()
    with pytest.raises(DataError, match=r"data_batch_2 is missing, .*batches\.meta is missing; run"):
        function("cifar10", damageable_cifar10.parent)


# ---- fetching CIFAR, with the real code and small files


def test_fetch_downloads_and_unpacks(small_cifar10, tmp_path):
    directory = tmp_path / "a new" / "directory"
    fetch("cifar10", directory)
    verify("cifar10", directory)


@pytest.mark.parametrize("name", ["data_batch_1", "batches.meta"])
def test_fetch_repairs_any_file_and_downloads_nothing_twice(name, small_cifar10, tmp_path):
    fetch("cifar10", tmp_path)
    small_cifar10.unlink()
    flip_a_byte(tmp_path / CIFAR10.base_folder / name)
    fetch("cifar10", tmp_path)
    verify("cifar10", tmp_path)


def test_fetch_skips_files_that_are_right(small_cifar10, tmp_path):
    fetch("cifar10", tmp_path)
    small_cifar10.unlink()
    (tmp_path / CIFAR10.filename).unlink()
    fetch("cifar10", tmp_path)
    assert not (tmp_path / CIFAR10.filename).exists()


def test_a_failed_download_explains_how_to_save_the_file_by_hand(small_cifar10, tmp_path):
    directory = tmp_path / "data"
    elsewhere = small_cifar10.rename(tmp_path / "elsewhere")
    with pytest.raises(DataError) as caught:
        fetch("cifar10", directory)
    message = str(caught.value)
    assert "404" in message
    assert "or get this file by other means:" in message
    assert f"\n  {CIFAR10.url} (md5 {CIFAR10.tgz_md5})\n" in message
    assert f"\nSave it, packed or unpacked, in {directory}, and run:\n  urfb data fetch cifar10 --data-dir" in message
    shutil.copy(elsewhere, directory / CIFAR10.filename)
    fetch("cifar10", directory)
    verify("cifar10", directory)


def test_a_wrong_download_is_not_kept(small_cifar10, tmp_path):
    small_cifar10.write_text("<html>Please log in to use this network</html>")
    with pytest.raises(DataError, match="wrong or incomplete"):
        fetch("cifar10", tmp_path / "data")
    assert files_below(tmp_path / "data") == []


@pytest.mark.parametrize("way", ["silent", "half"])
def test_a_download_that_stalls_ends_and_leaves_nothing(way, small_cifar10, server, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "STALL_SECONDS", 0.1)
    monkeypatch.setattr(CIFAR10, "url", f"{server[1]}{way}/{CIFAR10.filename}")
    with pytest.raises(DataError, match=r"no data for 0\.1 seconds"):
        fetch("cifar10", tmp_path / "data")
    assert files_below(tmp_path / "data") == []
    assert socket.getdefaulttimeout() is None, "the time limit must not affect other connections of the process"


def test_a_full_disk_is_not_reported_as_a_network_error(small_cifar10, tmp_path):
    small_cifar10.write_bytes(bytes(2 * 2**20))
    with full_disk(), pytest.raises(DataError, match=r"could not be written.*File too large.*--data-dir") as caught:
        fetch("cifar10", tmp_path / "data")
    assert "network" not in str(caught.value)
    assert files_below(tmp_path / "data") == []


def test_a_folder_error_is_not_reported_as_a_network_error(small_cifar10, tmp_path):
    (tmp_path / "data").symlink_to(tmp_path / "gone")
    with pytest.raises(DataError, match=r"could not be written.*File exists.*--data-dir"):
        fetch("cifar10", tmp_path / "data")


# ---- wrong folders and files


@pytest.mark.parametrize("function", [verify, fetch])
def test_a_file_that_cannot_be_read_is_named_and_not_fetched(function, small_cifar10, tmp_path):
    fetch("cifar10", tmp_path)
    small_cifar10.unlink()
    unreadable = tmp_path / CIFAR10.base_folder / "data_batch_1"
    unreadable.unlink()
    unreadable.symlink_to("/proc/self/mem")  # the permissions let root open it, but nobody can read its first bytes
    with pytest.raises(DataError, match=r"data_batch_1 is unreadable \(Input/output error\); correct that, or choose"):
        function("cifar10", tmp_path)


@pytest.mark.parametrize("function", [verify, load, fetch])
def test_a_file_in_place_of_the_folder_is_named(function, tmp_path):
    (tmp_path / "data").write_text("a file")
    with pytest.raises(DataError, match=r"^mnist: all files are unreadable \(Not a directory\) in .*data/MNIST/raw \("):
        function("mnist", tmp_path / "data")


def test_a_missing_data_set_gets_one_short_message(tmp_path):
    with pytest.raises(DataError) as caught:
        verify("mnist", tmp_path)
    assert str(caught.value) == (
        f"mnist: all files are missing in {tmp_path / 'MNIST' / 'raw'} (train-images-idx3-ubyte, "
        f"train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte); "
        f"run `urfb data fetch mnist --data-dir {tmp_path}`"
    )


@pytest.mark.parametrize("name", CATALOG)
def test_a_missing_file_is_noticed_without_reading_the_others(name, tmp_path):
    files = faults(name, tmp_path)
    assert lacks_files(name, tmp_path) == bool(files)
    for file in files:
        assert lacks_files(name, tmp_path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert not lacks_files(name, tmp_path)


def test_a_read_only_folder_is_enough(small_cifar10, tmp_path):
    fetch("cifar10", tmp_path / "data")
    (tmp_path / "link").symlink_to(tmp_path / "data", target_is_directory=True)
    for folder in (tmp_path / "data" / CIFAR10.base_folder, tmp_path / "data"):
        folder.chmod(0o555)
    try:
        verify("cifar10", tmp_path / "link")
        fetch("cifar10", tmp_path / "link")
    finally:
        for folder in (tmp_path / "data", tmp_path / "data" / CIFAR10.base_folder):
            folder.chmod(0o755)


# ---- MNIST: the real files, and files of the same sizes in which all pixels of an image are its number modulo 251


def idx(values):
    """Return values in MNIST's format: two zeros, 8 for uint8, the number of dimensions, each size, the data."""
    return bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape) + values.tobytes()


@pytest.fixture(scope="session")
def mnist_archives():
    archives = {}
    for name, count in {"train": 60_000, "t10k": 10_000}.items():
        numbers = np.arange(count)
        images = np.broadcast_to((numbers % 251).astype(np.uint8)[:, None, None], (count, 28, 28))
        archives[f"{name}-images-idx3-ubyte.gz"] = gzip.compress(idx(images), compresslevel=1)
        archives[f"{name}-labels-idx1-ubyte.gz"] = gzip.compress(idx((numbers % 10).astype(np.uint8)), compresslevel=1)
    return archives


@pytest.fixture(scope="session")
def mnist_checksums(mnist_archives):
    return {name.removesuffix(".gz"): md5(gzip.decompress(content)) for name, content in mnist_archives.items()}


@pytest.fixture
def served_mnist(server, mnist_archives, mnist_checksums, monkeypatch):
    folder, address = server
    for name, content in mnist_archives.items():
        (folder / name).write_bytes(content)
    monkeypatch.setattr(MNIST, "mirrors", [address + "a-mirror-that-has-gone/", address])
    monkeypatch.setattr(MNIST, "resources", [(name, md5(content)) for name, content in mnist_archives.items()])
    monkeypatch.setattr(datasets, "MNIST_FILES", mnist_checksums)
    return folder


def test_mnist_uses_a_working_mirror_and_splits_in_file_order(served_mnist, tmp_path):
    fetch("mnist", tmp_path)
    verify("mnist", tmp_path)
    dataset = load("mnist", tmp_path)
    assert dataset.training.images.shape == (55_000, 28, 28, 1)
    assert dataset.validation.images.shape == (5_000, 28, 28, 1)
    for split, numbers in [
        (dataset.training, torch.arange(55_000)),
        (dataset.validation, torch.arange(55_000, 60_000)),
        (dataset.test, torch.arange(10_000)),
    ]:
        assert torch.equal(split.labels, numbers % 10)
        assert torch.equal(split.images[:, 3, 5, 0], (numbers % 251).to(torch.uint8))


def test_only_the_archive_of_a_damaged_mnist_file_is_fetched(served_mnist, tmp_path):
    fetch("mnist", tmp_path)
    folder = tmp_path / "MNIST" / "raw"
    for archive in folder.glob("*.gz"):
        archive.unlink()
    flip_a_byte(served_mnist / "train-images-idx3-ubyte.gz")  # must not be fetched
    flip_a_byte(folder / "t10k-labels-idx1-ubyte")
    (folder / "t10k-images-idx3-ubyte").unlink()
    assert faults("mnist", tmp_path) == {
        folder / "t10k-images-idx3-ubyte": "missing",
        folder / "t10k-labels-idx1-ubyte": "damaged",
    }
    fetch("mnist", tmp_path)
    verify("mnist", tmp_path)


def test_an_existing_mnist_archive_is_unpacked(served_mnist, tmp_path):
    fetch("mnist", tmp_path)
    for served in served_mnist.iterdir():
        served.unlink()
    (tmp_path / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    fetch("mnist", tmp_path)
    verify("mnist", tmp_path)


def test_the_unpacked_files_of_the_real_mnist_are_enough(real_data, tmp_path):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name in datasets.MNIST_FILES:
        (folder / name).symlink_to(real_data / "MNIST" / "raw" / name)
    verify("mnist", tmp_path)
    dataset = load("mnist", tmp_path)
    assert dataset.training.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert dataset.test.labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_loading_names_every_wrong_mnist_file(served_mnist, tmp_path):
    fetch("mnist", tmp_path)
    images, labels = (tmp_path / "MNIST" / "raw" / f"t10k-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1"))
    flip_a_byte(labels)  # it is still readable
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte is damaged; run `urfb data fetch mnist"):
        load("mnist", tmp_path)
    images.unlink()
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte is missing, .*t10k-labels-idx1-ubyte is damaged"):
        load("mnist", tmp_path)


def test_files_of_old_torchvision_versions_are_not_loaded(served_mnist, tmp_path):
    fetch("mnist", tmp_path)
    processed = tmp_path / "MNIST" / "processed"
    processed.mkdir()
    for name in (MNIST.training_file, MNIST.test_file):
        torch.save((torch.zeros(35_000, 28, 28), torch.zeros(35_000)), processed / name)
    assert load("mnist", tmp_path).test.labels[:3].tolist() == [0, 1, 2]


def test_files_half_unpacked_on_a_full_disk_are_fetched_again(served_mnist, tmp_path):
    with full_disk(), pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz could not be.*File too large"):
        fetch("mnist", tmp_path)
    fetch("mnist", tmp_path)
    verify("mnist", tmp_path)


def test_after_a_stalled_mirror_the_next_is_used(served_mnist, server, tmp_path, monkeypatch):
    fetch("mnist", tmp_path)
    labels = tmp_path / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    for path in (labels, labels.with_name(f"{labels.name}.gz")):
        path.unlink()
    monkeypatch.setattr(datasets, "STALL_SECONDS", 0.5)
    monkeypatch.setattr(MNIST, "mirrors", [f"{server[1]}half/", server[1]])
    fetch("mnist", tmp_path)
    verify("mnist", tmp_path)


def test_without_a_mirror_the_error_names_all_files_that_are_needed(served_mnist, tmp_path, monkeypatch):
    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    shutil.copy(served_mnist / "t10k-images-idx3-ubyte.gz", folder)
    with pytest.raises(DataError, match=r"raw/train-images-idx3-ubyte\.gz could not be fetched.*refused") as caught:
        fetch("mnist", tmp_path)
    needed = "\n".join(
        f"  http://127.0.0.1:9/{name} (md5 {md5})"
        for name, md5 in MNIST.resources
        if not name.startswith("t10k-images")
    )
    expected = f"get these files by other means:\n{needed}\nSave them, packed or unpacked, in {folder}, and run:\n"
    assert expected in str(caught.value)
    for name, _ in MNIST.resources:
        shutil.copy(served_mnist / name, folder)
    fetch("mnist", tmp_path)
    verify("mnist", tmp_path)


def test_an_error_unrelated_to_the_files_is_not_replaced(tmp_path, monkeypatch):
    def fail():
        raise MemoryError

    monkeypatch.setattr("sklearn.datasets.load_digits", fail)
    with pytest.raises(MemoryError):
        load("digits", tmp_path)
