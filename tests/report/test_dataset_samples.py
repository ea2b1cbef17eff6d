import numpy as np
import pytest
from matplotlib.image import AxesImage

from tests.report.conftest import assert_legible, made
from urfb.report.exhibits import fingerprint
from urfb.report.figures import FIGURES
from urfb.store import Thumbnail
from urfb.thumbnails import IMAGES_PER_CLASS, sample_images

[FIGURE3] = [figure for figure in FIGURES if figure.name == "3"]


def shade(label, position):
    """An image that tells which it is."""
    return np.full((32, 32, 3), (label, position % 256, position // 256), np.uint8)


def add_thumbnails(store, dataset, classes, count, name="class_{}"):
    """Keep `count` images of each class, those of a class scattered over the file; the last ones first."""
    for label in reversed(range(classes)):
        for number in reversed(range(count)):
            position = number * classes + label
            image = shade(label, position)
            store.images.append(Thumbnail(dataset, label, position, name.format(label), image))


def pictures(axes):
    """Return the images on a set of axes, row by row, from left to right; strips are cut into their images."""
    found = sorted(axes.findobj(AxesImage), key=lambda image: (image.get_extent()[3], image.get_extent()[0]))
    return [part for image in found for part in np.split(image.get_array(), image.get_array().shape[1] // 32, axis=1)]


def texts_of(axes):
    return [text.get_text() for text in axes.texts]


def test_each_class_has_a_row_of_its_first_ten_images(store):
    add_thumbnails(store, "cifar10", 10, 12)
    left, right = made("3", store).figure.axes
    expected = [shade(label, 10 * number + label) for label in range(10) for number in range(10)]
    assert np.array_equal(pictures(left), expected)
    assert texts_of(left)[:10] == [f"class {label}" for label in range(10)]
    assert pictures(right) == []


def test_one_image_of_each_of_a_hundred_classes_above_its_name(store):
    add_thumbnails(store, "cifar100", 100, 2)
    left, right = made("3", store).figure.axes
    assert np.array_equal(pictures(right), [shade(label, label) for label in range(100)])
    assert [text for text in texts_of(right) if text.startswith("class")] == [f"class {label}" for label in range(100)]
    assert pictures(left) == []


def test_the_table_has_every_image_that_is_drawn(store):
    add_thumbnails(store, "cifar10", 10, 12)
    add_thumbnails(store, "cifar100", 100, 1)
    drawn = made("3", store)
    assert list(drawn.data.columns) == ["dataset", "label", "name", "position", "index"]
    assert list(drawn.data["dataset"].value_counts(sort=False)) == [100, 100]
    of_class = drawn.data.query("dataset == 'cifar10' and label == 3")
    assert of_class["position"].to_list() == list(range(1, 11))
    assert of_class["index"].to_list() == list(range(3, 100, 10))
    assert set(of_class["name"]) == {"class_3"}
    assert drawn.shortfalls == []
    assert drawn.runs.empty


def test_with_neither_files_nor_thumbnails_it_says_what_is_lacking(store):
    drawn = made("3", store)
    assert [pictures(axes) for axes in drawn.figure.axes] == [[], []]
    assert ["no images of CIFAR-10" in texts_of(axes) for axes in drawn.figure.axes] == [True, False]
    assert "no images of CIFAR-100" in texts_of(drawn.figure.axes[1])
    assert len(drawn.shortfalls) == 2
    assert "`urfb data fetch cifar100`" in drawn.shortfalls[1]
    assert drawn.data.empty
    assert_legible(drawn.figure)


def test_what_is_lacking_is_said_of_each_data_set(store):
    add_thumbnails(store, "cifar10", 10, 10)
    [lacking] = made("3", store).shortfalls
    assert lacking.startswith("CIFAR-100: ")


def test_names_are_shown_as_they_are(store):
    add_thumbnails(store, "cifar10", 10, 10, name="$x_{}$ & <b>")
    add_thumbnails(store, "cifar100", 100, 1, name="$\\frac_{}$")
    assert_legible(made("3", store).figure)


@pytest.mark.parametrize("damaged", [False, True])
def test_files_and_thumbnails_give_the_same_figure(store, cifar_directory, tmp_path, monkeypatch, damaged):
    for dataset in IMAGES_PER_CLASS:
        for one in sample_images(dataset, cifar_directory):
            store.images.append(Thumbnail(dataset, one.label, one.position, one.label_name, one.image))
    if damaged:
        (tmp_path / "cifar-10-batches-py").mkdir()
        (tmp_path / "cifar-10-batches-py" / "batches.meta").write_bytes(b"not this")
    monkeypatch.setenv("URFB_DATA_DIR", str(tmp_path))
    kept = FIGURE3.read(store, store.runs())
    monkeypatch.setenv("URFB_DATA_DIR", str(cifar_directory))
    store.images.clear()
    read = FIGURE3.read(store, store.runs())
    assert fingerprint(FIGURE3, kept, "") == fingerprint(FIGURE3, read, "")
    assert made("3", store).shortfalls == []


def test_the_real_names_can_be_read(store, cifar_directory, monkeypatch):
    monkeypatch.setenv("URFB_DATA_DIR", str(cifar_directory))
    assert_legible(made("3", store).figure)
