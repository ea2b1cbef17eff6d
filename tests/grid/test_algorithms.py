"""The algorithm of a run and its settings: checked against the catalog, and stored in canonical form."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import tiny_run, tiny_spec
from urfb.errors import GridError
from urfb.grid.expand import load_grid
from urfb.learning.catalog import ALGORITHMS, Algorithm, Settings
from urfb.store import open_for_writing, open_store


class Momentum(Settings):
    """The settings of an algorithm that the catalog does not have."""

    momentum: float = 0.9
    nesterov: bool = False


@pytest.fixture(autouse=True)
def momentum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ALGORITHMS, "momentum", Algorithm("gradient steps with momentum", Momentum, "nowhere:Nothing"))


def grid(folder: Path, settings: str) -> Path:
    path = folder / "grid.yaml"
    defaults = f"{{network: Full 9; Output, dataset: digits, rule: bp, {settings}}}"
    path.write_text(f"experiments: {{a: {{defaults: {defaults}}}}}".replace("Full 9; Output", "'Full 9; Output'"))
    return path


def test_settings_have_one_canonical_form(tmp_path: Path) -> None:
    path = grid(tmp_path, "algorithm: momentum, algorithm_settings: {nesterov: true, momentum: 0.5}")
    (run,) = load_grid(path).runs
    assert run.spec.algorithm_settings == '{"momentum":0.5,"nesterov":true}'
    same = tiny_spec(algorithm="momentum", algorithm_settings='{"nesterov": true, "momentum": 0.5}')
    assert same.identity == tiny_spec(algorithm="momentum", algorithm_settings=run.spec.algorithm_settings).identity


def test_a_setting_at_its_default_is_left_out(tmp_path: Path) -> None:
    (run,) = load_grid(grid(tmp_path, "algorithm: momentum, algorithm_settings: {momentum: 0.9}")).runs
    assert run.spec.algorithm_settings == "{}"


def test_the_default_algorithm_changes_no_identity() -> None:
    assert tiny_spec(algorithm="feedback", algorithm_settings="{}").identity == tiny_spec().identity
    assert tiny_spec(algorithm="momentum").identity != tiny_spec().identity


def test_algorithm_settings_can_be_an_axis(tmp_path: Path) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(
        "experiments:\n  a:\n    defaults: {network: Full 9; Output, dataset: digits, rule: bp, algorithm: momentum}\n"
        "    matrix:\n      algorithm_settings: [{}, {momentum: 0.5}]\n".replace("Full 9; Output", "'Full 9; Output'")
    )
    assert [run.spec.algorithm_settings for run in load_grid(path).runs] == ["{}", '{"momentum":0.5}']


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("algorithm: momentun", r"grid\.yaml:1:\d+: .*'momentun': did you mean 'momentum'\?"),
        (
            "algorithm: momentum, algorithm_settings: {speed: 1}",
            r"momentum: speed: .* \(its settings: momentum, nes",
        ),
        ("algorithm: momentum, algorithm_settings: {momentum: fast}", "momentum: must be a number"),
        ("algorithm_settings: {momentum: 0.5}", r"of feedback: momentum: .* \(its settings: none\)"),
        ("algorithm: momentum, algorithm_settings: '{'", "of momentum: .*Invalid JSON"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, settings: str, message: str) -> None:
    with pytest.raises(GridError, match=message):
        load_grid(grid(tmp_path, settings))


def test_a_store_keeps_algorithm_and_settings(tmp_path: Path) -> None:
    location = str(tmp_path / "urfb.sqlite")
    run = tiny_run(algorithm="momentum", algorithm_settings='{"momentum":0.5}')
    open_for_writing(location).register([run])
    assert open_store(location).spec(run.spec.identity) == run.spec
    frame = open_store(location).runs(algorithm="momentum")
    assert frame["algorithm_settings"].tolist() == ['{"momentum":0.5}']
