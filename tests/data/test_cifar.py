import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10, CIFAR100

from urfb.data.cifar import first_of_each_class
from urfb.data.datasets import load
from urfb.errors import DataError


@pytest.mark.parametrize(("name", "source", "count"), [("cifar10", CIFAR10, 10), ("cifar100", CIFAR100, 1)])
def test_the_first_of_each_class_are_those_that_urfb_trains_on(cifar_directory, name, source, count):
    found = first_of_each_class(name, cifar_directory, count)
    dataset = load(name, cifar_directory)
    images = torch.cat([dataset.training.images, dataset.validation.images])
    labels = torch.cat([dataset.training.labels, dataset.validation.labels])
    expected = [
        (label, position)
        for label in range(dataset.info.classes)
        for position in torch.nonzero(labels == label)[:count, 0].tolist()
    ]
    assert [(one.label, one.position) for one in found] == expected
    assert np.array_equal(np.stack([one.image for one in found]), images[[one.position for one in found]])
    assert list(dict.fromkeys(one.label_name for one in found)) == source(cifar_directory).classes


def write_batch(folder, name, labels):
    """Write a file like CIFAR-10's, in which every pixel of an image is its label."""
    data = np.repeat(np.array(labels, np.uint8)[:, None], 3 * 32 * 32, axis=1)
    content = pickle.dumps({"data": data, "labels": labels}, protocol=3)
    # As the files have it, which are older than NumPy's newer name for the same.
    (folder / name).write_bytes(content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))


@pytest.fixture
def small_cifar10(tmp_path):
    folder = tmp_path / "my data" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"class {label}" for label in range(10)]}))
    write_batch(folder, "data_batch_1", [0, 1, 2, 3, 4, 5, 6, 7, 7])
    write_batch(folder, "data_batch_2", [0, 9, 8])
    return folder


def test_files_are_read_as_far_as_they_are_needed(small_cifar10):
    found = first_of_each_class("cifar10", small_cifar10.parent, 1)
    assert [(one.label, one.position, one.label_name) for one in found[-2:]] == [
        (8, 11, "class 8"), (9, 10, "class 9"),
    ]  # fmt: skip
    assert [one.position for one in found[:8]] == list(range(8))
    assert all((one.image == one.label).all() and one.image.shape == (32, 32, 3) for one in found)


def test_a_missing_file_is_named_with_the_command_that_fetches_it(small_cifar10):
    (small_cifar10 / "data_batch_2").unlink()
    with pytest.raises(DataError) as caught:
        first_of_each_class("cifar10", small_cifar10.parent, 1)
    command = f"`urfb data fetch cifar10 --data-dir '{small_cifar10.parent}'`"
    assert str(caught.value) == f"{small_cifar10 / 'data_batch_2'} is missing; run {command}"


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps([1, 2]), pickle.dumps({"data": 3})])
def test_a_damaged_file_is_one_message(small_cifar10, content):
    (small_cifar10 / "data_batch_1").write_bytes(content)
    with pytest.raises(DataError, match=r"a file that cannot be read .*; run `urfb data fetch cifar10"):
        first_of_each_class("cifar10", small_cifar10.parent, 1)


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return shutil.rmtree, (self.path,)


@pytest.mark.parametrize("name", ["batches.meta", "data_batch_1"])
def test_a_file_that_would_do_something_when_it_is_read_does_nothing(small_cifar10, tmp_path, name):
    victim = tmp_path / "victim"
    victim.mkdir()
    (small_cifar10 / name).write_bytes(pickle.dumps({"label_names": Harmful(str(victim)), "data": 0}))
    with pytest.raises(DataError, match=r"it asks for shutil\.rmtree, which no file of CIFAR does"):
        first_of_each_class("cifar10", small_cifar10.parent, 1)
    assert victim.exists()


def test_another_data_set_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no sample images of 'mnist': .*allowed: cifar10, cifar100"):
        first_of_each_class("mnist", tmp_path, 1)


def test_reading_takes_no_torch():
    code = "import sys, urfb.data.cifar, urfb.thumbnails; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"torch", "sqlalchemy"}.isdisjoint(done.stdout.split())
