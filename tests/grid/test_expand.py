from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers import tiny_spec
from urfb.grid.expand import Grid, load_grid
from urfb.grid.settings import SETTINGS
from urfb.grid.spec import RunSpec

ROOT = Path(__file__).parents[2]
HEAD = "experiments:\n  one:\n    defaults: {network: simpnet, dataset: digits, rule: bp, epochs: 3}\n    matrix:\n"


def expand(tmp_path: Path, matrix: str, *experiments: str, **settings: Any) -> Grid:
    path = tmp_path / "grid.yaml"
    path.write_text(HEAD + "\n".join("      " + line for line in matrix.splitlines()))
    return load_grid(path, experiments, **settings)


def fields(grid: Grid, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(getattr(run.spec, name) for name in names) for run in grid.runs]


def test_a_matrix_is_the_product_of_its_axes_in_their_order(tmp_path: Path) -> None:
    grid = expand(tmp_path, "rule: [bp, urfb]\nseed: [0, 1]")
    assert fields(grid, "rule", "seed") == [("bp", 0), ("bp", 1), ("urfb", 0), ("urfb", 1)]


def test_exclude_removes_every_combination_with_its_values(tmp_path: Path) -> None:
    grid = expand(
        tmp_path, "rule: [bp, urfb]\nloss: [softmax, hinge]\nseed: [0, 1]\nexclude: [{rule: urfb, loss: softmax}]"
    )
    assert len(grid.runs) == 6
    assert ("urfb", "softmax") not in fields(grid, "rule", "loss")


@pytest.mark.parametrize(
    ("exclude", "left"),
    [
        ("{rule: bp, seed: 0}", [("bp", 1), ("urfb", 0), ("urfb", 1)]),
        ("{rule: bp, seed: [0, 1]}", [("urfb", 0), ("urfb", 1)]),
        ("{rule: [bp, urfb], seed: 1}", [("bp", 0), ("urfb", 0)]),
        ("{rule: bp, epochs: 3}", [("bp", 0), ("bp", 1), ("urfb", 0), ("urfb", 1)]),  # epochs is not an axis
    ],
)
def test_exclude_removes_only_combinations_with_all_its_values(
    tmp_path: Path, exclude: str, left: list[tuple[Any, ...]]
) -> None:
    grid = expand(tmp_path, f"rule: [bp, urfb]\nseed: [0, 1]\nexclude: [{exclude}]")
    assert fields(grid, "rule", "seed") == left


def test_include_may_restore_an_excluded_combination(tmp_path: Path) -> None:
    grid = expand(tmp_path, "seed: [0, 1]\nexclude: [{seed: 1}]\ninclude: [{seed: 1, step_size: 0.5}]")
    assert fields(grid, "seed", "step_size") == [(0, 0.1), (1, 0.5)]


def test_settings_of_a_zip_vary_together(tmp_path: Path) -> None:
    grid = expand(tmp_path, "rule: [bp, urfb]\nzip: {network: [simpnet, deepnet], epochs: [10, 20]}")
    assert fields(grid, "rule", "network", "epochs") == [
        ("bp", "simpnet", 10), ("bp", "deepnet", 20), ("urfb", "simpnet", 10), ("urfb", "deepnet", 20),
    ]  # fmt: skip


def test_each_zip_is_an_axis_before_exclude_and_include(tmp_path: Path) -> None:
    grid = expand(
        tmp_path,
        "zip:\n  - {seed: [0, 1], step_size: [0.5, 0.25]}\n  - {rule: [bp, urfb], loss: [softmax, hinge]}\n"
        "exclude: [{rule: bp, seed: 1}]\ninclude: [{seed: 0, batch_size: 10}]",
    )
    assert fields(grid, "seed", "step_size", "rule", "loss", "batch_size") == [
        (0, 0.5, "bp", "softmax", 10), (0, 0.5, "urfb", "hinge", 10), (1, 0.25, "urfb", "hinge", 50),
    ]  # fmt: skip


def test_include_adds_to_the_combinations_it_agrees_with(tmp_path: Path) -> None:
    grid = expand(tmp_path, "rule: [bp, urfb]\nseed: [0, 1]\ninclude: [{rule: urfb, step_size: 0.5}]")
    assert fields(grid, "rule", "step_size") == [("bp", 0.1), ("bp", 0.1), ("urfb", 0.5), ("urfb", 0.5)]


def test_later_include_changes_earlier_includes_but_not_axes(tmp_path: Path) -> None:
    grid = expand(tmp_path, "seed: [0, 1]\ninclude: [{step_size: 0.5}, {step_size: 0.25, seed: 1}]")
    assert fields(grid, "seed", "step_size") == [(0, 0.5), (1, 0.25)]


def test_include_that_agrees_with_none_is_a_new_combination(tmp_path: Path) -> None:
    grid = expand(tmp_path, "rule: [urfb]\nloss: hinge\ninclude: [{rule: bp, loss: softmax, seed: [4, 5]}]")
    assert fields(grid, "rule", "loss", "seed") == [("urfb", "hinge", 0), ("bp", "softmax", 4), ("bp", "softmax", 5)]


def test_include_alone_gives_its_entries_alone(tmp_path: Path) -> None:
    assert fields(expand(tmp_path, "include: [{seed: 3}]"), "seed") == [(3,)]


def test_conventions_and_defaults_are_resolved_into_values(tmp_path: Path) -> None:
    (paper,) = expand(tmp_path, "{}").runs
    assert paper.spec.convention == "paper"
    assert (paper.spec.activation_slope, paper.spec.pool_padding) == (1.0, "centred")
    assert (paper.spec.loss, paper.spec.off_class_weight, paper.spec.off_class_margin) == ("hinge", 1 / 9, -1.0)
    assert (paper.spec.batch_size, paper.spec.step_size, paper.spec.connectivity) == (50, 0.1, 1.0)
    (author,) = expand(tmp_path, "convention: author-code").runs
    assert (author.spec.activation_slope, author.spec.pool_padding) == (0.5, "end")
    assert author.spec.identity != paper.spec.identity
    (custom,) = expand(tmp_path, "activation_slope: 0.25").runs
    assert custom.spec.convention == "custom"


def test_the_papers_networks_keep_their_names(tmp_path: Path) -> None:
    (written_out,) = expand(tmp_path, "network: conv 32 5x5; maxpool 3; drop .8; full 500; drop .3; output").runs
    assert written_out.spec.network == "simpnet"


def test_feedback_connectivity_defaults_to_connectivity(tmp_path: Path) -> None:
    grid = expand(tmp_path, "rule: urfb\nconnectivity: 0.5\ninclude: [{feedback_connectivity: 0.25, seed: 1}]")
    assert fields(grid, "connectivity", "feedback_connectivity") == [(0.5, 0.25)]
    grid = expand(tmp_path, "rule: urfb\nconnectivity: 0.5")
    assert fields(grid, "connectivity", "feedback_connectivity") == [(0.5, 0.5)]


def test_run_shared_by_two_experiments_has_the_larger_target(tmp_path: Path) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(
        HEAD.replace("matrix:", "matrix: {seed: [0, 1]}")
        + "  two:\n    defaults: {network: simpnet, dataset: digits, rule: bp, epochs: 9, seed: 1}\n"
    )
    grid = load_grid(path)
    assert [(run.spec.seed, run.spec.epochs, run.experiments) for run in grid.runs] == [
        (0, 3, ("one",)),
        (1, 9, ("one", "two")),
    ]
    assert [run.experiments for run in load_grid(path, ["two"]).runs] == [("two",)]


def test_the_identity_depends_on_what_changes_the_numbers(tmp_path: Path) -> None:
    (run,) = expand(tmp_path, "{}").runs
    spec = run.spec
    for update in ({"epochs": 99}, {"network": "another name"}):
        assert spec.model_copy(update=update).identity == spec.identity
    for update in ({"seed": 1}, {"step_size": 0.2}, {"precision": "float64"}, {"input_offset": 0.5}):
        assert spec.model_copy(update=update).identity != spec.identity
    # If this identity changed unnoticed, all stored runs would count as missing.
    assert spec.identity == "1ab9e00499eb0994"


def test_the_identity_has_all_settings_but_name_and_target() -> None:
    spec, values = tiny_spec(), {str: "another", bool: False, int: 7, float: 7.5}
    same = [
        name
        for name in RunSpec.model_fields
        if spec.model_copy(update={name: values[SETTINGS[name].kind]}).identity == spec.identity
    ]
    assert same == ["network", "epochs"]


def test_the_papers_experiments_have_the_runs_of_its_figures() -> None:
    grid = load_grid(ROOT / "experiments.yaml", ["figure5"])
    protocols = {(spec.rule, spec.loss, spec.connectivity) for spec in (run.spec for run in grid.runs)}
    assert protocols == {
        ("bp", "softmax", 1.0),
        ("bp", "hinge", 1.0),
        ("urfb", "hinge", 1.0),
        ("frfb", "hinge", 1.0),
        ("urfb", "hinge", 0.5),
        ("frfb", "hinge", 0.5),
    }
    assert len(grid.runs) == 6 * 2 * 3
    assert {run.spec.epochs for run in grid.runs} == {1000}
    shared = load_grid(ROOT / "experiments.yaml", ["figure4", "figure5", "figure10"])
    assert len(shared.runs) == len(grid.runs)


def test_each_run_of_a_large_grid_has_its_own_identity(tmp_path: Path) -> None:
    seeds = ", ".join(str(seed) for seed in range(2500))
    grid = expand(tmp_path, f"rule: [bp, urfb, frfb]\nloss: [hinge, softmax]\nseed: [{seeds}]")
    assert len(grid.runs) == 15_000
    assert len({run.spec.identity for run in grid.runs}) == 15_000


@pytest.mark.parametrize("epochs", [1, 50])
def test_an_epochs_argument_replaces_the_targets_in_files(tmp_path: Path, epochs: int) -> None:
    assert fields(expand(tmp_path, "{}", epochs=epochs), "epochs") == [(epochs,)]
