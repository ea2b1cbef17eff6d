"""Find, parse and run the code of the documentation."""

from __future__ import annotations

import copy
import io
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import matplotlib
import matplotlib.pyplot as plt
from markdown_it import MarkdownIt
from ruamel.yaml import YAML
from typer.main import get_command

import urfb
from urfb.cli import app
from urfb.data.catalog import CATALOG
from urfb.errors import StoreError

ROOT = Path(__file__).parents[1]
SHELL = ("sh", "bash", "shell")
SESSION = ("console", "shell-session")  # commands after "$ ", and their output
COMMAND_SECONDS = 600


@dataclass(frozen=True)
class Block:
    """A block of code in a page.

    Attributes:
        page: the page's path from the root.
        line: the number of its first line in the page, from 1.
        language: the language that the page gives it; '' without one.
        text: the code.
        file: the name of the file that the page gives it, if any.
    """

    page: str
    line: int
    language: str
    text: str
    file: str | None

    @property
    def place(self) -> str:
        """The page and line, in the form that editors open."""
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Statement:
    """A shell command in a page, which may be a pipeline or a loop, but has no && between its parts."""

    page: str
    line: int
    text: str

    @property
    def place(self) -> str:
        """The page and line, in the form that editors open."""
        return f"{self.page}:{self.line}"

    def __str__(self) -> str:
        return f"{self.place}: `{self.text}`"


@dataclass(frozen=True)
class Mention:
    """A text in `code` within a sentence or a table."""

    page: str
    line: int
    text: str


def pages() -> list[str]:
    """Return the pages of documentation, as paths from the root."""
    files = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [file.relative_to(ROOT).as_posix() for file in files if file.exists()]


def written(page: str) -> str:
    """Return a page's text with empty lines for all that is generated."""
    text = (ROOT / page).read_text(encoding="utf-8")
    generated = r"^<!-- \[\[\[cog$.*?^<!-- \[\[\[end\]\]\] -->$"
    return re.sub(generated, lambda match: "\n" * match[0].count("\n"), text, flags=re.MULTILINE | re.DOTALL)


@cache
def blocks(page: str) -> tuple[Block, ...]:
    """Return every block of code in a page, from top to bottom."""
    return tuple(_blocks(page, written(page), 0))


def _blocks(page: str, markdown: str, above: int) -> Iterator[Block]:
    previous = ""
    for token in _markdown().parse(markdown):
        if token.type == "inline":
            previous = token.content
        elif token.type == "code_block" and token.map and "```" in token.content:
            # MkDocs' tabs and admonitions are indented, so CommonMark reads them as code.
            yield from _blocks(page, token.content, above + token.map[0])
        elif token.type in ("fence", "code_block") and token.map:
            first = above + token.map[0] + (2 if token.type == "fence" else 1)
            language = re.match(r"\{?\s*\.?([\w+-]*)", token.info)
            assert language is not None
            yield Block(
                page, first, language[1].lower(), token.content, _file_name(token.info, token.content, previous)
            )
            previous = ""


def _file_name(info: str, text: str, paragraph: str) -> str | None:
    """Return a block's file name, from its title, its first line or the end of the paragraph above it."""
    name = r"([\w./-]+\.(?:py|ya?ml|sh))"
    match = (
        re.search(rf'title="{name}"', info)
        or re.match(rf"# {name}(?:\n|:|$)", text)
        or re.search(rf"`{name}`[^`.]*:$", paragraph.strip())
    )
    return match[1] if match else None


def mentions(page: str) -> list[Mention]:
    """Return every text in `code` within the sentences and tables of a page."""
    return [
        Mention(page, token.map[0] + 1, child.content)
        for token in _markdown().parse(written(page))
        for child in token.children or ()
        if child.type == "code_inline" and token.map
    ]


def _markdown() -> MarkdownIt:
    return MarkdownIt("commonmark").enable("table")


def is_shell(block: Block) -> bool:
    """Return whether a block has shell commands."""
    # Indented blocks have no language; docs/claims.md has commands in them.
    return block.language in SHELL + SESSION or (not block.language and block.text.startswith("urfb "))


def is_script(block: Block) -> bool:
    """Return whether a block is a whole script."""
    return is_shell(block) and block.text.startswith("#!")


@cache
def statements(block: Block) -> list[Statement]:
    """Return the commands of a shell block, each complete to Bash, split at every && outside of other constructs."""
    lines = block.text.splitlines()
    if block.language in SESSION:
        lines = [line[2:] if line.startswith("$ ") else "" for line in lines]
    commands, start = [], 0
    for end in range(1, len(lines) + 1):
        text = "\n".join(lines[start:end])
        if end < len(lines) and (text.endswith("\\") or syntax_error(text)):
            continue
        if not re.fullmatch(r"(\s*(#.*)?\n?)*", text):
            commands += [Statement(block.page, block.line + start, part) for part in _parts(text)]
        start = end
    return commands


def _parts(text: str) -> list[str]:
    without_comments = re.sub(r"\s+#\s.*$", "", text, flags=re.MULTILINE)
    if not syntax_error(without_comments):  # an error means that the # is within quotes
        text = without_comments
    parts = re.split(r"\s+&&\s+", text)
    return [part.strip() for part in parts] if not any(map(syntax_error, parts)) else [text]


@cache
def syntax_error(text: str) -> str:
    """Return Bash's message about a syntax error in `text`; '' if there is none."""
    return subprocess.run(["bash", "-n", "-c", text], capture_output=True, text=True, check=False).stderr


def simple_commands(text: str) -> list[list[str]]:
    """Return the words of each simple command in shell code, without assignments and redirections."""
    text = re.sub(r"(^|\s)#.*$", "", text.replace("\\\n", " "), flags=re.MULTILINE)
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";<>|&()\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    commands: list[list[str]] = [[]]
    redirected = False
    for word in lexer:
        if redirected:
            redirected = False
        elif not set(word) <= set(";<>|&()\n"):
            commands[-1].append(word)
        elif "<" in word or ">" in word:
            redirected = True
            if commands[-1] and commands[-1][-1].isdigit():  # 2>
                del commands[-1][-1]
        else:
            commands.append([])
    before = r"[A-Za-z_]\w*=.*|if|then|else|elif|while|until|do|!|exec|time"
    for words in commands:
        while words and re.fullmatch(before, words[0]):
            del words[0]
    return [words for words in commands if words]


def mistakes(text: str) -> list[str]:
    """Return the errors of urfb's and Ray's own parsers for the commands in shell code; nothing is run."""
    messages = []
    for words in simple_commands(text):
        program = Path(words[0]).name
        if program.startswith("python") and words[1:3] == ["-m", "urfb"]:
            program, words = "urfb", words[2:]
        if program in ("urfb", "ray") and (mistake := mistake_of(program, words[1:])):
            messages.append(mistake)
    return messages


def unknown_experiments(text: str) -> list[str]:
    """Return the experiments that commands name after experiments.yaml, but that it does not have."""
    known = YAML(typ="safe", pure=True).load(ROOT / "experiments.yaml")["experiments"]
    named = re.findall(r"experiments\.yaml((?: [a-z][\w-]*(?!\S))*)", text)
    return [name for names in named for name in names.split() if name not in known]


def mistake_of(program: str, arguments: Sequence[str]) -> str:
    """Return the error of urfb's or Ray's parser for some arguments; '' if it accepts them. Nothing is run."""
    command_line = parser(program)
    output = io.StringIO()
    if command_line is not None:
        with redirect_stdout(output), redirect_stderr(output):
            try:
                command_line.main(list(arguments), prog_name=program)
            except SystemExit as ended:
                if ended.code:
                    return output.getvalue()
    return ""


@cache
def parser(program: str) -> Any:
    """Return the command line of urfb or Ray, which parses but does nothing; None if Ray is not installed."""
    if program == "urfb":
        return _idle(get_command(app))
    if find_spec("ray") is None:
        return None
    from ray.scripts.scripts import cli

    return _idle(cli)


def _idle(command: Any) -> Any:
    idle = copy.copy(command)
    idle.callback = None
    if hasattr(command, "commands"):
        idle.commands = {name: _idle(child) for name, child in command.commands.items()}
    return idle


def leaves(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield each command below a group, with the words that call it."""
    for name, child in getattr(command, "commands", {}).items():
        yield from leaves(child, (*words, name))
    if not hasattr(command, "commands"):
        yield words, command


def options() -> set[str]:
    """Return every option of any urfb command, such as --store."""
    root = parser("urfb")
    commands = [root, *root.commands.values(), *(command for _, command in leaves(root))]
    parameters = [parameter for command in commands for parameter in command.params]
    return {"--help", *(name for parameter in parameters for name in (*parameter.opts, *parameter.secondary_opts))}


def examples(help_text: str) -> list[str]:
    """Return the example commands of a help text."""
    _, heading, below = help_text.partition("Example")
    return re.findall(r"((?:\w+=\S+ )*urfb .*)", below) if heading else []


def grid_text(block: Block) -> str:
    """Return a YAML block as a whole grid file, in which lines have the same numbers as in the page."""
    content = YAML(typ="safe", pure=True).load(block.text)
    keys, text = set(content) if isinstance(content, dict) else set(), block.text
    if keys and keys <= {"defaults", "networks", "reports"}:
        network = next(iter(content.get("networks", {})), "simpnet")
        settings = {"network": network, "dataset": "digits", "rule": "bp"} | content.get("defaults", {})
        text += f"\nexperiments: {{completed: {{matrix: {settings}}}}}\n"
    elif keys and keys <= {"description", "defaults", "matrix"}:
        text = "experiments: {completed: {" + ", ".join(f"{key}: {content[key]!r}" for key in keys) + "}}\n"
    return "\n" * (block.line - 1) + text


def shrunk(grid: str) -> str:
    """Return a grid file with the same experiments, but small ones: on digits, for two epochs, with two seeds.

    The paper's networks stay the same. They fit the digits' 8×8 pixels, on which they are fast.
    """

    def small(value: Any, key: str, *, in_step: bool) -> Any:
        match value:
            case dict():
                return {name: small(item, name, in_step=in_step or key == "zip") for name, item in value.items()}
            case list() if in_step:  # must stay as long as the other lists of the zip
                return [small(item, key, in_step=True) for item in value]
            case list():
                items = [small(item, key, in_step=False) for item in value]
                items = [item for place, item in enumerate(items) if item not in items[:place]]
                return items[:2] if key == "seed" else items
        match key:
            case "dataset" if value in CATALOG:  # a custom data set stays
                return "digits"
            case "epochs":
                return 2
            case "pretraining_epochs":
                return min(value, 1)
            case "batch_size" | "gradient_batch":
                return min(value, 100)
        return value

    stream = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.dump(small(yaml.load(grid), "", in_step=False), stream)
    return stream.getvalue()


@dataclass
class Project:
    """A folder as a reader has it after cloning: urfb, the grid file, the published results, and a home folder.

    Attributes:
        folder: the path of the folder.
        environment: the shell's environment, which the commands of a page may change.
        names: the global names of the page's Python code.
    """

    folder: Path
    environment: dict[str, str]
    names: dict[str, Any] = field(default_factory=lambda: {"__name__": "__main__"})

    @classmethod
    def made(cls, folder: Path, *, template: Path | None = None) -> Project:
        """Create a project in `folder`, with the results of `template` if it is given."""
        programs = folder / ".venv" / "bin"
        programs.mkdir(parents=True)
        (programs / "activate").touch()
        urfb = programs / "urfb"
        start = [sys.executable, "-c", "from urfb.cli import app; app()"]
        urfb.write_text(f'#!/bin/sh\nexec {shlex.join(start)} "$@"\n')
        urfb.chmod(0o755)
        (folder / "experiments.yaml").write_text(shrunk((ROOT / "experiments.yaml").read_text(encoding="utf-8")))
        if template is None:
            shutil.copytree(ROOT / "results" / "reference", folder / "results" / "reference")
        else:
            shutil.copytree(template / "results", folder / "results")
        (folder / "home").mkdir()
        kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "TMPDIR") if name in os.environ}
        environment = {
            **kept,
            "PATH": os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": str(ROOT),
            "HOME": str(folder / "home"),
            "PWD": str(folder),
            "MPLCONFIGDIR": matplotlib.get_cachedir(),  # without this cache, finding all fonts takes half a minute
            "MPLBACKEND": "agg",
            "OMP_NUM_THREADS": "1",  # on a busy machine, BLAS threads would mostly wait for each other
        }
        return cls(folder, environment)

    def shell(self, text: str) -> tuple[int, str]:
        """Run a command in the folder and environment that the last one left; return its exit code and output."""
        state = self.folder / "home" / "state"
        with self._started(f'{text}\ncode=$?\nenv -0 >"{state}"\nexit $code') as process:
            output, _ = process.communicate(timeout=COMMAND_SECONDS)
        if state.exists():  # not after `exit`
            variables = [entry.partition("=") for entry in state.read_text().split("\0") if entry]
            self.environment = {name: value for name, _, value in variables}
        return process.returncode, output

    def interrupted(self, text: str) -> tuple[int, str]:
        """Run a command while an endless run, $RUN, is trained; send Ctrl-C after the command's first line of output.

        Returns:
            The command's exit code, or 1 if it printed nothing, and its output.
        """
        store = re.search(r"--store (\S+)", text)
        location = store[1] if store else "results/urfb.sqlite"
        grid = self.folder / "home" / "endless.yaml"
        settings = "network: Full 10; Output, dataset: digits, rule: bp, epochs: 1000000"
        grid.write_text(f"experiments: {{endless: {{matrix: {{{settings}}}}}}}\n")
        with self._started(f"urfb grid run {grid} --jobs 0 --store {location}") as training:
            with patch.dict(os.environ, self.environment, clear=True), self._there():
                self.environment["RUN"] = _run_in_training(location, training)
            with self._started(text) as process:
                assert process.stdout is not None
                readable, *_ = select.select([process.stdout], [], [], COMMAND_SECONDS)
                first = process.stdout.readline() if readable else ""
                os.killpg(process.pid, signal.SIGINT)
                rest, _ = process.communicate(timeout=COMMAND_SECONDS)
            os.killpg(training.pid, signal.SIGINT)
            training.communicate(timeout=COMMAND_SECONDS)
        return process.returncode if first else 1, first + rest

    @contextmanager
    def _started(self, text: str) -> Iterator[subprocess.Popen[str]]:
        """Start a shell in a new process group, and end all processes of the group afterwards."""
        process = subprocess.Popen(
            ["bash", "-c", text],
            cwd=self.environment["PWD"],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

    @contextmanager
    def _there(self) -> Iterator[None]:
        """Change to the shell's folder within the context; contextlib.chdir is new in Python 3.11."""
        before = Path.cwd()
        os.chdir(self.environment["PWD"])
        try:
            yield
        finally:
            os.chdir(before)

    def python(self, block: Block, text: str) -> str:
        """Run Python code with the names of the page's earlier code; return the traceback if it fails, or ''."""
        with patch.dict(os.environ, self.environment, clear=True), self._there():
            try:
                # With these empty lines, a traceback shows the line in the page.
                exec(compile("\n" * (block.line - 1) + text, block.page, "exec"), self.names)
            except (Exception, SystemExit):
                return traceback.format_exc()
            finally:
                plt.close("all")
        return ""

    def write(self, block: Block) -> None:
        """Write a block's file; a grid file is shrunk."""
        assert block.file is not None
        file = Path(self.environment["PWD"]) / block.file
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(shrunk(block.text) if file.suffix in (".yaml", ".yml") else block.text, encoding="utf-8")


def _run_in_training(store: str, training: subprocess.Popen[str]) -> str:
    """Wait until a run in training has stored an epoch, and return the run."""
    end = time.monotonic() + COMMAND_SECONDS
    while time.monotonic() < end and training.poll() is None:
        with suppress(StoreError):
            runs = urfb.open_store(store).runs(state="running")
            if (runs["epochs_done"] > 0).any():
                return str(runs["run"].iloc[0])
        time.sleep(0.2)
    raise AssertionError(f"no run is trained: {training.communicate()[0] if training.poll() is not None else ''}")
