import gzip
import hashlib
import io
import pickle
import shutil
import tarfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10, MNIST

from urfb.data import datasets
from urfb.data.datasets import faults, fetch, load, verify
from urfb.errors import DataError


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A folder and the address on this machine that serves it; no test needs the network."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=folder)) as serving:
        thread = Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield folder, f"http://127.0.0.1:{serving.server_port}/"
        serving.shutdown()
        thread.join()


def md5(content):
    return hashlib.md5(content).hexdigest()


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


# ---- digits: always there


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
def test_an_unknown_name_is_answered_with_the_likeliest(function, tmp_path):
    with pytest.raises(DataError, match="did you mean 'digits'"):
        function("digit", tmp_path)


# ---- CIFAR: the real files


def test_cifar10_is_cut_in_file_order(real_data):
    dataset = load("cifar10", real_data)
    with (real_data / "cifar-10-batches-py" / "data_batch_5").open("rb") as file:
        last = pickle.load(file, encoding="latin1")
    splits = [dataset.training, dataset.validation, dataset.test]
    assert [len(split.labels) for split in splits] == [45_000, 5_000, 10_000]
    for split in splits:
        assert split.images.shape == (len(split.labels), 32, 32, 3)
        assert split.images.is_contiguous()
    # Five files of 10,000: the validation images are the last half of the fifth, which stores channels first.
    assert torch.equal(dataset.validation.labels, torch.tensor(last["labels"][5_000:]))
    images = torch.from_numpy(last["data"][5_000:]).reshape(-1, 3, 32, 32)
    assert torch.equal(dataset.validation.images.permute(0, 3, 1, 2), images)
    assert dataset.test.labels.bincount().tolist() == [1_000] * 10


def test_cifar100_has_the_fine_labels(real_data):
    dataset = load("cifar100", real_data)
    assert dataset.test.labels.bincount().tolist() == [100] * 100


@pytest.fixture
def damageable_cifar10(real_data, tmp_path):
    """A folder of links to the real CIFAR-10, in which one file may be replaced."""
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


# ---- fetching CIFAR: the real code against small files


@pytest.fixture
def small_cifar10(server, monkeypatch):
    """An archive of small files in place of CIFAR-10's, on a server of our own."""
    folder, address = server
    contents = {"data_batch_1": b"training images", "test_batch": b"test images", "batches.meta": b"names"}
    with tarfile.open(folder / CIFAR10.filename, "w:gz") as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(f"{CIFAR10.base_folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    monkeypatch.setattr(CIFAR10, "url", address + CIFAR10.filename)
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5((folder / CIFAR10.filename).read_bytes()))
    monkeypatch.setattr(CIFAR10, "train_list", [["data_batch_1", md5(contents["data_batch_1"])]])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", md5(contents["test_batch"])]])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": md5(contents["batches.meta"])})
    return folder / CIFAR10.filename


def test_fetch_downloads_and_unpacks(small_cifar10, tmp_path):
    directory = tmp_path / "a new" / "directory"
    fetch("cifar10", directory)
    verify("cifar10", directory)


@pytest.mark.parametrize("name", ["data_batch_1", "batches.meta"])
def test_fetch_mends_any_file_and_downloads_nothing_twice(name, small_cifar10, tmp_path):
    fetch("cifar10", tmp_path)
    small_cifar10.unlink()
    flip_a_byte(tmp_path / CIFAR10.base_folder / name)
    fetch("cifar10", tmp_path)
    verify("cifar10", tmp_path)


def test_fetch_leaves_alone_what_is_right(small_cifar10, tmp_path):
    fetch("cifar10", tmp_path)
    small_cifar10.unlink()
    (tmp_path / CIFAR10.filename).unlink()
    fetch("cifar10", tmp_path)
    assert not (tmp_path / CIFAR10.filename).exists()


def test_a_failed_download_says_what_to_put_where_and_that_works(small_cifar10, tmp_path):
    directory = tmp_path / "data"
    elsewhere = small_cifar10.rename(tmp_path / "elsewhere")
    with pytest.raises(DataError) as caught:
        fetch("cifar10", directory)
    message = str(caught.value)
    assert "404" in message
    assert f"get {CIFAR10.url} (md5 {CIFAR10.tgz_md5})" in message
    assert f"save it as {directory / CIFAR10.filename}," in message
    shutil.copy(elsewhere, directory / CIFAR10.filename)
    fetch("cifar10", directory)
    verify("cifar10", directory)


def test_a_download_with_the_wrong_checksum_is_not_unpacked(small_cifar10, tmp_path):
    flip_a_byte(small_cifar10)
    with pytest.raises(DataError, match="corrupted"):
        fetch("cifar10", tmp_path)
    assert not (tmp_path / CIFAR10.base_folder).exists()


# ---- MNIST: the real files, and files of the real sizes whose every pixel is the image's number modulo 251


def idx(values):
    """The bytes of MNIST's format: two zeros, 8 for uint8, the number of dimensions, each size, the data."""
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
    flip_a_byte(served_mnist / "train-images-idx3-ubyte.gz")  # which is not asked for
    flip_a_byte(folder / "t10k-labels-idx1-ubyte")
    (folder / "t10k-images-idx3-ubyte").unlink()
    assert faults("mnist", tmp_path) == {
        folder / "t10k-images-idx3-ubyte": "missing",
        folder / "t10k-labels-idx1-ubyte": "damaged",
    }
    fetch("mnist", tmp_path)
    verify("mnist", tmp_path)


def test_an_mnist_archive_that_is_there_is_unpacked(served_mnist, tmp_path):
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


def test_every_mnist_file_that_is_wrong_is_named_on_loading(served_mnist, tmp_path):
    fetch("mnist", tmp_path)
    images, labels = (tmp_path / "MNIST" / "raw" / f"t10k-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1"))
    flip_a_byte(labels)  # it is still readable
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte is damaged; run `urfb data fetch mnist"):
        load("mnist", tmp_path)
    images.unlink()
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte is missing, .*t10k-labels-idx1-ubyte is damaged"):
        load("mnist", tmp_path)


def test_what_old_versions_of_torchvision_left_is_not_loaded(served_mnist, tmp_path):
    fetch("mnist", tmp_path)
    processed = tmp_path / "MNIST" / "processed"
    processed.mkdir()
    for name in (MNIST.training_file, MNIST.test_file):
        torch.save((torch.zeros(35_000, 28, 28), torch.zeros(35_000)), processed / name)
    assert load("mnist", tmp_path).test.labels[:3].tolist() == [0, 1, 2]


def test_no_mirror_at_all_names_the_file_that_is_wanted(served_mnist, tmp_path, monkeypatch):
    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])
    with pytest.raises(DataError, match=r"raw/train-images-idx3-ubyte\.gz could not be fetched.*refused"):
        fetch("mnist", tmp_path)


def test_an_error_that_is_not_about_the_files_stays_itself(tmp_path, monkeypatch):
    def fail():
        raise MemoryError

    monkeypatch.setattr("sklearn.datasets.load_digits", fail)
    with pytest.raises(MemoryError):
        load("digits", tmp_path)
