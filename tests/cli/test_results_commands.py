"""`urfb results` and `urfb doctor`: their output, exit codes and effects on the store."""

from __future__ import annotations

import csv
import json
import os
import shutil
import socket
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from tests.helpers import grid_file, tiny_run
from urfb import open_store
from urfb.cli import app
from urfb.store import open_for_writing

COMMAND = [sys.executable, "-c", "from urfb.cli import app; app()"]
HOSTILE = (
    "SELECT '[bold]' || char(27) || '[31m' || char(10, 155) AS \"a\x1b[35mb\", "
    "NULL AS empty, x'00ff' AS bytes, 0.5 AS number"
)


def urfb(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    result = urfb("grid", "run", grid_file(folder), "--store", folder / "urfb.sqlite", "--jobs", 0)
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def trained(tmp_path: Path, trained_once: Path) -> Path:
    """A copy of the store of a trained grid of four runs, with its checkpoints."""
    shutil.copytree(trained_once, tmp_path / "trained")
    return tmp_path / "trained" / "urfb.sqlite"


def test_a_merged_run_continues_from_its_merged_checkpoint(tmp_path: Path, trained: Path) -> None:
    store = tmp_path / "urfb.sqlite"
    merged = urfb("results", "merge", trained, "--store", store)
    assert (merged.exit_code, merged.output) == (0, f"{trained}: 4 runs: 4 added\n")
    assert urfb("results", "merge", trained, "--store", store).output == f"{trained}: 4 runs: 4 unchanged\n"
    grid = grid_file(tmp_path)
    assert "4 runs: 4 done; nothing to do" in urfb("grid", "run", grid, "--store", store).output
    longer = urfb("grid", "run", grid, "--store", store, "--jobs", 0, "--epochs", 3, "--where", "seed=0")
    assert longer.output.count("continues after epoch 2") == 2
    counts, *named = urfb("results", "merge", trained, "--store", store).output.splitlines()
    assert set(counts.removeprefix(f"{trained}: 4 runs: ").split(", ")) == {"2 kept", "2 unchanged"}
    runs = open_store(str(store)).runs(seed=0)["run"]
    assert set(named) == {f"  kept: {run}: has 3 epochs (done), the other store only 2 epochs (done)" for run in runs}


def test_a_merge_reports_all_mistakes_and_exits_with_2(tmp_path: Path, trained: Path) -> None:
    result = urfb("results", "merge", trained, tmp_path / "absent.sqlite", "--store", trained)
    assert result.exit_code == 2
    assert "leave it out" in result.stderr
    assert "there is no store at" in result.stderr


def test_export_prints_each_file_with_its_number_of_rows(tmp_path: Path, trained: Path) -> None:
    out = tmp_path / "out"
    result = urfb("results", "export", out, "--store", trained, "--format", "csv", "--where", "rule=bp")
    assert result.exit_code == 0
    measured = open_store(str(trained)).alignment(rule="bp")  # BP has no R to align, but its units can saturate
    assert len(measured) > 0
    assert measured["correlation"].isna().all()
    assert result.output.splitlines() == [
        f"{out / 'runs.csv'}: 2 rows", f"{out / 'epochs.csv'}: 4 rows",
        f"{out / 'alignment.csv'}: {len(measured)} rows",
    ]  # fmt: skip
    assert set(pd.read_csv(out / "epochs.csv")["rule"]) == {"bp"}
    assert urfb("results", "export", out / "x.csv", "--store", trained).exit_code == 2


@pytest.mark.parametrize("view", ["runs", "epochs", "alignment"])
def test_experiment_and_state_select_rows_of_any_table(trained: Path, view: str) -> None:
    where = ["--where", "experiment=tiny", "--where", "state=done", "--where", "seed=1"]
    listed = urfb("results", view, "--store", trained, "--format", "csv", *where)
    assert set(pd.read_csv(StringIO(listed.output))["seed"]) == {1}


def test_runs_have_a_column_for_each_setting_in_which_they_differ(tmp_path: Path) -> None:
    store = tmp_path / "s.sqlite"
    settings = [{"gradient_batch": 20}, {"rule": "interpolated", "epsilon": 0.25}, {"dense_output": False}]
    open_for_writing(str(store)).register([tiny_run(**each) for each in settings])
    common, header, *rows, count = urfb("results", "runs", "--store", store).output.splitlines()
    assert common.startswith("all runs: network Conv 4 3x3")
    assert header.split()[:6] == ["run", "rule", "epsilon", "dense_output", "gradient_batch", "state"]
    assert [row.split()[1:-2] for row in rows] == [
        ["urfb", "true", "20", "new"],
        ["interpolated", "0.25", "true", "new"],
        ["urfb", "false", "new"],
    ]
    of = len(open_store(str(store)).columns("runs"))
    assert count == f"3 rows, 11 of {of} columns (all columns: --format csv)"


def test_runs_that_are_in_no_grid_file_are_listed_and_removed(tmp_path: Path, trained: Path) -> None:
    grid = grid_file(tmp_path, seeds=1)
    listed = urfb("results", "runs", "--store", trained, "--not-in", grid, "--format", "csv")
    assert set(pd.read_csv(StringIO(listed.output))["seed"]) == {1}
    choice = ("results", "remove", "--store", trained, "--not-in", grid, "--where", "rule=bp")
    unasked = urfb(*choice)
    assert (unasked.exit_code, unasked.stderr.count("\n"), "add --yes" in unasked.stderr) == (2, 1, True)
    assert len(open_store(str(trained)).runs()) == 4
    as_runs = urfb("results", "runs", *choice[2:]).output.splitlines()
    *shown, counts, removed = urfb(*choice, "--yes").output.splitlines()
    assert shown == as_runs
    assert counts.startswith(f"to remove from {trained}: 1 run, 2 epochs, 1 checkpoint (")
    assert counts.endswith(" KiB) and 1 log")
    assert removed == "removed 1 run"
    assert sorted(open_store(str(trained)).runs()["seed"]) == [0, 0, 1]


def test_removing_an_experiment_keeps_runs_that_another_shares(tmp_path: Path, trained: Path) -> None:
    grid = grid_file(tmp_path, seeds=1)
    grid.write_text(grid.read_text().replace("tiny:\n    defaults", "other:\n    defaults"))
    assert urfb("grid", "run", grid, "--store", trained).exit_code == 0
    removed = urfb("results", "remove", "--store", trained, "--experiment", "tiny", "--yes")
    *_, stay, last = removed.output.splitlines()
    assert stay == "to remove from experiment 'tiny' only: 2 runs, which other experiments share"
    assert last == "removed 2 runs"
    assert open_store(str(trained)).runs()["experiments"].tolist() == ["other", "other"]


@pytest.mark.parametrize(("answer", "code", "left"), [("y", 0, 3), ("n", 1, 4)])
def test_removal_on_a_terminal_waits_for_a_yes(trained: Path, answer: str, code: int, left: int) -> None:
    controller, terminal = os.openpty()
    run = open_store(str(trained)).runs()["run"][0]
    arguments = [*COMMAND, "results", "remove", run, "--store", str(trained)]
    os.write(controller, f"{answer}\n".encode())
    done = subprocess.run(arguments, stdin=terminal, capture_output=True, text=True, check=False)
    os.close(terminal)
    os.close(controller)
    assert done.returncode == code
    assert done.stderr.strip() == "Remove these runs? [y/N]:"
    assert done.stdout.splitlines()[-1].strip() == ("removed 1 run" if answer == "y" else "nothing was removed")
    assert len(open_store(str(trained)).runs()) == left


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ((), "which runs?"),
        (("--where", "seed=7"), "nothing to remove"),
        (("--where", "sead=0"), "did you mean 'seed'"),
        (("--experiment", "tinny"), "did you mean 'tiny'"),
        (("zz",), "there is no run 'zz'"),
        (("--not-in", "absent.yaml"), "absent.yaml: does not exist"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_removing_unknown_runs_is_bad_input(trained: Path, choice: tuple[str, ...], message: str) -> None:
    result = urfb("results", "remove", "--store", trained, "--yes", *choice)
    assert (result.exit_code, result.stderr.count("\n"), message in result.stderr) == (2, 1, True)
    assert len(open_store(str(trained)).runs()) == 4


def test_a_run_in_training_is_not_removed(trained: Path) -> None:
    store = open_for_writing(str(trained))
    run = store.spec(store.runs()["run"][0])
    store.claim(run.model_copy(update={"epochs": 3}))
    result = urfb("results", "remove", run.identity, "--store", trained, "--yes")
    assert result.exit_code == 2
    assert f"urfb: run {run.identity} is being trained on {socket.gethostname()}\nnothing is removed" in result.stderr


def test_a_query_is_printed_for_people_and_for_programs(trained: Path) -> None:
    ask = (
        "results",
        "query",
        "SELECT rule, count(*) AS runs FROM runs GROUP BY rule ORDER BY rule",
        "--store",
        trained,
    )
    assert [line.split() for line in urfb(*ask).output.splitlines()] == [["rule", "runs"], ["bp", "2"], ["urfb", "2"]]
    assert urfb(*ask, "--format", "csv").output == "rule,runs\nbp,2\nurfb,2\n"
    assert json.loads(urfb(*ask, "--format", "json").output) == [
        {"rule": "bp", "runs": 2},
        {"rule": "urfb", "runs": 2},
    ]


@pytest.mark.parametrize("statement", ["DELETE FROM run", "SELECT 1; DELETE FROM run", "SELECT rul FROM runs"])
def test_a_query_that_is_refused_gives_one_message_and_exit_code_2(trained: Path, statement: str) -> None:
    result = urfb("results", "query", statement, "--store", trained)
    assert result.exit_code == 2
    assert result.stderr.startswith("urfb: the query is refused: ")
    assert result.stderr.count("\n") == 1
    assert len(open_store(str(trained)).runs()) == 4


def test_two_columns_of_the_same_name_cannot_be_json(trained: Path) -> None:
    ask = ("results", "query", "SELECT 1 AS a, 2 AS a", "--store", trained)
    assert urfb(*ask, "--format", "csv").output == "a,a\n1,2\n"
    result = urfb(*ask, "--format", "json")
    assert (result.exit_code, "two columns are called 'a'" in result.stderr) == (2, True)


def test_csv_and_json_have_unchanged_values(trained: Path) -> None:
    as_csv = urfb("results", "query", HOSTILE, "--store", trained, "--format", "csv").output
    assert list(csv.reader(StringIO(as_csv))) == [
        ["a\x1b[35mb", "empty", "bytes", "number"],
        ["[bold]\x1b[31m\n\x9b", "", "00ff", "0.5"],
    ]
    (record,) = json.loads(urfb("results", "query", HOSTILE, "--store", trained, "--format", "json").output)
    assert list(record.values()) == ["[bold]\x1b[31m\n\x9b", None, "00ff", 0.5]


@pytest.mark.parametrize("output", ["table", "csv", "json"])
def test_values_cannot_control_a_terminal(trained: Path, output: str) -> None:
    controller, terminal = os.openpty()
    arguments = [*COMMAND, "results", "query", HOSTILE, "--store", str(trained), "--format", output]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "200"}
    subprocess.run(arguments, stdout=terminal, check=True, env=environment)
    os.close(terminal)
    shown = os.read(controller, 100_000).decode()
    os.close(controller)
    assert "[bold]" in shown
    assert "\x1b[31m" not in shown
    assert "\x1b[35m" not in shown
    assert "\x9b" not in shown
    assert "\\x9b" in shown


def test_a_table_escapes_control_characters(trained: Path) -> None:
    shown = urfb("results", "query", HOSTILE, "--store", trained).output.splitlines()
    assert shown[1].split() == [r"[bold]\x1b[31m\n\x9b", "2", "bytes", "0.5"]


@pytest.mark.parametrize("store", ["urfb.sqlite", "notes.txt"])
def test_doctor_prints_one_line_per_finding(tmp_path: Path, store: str) -> None:
    (tmp_path / "notes.txt").write_text("no database, but as long as one would be " * 50)
    arguments = ["doctor", "--store", tmp_path / store, "--data-dir", tmp_path / "data"]
    result, as_json = urfb(*arguments), urfb(*arguments, "--format", "json")
    expected = 1 if store == "notes.txt" else 0
    assert result.exit_code == as_json.exit_code == expected
    _, *lines = result.output.splitlines()
    findings = json.loads(as_json.output)
    assert [line.split()[0] for line in lines] == [finding["level"] for finding in findings]
    assert ("problem" in {finding["level"] for finding in findings}) == bool(expected)
    assert any(line.endswith(f"`urfb data fetch mnist --data-dir {tmp_path / 'data'}`") for line in lines)
