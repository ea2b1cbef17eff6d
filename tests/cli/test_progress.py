"""The progress of a grid on a terminal and in a file."""

from __future__ import annotations

import itertools
import re
from io import StringIO

import pytest
from rich.console import Console

from tests.helpers import tiny_run
from tests.store.recorded import epoch, started
from urfb.cli.progress import GridProgress, trend
from urfb.engines import Slot
from urfb.events import Failed, Finished, Stopped
from urfb.grid.expand import GridRun
from urfb.grid.plan import plan

RUNS = [tiny_run(seed=seed, network="simpnet", epochs=3) for seed in range(3)]
SPECS = [run.spec for run in RUNS]


def progress(width: int = 80, *, terminal: bool = True, runs: list[GridRun] = RUNS) -> GridProgress:
    """Return the progress of some runs, without automatic refresh."""
    shown = GridProgress(Console(file=StringIO(), width=width, height=50, force_terminal=terminal))
    shown.bars.live.auto_refresh = False
    shown.planned(plan(runs, {}, checkpoints=set()), [Slot("", "", "", "cpu", 1)] * 2)  # type: ignore[arg-type]
    return shown


def bars(shown: GridProgress) -> list[str]:
    """Return the lines of the bars on the screen."""
    console = Console(file=StringIO(), width=shown.console.width, force_terminal=False)
    console.print(shown.bars.get_renderable())
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined,no-any-return]


def written(shown: GridProgress) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.console.file.getvalue())  # type: ignore[attr-defined]


@pytest.mark.parametrize(("width", "errors"), [(60, "validation 25.0%"), (100, "validation 25.0%, running 60.0%")])
def test_a_runs_bar_has_its_validation_error(width: int, errors: str) -> None:
    shown = progress(width)
    shown.recorded(SPECS[0], started())
    assert "0/3 epochs  seed 0" in bars(shown)[1]
    shown.recorded(SPECS[0], epoch(1, error=0.15))  # the validation error is then 0.25
    total, run = bars(shown)
    assert "0/3 runs, " in total
    assert f"1/3 {errors} ▁  seed 0" in run
    assert max(map(len, bars(shown))) <= width


@pytest.mark.parametrize("width", [40, 60, 80])
def test_lines_break_between_phrases(width: int) -> None:
    shown = progress(width)
    for spec in SPECS:
        shown.recorded(spec, started())
        shown.recorded(spec, Finished(3, 1.0, 0.25))
    shown.stop()
    lines = [line.rstrip() for line in written(shown).splitlines()]
    assert max(map(len, lines)) <= width
    broken = [line for line, following in itertools.pairwise(lines) if following.startswith("  ")]
    assert broken or width >= 60
    assert all(line.endswith((",", ":", ";")) for line in broken if len(line) > 2)


@pytest.mark.parametrize("width", [1, 2, 10])
def test_progress_fits_a_terminal_of_any_width(width: int) -> None:
    shown = progress(width)
    shown.recorded(SPECS[0], started())
    shown.recorded(SPECS[0], epoch(1))
    assert len(bars(shown)) >= 2
    shown.interrupted(at_once=True)
    assert "interrupted" in written(shown).replace("\n", "").replace(" ", "")


def test_a_stopped_run_does_not_count_as_done() -> None:
    shown = progress(200)
    for spec in SPECS[:2]:
        shown.recorded(spec, started())
        shown.recorded(spec, epoch(1))
    assert re.search(r"0/3 runs, \d:\d\d:\d\d left", bars(shown)[0])
    shown.stopping()
    shown.recorded(SPECS[0], epoch(2))
    shown.recorded(SPECS[0], Stopped())
    assert bars(shown)[0].rstrip().endswith("0/3 runs")
    shown.interrupted(at_once=False)
    assert bars(shown) == []
    assert "[0/3] seed 0: stopped; checkpoint saved" in written(shown)


def test_a_run_that_was_skipped_and_then_trained_counts_once() -> None:
    shown = progress(200)
    shown.recorded(SPECS[0], started())
    shown.dropped(SPECS[0])
    shown.recorded(SPECS[0], started())
    shown.recorded(SPECS[0], Finished(3, 1.0, 0.25))
    assert "1/3 runs" in bars(shown)[0]


def test_the_total_bar_stays_after_all_runs_have_ended() -> None:
    shown = progress(200)
    for spec in SPECS:
        shown.recorded(spec, started())
        shown.recorded(spec, epoch(3))
        shown.recorded(spec, Failed("ValueError: bad", "") if spec is SPECS[0] else Finished(3, 1.0, 0.25))
    shown.stop()
    assert "1 of 3 runs failed; `urfb grid status` lists them" in written(shown)
    (total,) = bars(shown)
    assert re.search(r"3/3 runs, 1 failed, in \d:\d\d:\d\d", total)


def test_a_grid_that_ends_early_leaves_no_bar() -> None:
    shown = progress()
    shown.recorded(SPECS[0], started())
    shown.stop()
    assert bars(shown) == []


def test_each_line_of_a_file_is_unbroken_and_has_its_time() -> None:
    shown = progress(40, terminal=False)
    shown.recorded(SPECS[0], started())
    shown.recorded(SPECS[0], Finished(3, 1.0, 0.25))
    shown.recorded(SPECS[1], Failed("ValueError: bad", "Traceback …"))
    shown.stop()
    lines = [re.fullmatch(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (.*)", line) for line in written(shown).splitlines()]
    assert all(lines)
    assert [line[2] for line in lines if line][-3:] == [
        "all runs: network simpnet, dataset digits, rule urfb",
        "[1/3] seed 0: done after 3 epochs, test error 25.0%",
        f"[2/3] seed 1: FAILED: ValueError: bad; see `urfb grid logs {SPECS[1].identity}`",
    ]


def test_many_runs_show_the_latest_lines_and_keep_failures() -> None:
    runs = [tiny_run(seed=seed, step_size=step) for seed in range(250) for step in (0.1, 0.2)]
    shown = progress(80, runs=runs)
    for run in runs[:200]:
        shown.recorded(run.spec, started())
        shown.recorded(run.spec, epoch(1))
        bad = run.spec.seed % 10 == 7
        shown.recorded(run.spec, Failed("ValueError: bad", "") if bad else Finished(3, 1.0, 0.25))
    shown.recorded(runs[200].spec, started())
    latest, total, running = bars(shown)[-3:]
    assert len(bars(shown)) == 5
    assert latest.startswith("[200/500] step_size 0.2 seed 99: done after 3 epochs")
    assert "200/500 runs, 20 failed" in total
    assert running.rstrip().endswith("0/2 epochs  step_size 0.1 seed 100")
    failed = [f"step_size {step} seed {seed}: FAILED" for step, seed in ((0.1, 7), (0.2, 7), (0.1, 17))]
    assert [written(shown).count(line) for line in failed] == [1, 1, 1]  # lines that are kept are printed once
    shown.stop()
    assert bars(shown) == []


def test_a_trend_goes_from_the_lowest_to_the_highest_error() -> None:
    assert trend([0.5, 0.4, 0.3, 0.1]) == "█▆▄▁"
    assert trend([0.2]) == trend([0.2, 0.2])[:1] == "▁"
