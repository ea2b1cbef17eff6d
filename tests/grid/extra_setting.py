"""Declare a new setting in memory, then check that everything that derives from the declarations has it.

python -m tests.grid.extra_setting FOLDER DEFAULT_IDENTITY
"""

from __future__ import annotations

import importlib.util
import linecache
import sys
from pathlib import Path

DECLARATION = '''
    momentum: Annotated[Decay, Use(notation=True, workload=True)] = 0.0
    """The fraction of an increment that the next one keeps."""

'''

MODEL = """
from torch import nn

def build(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))
"""


def declare() -> None:
    """Import `urfb.grid.settings` with the declaration in it."""
    spec = importlib.util.find_spec("urfb.grid.settings")
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).read_text(encoding="utf-8")
    assert source.count("    epochs: Annotated") == 1
    source = source.replace("    epochs: Annotated", f"{DECLARATION.strip(chr(10))}\n    epochs: Annotated")
    linecache.cache[spec.origin] = (
        len(source),
        None,
        source.splitlines(keepends=True),
        spec.origin,
    )  # for its docstring
    module = importlib.util.module_from_spec(spec)
    sys.modules["urfb.grid.settings"] = module
    exec(compile(source, spec.origin, "exec"), vars(module))


def check_everywhere(folder: Path, default_identity: str) -> None:
    """Fail if the setting is missing anywhere."""
    import pytest
    from typer.testing import CliRunner

    from tests.helpers import tiny_run, tiny_spec
    from urfb import open_store
    from urfb.cli import app
    from urfb.engines.estimate import workloads
    from urfb.errors import GridError
    from urfb.grid.expand import load_grid
    from urfb.report.selection import PAPER, Selection, panels
    from urfb.store import open_for_writing

    def printed(*arguments: object) -> str:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    # A grid file accepts it, with its bounds; a custom model does not.
    grid = folder / "grid.yaml"
    head = "experiments:\n  a:\n    defaults: {dataset: digits, rule: bp, network: %s}\n    matrix: {momentum: %s}\n"
    grid.write_text(head % ("'Full 9; Output'", "[0, 0.5]"))
    assert [run.spec.momentum for run in load_grid(grid).runs] == [0.0, 0.5]
    (folder / "wrong.yaml").write_text(head % ("'Full 9; Output'", "1.5"))
    with pytest.raises(GridError, match=r"momentum: .*less than 1"):
        load_grid(folder / "wrong.yaml")
    (folder / "extra_models.py").write_text(MODEL)
    (folder / "model.yaml").write_text(head % ("'extra_models:build'", "0.5"))
    with pytest.raises(GridError, match="momentum: only a network in the paper's notation has this"):
        load_grid(folder / "model.yaml")

    # It is part of the identity, except at its default, and of a run's workload.
    without, with_it = tiny_spec(), tiny_spec(momentum=0.5)
    assert without.identity == default_identity != with_it.identity
    assert workloads(without) != workloads(with_it)

    # The store saves and returns it; frames, exports and conditions have it.
    store = open_for_writing(str(folder / "urfb.sqlite"))
    store.register([tiny_run(), tiny_run(momentum=0.5)])
    assert store.runs()["momentum"].tolist() == [0.0, 0.5]
    assert store.runs(momentum=0.5)["run"].tolist() == [with_it.identity]
    assert "momentum" in store.epochs().columns
    assert open_store(str(folder / "urfb.sqlite")).spec(with_it.identity).momentum == 0.5
    listed = printed("results", "runs", "--store", store.location, "--where", "momentum=0.5", "--format", "csv")
    assert with_it.identity in listed
    assert without.identity not in listed

    # A plan has a column for it if runs differ in it, and accepts conditions on it.
    plan = ("grid", "plan", grid, "--store", store.location)
    assert "momentum" in printed(*plan).splitlines()[1]
    assert "1 run" in printed(*plan, "--where", "momentum=0.5")

    # Runs that differ in it share no panel, and runs with it do not count as the paper's.
    shown = panels(store.runs().assign(experiments="a"), Selection(experiment="a"))
    assert sorted(panel.title.rpartition(", ")[2] for panel in shown) == ["momentum 0", "momentum 0.5"]
    assert PAPER["momentum"] == 0.0

    # The reference describes it.
    sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))
    import generated

    (row,) = (line for line in generated.settings().splitlines() if "`momentum`" in line)
    assert "The fraction of an increment that the next one keeps." in row
    assert "number, 0 or more, below 1" in row
    assert row.rstrip(" |").endswith("`0`")


if __name__ == "__main__":
    declare()
    check_everywhere(Path(sys.argv[1]), sys.argv[2])
