"""Every command, program and grid of README and docs works. The default tests parse them; the slow tests run them.

EXCUSES lists the code that is not run, SUBSTITUTIONS the code that is changed before it is run, EXIT_CODES the commands
that may end with an exit code other than 0, and ENDLESS the commands that run until they are interrupted. A test fails
for a row of these tables that has no effect, so none outlives its reason.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import pytest

import urfb
from tests.documented import (
    SESSION,
    SHELL,
    Block,
    Project,
    Statement,
    blocks,
    examples,
    grid_text,
    is_script,
    is_shell,
    leaves,
    mentions,
    mistake_of,
    mistakes,
    options,
    pages,
    parser,
    shrunk,
    statements,
    syntax_error,
    unknown_experiments,
)
from tests.postgres import Server
from urfb.errors import GridError
from urfb.grid.expand import load_grid

ROOT = Path(__file__).parents[1]
PAGES = pages()
YAML = ("yaml", "yml")
OUTPUT = ("", "text", "latex", "bibtex")  # blocks that nobody types into a shell


class Excuse(NamedTuple):
    """A command or block that is not run: the pages, a pattern that its start matches, and the reason."""

    pages: str
    pattern: str
    reason: str


class Substitution(NamedTuple):
    """A replacement for a text that only fits the reader's machine, or that would take too long."""

    pattern: str
    text: str
    reason: str


class ExitCodes(NamedTuple):
    """The exit codes that a command may end with."""

    pattern: str
    codes: tuple[int, ...]
    reason: str


EXCUSES = [
    Excuse("*", r"python3 -m venv ", "makes an environment, as CI does"),
    Excuse("*", r"\S*pip install ", "installs from a package index, as CI does; test_wheel.py tests the wheel"),
    Excuse("*", r"uv ", "makes environments of other versions of Python from a package index"),
    Excuse("*", r"\S*mkdocs build", "CI builds the site, with no warning allowed"),
    Excuse("*", r"\S*pytest\b", "would run this test again; CI runs it"),
    Excuse("*", r"ray (start|stop)\b", "acts on the whole machine; tests/engines/test_ray.py joins clusters"),
]

SUBSTITUTIONS = [
    Substitution("/tmp/report", "{folder}/report", "a folder of this test"),
    Substitution("/shared/project", "{folder}", "the folder that all machines share"),
    Substitution("/shared/data", "{folder}/home/.cache/urfb/data", "the data sets that all machines share"),
    Substitution(r"urfb grid logs \w+", "urfb grid logs $RUN", "a run that exists here"),
    Substitution(r"urfb grid clean$", "urfb grid clean --store from-a/urfb.sqlite", "load_weights needs checkpoints"),
    Substitution(r"--epochs \d+", "--epochs 2", "two epochs are enough"),
    Substitution(
        r"--engine ray", "--engine ray --address local --epochs 3", "a separate Ray cluster, and an epoch to train"
    ),
    Substitution(r"dataset=cifar100?\b", "dataset=digits", "the grid has digits instead of CIFAR"),
]

ENDLESS = [
    ExitCodes(r"urfb grid watch", (0,), "runs while any run is trained"),
    ExitCodes(r"urfb grid logs .*--follow", (0, 130), "runs while its run is trained"),
]

EXIT_CODES = [
    ExitCodes(r"urfb results remove", (2,), "asks before it removes anything, and nobody answers here"),
    ExitCodes(r"urfb report claims", (3,), "runs of two epochs on digits decide no claim"),
]


def excuse(page: str, text: str) -> Excuse | None:
    """Return the row of EXCUSES, if any, because of which code of a page is not run."""
    return next((row for row in EXCUSES if fnmatch(page, row.pages) and re.match(row.pattern, text)), None)


def substituted(text: str, folder: Path) -> str:
    """Return code with all substitutions."""
    for row in SUBSTITUTIONS:
        text = re.sub(row.pattern, row.text.format(folder=folder), text, flags=re.MULTILINE)
    return text


def expected(text: str) -> tuple[int, ...]:
    """Return the exit codes that a command may end with."""
    return next((row.codes for row in EXIT_CODES + ENDLESS if re.match(row.pattern, text)), (0,))


def of_page(page: str, *languages: str) -> list[Block]:
    """Return the blocks of a page in a language, which may have several names."""
    return [block for block in blocks(page) if block.language in languages]


def commands(page: str) -> list[Statement]:
    """Return all commands of a page, including those of scripts."""
    return [statement for block in blocks(page) if is_shell(block) for statement in statements(block)]


@pytest.mark.parametrize("page", PAGES)
def test_no_runnable_block_is_left_out(page: str) -> None:
    unknown, groups = [], "|".join(parser("urfb").commands)
    for block in blocks(page):
        if block.language not in (*OUTPUT, *SHELL, *SESSION, *YAML, "python"):
            if excuse(page, block.text) is None:
                unknown.append(f"{block.place}: no test knows what to do with '{block.language}'")
        elif not is_shell(block) and block.language in OUTPUT:
            typed = re.findall(rf"^(?:\$ |urfb (?:{groups}) ).*", block.text, flags=re.MULTILINE)
            unknown += [f"{block.place}: mark the block as sh, because it has `{line}`" for line in typed]
    assert not unknown, "\n".join(unknown)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_parsed_by_its_own_program(page: str) -> None:
    wrong = []
    for statement in commands(page):
        faults = [syntax_error(statement.text), *mistakes(statement.text)]
        wrong += [f"{statement}\n{fault}" for fault in faults if fault]
    for script in filter(is_script, blocks(page)):  # scripts are not run
        wrong += [f"{script.place}: there is no experiment '{name}'" for name in unknown_experiments(script.text)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_options_named_in_sentences_exist(page: str) -> None:
    known, wrong = options(), []
    for mention in mentions(page):
        place = f"{mention.page}:{mention.line}: `{mention.text}`"
        if re.match(r"(\.venv/bin/)?urfb [^A-Z]", mention.text):  # COMMAND stands for any
            # A sentence may leave out arguments or name a group, so a command that is valid with --help is right.
            for fault in mistakes(mention.text):
                if not re.search(r"Missing|COMMAND \[ARGS\]", fault) or mistakes(f"{mention.text} --help"):
                    wrong.append(f"{place}\n{fault}")
        elif (option := re.match(r"--[\w-]+", mention.text)) and option[0] not in known and not excuse(page, option[0]):
            wrong.append(f"{place}: no command has {option[0]}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("page", PAGES)
def test_every_python_block_compiles(page: str) -> None:
    for block in of_page(page, "python"):
        compile("\n" * (block.line - 1) + block.text, page, "exec")


@pytest.fixture
def imports_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget imported modules of a page afterwards, because another page has different ones of the same name."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.usefixtures("imports_forgotten")
@pytest.mark.parametrize("page", [page for page in PAGES if of_page(page, *YAML)])
def test_every_yaml_block_is_a_grid(page: str, tmp_path: Path) -> None:
    for block in blocks(page):
        if block.file and block.language == "python":
            (tmp_path / block.file).write_text(block.text)
    wrong = []
    for block in of_page(page, *YAML):
        if excuse(page, block.text):
            continue
        grid = tmp_path / f"{page.replace('/', '-')}.yaml"  # an error shows this name, then line and column
        grid.write_text(grid_text(block))
        try:
            assert load_grid(grid).runs
        except GridError as error:
            wrong += error.problems
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("words", [words for words, _ in leaves(parser("urfb"))], ids=" ".join)
def test_the_help_of_every_command_has_a_valid_example(words: tuple[str, ...]) -> None:
    given = examples(dict(leaves(parser("urfb")))[words].help)
    assert given, f"`urfb {' '.join(words)} --help` has no example"
    for example in given:
        assert f"urfb {' '.join(words)}" in example
        assert mistakes(example) == []
        assert unknown_experiments(example) == []


def test_every_row_of_the_tables_has_an_effect() -> None:
    shown = [(statement.page, statement.text) for page in PAGES for statement in commands(page)]
    code = [(page, block.text) for page in PAGES for block in blocks(page) if not is_shell(block)]
    named = [(page, mention.text) for page in PAGES for mention in mentions(page)]
    used: set[object] = {excuse(page, text) for page, text in shown + code + named}
    used |= {row for _, text in shown + code for row in SUBSTITUTIONS if re.search(row.pattern, text, re.MULTILINE)}
    used |= {row for _, text in shown for row in EXIT_CODES + ENDLESS if re.match(row.pattern, text)}
    assert [row for row in (*EXCUSES, *SUBSTITUTIONS, *EXIT_CODES, *ENDLESS) if row not in used] == []


def test_trial_grid_has_the_experiments_of_the_real_grid(tmp_path: Path) -> None:
    small = tmp_path / "experiments.yaml"
    small.write_text(shrunk((ROOT / "experiments.yaml").read_text()))
    real, tried = load_grid(ROOT / "experiments.yaml"), load_grid(small)
    names = [{name for run in grid.runs for name in run.experiments} for grid in (real, tried)]
    assert names[0] == names[1]
    assert {run.spec.layers for run in tried.runs} == {run.spec.layers for run in real.runs}
    assert {run.spec.dataset for run in tried.runs} == {"digits"}
    assert max(run.spec.epochs for run in tried.runs) == 2


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("urfb grid run experiments.yaml quick --epoch 3", "No such option"),
        ("urfb grid run experiments.yaml quick --epochs three", "must be a whole number"),
        ("urfb grid rum experiments.yaml", "No such command"),
        ("cd results && CUDA_VISIBLE_DEVICES=2 .venv/bin/urfb report claims --setting long >a 2>&1", "not one of"),
        ("for seed in 0 1; do\n  urfb doctor --everything  # all\ndone", "No such option"),
        ("python3 -m urfb report figures --agains", "No such option"),
    ],
)
def test_a_wrong_command_is_found(command: str, complaint: str) -> None:
    [mistake] = mistakes(command)
    assert complaint in mistake


def test_a_valid_command_is_accepted() -> None:
    assert (
        mistakes("urfb results query 'SELECT run FROM runs WHERE test_error < 0.5' --format csv >a 2>&1 | head") == []
    )
    assert mistake_of("urfb", ["--version"]) == ""
    assert (
        unknown_experiments("urfb grid run experiments.yaml mine.yaml x && urfb grid run experiments.yaml quick") == []
    )


def test_an_unknown_experiment_is_found() -> None:
    assert unknown_experiments("urfb grid run experiments.yaml quick figure44 --where seed=0") == ["figure44"]


# The slow tests, which run the commands


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose store has the runs of `quick`, as after the README's first command."""
    project = Project.made(tmp_path_factory.mktemp("documented") / "template")
    code, said = project.shell("urfb grid run experiments.yaml quick")
    assert code == 0, said
    return project.folder


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Project:
    made = Project.made(tmp_path / "project", template=template)
    for name, store in (("from-a", "urfb.sqlite"), ("from-b", "reference/precision.sqlite")):
        (made.folder / name).mkdir()
        shutil.copy(made.folder / "results" / store, made.folder / name / "urfb.sqlite")
    made.environment["RUN"] = str(urfb.open_store(str(template / "results" / "urfb.sqlite")).runs()["run"].iloc[0])
    return made


def serve_postgresql(project: Project, stack: ExitStack) -> None:
    """Start a server that answers under any name that a page uses, with a user `lab` who may create databases."""
    programs = Server.find()
    if programs is None:
        pytest.skip("needs the programs of a PostgreSQL server, for example from Debian's package postgresql")
    pytest.importorskip("psycopg")
    server = stack.enter_context(closing(Server(programs)))
    project.environment |= {
        "PGHOSTADDR": "127.0.0.1",
        "PGPORT": str(server.port),
        "PATH": f"{programs}:{project.environment['PATH']}",
    }
    code, said = project.shell("createuser --host localhost --username urfb --createdb lab")
    assert code == 0, said


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(is_shell(block) or block.language == "python" for block in blocks(page))]
)
def test_every_command_of_a_page_runs(page: str, project: Project, request: pytest.FixtureRequest) -> None:
    text = "\n".join(block.text for block in blocks(page))
    with ExitStack() as stack:
        if "postgresql://" in text:
            serve_postgresql(project, stack)
        if "urfb data " in text:
            cache = project.folder / "home" / ".cache" / "urfb"
            cache.mkdir(parents=True)
            (cache / "data").symlink_to(request.getfixturevalue("real_data"))
        failures = list(failures_of(page, project, lambda code: substituted(code, project.folder)))
    assert not failures, "\n\n".join(failures)


def failures_of(page: str, project: Project, as_run: Callable[[str], str]) -> Iterator[str]:
    """Run a page from top to bottom, and yield each failure with its place, the code as run, and its output."""
    for block in blocks(page):
        if block.file:
            project.write(block)
        if block.language == "python" and not excuse(page, block.text):
            if failure := project.python(block, as_run(block.text)):
                yield f"{block.place}: {failure}"
        elif is_shell(block) and not is_script(block):
            for statement in statements(block):
                if excuse(page, statement.text):
                    continue
                text = as_run(statement.text)
                try:
                    endless = any(re.match(row.pattern, statement.text) for row in ENDLESS)
                    code, said = project.interrupted(text) if endless else project.shell(text)
                except subprocess.TimeoutExpired as error:
                    yield f"{statement} ran longer than {error.timeout} s, as `{text}`"
                    continue
                if code not in expected(statement.text):
                    yield f"{statement} ended with {code}, as `{text}`:\n{said}"
