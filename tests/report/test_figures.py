import io

import matplotlib
import pandas as pd
import pytest
from matplotlib import pyplot
from PIL import Image

from urfb import __version__
from urfb.errors import InputError, SelectionError
from urfb.report.figures import FIGURES, render
from urfb.report.selection import Selection


def head_of(path):
    return [line[2:] for line in path.read_text().splitlines() if line.startswith("# ")]


def test_each_figure_becomes_three_files(store, tmp_path):
    store.add_protocols(2)
    rendered = render(store, [], tmp_path / "deep" / "figures")
    assert [figure.number for figure in rendered] == [4, 5, 10]
    names = sorted(path.name for path in (tmp_path / "deep" / "figures").iterdir())
    assert names == sorted(f"figure{n}.{suffix}" for n in ("04", "05", "10") for suffix in ("png", "pdf", "csv"))
    assert [path.name for path in rendered[0].files] == ["figure04.png", "figure04.pdf", "figure04.csv"]


def test_the_picture_is_sharp_and_says_where_it_comes_from(store, tmp_path):
    store.add(2)
    render(store, [4], tmp_path)
    with Image.open(tmp_path / "figure04.png") as picture:
        assert picture.info["dpi"] == pytest.approx((200, 200), abs=0.1)
        assert picture.width == 680
        assert picture.info["Title"].startswith("Figure 4 of Amit (2019)")
        assert "2 of the paper's 1,000 epochs" in picture.info["Description"]
        assert picture.info["Software"] == f"urfb {__version__}"
    pdf = (tmp_path / "figure04.pdf").read_bytes()
    assert b"/Title (Figure 4 of Amit" in pdf
    assert b"CreationDate" not in pdf


def test_the_same_runs_give_the_same_bytes(store, tmp_path):
    store.add_protocols(3)
    render(store, [], tmp_path)
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    render(store, [], tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first


def test_no_window_opens_and_no_setting_stays(store, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a figure for a screen")

    monkeypatch.setattr("matplotlib.pyplot.switch_backend", refuse)
    monkeypatch.setattr("matplotlib.pyplot.figure", refuse)
    before = matplotlib.rcParams.copy()
    store.add_protocols(2)
    render(store, [], tmp_path)
    assert matplotlib.rcParams.copy() == before
    assert pyplot.get_fignums() == []


@pytest.mark.parametrize("number", FIGURES)
def test_pandas_reads_the_table_and_people_its_head(store, tmp_path, number):
    store.add_protocols(3, seeds=2)
    [rendered] = render(store, [number], tmp_path, location="my results.sqlite")
    path = rendered.files[2]
    table = pd.read_csv(path, comment="#")
    assert {"panel", "protocol", "mean", "low", "high", "n", "runs"} <= set(table.columns)
    assert set(table["n"]) <= {0, 2}
    head = head_of(path)
    assert head[0].startswith(f"Figure {number} of Amit (2019)")
    assert f"urfb: {__version__}" in head
    assert f"made by: urfb report figures {number} --store 'my results.sqlite' --out {tmp_path}" in head
    assert any(line.startswith("selection: network simpnet, convention paper, step size 0.1") for line in head)
    listed = {line.split()[1].rstrip(":") for line in head if line.startswith("run ")}
    assert listed == {run for runs in table["runs"].dropna() for run in runs.split()}
    assert any(line.endswith("URFB, seed 1, 3 epochs, done") for line in head)
    assert [line.removeprefix("lacks: ") for line in head if line.startswith("lacks: ")] == rendered.shortfalls


def test_the_table_holds_what_is_drawn(store, tmp_path):
    store.add(3)
    render(store, [4], tmp_path)
    table = pd.read_csv(tmp_path / "figure04.csv", comment="#")
    training = table[table["set"] == "training"]
    assert training["mean"].to_numpy() == pytest.approx(100 * store.epochs()["training_error"].to_numpy(), rel=1e-5)


def test_an_experiment_has_files_of_its_own(store, tmp_path):
    store.add_protocols(2, experiments="quick")
    rendered = render(store, [4, 4], tmp_path, Selection("quick"), "a.sqlite")
    assert [path.name for path in rendered[0].files] == [f"quick-figure04.{suffix}" for suffix in ("png", "pdf", "csv")]
    assert len(rendered) == 1
    assert rendered[0].completing_command == "urfb grid run experiments.yaml quick --store a.sqlite"
    assert "selection: the runs of the experiment quick" in head_of(tmp_path / "quick-figure04.csv")


def test_an_experiments_name_cannot_leave_the_folder(store, tmp_path):
    store.add(2, experiments="../a b")
    [rendered] = render(store, [4], tmp_path, Selection("../a b"), "a.sqlite")
    assert all(path.parent == tmp_path for path in rendered.files)
    assert rendered.completing_command == "urfb grid run experiments.yaml '../a b' --store a.sqlite"


def test_the_papers_figures_name_the_command_that_completes_them(store, tmp_path):
    rendered = render(store, [10], tmp_path)
    assert rendered[0].completing_command == "urfb grid run experiments.yaml figure10 --store results/urfb.sqlite"


def test_an_unknown_figure_draws_none(store, tmp_path):
    store.add(2)
    with pytest.raises(SelectionError, match="figure 6 cannot be drawn yet: this version draws 4, 5 and 10"):
        render(store, [4, 6], tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_unknown_experiment_draws_none(store, tmp_path):
    store.add(2, experiments="quick")
    with pytest.raises(SelectionError, match="did you mean 'quick'"):
        render(store, [], tmp_path, Selection("quikc"))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_one_message(store, tmp_path):
    store.add(2)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="name a folder that can be written to with --out"):
        render(store, [4], tmp_path / "file")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_aside(store, tmp_path, monkeypatch):
    store.add(2)
    render(store, [4], tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(self, content):
        with self.open("wb") as file:
            file.write(content[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    store.add(2, seed=1)
    with pytest.raises(InputError, match="No space left on device"):
        render(store, [4], tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("number", FIGURES)
def test_letters_stay_on_the_page(store, tmp_path, number):
    store.add_protocols(12, seeds=2, experiments="quick")
    store.add(7, step_size=1.0, experiments="quick")
    store.add(3, rule="bp", loss="softmax", connectivity=0.5, experiments="quick")
    drawn = FIGURES[number](store, Selection("quick"))
    drawn.figure.savefig(io.BytesIO(), format="png")
    page = drawn.figure.bbox
    for axes in drawn.figure.get_axes():
        box = axes.get_tightbbox()
        assert page.x0 <= box.x0 + 1
        assert box.x1 <= page.x1 + 1
        assert page.y0 <= box.y0 + 1
        assert box.y1 <= page.y1 + 1
