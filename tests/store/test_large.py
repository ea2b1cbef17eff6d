"""Large frames, which are joined from two queries, equal the views."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import text

from tests.store.large import LAYERS, POINTS, make_large_store
from urfb import open_store
from urfb.store import Store
from urfb.store.status import run_statuses


def viewed(store: Store, view: str, condition: str = "true") -> pd.DataFrame:
    with store.reading() as connection:
        return plain(pd.read_sql_query(text(f"SELECT * FROM {view} WHERE {condition}"), connection))


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame whose missing values are None, whatever a column's type."""
    return frame.astype(object).where(frame.notna(), None)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("large") / "urfb.sqlite"
    make_large_store(path, runs=6, epochs=20)
    return open_store(str(path))


@pytest.mark.parametrize("view", ["epochs", "alignment"])
def test_a_frame_equals_its_view(store: Store, view: str) -> None:
    pd.testing.assert_frame_equal(plain(getattr(store, view)()), viewed(store, view))


@pytest.mark.parametrize(
    ("view", "filters", "condition"),
    [
        ("epochs", {"rule": "urfb", "epoch": [1, 20]}, "rule = 'urfb' AND epoch IN (1, 20)"),
        ("epochs", {"training_error": None, "seed": 2}, "training_error IS NULL AND seed = 2"),
        ("epochs", {"epsilon": None, "dense_output": True, "epoch": 3}, "epoch = 3"),
        ("alignment", {"layer": 2, "epoch": 0.0, "rule": ["frfb", "bp"]}, "layer = 2 AND epoch = 0 AND rule = 'frfb'"),
    ],
)
def test_filters_on_runs_and_measurements_combine(
    store: Store, view: str, filters: dict[str, object], condition: str
) -> None:
    frame = getattr(store, view)(**filters)
    assert len(frame)
    pd.testing.assert_frame_equal(plain(frame), viewed(store, view, condition))


def test_a_run_is_chosen_by_its_identity(store: Store) -> None:
    first, second = store.runs()["run"][:2]
    assert set(store.epochs(run=[first, second])["run"]) == {first, second}
    assert len(store.epochs(run=first)) == 20


@pytest.mark.slow
def test_a_million_epochs_are_read_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "urfb.sqlite"
    make_large_store(path, runs=1000, epochs=1000)
    store = open_store(str(path))
    epochs = store.epochs()
    assert len(epochs) == 1_000_000
    assert epochs.groupby("run")["epoch"].agg(["min", "max", "nunique"]).drop_duplicates().values.tolist() == [
        [1, 1000, 1000]
    ]
    assert len(store.alignment()) == 1000 * POINTS * len(LAYERS)
    assert {(one.state, one.epochs_done) for one in run_statuses(store)} == {("done", 1000)}
