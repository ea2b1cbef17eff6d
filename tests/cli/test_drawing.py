"""Figures do not depend on the user's matplotlib settings."""

import os
import subprocess
import sys

import pytest

from urfb.store import open_for_writing

SETTINGS = """
text.usetex: True
savefig.bbox: tight
axes.prop_cycle: cycler('color', ['k'])
font.size: 30
no setting at all
"""
FILES = ("figure01.png", "figure01.pdf", "figure01.txt", "figure01.tex", "figure01.csv")


def drawn(folder, **environment):
    """Draw Figure 1 in a folder without output on standard error, and return its files."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(("MPLBACKEND", "MATPLOTLIB"))}
    command = [sys.executable, "-m", "urfb", "report", "figures", "1", "--store", "s.sqlite", "--out", "f", "--force"]
    done = subprocess.run(command, cwd=folder, env={**known, **environment}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return [(folder / "f" / name).read_bytes() for name in FILES]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("settings")
    open_for_writing(str(folder / "s.sqlite"))
    return folder


@pytest.fixture(scope="module")
def plain(folder):
    return drawn(folder)


@pytest.mark.parametrize("content", [SETTINGS.encode(), b"# caf\xe9\nfont.size: 30\n"], ids=["settings", "latin-1"])
def test_matplotlibrc_in_the_working_folder_changes_no_file(folder, plain, content):
    (folder / "matplotlibrc").write_bytes(content)
    try:
        assert drawn(folder) == plain
    finally:
        (folder / "matplotlibrc").unlink()


@pytest.mark.parametrize("backend", ["nonsense", "module://no_such_module"])
def test_environment_variables_change_no_file(folder, plain, backend):
    styles = folder / "config" / "matplotlib" / "stylelib"
    styles.mkdir(parents=True, exist_ok=True)
    (styles / "mine.mplstyle").write_bytes(b"no setting: caf\xe9\n")
    settings = folder / "mine.rc"
    settings.write_text(SETTINGS)
    environment = {"MPLBACKEND": backend, "MATPLOTLIBRC": str(settings), "XDG_CONFIG_HOME": str(folder / "config")}
    assert drawn(folder, **environment) == plain
