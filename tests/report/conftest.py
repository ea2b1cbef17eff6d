"""A store of hand-made frames: learning curves that look like the paper's, without any training."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from urfb.report.canvas import STYLE
from urfb.report.exhibits import Frames
from urfb.report.figures import FIGURES
from urfb.report.styles import Style
from urfb.store import LocatedFilters, tables

SIMPNET = "Conv 32 5x5; Maxpool 3; Drop .8; Full 500; Drop .3; Output"
LAYERS = {1: "Conv 32 5x5", 2: "Full 500", 3: "Output"}

OWN = {
    "network": "simpnet",
    "layers": SIMPNET,
    "dataset": "cifar10",
    "algorithm": "feedback",
    "algorithm_settings": "{}",
    "rule": "urfb",
    "epsilon": np.nan,
    "decay": np.nan,
    "loss": "hinge",
    "connectivity": 1.0,
    "feedback_connectivity": 1.0,
    "dense_output": True,
    "untied": "none",
    "untied_start": None,
    "pretraining_epochs": 0,
    "pretraining_rule": None,
    "frozen": None,
    "convention": "paper",
    "activation_slope": 1.0,
    "pool_padding": "centred",
    "off_class_weight": 1 / 9,
    "off_class_margin": -1.0,
    "true_class_margin": 1.0,
    "input_offset": 0.0,
    "step_size": 0.1,
    "batch_size": 500,
    "precision": "float32",
    "seed": 0,
    "gradient_batch": None,
    "source": None,
}
STATE = {
    "state": "done",
    "epochs_target": 0,
    "epochs_done": 0,
    "training_error": np.nan,
    "validation_error": np.nan,
    "test_error": np.nan,
    "test_epoch": np.nan,
    "experiments": "figure4",
    "seconds": np.nan,
    "device": "cpu",
    "device_name": "a processor",
    "threads": 1,
    "commit": "abc1234",
    "science_version": 1,
}
EPOCH = ["epoch", "running_loss", "running_error", "training_loss", "training_error", "validation_loss"]
EPOCH += ["validation_error", "seconds"]
ALIGNMENT = ["step", "epoch", "layer", "layer_name", "correlation", "correlation_shared", "gradient_cosine"]
ALIGNMENT += ["filter_similarity", "saturation"]
EARLY_STEPS = (1, 2, 5, 10, 20, 50)
STEPS_AN_EPOCH = 90
LOCATIONS = ((8, 8), (8, 24), (24, 8), (24, 24))

# The last training and validation error that each protocol tends to.
ENDS = {"bp-softmax": (0.06, 0.29), "bp-hinge": (0.09, 0.31), "urfb-hinge": (0.15, 0.33), "frfb-hinge": (0.19, 0.345)}


@dataclass
class FakeStore:
    """What a report needs of a store, with `add` to fill it."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    epoch_rows: list[dict[str, Any]] = field(default_factory=list)
    alignment_rows: list[dict[str, Any]] = field(default_factory=list)

    def runs(self, **filters: Any) -> pd.DataFrame:
        return self._frame(self.rows, [*OWN, *STATE], filters)

    def epochs(self, **filters: Any) -> pd.DataFrame:
        return self._frame(self.epoch_rows, [*OWN, *EPOCH], filters)

    def alignment(self, **filters: Any) -> pd.DataFrame:
        return self._frame(self.alignment_rows, [*OWN, *ALIGNMENT], filters)

    def simulations(self, **filters: Any) -> pd.DataFrame:
        return pd.DataFrame(columns=["simulation", *tables.SIMULATION_COLUMNS, "error", "diverged_at"])

    def trajectories(self, **filters: Any) -> pd.DataFrame:
        return pd.DataFrame(columns=["simulation", *tables.SIMULATION_COLUMNS, "iteration", "time", "error"])

    def trajectory_layers(self, **filters: Any) -> pd.DataFrame:
        return pd.DataFrame(columns=["simulation", *tables.SIMULATION_COLUMNS, "layer", "iteration", "correlation"])

    def memberships(self) -> list[tuple[str, str]]:
        return [(name, row["run"]) for row in self.rows for name in row["experiments"].split(",")]

    def filters(self, run: str) -> list[LocatedFilters]:
        [row] = [row for row in self.rows if row["run"] == run]
        if row["untied"] == "none" or row["epochs_done"] == 0:
            return []
        draw = np.random.default_rng(row["seed"])
        common, own = draw.normal(size=(8, 5, 5, 3)), draw.normal(size=(2, 4, 8, 5, 5, 3))
        shares = (1.0 if row["untied_start"] == "tied-copy" else 0.0, 0.6)
        return [
            LocatedFilters(epoch, 1, *LOCATIONS[at], (share * common + (1 - share) * own[end, at]).astype("float32"))
            for end, (epoch, share) in enumerate(zip((0, row["epochs_done"]), shares, strict=True))
            for at in range(len(LOCATIONS))
        ]

    def _frame(self, rows: list[dict[str, Any]], columns: list[str], filters: dict[str, Any]) -> pd.DataFrame:
        frame = pd.DataFrame(rows, columns=["run", *columns])
        for name, wanted in filters.items():
            frame = frame[frame[name].isin(wanted if isinstance(wanted, list) else [wanted])]
        return frame

    def add(self, epochs: int, tested: bool = True, **changed: Any) -> str:
        """Store a run of so many epochs and return its identity; `changed` holds any of its columns."""
        own = {**OWN, **{name: value for name, value in changed.items() if name in OWN}}
        own["feedback_connectivity"] = changed.get("feedback_connectivity", own["connectivity"])
        if own["loss"] == "softmax":
            own |= {"off_class_weight": np.nan, "off_class_margin": np.nan}
        state = {**STATE, "epochs_target": epochs, "epochs_done": epochs, "seconds": 10.0 * epochs}
        science = changed.get("science_version", 1)
        own = {"run": hashlib.sha256(f"{science} {own}".encode()).hexdigest()[:16], **own}

        seed = np.random.default_rng(own["seed"])
        ends = ENDS.get(f"{own['rule']}-{own['loss']}", (0.3, 0.4))
        harder = 0.35 if own["dataset"] == "cifar100" else 0.0
        sparser = 0.03 if own["connectivity"] < 1 else 0.0
        training, validation = (end + harder + sparser + seed.normal(0, 0.004) for end in ends)
        for epoch in range(1, epochs + 1):
            left = (0.62 - harder / 2) / (1 + epoch / 8)
            noise = seed.normal(0, 0.003, 2)
            row = dict.fromkeys(EPOCH, 0.0) | {"epoch": epoch, "training_error": np.nan}
            if epoch <= 10 or epoch % 5 == 0 or epoch == epochs:
                row["training_error"] = training + left + noise[0]
            row["validation_error"] = validation + 0.6 * left + noise[1]
            state |= {name: row[name] for name in ("training_error", "validation_error")}
            self.epoch_rows.append({**own, **row})
        early = [step / STEPS_AN_EPOCH for step in EARLY_STEPS if epochs]
        for epoch in sorted([*range(epochs + 1), *early]):
            for layer, name in LAYERS.items():
                strength = {"urfb": (0.25, 0.8, 0.97), "frfb": (0.0, 0.35, 0.75)}.get(own["rule"], (0, 0, 0))[layer - 1]
                value = strength * epoch / (epoch + 40 / layer) + seed.normal(0, 0.002)
                if own["rule"] == "bp":  # which has no R of its own
                    value = np.nan
                row = {"step": round(STEPS_AN_EPOCH * epoch), "epoch": float(epoch), "layer": layer}
                row |= {"layer_name": name, "correlation": value, "correlation_shared": 1.1 * value}
                if own["gradient_batch"] is not None:
                    row["gradient_cosine"] = 1.0 if layer == len(LAYERS) else 0.2 + 0.7 * value
                if own["untied"] != "none" and layer == 1:
                    of_start = 0.7 if own["untied_start"] == "tied-copy" else 0.0
                    row["filter_similarity"] = 0.3 + of_start / (1 + epoch) - 0.3 / (1 + epoch) + 0.01 * own["seed"]
                if layer < len(LAYERS):
                    row["saturation"] = 0.3 * layer * epoch / (1 + epoch) + 0.01 * own["seed"]
                self.alignment_rows.append({**own, **row})
        if tested:
            state |= {"test_error": validation + 0.006 + 0.6 * 0.62 / (1 + epochs / 8), "test_epoch": float(epochs)}
        self.rows.append({**own, **state, **{name: value for name, value in changed.items() if name in STATE}})
        return str(own["run"])

    def add_protocols(self, epochs: int, seeds: int = 3, sparse: bool = True, **changed: Any) -> None:
        """Store the four protocols of Figure 4 or the six of Figure 5."""
        for rule, loss, connectivity in [
            ("bp", "softmax", 1.0),
            ("bp", "hinge", 1.0),
            ("urfb", "hinge", 1.0),
            ("frfb", "hinge", 1.0),
            ("urfb", "hinge", 0.5),
            ("frfb", "hinge", 0.5),
        ]:
            for seed in range(seeds):
                if sparse or connectivity == 1:
                    self.add(epochs, rule=rule, loss=loss, connectivity=connectivity, seed=seed, **changed)


def made(name: str, store: Frames, experiment: str | None = None, style: Style = Style.SCREEN) -> Any:
    """Make one of the paper's figures from a store's frames."""
    [exhibit] = [exhibit.of_experiment(experiment) for exhibit in FIGURES if exhibit.name == name]
    with matplotlib.rc_context(STYLE):
        return exhibit.make(exhibit.read(store, store.runs(), style))


def assert_legible(figure: Figure) -> list[Text]:
    """Check that nothing written on a figure leaves the page, is tiny or lies on other writing, and return the texts.

    Texts that have a halo may come close to each other, for they can be read where they do.
    """
    drawn: list[Text] = []

    class Recorder(RendererAgg):
        """Remembers what is written: not what an axis has beyond its ends."""

        def draw_text(self, *arguments: Any, mtext: Text | None = None, **options: Any) -> None:
            if mtext is not None and mtext not in drawn:
                drawn.append(mtext)

    with matplotlib.rc_context(STYLE):
        FigureCanvasAgg(figure)
        figure.draw(Recorder(*figure.bbox.size, figure.dpi))
        # What has a halo is drawn as paths.
        drawn += figure.findobj(lambda artist: isinstance(artist, Text) and artist.get_path_effects() != [])
        boxes = [text.get_window_extent() for text in drawn]
    for number, (text, box) in enumerate(zip(drawn, boxes, strict=True)):
        words = text.get_text()
        assert text.get_fontsize() >= 5.5, words
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1, words
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1, words
        for other_text, other in zip(drawn[:number], boxes, strict=False):
            less = 2 if text.get_path_effects() and other_text.get_path_effects() else 0.5  # pixels, 100 an inch
            overlap = box.padded(-less).overlaps(other.padded(-less))
            assert not overlap, f"{words!r} lies on {other_text.get_text()!r}"
    return drawn


def assert_bars_keep_off_numbers(figure: Figure) -> int:
    """Check that no bar, whisker or dot of a figure lies on the number of a bar, and return how many numbers it has."""
    with matplotlib.rc_context(STYLE):
        FigureCanvasAgg(figure)
        figure.draw_without_rendering()
    numbers = 0
    for axes in figure.get_axes():
        shapes = [patch.get_window_extent() for patch in axes.patches]
        for collection in axes.collections:
            if isinstance(collection, PathCollection):
                places = collection.get_offset_transform().transform(collection.get_offsets())
                radius = (collection.get_sizes()[0] ** 0.5 + collection.get_linewidths()[0]) / 2 * figure.dpi / 72
                shapes += [Bbox.from_extents(*place, *place).padded(radius) for place in places]
            elif isinstance(collection, LineCollection):
                shapes += [Bbox(axes.transData.transform(ends)).padded(0.5) for ends in collection.get_segments()]
        for text in axes.texts:
            if re.fullmatch(r"\d+\.\d", text.get_text()):
                numbers += 1
                box = text.get_window_extent()
                for shape in shapes:
                    assert not box.overlaps(shape), f"{text.get_text()!r} lies on a bar, a whisker or a dot"
    return numbers


@pytest.fixture
def edges_of() -> Callable[[PolyCollection], np.ndarray]:
    """Give the function that returns what a band goes between: x, low and high of each point."""

    def edges(band: PolyCollection) -> np.ndarray:
        corners = pd.DataFrame(band.get_paths()[0].vertices, columns=["x", "y"])
        return corners.groupby("x")["y"].agg(["min", "max"]).reset_index().to_numpy()

    return edges


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()
