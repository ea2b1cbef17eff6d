"""The commands of `urfb theory`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from urfb import open_store
from urfb.cli import app
from urfb.cli.simulating import print_summaries
from urfb.theory import experiment, system
from urfb.theory.summary import Spread, Summary

SMALL = ("--layers", "8,6,7,4", "--iterations", "60", "--step-size", "0.01")


def theory(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["theory", *map(str, arguments)])


def test_a_run_stores_what_is_missing_and_prints_errors_and_correlations(tmp_path: Path) -> None:
    store = tmp_path / "urfb.sqlite"
    first = theory("run", *SMALL, "--draws", 2, "--epsilon", "0,1", "--store", store)
    assert first.exit_code == 0, first.output
    summary, head, *lines = first.output.splitlines()
    assert summary.startswith(f"12 simulations in {store}: 12 new in ")
    for column in ("rule", "log₁₀ e at 12", "log₁₀ e at 24", "log₁₀ e at 60", "corr 1", "corr 3", "gap"):
        assert column in head
    assert [line.split("  ")[0] for line in lines[:6]] == [
        "BP", "BP", "ε 0 (FRFB)", "ε 0 (FRFB)", "ε 1 (URFB)", "ε 1 (URFB)",
    ]  # fmt: skip
    more = theory("run", *SMALL, "--draws", 3, "--epsilon", "0,0.5,1", "--store", store)
    assert ": 12 new in " in more.output
    assert ", 12 already stored" in more.output
    frame = open_store(str(store)).simulations()
    assert frame.groupby("method").size().to_dict() == {"discrete": 12, "ode": 12}
    assert set(frame["layers"]) == {"8-6-7-4"}


def test_a_number_that_rounds_to_0_has_no_sign(capsys: pytest.CaptureFixture[str]) -> None:
    small = Spread(-0.001, -0.002, 0.001)
    print_summaries([Summary("feedback", 0.0, "discrete", 2, {}, {60: small}, {1: small}, None)])
    shown = capsys.readouterr().out
    assert "0.00 (0.00 to 0.00)" in shown
    assert "-0.00" not in shown


def test_one_method_alone_is_run(tmp_path: Path) -> None:
    result = theory("run", *SMALL, "--draws", 1, "--method", "ode", "--store", tmp_path / "urfb.sqlite")
    assert result.exit_code == 0
    assert "discrete" not in result.output
    assert "gap" not in result.output.splitlines()[-1]


def test_diverging_steps_are_named_and_exit_with_1_each_time(tmp_path: Path) -> None:
    arguments = ("run", "--layers", "8,6,4", "--step-size", "50", "--iterations", 20, "--method", "discrete",
                 "--epsilon", "1", "--draws", 1, "--store", tmp_path / "urfb.sqlite")  # fmt: skip
    for _ in range(2):
        result = theory(*arguments)
        assert result.exit_code == 1
        assert "diverged: ε 1 (URFB), discrete, draw 0, at iteration " in result.output
        assert "choose a smaller --step-size" in result.output
    assert open_store(str(tmp_path / "urfb.sqlite")).trajectories()["error"].notna().all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--layers", "40,x"), "--layers '40,x': give whole numbers with commas between them, as in 40,100,100,10"),
        (("--epsilon", "half"), "--epsilon 'half': give numbers with commas between them, as in 0,0.25,0.5,1"),
        (("--method", "oed"), "method 'oed': did you mean 'ode'? (allowed: discrete, ode)"),
        (("--start", "cold", "--teacher", "none"), "start 'cold': "),
        (("--layers", ""), "give three sizes or more"),
    ],
)
def test_invalid_arguments_give_a_message_and_store_nothing(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    store = tmp_path / "urfb.sqlite"
    result = theory("run", *arguments, "--store", store)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert not store.exists()


def test_checks_print_numbers_and_name_the_failing_check(monkeypatch: pytest.MonkeyPatch) -> None:
    result = theory("check", *SMALL)
    assert result.exit_code == 0, result.output
    assert result.output.count("passed") == 7
    cases = json.loads(theory("check", *SMALL, "--format", "json").output)
    assert all(case["passed"] and case["low"] <= case["value"] <= case["high"] for case in cases)
    right = system.updated_feedback
    monkeypatch.setattr(experiment, "updated_feedback", lambda R, epsilon, W: right(R, 0.9 * epsilon, W))
    result = theory("check", *SMALL)
    assert result.exit_code == 1
    assert "FAILED" in result.output
    assert "failed: " in result.output


def test_the_documentations_example_reads_stored_simulations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib.pyplot as plt

    plt.switch_backend("Agg")
    document = (Path(__file__).parents[2] / "docs" / "theory.md").read_text()
    example = document.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    assert theory("run", *SMALL, "--draws", 2, "--epsilon", "0,1").exit_code == 0
    given: dict[str, Any] = {}
    exec(example.replace("40-100-100-10", "8-6-7-4"), given)
    assert len(given["simulations"]) == 2 * 2 * 3
    assert set(given["curves"]["rule"]) == {"BP", "ε 0", "ε 1"}
    assert [len(plt.figure(number).axes) for number in plt.get_fignums()] == [2, 3 * 2]
    plt.close("all")


def test_simulations_need_no_torch(tmp_path: Path) -> None:
    arguments = ["theory", "run", *SMALL, "--draws", "1", "--store", str(tmp_path / "urfb.sqlite")]
    code = (
        "import sys; from urfb.cli import app; "
        f"app({arguments!r}, standalone_mode=False); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=Path(__file__).parents[2])
