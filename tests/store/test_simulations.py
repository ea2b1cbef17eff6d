"""Simulations in every kind of store: written completely or not at all, merged, exported, and read as frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from tests.helpers import tiny_run
from tests.store.recorded import finish
from tests.store.simulated import POINTS, simulated, simulated_bp
from urfb import open_store
from urfb.cli import app
from urfb.errors import SelectionError, StoreError
from urfb.store import WritableStore, open_for_writing
from urfb.store.export import export
from urfb.store.merge import merge_stores
from urfb.store.query import query
from urfb.theory.spec import Point

Sql = Callable[[str], list[tuple[Any, ...]]]


def test_a_simulation_is_read_back_as_tidy_frames(store: WritableStore, location: str) -> None:
    one, bp = simulated(draw=2), simulated_bp(draw=2)
    assert store.keep_simulation(one)
    assert store.keep_simulation(bp)
    read = open_store(location)
    first, second = read.simulations().to_dict("records")
    assert first["simulation"] == one.spec.identity
    for name in ("rule", "epsilon", "draw", "method", "start", "teacher", "feedback_scale", "step_size", "iterations"):
        assert first[name] == getattr(one.spec, name)
    assert (first["layers"], first["error"], first["seconds"], first["scipy_version"]) == ("4-3-2", 0.5, 0.5, "1.15")
    assert pd.isna(first["diverged_at"])
    assert pd.isna(first["weight_scale"])  # W starts at 0
    assert pd.isna(second["epsilon"])
    assert pd.isna(second["feedback_scale"])
    trajectory = read.trajectories(rule="feedback")
    assert trajectory[["iteration", "time", "error"]].values.tolist() == [
        [point.iteration, 0.25 * point.iteration, point.error] for point in POINTS
    ]
    assert set(trajectory["epsilon"]) == {0.5}
    layers = read.trajectory_layers(layer=2)
    assert layers["iteration"].tolist() == [0, 3, 10]
    assert layers["time"].tolist() == [0, 0.75, 2.5]
    assert layers["correlation"].isna().tolist() == [True, False, False]
    assert layers["correlation"].tolist()[1:] == [0.5, 0.75]
    assert read.trajectory_layers(rule="bp").empty
    assert len(read.trajectories()) == 6
    assert read.simulations(epsilon=None)["rule"].tolist() == ["bp"]
    with pytest.raises(SelectionError, match="did you mean 'epsilon'"):
        read.trajectories(epsilo=0)
    assert read.simulations(method="ode").empty
    with pytest.raises(SelectionError, match="rule 'urfb': allowed: bp, feedback\nmethod 'od': did you mean 'ode'"):
        read.trajectories(rule="urfb", method="od")
    with pytest.raises(SelectionError, match=f"did you mean '{one.spec.identity}'"):
        read.trajectory_layers(simulation=one.spec.identity[:5])


def test_a_stored_simulation_is_not_replaced(store: WritableStore) -> None:
    store.keep_simulation(simulated())
    assert not store.keep_simulation(simulated((Point(0, 9.0, (None, None)),)))
    assert store.trajectories()["error"].tolist() == [point.error for point in POINTS]
    assert store.keep_simulation(simulated(draw=1))
    assert len(store.simulations()) == 2


def test_partly_unwritable_simulation_leaves_no_rows(store: WritableStore, sql: Sql) -> None:
    unwritable = (*POINTS, Point(11, None, ()))  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="cannot be written"):
        store.keep_simulation(simulated(unwritable))
    assert store.simulations().empty
    assert sql("SELECT count(*) FROM trajectory") == [(0,)]


def test_divergence_is_stored_with_its_iteration(store: WritableStore) -> None:
    store.keep_simulation(simulated(POINTS[:2], diverged_at=4))
    assert store.simulations()["diverged_at"].tolist() == [4]
    assert store.trajectories()["diverged_at"].tolist() == [4, 4]


def test_simulations_are_queried_in_sql(store: WritableStore) -> None:
    store.keep_simulation(simulated())
    statement = "SELECT epsilon, iteration, error FROM trajectories WHERE iteration > 0 ORDER BY iteration"
    assert query(store, statement).rows == [(0.5, 3, 1.0), (0.5, 10, 0.5)]


def test_merging_adds_missing_simulations(location: str, tmp_path: Path) -> None:
    ours, theirs = open_for_writing(location), open_for_writing(str(tmp_path / "theirs.sqlite"))
    ours.keep_simulation(simulated())
    for one in (simulated(POINTS[:2]), simulated(draw=1), simulated_bp()):
        theirs.keep_simulation(one)
    for expected in (["unchanged", "added", "added"], ["unchanged"] * 3):
        merged = merge_stores(location, [str(theirs.location)])
        assert [(one.kind, one.outcome) for one in merged] == [("simulation", outcome) for outcome in expected]
        for view in ("simulations", "trajectories", "trajectory_layers"):
            for conditions in ({"draw": 1}, {"rule": "bp"}):
                left, right = (getattr(store, view)(**conditions) for store in (ours, theirs))
                pd.testing.assert_frame_equal(left, right)
        assert len(ours.trajectories(rule="feedback", draw=0)) == len(POINTS)


def test_the_merge_command_counts_runs_and_simulations(tmp_path: Path) -> None:
    theirs, run = open_for_writing(str(tmp_path / "theirs.sqlite")), tiny_run()
    theirs.register([run])
    finish(theirs, run)
    for draw in (0, 1):
        theirs.keep_simulation(simulated(draw=draw))
    merged = CliRunner().invoke(
        app, ["results", "merge", str(theirs.location), "--store", str(tmp_path / "new.sqlite")]
    )
    assert merged.output == f"{theirs.location}: 1 run: 1 added; 2 simulations: 2 added\n"


def test_exports_have_the_tables_of_simulations_if_there_are_any(tmp_path: Path) -> None:
    store, run = open_for_writing(str(tmp_path / "urfb.sqlite")), tiny_run()
    store.register([run])
    finish(store, run)
    store.keep_simulation(simulated())
    store.keep_simulation(simulated(epsilon=1.0))
    rows = {file.path.stem: file.rows for file in export(store, tmp_path / "all", "csv")}
    assert rows == {
        "runs": 1, "epochs": 2, "alignment": 3, "simulations": 2, "trajectories": 6, "trajectory_layers": 12,
    }  # fmt: skip
    assert "simulations" not in {file.path.stem for file in export(store, tmp_path / "some", "csv", ["rule=urfb"])}
    (file,) = export(store, tmp_path / "trajectories.parquet", None, ["epsilon=1"])
    assert file.rows == 3
    pd.testing.assert_frame_equal(pd.read_parquet(file.path), store.trajectories(epsilon=1))
