import numpy as np
import pandas as pd
from matplotlib.image import AxesImage
from torchvision.datasets import CIFAR10, CIFAR100

from tests.report.conftest import assert_legible, made
from urfb.report.dataset_samples import samples


def from_the_data_sets(directory):
    """Return what `samples` should return, read from the training files of CIFAR-10 and CIFAR-100."""
    rows, images = [], []
    for name, source, count in (("cifar10", CIFAR10, 10), ("cifar100", CIFAR100, 1)):
        training = source(directory)
        for label, class_name in enumerate(training.classes):
            indices = np.flatnonzero(np.array(training.targets) == label)[:count]
            rows += [(name, label, class_name, position, index) for position, index in enumerate(indices, start=1)]
            images += list(training.data[indices])
    return pd.DataFrame(rows, columns=["dataset", "label", "name", "position", "index"]), np.array(images)


def pictures(axes):
    """Return the images on a set of axes, row by row, from left to right; strips are cut into their images."""
    images = sorted(axes.findobj(AxesImage), key=lambda image: (image.get_extent()[3], image.get_extent()[0]))
    return [part for image in images for part in np.split(image.get_array(), image.get_array().shape[1] // 32, axis=1)]


def texts_of(axes):
    return [text.get_text() for text in axes.texts]


def test_the_images_are_those_of_the_data_sets(real_data):
    table, images = samples()
    genuine_table, genuine_images = from_the_data_sets(real_data)
    pd.testing.assert_frame_equal(table, genuine_table)
    assert np.array_equal(images, genuine_images)


def test_each_class_has_a_row_of_its_first_ten_images(store):
    left, _ = made("3", store).figure.axes
    assert np.array_equal(pictures(left), samples()[1][:100])
    assert texts_of(left)[:10] == samples()[0]["name"][:100].drop_duplicates().to_list()


def test_one_image_of_each_of_a_hundred_classes_above_its_name(store):
    _, right = made("3", store).figure.axes
    assert np.array_equal(pictures(right), samples()[1][100:])
    names = "".join(texts_of(right)[:-1]).replace(" ", "").replace("-", "")
    assert names == "".join(samples()[0]["name"][100:]).replace("_", "")


def test_the_table_has_every_image_that_is_drawn(store):
    drawn = made("3", store)
    assert list(drawn.data.columns) == ["dataset", "label", "name", "position", "index"]
    assert list(drawn.data["dataset"].value_counts(sort=False)) == [100, 100]
    of_class = drawn.data.query("dataset == 'cifar10' and label == 3")
    assert of_class["position"].to_list() == list(range(1, 11))
    assert of_class["index"].is_monotonic_increasing
    assert set(of_class["name"]) == {"cat"}
    assert drawn.shortfalls == []
    assert drawn.runs.empty


def test_names_can_be_read(store):
    assert_legible(made("3", store).figure)
