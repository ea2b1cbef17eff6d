"""Several grid files at once: one grid, each file with its own defaults, networks and modules."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from urfb.errors import GridError, SelectionError
from urfb.grid.expand import files_and_experiments, load_grids

MODEL = """
from torch import nn

def build(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], classes))
"""


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("arguments", "files", "experiments"),
    [
        (["a.yaml"], ["a.yaml"], []),
        (["a.yaml", "figure4", "b/c.yml", "five.5"], ["a.yaml", "b/c.yml"], ["figure4", "five.5"]),
        (["A.YAML"], ["A.YAML"], []),
    ],
)
def test_arguments_are_files_or_experiments(arguments: list[str], files: list[str], experiments: list[str]) -> None:
    assert files_and_experiments(arguments) == ([Path(file) for file in files], experiments)


def test_arguments_without_a_grid_file_are_refused() -> None:
    with pytest.raises(SelectionError, match=r"'figure4', 'grid.json': no grid file \(.yaml or .yml\) is given"):
        files_and_experiments(["figure4", "grid.json"])


def test_files_form_a_grid_but_keep_own_defaults_and_networks(tmp_path: Path) -> None:
    small, large = "Full 5; Output", "Full 9; Output"
    first = write(
        tmp_path / "one.yaml",
        f"defaults: {{dataset: digits, network: mine, epochs: 3}}\nnetworks: {{mine: {small}}}\n"
        "experiments: {shared: {matrix: {rule: [bp, urfb]}}, own: {matrix: {rule: frfb}}}",
    )
    second = write(
        tmp_path / "two.yaml",
        f"defaults: {{dataset: digits, epochs: 7}}\nnetworks: {{mine: {large}, other: {small}}}\n"
        "experiments: {shared: {matrix: {rule: urfb, network: [other, mine]}}, last: {defaults: {rule: bp, "
        "network: other, epochs: 1}}}",
    )
    grid = load_grids([first, second])
    assert [(run.spec.layers, run.spec.rule, run.spec.epochs, run.experiments) for run in grid.runs] == [
        (small, "bp", 3, ("shared", "last")),
        (small, "urfb", 7, ("shared",)),
        (small, "frfb", 3, ("own",)),
        (large, "urfb", 7, ("shared",)),
    ]
    assert len(load_grids([first, second], ["shared"]).runs) == 3
    assert [run.spec.rule for run in load_grids([first, second], ["last", "own"]).runs] == ["frfb", "bp"]
    assert load_grids([first, first]).runs == load_grids([first]).runs


def test_all_mistakes_of_all_files_are_reported_together(tmp_path: Path) -> None:
    schema = write(tmp_path / "schema.yaml", "experiments: {a: {matrix: {rulee: bp}}}")
    fitting = write(tmp_path / "fitting.yaml", "experiments: {a: {defaults: {rule: bp, dataset: digits}}}")
    empty = write(tmp_path / "empty.yaml", "")
    with pytest.raises(GridError) as caught:
        load_grids([tmp_path / "absent.yaml", schema, empty, fitting], ["b"])
    problems = [problem.replace(f"{tmp_path}/", "") for problem in caught.value.problems]
    starts = [
        "absent.yaml: does not exist",
        "schema.yaml:1:28: experiments.a.matrix.rulee: unknown key",
        "empty.yaml: a grid file is a mapping",
        "fitting.yaml:1:15: experiments.a: no network is given",
    ]
    for problem, start in zip(problems, starts, strict=True):
        assert problem.startswith(start)


def test_every_unknown_experiment_is_reported(tmp_path: Path) -> None:
    settings = "{defaults: {network: simpnet, rule: bp, dataset: digits}}"
    files = [write(tmp_path / f"{name}.yaml", f"experiments: {{{name}: {settings}}}") for name in ("first", "second")]
    with pytest.raises(SelectionError) as caught:
        load_grids(files, ["first", "secnd", "third"])
    assert "there is no experiment 'secnd': did you mean 'second'? (allowed: first, second)" in str(caught.value)
    assert "there is no experiment 'third'" in str(caught.value)
    assert "'first'" not in str(caught.value)


def plan(*arguments: Path) -> subprocess.CompletedProcess[str]:
    """Run `urfb grid plan` in a new process, because Python imports a module name only once per process."""
    command = [sys.executable, "-c", "from urfb.cli import app; app()", "grid", "plan", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_each_file_imports_modules_only_from_its_own_folder(tmp_path: Path) -> None:
    def file(folder: str, module: str) -> Path:
        text = f"experiments: {{{folder}: {{defaults: {{network: '{module}:build', dataset: digits, rule: bp}}}}}}"
        return write(tmp_path / folder / "grid.yaml", text)

    for folder, module in (("here", "mine"), ("there", "mine"), ("there", "theirs")):
        write(tmp_path / folder / f"{module}.py", MODEL)
    store = [Path("--store"), tmp_path / "none.sqlite"]
    good = plan(file("here", "mine"), file("there", "theirs"), *store)
    assert "2 runs: 2 new" in good.stdout, good.stderr
    # The second file would get the first file's module, because Python has imported that name already.
    clash = plan(file("here", "mine"), file("there", "mine"), *store)
    assert clash.returncode == 2
    assert (
        f"{tmp_path}/there/grid.yaml:1:15: experiments.there: 'mine:build' is found in {tmp_path}/here" in clash.stderr
    )
    # A file also must not import a module that is only in another file's folder.
    for order in (1, -1):
        stray = plan(*[file("here", "theirs"), file("there", "theirs")][::order], *store)
        assert stray.returncode == 2
        assert f"{tmp_path}/here/grid.yaml:1:15: experiments.here: 'theirs:build'" in stray.stderr


@pytest.mark.parametrize(("typed", "advice"), [("mine.yml", "; did you mean '{}/mine.yaml'?"), ("other.yaml", "")])
def test_a_file_that_does_not_exist_suggests_a_similar_name(tmp_path: Path, typed: str, advice: str) -> None:
    write(tmp_path / "mine.yaml", "experiments: {}")
    with pytest.raises(GridError) as caught:
        load_grids([tmp_path / typed])
    assert caught.value.problems == [f"{tmp_path / typed}: does not exist{advice.format(tmp_path)}"]
