"""A new user's first steps at full length: the experiment `quick`, its figures, and the tutorial."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import urfb
from tests.documented import Block, blocks

ROOT = Path(__file__).parents[1]
URFB = [sys.executable, "-m", "urfb"]
TUTORIAL = "docs/tutorial.md"
POINTS = 1
"""Percentage points by which a mean over the seeds may differ on a processor that rounds differently."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder whose store, at the default path, has the runs of `quick`."""
    folder = tmp_path_factory.mktemp("project")
    run(folder, "grid", "run", ROOT / "experiments.yaml", "quick")
    return folder


def run(folder: Path, *arguments: str | Path) -> str:
    """Run a urfb command in a folder and return its output."""
    return subprocess.run([*URFB, *arguments], check=True, cwd=folder, capture_output=True, text=True).stdout


def block(beginning: str) -> Block:
    """Return the only block of the tutorial that starts with a text, or is a file of that name."""
    [match] = [block for block in blocks(TUTORIAL) if block.file == beginning or block.text.startswith(beginning)]
    return match


def numbers_and_words(text: str) -> tuple[list[float], list[str]]:
    """Split a printed text into its numbers and its other words."""
    number = r"(?<![\w.])[+-]?\d+(?:\.\d+)?(?![\w.])"
    return [float(digits) for digits in re.findall(number, text)], re.sub(number, "", text).split()


@pytest.mark.slow
def test_quick_makes_runs_and_figures_with_the_papers_order_of_errors(project: Path) -> None:
    output = run(project, "report", "figures", "--experiment", "quick")
    assert "incomplete" not in output
    for number in ("04", "05", "10"):
        for suffix in ("png", "pdf", "csv"):
            assert (project / "results" / "figures" / f"quick-figure{number}.{suffix}").stat().st_size > 1000
    runs = urfb.open_store(str(project / "results" / "urfb.sqlite")).runs()
    assert (runs["state"] == "done").all()
    error = runs[runs["connectivity"] == 1].groupby(["rule", "loss"])["test_error"].mean()
    assert error["bp", "hinge"] < error["frfb", "hinge"]
    assert error["urfb", "hinge"] < error["frfb", "hinge"]


@pytest.mark.slow
def test_the_tutorials_query_prints_what_the_tutorial_shows(project: Path) -> None:
    query = re.search(r'urfb results query "(SELECT [^"]+)"', (ROOT / TUTORIAL).read_text(encoding="utf-8"))
    assert query is not None

    def by_protocol(table: str) -> dict[tuple[str, ...], float]:
        head, *rows = table.splitlines()
        assert head.split() == ["rule", "loss", "connectivity", "avg(test_error)"]
        return {tuple(words): float(error) for *words, error in map(str.split, rows)}

    printed, shown = by_protocol(run(project, "results", "query", query[1])), by_protocol(block("rule  loss").text)
    assert printed == pytest.approx(shown, abs=POINTS / 100)


@pytest.mark.slow
def test_the_tutorials_grid_and_program_give_its_answer(tmp_path: Path, real_data: Path) -> None:
    for name in ("depth.yaml", "answer.py"):
        (tmp_path / name).write_text(block(name).text)
    run(tmp_path, "grid", "run", "depth.yaml", "--data-dir", real_data)
    command, environment = [sys.executable, "answer.py"], {"PYTHONPATH": str(ROOT)}
    answer = subprocess.run(command, check=True, cwd=tmp_path, capture_output=True, text=True, env=environment).stdout
    (printed, words), (shown, words_shown) = map(numbers_and_words, (answer, block("test error (%)").text))
    assert words == words_shown
    assert printed == pytest.approx(shown, abs=POINTS)


def test_the_tutorials_conclusion_is_what_its_answer_shows() -> None:
    answer = block("test error (%)").text.partition("validation")[0]
    (_, urfb_high), (frfb_low, frfb_high) = re.findall(r"interval ([+-][\d.]+) to ([+-][\d.]+)", answer)
    conclusion = " ".join((ROOT / TUTORIAL).read_text(encoding="utf-8").split())
    assert f"at most {float(urfb_high):.2f} points higher (95 % interval, paired t over 8 seeds)" in conclusion
    assert f"its test error is {float(frfb_low):.2f} to {float(frfb_high):.2f} points higher" in conclusion
    assert answer.count(": keeps up") == answer.count(": does not keep up") == 1
