import signal

import pytest
from torchvision.datasets import CIFAR10
from typer.testing import CliRunner

from urfb.cli import app
from urfb.data.catalog import CATALOG


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments):
        return CliRunner().invoke(app, ["data", *map(str, arguments)])

    return run


def test_list_shows_the_state_of_each_data_set(run, tmp_path):
    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()
    (folder / "data_batch_1").write_bytes(b"not this")
    result = run("list", "--data-dir", tmp_path)
    assert result.exit_code == 0
    assert str(tmp_path) in result.stdout
    lines = [line.split() for line in result.stdout.splitlines()]
    states = {words[0]: words[1] for words in lines if words[0] in CATALOG}
    assert states == {"cifar10": "damaged", "cifar100": "missing", "mnist": "missing", "digits": "ready"}
    assert next(words for words in lines if words[0] == "mnist")[2:7] == ["55,000", "5,000", "10,000", "10", "1×28×28"]


def test_every_command_reports_a_file_in_place_of_the_folder(run, tmp_path, monkeypatch):
    (tmp_path / "data").write_text("a file")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("URFB_DATA_DIR", "data")
    listed = run("list")
    assert listed.exit_code == 0
    assert [line.split()[:2] for line in listed.stdout.splitlines() if line.startswith("mnist")] == [
        ["mnist", "unreadable"]
    ]
    for command in ("verify", "fetch"):
        result = run(command, "mnist")
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith("urfb: mnist: all files are unreadable (Not a directory) in data/MNIST/raw (")


def test_the_environment_sets_the_folder(run, tmp_path, monkeypatch):
    monkeypatch.setenv("URFB_DATA_DIR", str(tmp_path))
    assert str(tmp_path) in run("list").stdout


def test_verify_reports_every_bad_set_and_every_good_one(run, tmp_path):
    result = run("verify", "--data-dir", tmp_path)
    assert result.exit_code == 2
    assert result.stdout == "digits: ready\n"
    for name in ("cifar10", "cifar100", "mnist"):
        assert f"urfb data fetch {name} --data-dir {tmp_path}" in result.stderr


def test_verify_checks_only_the_named_data_sets(run, tmp_path):
    result = run("verify", "digits", "--data-dir", tmp_path)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "digits: ready\n", "")


def test_a_misspelt_name_stops_fetch_before_anything_is_done(run, tmp_path):
    result = run("fetch", "digits", "cifar1000", "--data-dir", tmp_path)
    assert result.exit_code == 2
    assert "did you mean 'cifar100'?" in result.stderr
    assert result.stdout == ""


def test_fetch_continues_after_a_failed_download(run, tmp_path, monkeypatch):
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/" + CIFAR10.filename)
    result = run("fetch", "cifar10", "digits", "--data-dir", tmp_path)
    assert result.exit_code == 2
    assert "could not be fetched" in result.stderr
    assert result.stdout == "digits: ready\n"


@pytest.fixture
def ctrl_c():
    """Restore Python's handler of Ctrl-C, which background jobs of a shell ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_while_fetching_exits_with_130_and_leaves_nothing(run, small_cifar10, server, tmp_path, monkeypatch):
    small_cifar10.write_bytes(bytes(2**25))
    monkeypatch.setattr(CIFAR10, "url", f"{server[1]}ctrl-c/{CIFAR10.filename}")
    result = run("fetch", "cifar10", "--data-dir", tmp_path / "data")
    assert result.exit_code == 130
    assert [path for path in (tmp_path / "data").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("command", ["list", "fetch", "verify"])
def test_every_help_has_an_example_and_names_the_folder(run, command):
    text = run(command, "--help").stdout
    assert f"Example: urfb data {command}" in text
    assert "URFB_DATA_DIR" in text
