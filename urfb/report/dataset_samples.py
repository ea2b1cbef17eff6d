"""Figure 3: what the images of CIFAR-10 and CIFAR-100 look like.

The images come with urfb, so that the figure needs neither the data sets nor a store: `dataset_samples.png` is one
sheet with ten images in each row, and `dataset_samples.csv` names them in the same order. They are unchanged images
from the training files of CIFAR-10 and CIFAR-100 (Krizhevsky, 2009); `tests/report/test_dataset_samples.py` compares
them with these files.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.image import imread

from urfb.report.canvas import page
from urfb.report.drawn import Drawn
from urfb.report.exhibits import Data
from urfb.report.styles import Style

MEANING = (
    "each class shows its first images in the files of the training set; index: the image's place in these files, from "
    "0; position: its place in the row of its class, from 1"
)
EXPLANATION = "Each class shows its first images in the files of the training set."
TITLES = {"cifar10": "CIFAR-10: ten images of each class", "cifar100": "CIFAR-100: one image of each class"}

# Inches.
CIFAR10_WIDTH = 2.85  # CIFAR-100 has the rest of the width, because it has a name below each image
HEIGHT = 5.05
TITLE_HEIGHT = 0.3
ROW = 0.47
IMAGE = 0.275

COLUMNS = 10  # of the sheet of images, and of the panel of CIFAR-100
PIXELS = 32  # an image's height and width
NAME_SIZES = {Style.SCREEN: 5.5, Style.PAPER: 6.0}  # points; paper is wider
NAME_LINE = 0.083  # inches
NAME_CHARACTERS = 9  # in a line below an image
HYPHENATED = {
    words.replace("- ", ""): words
    for words in (
        "cater- pillar", "chim- panzee", "cock- roach", "motor- cycle", "mush- room", "porcu- pine", "sky- scraper",
        "sun- flower", "tele- phone", "tele- vision",
    )
}  # fmt: skip
"""Names of CIFAR-100 that need a line break."""


def samples() -> tuple[pd.DataFrame, np.ndarray]:
    """Return one row for each image, and the images in the same order: uint8 [images, height, width, 3]."""
    table = pd.read_csv(Path(__file__).with_suffix(".csv"))
    sheet = (255 * imread(Path(__file__).with_suffix(".png"))).round().astype(np.uint8)
    tiles = sheet.reshape(-1, PIXELS, COLUMNS, PIXELS, 3).swapaxes(1, 2)
    return table, tiles.reshape(-1, PIXELS, PIXELS, 3)


def draw(data: Data) -> Drawn:
    """Draw ten images of each class of CIFAR-10, in a row, and one of each class of CIFAR-100."""
    table, images = samples()
    figure = page(2, HEIGHT, [], data.style)
    figure.set_layout_engine("none")
    width, height = figure.get_size_inches()
    left = 0.0
    for dataset, title in TITLES.items():
        room = CIFAR10_WIDTH if dataset == "cifar10" else width - CIFAR10_WIDTH
        axes = figure.add_axes((left / width, 1 - HEIGHT / height, room / width, HEIGHT / height))
        left += room
        shown = table[table["dataset"] == dataset]
        if dataset == "cifar10":
            _draw_classes_by_row(axes, shown, images)
        else:
            _draw_named_images(axes, shown, images, room, NAME_SIZES[data.style])
        axes.set(xlim=(0, room), ylim=(HEIGHT, 0), aspect="equal")  # inches from the upper left corner
        axes.set_axis_off()
        axes.text(room / 2, TITLE_HEIGHT / 2, title, ha="center", va="center", fontsize="medium")
    return Drawn(figure, table, pd.DataFrame(), [], MEANING, EXPLANATION)


def _draw_classes_by_row(axes: Axes, shown: pd.DataFrame, images: np.ndarray) -> None:
    """Draw the images of each class in a row below the class's name."""
    for row, (_, of_class) in enumerate(shown.groupby("label")):
        top = TITLE_HEIGHT + row * ROW
        name = _as_words(of_class["name"].iloc[0])
        axes.text(0.05, top + 0.09, name, va="center", fontsize=6.5, parse_math=False)
        _draw_image(axes, np.hstack(list(images[of_class.index])), 0.05, top + ROW - IMAGE - 0.02)


def _draw_named_images(axes: Axes, shown: pd.DataFrame, images: np.ndarray, width: float, name_size: float) -> None:
    """Draw images row by row into a width in inches, each above its name."""
    room = (width - 0.05) / COLUMNS
    for number, (image, name) in enumerate(zip(images[shown.index], shown["name"], strict=True)):
        row, column = divmod(number, COLUMNS)
        centre, top = (column + 0.5) * room, TITLE_HEIGHT + row * ROW
        _draw_image(axes, image, centre - IMAGE / 2, top)
        lines = textwrap.wrap(HYPHENATED.get(name, _as_words(name)), NAME_CHARACTERS)[:2]
        for line, text in enumerate(lines, start=1):
            look: Any = {"ha": "center", "va": "baseline", "fontsize": name_size}
            axes.text(centre, top + IMAGE + line * NAME_LINE, text, parse_math=False, **look)


def _draw_image(axes: Axes, image: np.ndarray, left: float, top: float) -> None:
    """Draw an image or several side by side, [height, width, 3], at the height of one image."""
    right = left + IMAGE * image.shape[1] / image.shape[0]
    axes.imshow(image, extent=(left, right, top + IMAGE, top))


def _as_words(name: str) -> str:
    return name.replace("_", " ")
