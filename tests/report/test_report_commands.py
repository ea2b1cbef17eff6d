import subprocess
import sys
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from urfb.cli import app
from urfb.errors import StoreError
from urfb.report.figures import FIGURES
from urfb.store.engine import Location


@pytest.fixture
def run(store, tmp_path, monkeypatch):
    store.location = Location.of(str(tmp_path / "urfb.sqlite"))
    opened = []

    def open_store(location):
        opened.append(location)
        if "absent" in location:
            raise StoreError(f"there is no store at {location}")
        return store

    monkeypatch.setitem(sys.modules, "urfb.store", SimpleNamespace(open_store=open_store))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments):
        result = CliRunner().invoke(app, ["report", "figures", *map(str, arguments)])
        result.opened = opened
        return result

    return run


def test_figures_are_written_next_to_the_store_with_shortfalls(run, store, tmp_path):
    store.add_protocols(25, seeds=1, sparse=False)
    result = run(4, 10, "--store", "some.sqlite")
    assert result.exit_code == 0
    assert result.opened == ["some.sqlite"]
    assert (tmp_path / "figures" / "figure04.pdf").exists()
    folder = tmp_path / "figures"
    assert result.stdout.splitlines()[:9] == [
        "Figure 4",
        f"  {folder / 'figure04.png'}",
        f"  {folder / 'figure04.pdf'}",
        f"  {folder / 'figure04.txt'}",
        f"  {folder / 'figure04.tex'}",
        f"  {folder / 'figure04.csv'}",
        "  incomplete: 25 of the paper's 1,000 epochs",
        "  incomplete: 1 of 3 seeds",
        f"  to complete it: urfb grid run experiments.yaml figure4 --store {store.location}",
    ]


@pytest.mark.usefixtures("coarse_pictures")
def test_the_store_has_a_default_and_all_figures_are_drawn(run, tmp_path):
    result = run("--out", tmp_path / "elsewhere")
    assert result.exit_code == 0
    assert result.opened == ["results/urfb.sqlite"]
    assert len(list((tmp_path / "elsewhere").iterdir())) == 5 * len(FIGURES)


def test_a_complete_figure_asks_for_nothing(run, store):
    store.add_protocols(2, seeds=1, experiments="quick")
    result = run(5, "--experiment", "quick")
    assert result.exit_code == 0
    assert "incomplete" not in result.stdout
    assert "to complete it" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["40"], "there is no figure '40'"),
        (["--experiment", "quikc"], "did you mean 'quick'?"),
        (["--store", "absent.sqlite"], "there is no store at absent.sqlite"),
    ],
)
def test_mistakes_print_one_line_with_exit_code_2(run, store, arguments, message):
    store.add(2, experiments="quick")
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_figures_for_a_manuscript_have_a_separate_folder(run, store, tmp_path):
    store.add(2)
    result = run(4, "--style", "paper")
    assert result.exit_code == 0
    assert f"  {tmp_path / 'figures-paper' / 'figure04.png'}" in result.stdout.splitlines()
    assert not (tmp_path / "figures").exists()


def test_an_unknown_style_lists_the_known_styles(run):
    result = run(4, "--style", "papr")
    assert result.exit_code == 2
    assert "'papr' is not one of 'screen', 'paper'. Did you mean 'paper'?" in result.stderr


def test_the_help_has_an_example(run):
    assert "urfb report figures 4 10 --experiment quick --style paper" in run("--help").stdout


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("urfb.cli.report", {"torch", "pandas", "matplotlib", "scipy"}),
        ("urfb.report.figures", {"torch", "sqlalchemy"}),
        ("urfb.report.page.document", {"torch", "sqlalchemy"}),
    ],
)
def test_modules_load_no_more_than_they_need(module, heavy):
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert heavy.isdisjoint(done.stdout.split())


def test_force_makes_files_again_that_are_up_to_date(run, store):
    store.add(2)
    assert "(unchanged)" not in run(4).stdout
    assert "(unchanged)" in run(4).stdout
    assert "(unchanged)" not in run(4, "--force").stdout
