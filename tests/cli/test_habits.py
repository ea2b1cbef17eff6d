"""Help, versions, suggestions after typos, completion, and output on terminals and in files."""

from __future__ import annotations

import fcntl
import inspect
import os
import pty
import re
import shlex
import shutil
import sqlite3
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from tests.helpers import grid_file
from urfb import __version__, open_store
from urfb.cli import app, completion
from urfb.report.claims import CLAIMS
from urfb.report.figures import FIGURES
from urfb.report.tables import TABLES

COMMAND = [sys.executable, "-m", "urfb"]
ESCAPE = "\x1b"


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Return the path of each command that is not a group: ('grid', 'run'), …"""
    for name, command in (group or get_command(app)).commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


def run(*arguments: object, folder: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=folder, capture_output=True, text=True, env={**os.environ, **environment}, check=False,
    )  # fmt: skip


def on_terminal(*arguments: object, width: int = 80, folder: Path, **environment: str) -> str:
    """Run a command on a new terminal and return what it printed there."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        cwd=folder, stdin=terminal, stdout=terminal, stderr=terminal,
        env={**plain, "TERM": "xterm-256color", **environment},
    )  # fmt: skip
    os.close(terminal)
    written = b""
    while True:
        try:
            read = os.read(controller, 65536)
        except OSError:  # Linux raises it when the last process on the terminal has ended
            break
        if not read:
            break
        written += read
    os.close(controller)
    process.wait()
    return written.decode().replace("\r\n", "\n")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a grid file and the trained runs in the default store."""
    folder = tmp_path_factory.mktemp("habits")
    grid = grid_file(folder)
    result = CliRunner().invoke(
        app, ["grid", "run", str(grid), "--store", str(folder / "results" / "urfb.sqlite"), "--jobs", "0"]
    )
    assert result.exit_code == 0, result.output
    return folder


@pytest.mark.parametrize("path", list(commands()), ids=" ".join)
def test_help_has_a_command_example_and_explains_each_option(path: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [*path, "--help"]).output
    (example,) = re.findall(r"^  Example: (urfb .*)$", shown, re.MULTILINE)
    assert example.split()[1 : 1 + len(path)] == list(path)
    assert not re.search(r"^ {4,}\S", shown.partition("Example:")[2].partition("\n\n")[0], re.MULTILINE)
    assert not re.search(r"^  --[\w-]+( \S+)?$(?!\n {10,}\S)", shown, re.MULTILINE), "an option without help"


@pytest.mark.parametrize("group", ["", *sorted({path[0] for path in commands() if len(path) > 1})])
def test_lists_of_commands_are_not_cut(group: str) -> None:
    shown = CliRunner().invoke(app, [*group.split(), "--help"]).output
    assert "Commands:" in shown
    assert "..." not in shown.partition("Commands:")[2]


def test_option_names_are_not_cut_on_a_narrow_terminal(tmp_path: Path) -> None:
    shown = on_terminal("grid", "run", "--help", width=60, folder=tmp_path)
    assert "--keep-checkpoints / --discard-checkpoints" in shown
    assert max(map(len, shown.splitlines())) <= 60


def test_version_names_urfb_python_and_torch() -> None:
    shown = run("--version").stdout
    python = ".".join(map(str, sys.version_info[:3]))
    assert shown == f"urfb {__version__}, Python {python}, torch {metadata.version('torch')}\n"


@pytest.mark.parametrize(
    ("typed", "suggested"),
    [
        (["grdi"], "grid"),
        (["grid", "rnu"], "run"),
        (["grid", "run", "grid.yaml", "--epoch", "3"], "--epochs"),
        (["report", "claims", "dept"], "depth"),
        (["report", "figures", "alignment-and-eror"], "alignment-and-error"),
        (["grid", "plan", "grid.yaml", "tinny"], "tiny"),
        (["results", "runs", "--format", "tabel"], "table"),
        (["grid", "plan", "grid.yaml", "--where", "sed=1"], "seed"),
        (["data", "verify", "cifar-10"], "cifar10"),
        (["network", "show", "simpnet", "--rule", "urbf"], "urfb"),
    ],
)
def test_a_typo_gets_the_nearest_name(
    trained: Path, monkeypatch: pytest.MonkeyPatch, typed: list[str], suggested: str
) -> None:
    monkeypatch.chdir(trained)
    answered = CliRunner().invoke(app, typed)
    assert answered.exit_code == 2
    assert suggested in answered.stderr
    assert ESCAPE not in answered.stderr


def float_options() -> Iterator[tuple[str, ...]]:
    """Return the path of each command, with each of its float options."""
    for path in commands():
        command: Any = get_command(app)
        for name in path:
            command = command.commands[name]
        for name, kind in get_type_hints(inspect.unwrap(command.callback)).items():
            if float in (kind, *get_args(kind)):
                yield (*path, f"--{name.replace('_', '-')}")


@pytest.mark.parametrize("typed", list(float_options()), ids=" ".join)
def test_a_number_that_is_not_finite_is_bad_input(typed: tuple[str, ...]) -> None:
    for number in ("inf", "-inf", "nan"):
        answered = CliRunner().invoke(app, [*typed, number])
        assert answered.exit_code == 2
        assert f"Invalid value for '{typed[-1]}': " in answered.stderr


def completed(line: str) -> list[str]:
    """Return the completions of a line by the protocol of fish, without their descriptions."""
    typed = {"_URFB_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "get-args", "_TYPER_COMPLETE_ARGS": line}
    answered = CliRunner().invoke(app, env=typed, prog_name="urfb")
    assert answered.exit_code == 0
    assert answered.stderr == ""
    return [candidate.partition("\t")[0] for candidate in answered.stdout.splitlines() if candidate]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("urfb gri", ["grid"]),
        ("urfb grid pl", ["plan"]),
        ("urfb grid plan grid.yaml ", ["tiny"]),
        ("urfb grid plan grid.yaml ti", ["tiny"]),
        ("urfb grid plan grid.yaml tiny ", []),
        ("urfb grid plan grid.yaml --jobs many ti", ["tiny"]),
        ("urfb grid plan broken.yaml ", []),
        ("urfb grid plan missing.yaml ", []),
        ("urfb grid plan 'grid.yaml ", []),
        ("urfb grid plan grid.yaml --where ru", ["rule="]),
        ("urfb grid plan grid.yaml --where rule=ur", ["rule=urfb"]),
        ("urfb grid plan grid.yaml --where nothing=", []),
        ("urfb network show deeper", ["deepernet"]),
        ("urfb network show simpnet --rule zip", ["zipser-rumelhart"]),
        ("urfb data fetch cifar100 ci", ["cifar10", "cifar100"]),
        ("urfb report figures align", ["alignment-and-error"]),
        ("urfb report tables pub", ["published"]),
        ("urfb report claims loc", ["local-loss"]),
        ("urfb report figures --experiment ", ["tiny"]),
        ("urfb report figures --store results/no.sqlite --experiment ", []),
        ("urfb results runs --format j", ["json"]),
        ("urfb --version grid pl", ["plan"]),
        ("urfb grid logs --store results/no.sqlite ", []),
        ("urfb grid logs --store grid.yaml ", []),
        ("urfb grid logs --store postgresql://somebody@nowhere.invalid/urfb ", []),
    ],
)
def test_tab_completes_names_and_nothing_after_an_error(
    trained: Path, monkeypatch: pytest.MonkeyPatch, line: str, expected: list[str]
) -> None:
    monkeypatch.chdir(trained)
    (trained / "broken.yaml").write_text("experiments: [unclosed\n")
    assert completed(line) == expected


def test_tab_completes_identities_of_the_store_on_the_command_line(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = trained / "results" / "urfb.sqlite"
    whole = sorted(open_store(str(store)).progress())
    monkeypatch.chdir(trained)
    assert sorted(completed("urfb grid logs ")) == whole
    assert completed(f"urfb grid logs {whole[0][:15]}") == [whole[0]]
    monkeypatch.chdir(tmp_path)
    assert completed("urfb grid logs ") == []
    assert sorted(completed(f"urfb grid cancel --store {store} ")) == whole


def test_tab_completes_nothing_that_a_shell_could_evaluate(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        closing(sqlite3.connect(trained / "results" / "urfb.sqlite")) as source,
        closing(sqlite3.connect("others.sqlite")) as connection,
    ):
        source.backup(connection)  # a copy of the file alone would lack the rows in its log
        honest = [identity for (identity,) in connection.execute("SELECT identity FROM run")]
        changed = connection.execute(r"UPDATE run SET identity = 'a\$(touch owned)' WHERE identity = ?", honest[:1])
        connection.execute("UPDATE experiment SET name = 'a$(touch owned)'")
        connection.commit()
    assert changed.rowcount == 1
    Path("others.yaml").write_text('experiments: {"a$(touch owned)": {}, "-e": {}, 7: {}, fine: {}}\n')
    assert sorted(completed("urfb grid logs --store others.sqlite ")) == sorted(honest[1:])
    assert completed("urfb report figures --store others.sqlite --experiment ") == []
    assert completed("urfb grid plan others.yaml ") == ["fine"]


def test_bash_completes_with_the_script_that_urfb_gives_it(trained: Path, tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")
    program = tmp_path / "urfb"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(COMMAND)} "$@"\n')
    program.chmod(0o755)
    script = (
        "source <(_URFB_COMPLETE=source_bash urfb)\n"
        "COMP_WORDS=(urfb grid plan grid.yaml t) COMP_CWORD=4\n"
        '_urfb_completion urfb; printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    shown = subprocess.run(
        [bash, "-c", script], cwd=trained, capture_output=True, text=True, check=True, env={**os.environ, "PATH": path}
    )
    assert (shown.stdout.split(), shown.stderr) == (["tiny"], "")


def test_completed_words_are_the_names_of_exhibits_and_claims() -> None:
    assert list(completion.FIGURES) == [exhibit.name for exhibit in FIGURES]
    assert list(completion.TABLES) == [exhibit.name for exhibit in TABLES]
    assert list(completion.CLAIMS) == list(CLAIMS)


def test_completion_and_help_import_nothing_heavy(trained: Path) -> None:
    code = (
        "import atexit, sys\n"
        "heavy = {'torch', 'pandas', 'matplotlib', 'sqlalchemy', 'pydantic_settings', 'scipy', 'sklearn'}\n"
        "atexit.register(lambda: print(sorted(heavy & set(sys.modules)), file=sys.stderr))\n"
        "from urfb.cli import app; app(prog_name='urfb')"
    )
    for line in ("urfb grid plan grid.yaml ", "urfb grid logs ", "urfb report figures ", "urfb network show "):
        answered = subprocess.run(
            [sys.executable, "-c", code], cwd=trained, capture_output=True, text=True, check=True,
            env={**os.environ, "_URFB_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": line},
        )  # fmt: skip
        assert answered.stdout.strip() not in ("", "_files")
        assert answered.stderr == "[]\n", line


SHOWING = [
    ["grid", "run", "grid.yaml", "--epochs", "3", "--where", "seed=0", "--where", "rule=bp", "--jobs", "1"],
    ["grid", "run", "grid.yaml"],
    ["grid", "plan", "grid.yaml"],
    ["grid", "status"],
    ["grid", "watch"],
    ["results", "runs"],
    ["report", "figures", "4", "--experiment", "tiny"],
    ["report", "claims"],
    ["doctor"],
    ["network", "show", "simpnet"],
    ["theory", "run", "--draws", "1", "--epsilon", "1", "--layers", "4,3,2", "--method", "discrete"],
    ["--help"],
    ["grid", "rnu"],
    ["grid", "plan", "nothing.yaml"],
]


@pytest.mark.slow
@pytest.mark.parametrize("arguments", SHOWING, ids=" ".join)
def test_a_terminal_without_colours_gets_plain_text(trained: Path, tmp_path: Path, arguments: list[str]) -> None:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    written = on_terminal(*arguments, folder=tmp_path, NO_COLOR="1")
    assert written.strip()
    assert ESCAPE not in written


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [SHOWING[0], ["grid", "watch"]], ids=" ".join)
def test_a_dumb_terminal_gets_plain_text(trained: Path, tmp_path: Path, arguments: list[str]) -> None:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    written = on_terminal(*arguments, folder=tmp_path, TERM="dumb")
    assert written.strip()
    assert ESCAPE not in written


@pytest.mark.slow
@pytest.mark.parametrize("arguments", SHOWING, ids=" ".join)
def test_a_file_or_pipe_gets_plain_text(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    written = CliRunner().invoke(app, arguments, env={"TERM": "xterm-256color"}).output
    assert written.strip()
    assert ESCAPE not in written


@pytest.mark.slow
def test_terminal_gets_bars_and_time_left_and_file_gets_run_lines(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    drawn = on_terminal(*SHOWING[0], "--epochs", "12", folder=tmp_path, width=60)
    assert re.search(r"━.* 0/1 memory checks", drawn)
    assert re.search(r"━.* 0/1 runs", drawn)
    assert re.search(r"0/1 runs, \d+:\d\d:\d\d left", drawn)
    assert re.search(r"1/1 runs, in \d+:\d\d:\d\d", drawn)
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    first, *lines = run(*SHOWING[0], "--epochs", "13", folder=tmp_path).stdout.splitlines()
    assert re.match(r"[-0-9]{10} [:0-9]{8} 1 run: 1 ", first)
    assert re.match(r"[-0-9]{10} [:0-9]{8} \[1/1\] tiny digits bp: done after 13 epochs", lines[-1])


@pytest.mark.parametrize("width", [40, 80])
def test_a_table_is_not_cut_on_a_narrow_terminal(trained: Path, width: int) -> None:
    wide = CliRunner().invoke(app, ["grid", "plan", str(trained / "grid.yaml"), "--store", "no.sqlite"]).stdout
    shown = on_terminal("grid", "plan", "grid.yaml", "--store", "no.sqlite", folder=trained, width=width, NO_COLOR="1")
    heads, *rows = [line.split() for line in wide.splitlines()[1:6]]
    assert set(re.findall(r"^[0-9a-f]{16}\b", shown, re.MULTILINE)) == {row[0] for row in rows}
    assert {*heads, *(word for row in rows for word in row)} <= set(shown.replace(",", "").split())
    assert max(map(len, shown.partition(" runs: ")[0].splitlines())) <= width


def test_a_narrow_table_prints_common_values_once(trained: Path) -> None:
    narrow = on_terminal("grid", "plan", "grid.yaml", folder=trained, width=40, NO_COLOR="1")
    (common,) = re.findall(r"^all rows: ((?:.*\n)+?)run ", narrow, re.MULTILINE)
    assert "epochs 2/2, experiments tiny" in " ".join(common.split())
    assert "all rows" not in on_terminal("grid", "plan", "grid.yaml", folder=trained, width=200, NO_COLOR="1")


@pytest.mark.parametrize(("view", "keys"), [("epochs", "rule seed epoch"), ("alignment", "rule seed step layer")])
def test_each_part_of_a_narrow_table_has_the_columns_that_identify_a_row(trained: Path, view: str, keys: str) -> None:
    narrow = on_terminal("results", view, "--where", "rule=urfb,bp", folder=trained, width=80, NO_COLOR="1")
    heads = [line.split() for line in narrow.splitlines() if line.startswith("run ")]
    assert len(heads) > 1
    for head in heads:
        assert [name for name in head if name in ("run", *keys.split())] == ["run", *keys.split()]
    assert re.search(r"^\d+ rows, \d+ of \d+ columns \(all columns: --format csv\)$", narrow, re.MULTILINE)


def test_a_table_has_the_gradients_only_of_runs_that_measure_them(tmp_path: Path, trained: Path) -> None:
    grid, store = grid_file(tmp_path, epochs=1, seeds=1, gradient_batch=20), tmp_path / "gradients.sqlite"
    assert CliRunner().invoke(app, ["grid", "run", str(grid), "--store", str(store), "--jobs", "0"]).exit_code == 0
    shown = {}
    for path in (store, trained / "results" / "urfb.sqlite"):
        shown[path.stem] = CliRunner().invoke(app, ["results", "alignment", "--store", str(path)]).stdout
    assert "gradient_cosine" in shown["gradients"]
    assert "gradient_cosine" not in shown["urfb"]
