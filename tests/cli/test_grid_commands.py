"""`urfb grid` and the tables of `urfb results`: their output, exit codes and effects on the store."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner, Result

from tests.helpers import grid_file, tiny_run
from urfb import open_store
from urfb.cli import app
from urfb.store import open_for_writing

COMMAND = [sys.executable, "-c", "from urfb.cli import app; app()"]
TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
LARGE_BATCHES = """
import sys
from torch import nn

class Model(nn.Sequential):
    def forward(self, x):
        if len(x) > 2:
            {failure}
        return super().forward(x)

def build(shape, classes):
    return Model(nn.Flatten(), nn.Linear(64, classes))
"""


def urfb(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "urfb.sqlite"


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    result = urfb("grid", "run", grid_file(folder), "--store", folder / "urfb.sqlite", "--jobs", 0)
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def trained(tmp_path: Path, trained_once: Path) -> Path:
    """A copy of the store of a trained grid, with its checkpoints."""
    shutil.copytree(trained_once, tmp_path, dirs_exist_ok=True)
    return tmp_path / "urfb.sqlite"


def test_plan_lists_each_run_with_its_identity_and_trains_nothing(tmp_path: Path, store: Path) -> None:
    result = urfb("grid", "plan", grid_file(tmp_path), "--store", store, "--where", "rule=urfb")
    assert result.exit_code == 0
    common, header, *rows, summary, time, untimed, disk, absent = result.output.splitlines()
    assert absent == f"store: there is none at {store.absolute()} yet; `urfb grid run` creates it"
    assert common == "all runs: network tiny, dataset digits, rule urfb"
    assert header.split() == ["run", "state", "epochs", "seed", "experiments", "reason"]
    assert [row.split()[1:5] for row in rows] == [["new", "0/2", seed, "tiny"] for seed in "01"]
    assert len({row.split()[0] for row in rows}) == 2
    assert all(row.endswith("never trained") for row in rows)
    assert summary == "2 runs: 2 new"
    assert time.startswith("time: unknown, ")
    assert untimed == "  no stored times for 2 runs: --calibrate measures them"
    assert disk.startswith("disk: up to ")
    assert not store.exists()


def test_a_file_gets_a_line_when_memory_checks_take_long(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = grid_file(tmp_path, epochs=1, seeds=1)
    assert "memory" not in urfb("grid", "run", grid, "--store", store, "--jobs", 1, "--where", "rule=bp").output
    monkeypatch.setattr("urfb.cli.progress.PLAIN_SECONDS", -1)
    output = urfb("grid", "run", grid, "--store", store, "--jobs", 1).output
    assert re.match(rf"{TIME} 0 of 1 memory checks done\n{TIME} 2 runs: ", output)


def test_a_run_that_is_no_better_than_chance_is_reported(tmp_path: Path, store: Path) -> None:
    grid = grid_file(tmp_path, seeds=1, epochs=10)
    grid.write_text(grid.read_text().replace("seed: [0]", "seed: [0]\n      step_size: [0.1, 1000]"))
    result = urfb("grid", "run", grid, "--store", store, "--jobs", 0, "--where", "rule=bp")
    assert result.exit_code == 0
    endings = re.findall(r"done after 10 epochs, test error [\d.]+%(.*)$", result.output, re.MULTILINE)
    assert sorted(endings) == ["", ", no better than chance; check the step size"]


def test_plan_estimates_missing_runs_from_similar_stored_runs(tmp_path: Path, trained: Path) -> None:
    path = grid_file(tmp_path)
    longer = urfb("grid", "plan", path, "--store", trained, "--epochs", 4, "--jobs", 0)
    assert "trained 2 of 4 epochs" in longer.output
    assert re.search(r"^time: about \d+ s, 1 at a time on ", longer.output, re.MULTILINE)
    assert "from 8 stored epochs of similar runs on such a device with as many threads" in longer.output
    assert "--calibrate" not in longer.output
    other = tmp_path / "other.yaml"
    other.write_text(path.read_text().replace("rule: [bp, urfb]", "rule: frfb\n      precision: [float32, float64]"))
    both = urfb("grid", "plan", path, other, "--store", trained, "--jobs", 0)
    assert "8 runs: 4 new, 4 done" in both.output
    assert "for 2 of 4 runs, 1 at a time" in both.output
    assert "no stored times for 2 runs: --calibrate measures them" in both.output
    assert "with as many threads; for 2 runs, from another rule or connectivity" in both.output


def test_plan_calibrate_measures_each_kind_of_run(tmp_path: Path, store: Path) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(
        "defaults: {network: 'Conv 2 3x3; Maxpool 2; Output', dataset: mnist, batch_size: 20, epochs: 3, rule: bp}\n"
        "experiments:\n  one: {matrix: {seed: [0, 1]}}\n"
        "  two: {defaults: {untied: all, pretraining_epochs: 1, frozen: none}}\n"
    )
    result = urfb("grid", "plan", path, "--store", store, "--calibrate", "--jobs", 1)
    assert result.exit_code == 0, result.output
    assert re.search(r"^time: about [\d.]+ (s|min|h|days), 1 at a time", result.output, re.MULTILINE)
    assert "  measured now, in a few steps of each kind of run on random images" in result.output
    assert "no stored times" not in result.output
    assert re.search(r"^memory: up to \d+\.\d MiB, measured$", result.output, re.MULTILINE)
    assert [file.name for file in tmp_path.iterdir()] == ["grid.yaml"]


@pytest.mark.parametrize(
    ("name", "failure", "message"),
    [
        ("raising", "raise RuntimeError('not today')", "RuntimeError: not today"),
        ("leaving", "sys.exit('not today')", "SystemExit: not today"),
    ],
)
def test_a_custom_model_that_cannot_be_measured_is_bad_input(
    tmp_path: Path, store: Path, name: str, failure: str, message: str
) -> None:
    (tmp_path / f"{name}.py").write_text(LARGE_BATCHES.format(failure=failure))
    path = grid_file(tmp_path)
    path.write_text(path.read_text().replace("network: tiny", f"network: '{name}:build'"))
    result = urfb("grid", "plan", path, "--store", store, "--calibrate", "--jobs", 1)
    assert result.exit_code == 2
    assert f"urfb: {name}:build: cannot be measured ({message}, at {tmp_path / name}.py:8)" in result.stderr
    uncounted = urfb("grid", "plan", path, "--store", store)
    disk = r"^disk: rows [\d.]+ KiB, and the checkpoints of 4 runs of a custom model, of unknown size$"
    assert re.search(disk, uncounted.output, re.MULTILINE)
    path.write_text(
        f"{path.read_text()}  known:\n    defaults: {{network: Output, dataset: digits, epochs: 1, rule: bp}}\n"
    )
    counted = urfb("grid", "plan", path, "--store", store).output
    assert re.search(
        r"^disk: up to .*\n  plus the checkpoints of 4 runs of a custom model, of unknown size$", counted, re.M
    )


def test_plan_says_how_to_fetch_missing_data_sets(tmp_path: Path, store: Path) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(
        "defaults: {network: Output, epochs: 1, rule: bp}\nexperiments: {a: {matrix: {dataset: [mnist, digits]}}}"
    )
    plan = ("grid", "plan", path, "--store", store, "--data-dir", tmp_path / "data")
    lacking = (
        f"data: mnist is missing in {tmp_path / 'data'}; run `urfb data fetch mnist --data-dir {tmp_path / 'data'}`"
    )
    assert [line for line in urfb(*plan).output.splitlines() if line.startswith("data: ")] == [lacking]
    assert "data: " not in urfb(*plan, "--where", "dataset=digits").output


def test_plan_answers_without_torch(tmp_path: Path, trained: Path) -> None:
    code = "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); from urfb.cli import app; app()"
    device = "cpu" if torch.cuda.is_available() else "auto"
    arguments = ["grid", "plan", grid_file(tmp_path), "--store", trained, "--epochs", "3", "--device", device]
    planned = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert planned.stdout.splitlines()[-1] == "False"


def test_a_second_run_of_a_finished_grid_does_nothing(tmp_path: Path, trained: Path) -> None:
    again = urfb("grid", "run", grid_file(tmp_path), "--store", trained)
    assert again.exit_code == 0
    assert "4 runs: 4 done; nothing to do" in again.output
    plan = urfb("grid", "plan", grid_file(tmp_path), "--store", trained)
    assert plan.output.splitlines()[-1] == "4 runs: 4 done"
    assert "reason" not in plan.output
    assert (
        " 1 epoch, "
        in urfb("grid", "run", grid_file(tmp_path, epochs=1, seeds=1), "--store", tmp_path / "short.sqlite").output
    )


def test_run_says_which_trained_runs_are_new_again(tmp_path: Path, trained: Path) -> None:
    with closing(sqlite3.connect(trained)) as connection:
        connection.execute("UPDATE run SET science_version = 1, identity = 'old-' || id")
        connection.commit()
    choice = ("grid", "run", grid_file(tmp_path), "--store", trained, "--jobs", 0, "--where", "rule=bp")
    first, again = urfb(*choice).output, urfb(*choice).output
    reasons = "; ".join(f"an older urfb trained run old-{run} (2 epochs); its results differ" for run in (1, 2))
    assert f" new although trained before: 2 runs: {reasons}\n" in first
    assert "new although" not in again


def test_stored_runs_of_an_experiment_that_the_file_lacks_are_reported(tmp_path: Path, trained: Path) -> None:
    grid, other = grid_file(tmp_path), tmp_path / "other.yaml"
    for choice in ((), ("--where", "rule=bp"), ("--epochs", 1), ("tiny",)):
        assert "also has" not in urfb("grid", "plan", grid, "--store", trained, *choice).output
    other.write_text(grid.read_text().replace("seed: [0, 1]", "seed: [0]"))
    listing = f"urfb results runs --not-in {other} --where experiments=tiny --store {trained}"
    notice = f"experiment tiny: the store also has 2 runs not in {other}; list them with: {listing}"
    for command in ("plan", "run"):
        choice = ("--store", trained, "--jobs", 0, "--where", "rule=bp", "--epochs", 3)
        assert urfb("grid", command, other, *choice).output.count(f"{notice}\n") == 1
    assert "2 rows" in urfb(*listing.split()[1:]).output
    other.write_text(
        f"{other.read_text()}  new:\n    defaults: {{network: tiny, dataset: digits, rule: [bp, urfb], seed: 1}}\n"
    )
    assert "also has" not in urfb("grid", "plan", other, "tiny", "--store", trained).output
    assert "also has" not in urfb("grid", "plan", other, "--store", tmp_path / "new.sqlite").output
    other.write_text(grid.read_text().replace("  tiny:\n    d", "  unlike:\n    d").replace("[0, 1]", "[5]"))
    assert "also has" not in urfb("grid", "plan", other, "--store", trained).output


def test_epochs_and_conditions_select_the_runs_to_train(tmp_path: Path, trained: Path) -> None:
    result = urfb(
        "grid", "run", grid_file(tmp_path), "tiny", "--store", trained, "--jobs", 0, "--epochs", 3,
        "--where", "rule=bp", "--where", "seed=1",
    )  # fmt: skip
    assert result.exit_code == 0
    assert "1 run: 1 unfinished" in result.output
    assert "tiny digits bp: continues after epoch 2" in result.output
    runs = open_store(str(trained)).runs()
    assert runs["epochs_done"].tolist() == [2, 3, 2, 2]


def test_a_failed_run_gives_exit_code_1_and_names_its_log(tmp_path: Path, store: Path) -> None:
    path = grid_file(tmp_path, step_size="3.0e+38", loss="softmax")
    result = urfb("grid", "run", path, "--store", store, "--jobs", 0, "--where", "seed=0")
    assert result.exit_code == 1
    (run,) = re.findall(r"bp: FAILED: DivergedError: .*; see `urfb grid logs (\w+)`", result.output)
    assert "Traceback (most recent call last)" in urfb("grid", "logs", run, "--store", store).output
    status = urfb("grid", "status", "--store", store)
    assert "failed: " in status.output
    assert "DivergedError" in status.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["grid", "plan", "absent.yaml"], "absent.yaml: does not exist"),
        (["grid", "plan", "{grid}", "other.yml"], "other.yml: does not exist"),
        (["grid", "plan", "tiny"], "no grid file (.yaml or .yml) is given"),
        (["grid", "run", "{grid}", "tinny"], "did you mean 'tiny'"),
        (["grid", "run", "{grid}", "--where", "rul=bp"], "did you mean 'rule'"),
        (["grid", "run", "{grid}", "--device", "mps"], "'mps' is not tested yet"),
        (["grid", "run", "{grid}", "--store", "{grid}"], "is not a urfb store"),
        (["grid", "status", "--store", "absent.sqlite"], "there is no store at {folder}/absent.sqlite"),
        (["results", "runs", "--store", "absent.sqlite"], "there is no store at {folder}/absent.sqlite"),
        (["grid", "plan", "{grid}", "--where", "seed=99999999999999999999"], "seed is a number"),
        (["grid", "run", "{grid}", "--where", "rule=\x1b[31m\udcff"], "rule"),
    ],
)
def test_bad_input_gives_exit_code_2_and_one_message(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = grid_file(tmp_path)
    result = urfb(*(argument.format(grid=path) for argument in arguments))
    assert result.exit_code == 2
    assert message.format(folder=tmp_path) in result.stderr
    assert "Traceback" not in result.output
    assert [file.name for file in tmp_path.iterdir()] == ["grid.yaml"]


def test_status_counts_runs_by_state_for_each_experiment(trained: Path) -> None:
    result = urfb("grid", "status", "--store", trained)
    assert result.exit_code == 0
    header, tiny, all_ = (line.split() for line in result.output.splitlines())
    assert header == ["experiment", "new", "running", "unfinished", "failed", "cancelled", "done", "runs", "epochs"]
    assert tiny == ["tiny", "0", "0", "0", "0", "0", "4", "4", "8/8"]
    assert all_[1:] == tiny[1:]


@pytest.mark.parametrize(("view", "rows"), [("runs", 2), ("epochs", 4), ("alignment", 48)])
def test_results_are_printed_for_people_and_for_programs(trained: Path, view: str, rows: int) -> None:
    where = ["--store", trained, "--where", "rule=urfb"]
    table = urfb("results", view, *where)
    assert table.exit_code == 0
    assert table.output.splitlines()[-1].startswith(f"{rows} rows")
    as_csv = pd.read_csv(StringIO(urfb("results", view, *where, "--format", "csv").output))
    as_json = pd.DataFrame(json.loads(urfb("results", view, *where, "--format", "json").output))
    assert len(as_csv) == len(as_json) == rows
    assert as_csv.columns.tolist() == as_json.columns.tolist() == list(open_store(str(trained)).columns(view))
    assert set(as_csv["rule"]) == {"urfb"}


@pytest.mark.parametrize("condition", ["attempts=1", "test_epoch=2", "epochs_done=2", "state=done"])
def test_results_can_be_selected_by_state_and_progress(trained: Path, condition: str) -> None:
    assert "4 rows" in urfb("results", "runs", "--store", trained, "--where", condition).output


def test_results_refuse_an_unknown_column(trained: Path) -> None:
    result = urfb("results", "epochs", "--store", trained, "--where", "epoc=1")
    assert result.exit_code == 2
    assert "did you mean 'epoch'" in result.stderr


def test_help_answers_without_the_heavy_libraries() -> None:
    code = (
        "import sys; from urfb.cli import app; print(*{'torch', 'pandas', 'seaborn', 'sqlalchemy'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


def test_version_is_printed() -> None:
    assert urfb("--version").output.startswith("urfb 0.")


def start(path: Path, store: Path, *options: str) -> subprocess.Popen[str]:
    """Start a grid in a process of its own, and wait until both of its runs have stored some epochs."""
    arguments = ["grid", "run", str(path), "--store", str(store), "--jobs", "2", *options]
    running = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        time.sleep(0.2)
        if store.exists() and "running" in urfb("grid", "status", "--store", store).output:
            status = open_store(str(store)).runs()
            if (status["state"] == "running").all() and (status["epochs_done"] > 2).all():
                return running
    raise AssertionError("the runs stored too few epochs in two minutes")


@pytest.mark.parametrize("signal_sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupt_keeps_checkpoints_and_a_rerun_resumes(
    tmp_path: Path, store: Path, signal_sent: signal.Signals
) -> None:
    path = grid_file(tmp_path, epochs=100_000, seeds=1)
    running = start(path, store)
    os.killpg(running.pid, signal_sent)  # as a terminal or batch system does: the workers get the signal too
    output, _ = running.communicate(timeout=60)
    assert running.returncode == 130, output
    assert "stopping: every run saves a checkpoint" in output
    assert "interrupted; the same command continues\n" in output
    runs = open_store(str(store)).runs()
    assert runs["state"].tolist() == ["unfinished", "unfinished"]
    assert runs["reason"].tolist() == ["stopped on request, with a checkpoint"] * 2
    assert len(open_store(str(store)).epochs()) == runs["epochs_done"].sum()
    done = int(runs.set_index("rule").loc["bp", "epochs_done"])
    again = urfb("grid", "run", path, "--store", store, "--jobs", 0, "--epochs", 2, "--where", "rule=bp")
    assert again.exit_code == 0, again.output
    assert re.search(f"continues (after epoch {done}|in epoch {done + 1}, after)", again.output), again.output
    finished = open_store(str(store)).runs(rule="bp")
    assert finished["state"].tolist() == ["done"]
    assert finished["test_epoch"].tolist() == finished["epochs_done"].tolist()
    assert finished["epochs_done"].item() in (done, done + 1)  # an epoch that was begun is finished


def test_a_runner_under_nohup_outlives_its_terminal(tmp_path: Path, store: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does; child processes inherit it
    try:
        running = start(grid_file(tmp_path, epochs=100_000, seeds=1), store)
    finally:
        signal.signal(signal.SIGHUP, before)
    epochs = len(open_store(str(store)).epochs())
    os.killpg(running.pid, signal.SIGHUP)
    deadline = time.monotonic() + 60
    while len(open_store(str(store)).epochs()) < epochs + 10 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert running.poll() is None
    os.killpg(running.pid, signal.SIGTERM)
    output, _ = running.communicate(timeout=60)
    assert len(open_store(str(store)).epochs()) >= epochs + 10, output


def test_second_interrupt_stops_at_once_and_keeps_stored_epochs(tmp_path: Path, store: Path) -> None:
    # Each batch takes long enough to be interrupted.
    (tmp_path / "slow_model.py").write_text(LARGE_BATCHES.format(failure="import time; time.sleep(0.4)"))
    path = grid_file(tmp_path, epochs=100_000, seeds=1, network="slow_model:build", batch_size=1297)
    path.write_text(path.read_text().replace("network: tiny, ", ""))
    running = start(path, store)
    running.send_signal(signal.SIGINT)
    time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    output, _ = running.communicate(timeout=60)
    assert running.returncode == 130, output
    assert "interrupted; the same command continues from the last checkpoints" in output
    runs = open_store(str(store)).runs()
    assert runs["outcome"].tolist() == ["interrupted"] * 2
    assert len(open_store(str(store)).epochs()) == runs["epochs_done"].sum()
    # There is a checkpoint only if a batch ended between the two signals.
    shutil.rmtree(store.with_suffix(".checkpoints"), ignore_errors=True)
    assert "no checkpoint was found, so it starts over" in urfb("grid", "plan", path, "--store", store).output
    again = urfb("grid", "run", path, "--store", store, "--jobs", 0, "--epochs", 1, "--where", "rule=bp")
    assert again.exit_code == 0
    assert re.search(r"no checkpoint (was found|of epoch \d+); trains from epoch 1\n", again.output), again.output


def test_cancelled_runs_can_be_retried(tmp_path: Path, store: Path) -> None:
    path = grid_file(tmp_path)
    assert urfb("grid", "run", path, "--store", store, "--jobs", 0, "--limit", 1).exit_code == 0
    assert "which runs?" in urfb("grid", "cancel", "--store", store).stderr
    cancelled = urfb("grid", "cancel", "--store", store, "--where", "rule=urfb")
    assert cancelled.output.startswith("cancelled 2 runs\n")
    plan = urfb("grid", "plan", path, "--store", store)
    assert "4 runs: 1 new, 2 cancelled, 1 done\n" in plan.output
    assert "2 runs already done or cancelled" in urfb("grid", "cancel", "--store", store, "--where", "rule=urfb").output
    assert urfb("grid", "run", path, "--store", store, "--jobs", 0).exit_code == 0
    assert "4 runs: 2 cancelled, 2 done; nothing to do" in urfb("grid", "run", path, "--store", store).output
    assert urfb("grid", "retry", path, "--store", store, "--jobs", 0, "--failed").exit_code == 0
    assert sorted(open_store(str(store)).runs()["state"]) == ["cancelled", "cancelled", "done", "done"]
    assert urfb("grid", "retry", path, "--store", store, "--jobs", 0).exit_code == 0
    assert open_store(str(store)).runs()["state"].tolist() == ["done"] * 4
    assert "nothing to retry" in urfb("grid", "retry", path, "--store", store).output
    assert urfb("grid", "cancel", "--store", tmp_path / "typo.sqlite", "--where", "seed=0").exit_code == 2
    assert not (tmp_path / "typo.sqlite").exists()


def test_a_log_is_printed_without_control_characters(tmp_path: Path, store: Path) -> None:
    (tmp_path / "colourful.py").write_text(
        "from torch import nn\n\n\ndef build(shape, classes):\n    print('\\x1b[31mred')\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))\n"
    )
    path = grid_file(tmp_path, seeds=1)
    path.write_text(path.read_text().replace("network: tiny", "network: colourful:build"))
    assert urfb("grid", "run", path, "--store", store, "--jobs", 1).exit_code == 0
    run = open_store(str(store)).runs()["run"][0]
    log = urfb("grid", "logs", run[:6], "--store", store)
    assert log.exit_code == 0
    assert "\\x1b[31mred\n" in log.output
    assert "done after 2 epochs" in log.output
    assert urfb("grid", "logs", run, "--store", store, "--follow").output == log.output
    assert "there is no run 'zz'" in urfb("grid", "logs", "zz", "--store", store).stderr


def test_the_log_of_a_run_that_fails_at_its_start_says_why(tmp_path: Path, store: Path) -> None:
    begins = "import multiprocessing\n\n\ndef build(shape, classes):\n    if multiprocessing.parent_process() is None:"
    (tmp_path / "unbuilt.py").write_text(
        f"from torch import nn\n{begins}\n        raise ValueError('nothing can be built here')\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))\n"
    )
    path = grid_file(tmp_path, seeds=1)
    path.write_text(path.read_text().replace("network: tiny", "network: unbuilt:build"))
    assert urfb("grid", "run", path, "--store", store, "--jobs", 0).exit_code == 1
    log = urfb("grid", "logs", open_store(str(store)).runs()["run"][0], "--store", store)
    assert log.exit_code == 0
    assert "ValueError: nothing can be built here" in log.output


def test_watch_names_runs_by_the_settings_in_which_they_differ(tmp_path: Path) -> None:
    store = tmp_path / "s.sqlite"
    writable = open_for_writing(str(store))
    runs = [tiny_run(step_size=step) for step in (0.1, 0.2)]
    writable.register(runs)
    writable.claim(runs[1].spec)
    ending = threading.Timer(1.0, writable.release, ["it was only watched"])
    ending.start()
    first, *_, last = urfb("grid", "watch", "--store", store, "--every", 0.1).output.splitlines()
    ending.join()
    assert first == f"1 new, 1 running · {runs[1].spec.identity} step_size 0.2 0/2"
    assert last == "1 new, 1 unfinished"


def test_watch_ends_when_no_run_is_in_training(trained: Path) -> None:
    assert urfb("grid", "watch", "--store", trained).output == "4 done\n"


def test_clean_removes_the_checkpoints_of_runs_that_are_done(tmp_path: Path, store: Path) -> None:
    urfb("grid", "run", grid_file(tmp_path), "--store", store, "--jobs", 0)
    assert urfb("grid", "clean", "--store", store).output.startswith("removed the checkpoints of 4 runs (")
    plan = urfb("grid", "plan", tmp_path / "grid.yaml", "--store", store, "--epochs", 3)
    assert plan.output.count("trained 2 of 3 epochs; no checkpoint was found, so it starts over") == 4


def test_clean_removes_files_of_unknown_runs_only_with_orphans(trained: Path) -> None:
    orphan = trained.parent / "urfb.logs" / f"{'0' * 16}.log"
    orphan.touch()
    assert "and 1 log of runs that are not in the store: --orphans" in urfb("grid", "clean", "--store", trained).output
    assert orphan.exists()
    assert (
        "and 1 log of runs that are not in the store\n" in urfb("grid", "clean", "--store", trained, "--orphans").output
    )
    assert not orphan.exists()
    assert "not in the store" not in urfb("grid", "clean", "--store", trained).output
