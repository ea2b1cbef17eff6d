import io
import re
import zlib
from types import SimpleNamespace

import matplotlib
import pandas as pd
import pytest
from cycler import cycler
from matplotlib import pyplot
from PIL import Image

from tests.report.conftest import FakeStore, made
from urfb import __version__
from urfb.errors import InputError, SelectionError
from urfb.report import rendering
from urfb.report.building import Builder
from urfb.report.exhibits import chosen
from urfb.report.figures import FIGURES
from urfb.report.rendering import SUFFIXES

NUMBERS = [figure.name for figure in FIGURES]


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """All figures rendered twice without a screen: their files, `render`'s results, and matplotlib's settings."""

    def refuse(*_, **__):
        raise AssertionError("a figure for a screen")

    store = FakeStore()
    store.add_protocols(3)
    folder = tmp_path_factory.mktemp("everything") / "deep" / "figures"
    before = matplotlib.rcParams.copy()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("URFB_DATA_DIR", str(folder / "no data sets"))
        patched.setattr("matplotlib.pyplot.switch_backend", refuse)
        patched.setattr("matplotlib.pyplot.figure", refuse)
        files, rendered = [], []
        for _ in range(2):
            rendered.append(render(store, [], folder, force=True))
            files.append({path.name: path.read_bytes() for path in sorted(folder.iterdir())})
    return SimpleNamespace(files=files, rendered=rendered[0], settings=(before, matplotlib.rcParams.copy()))


def render(store, names, out, experiment=None, location="results/urfb.sqlite", **options):
    wanted = chosen(FIGURES, [str(name) for name in names], experiment)
    return list(rendering.render(store, wanted, out, location, **options))


def head_of(path):
    return [line[2:] for line in path.read_text().splitlines() if line.startswith("# ")]


def test_each_figure_becomes_a_picture_a_caption_and_numbers(everything):
    assert [figure.exhibit.name for figure in everything.rendered] == NUMBERS
    names = sorted(f"{figure.stem}.{suffix}" for figure in FIGURES for suffix in SUFFIXES["figure"])
    assert list(everything.files[0]) == names
    assert [path.name for path in everything.rendered[0].files] == [
        f"figure01.{suffix}" for suffix in ("png", "pdf", "txt", "tex", "csv")
    ]


def test_the_picture_is_sharp_and_says_where_it_comes_from(store, tmp_path):
    store.add(2)
    render(store, [4], tmp_path)
    with Image.open(tmp_path / "figure04.png") as picture:
        assert picture.info["dpi"] == pytest.approx((200, 200), abs=0.1)
        assert picture.width == 669
        assert picture.info["Title"].startswith("Figure 4 of Amit (2019)")
        assert "2 of the paper's 1,000 epochs" in picture.info["Description"]
        for run in store.runs()["run"]:
            assert f"run {run}: simpnet, cifar10" in picture.info["Description"]
        assert picture.info["Software"] == f"urfb {__version__}"
    pdf = (tmp_path / "figure04.pdf").read_bytes()
    assert b"/Title (Figure 4 of Amit" in pdf
    assert b"CreationDate" not in pdf


def test_the_same_runs_give_the_same_bytes(everything):
    first, second = everything.files
    assert first == second


def test_a_figure_on_the_page_is_the_same_bytes_each_time(store, tmp_path):
    store.add(3, untied="all")
    for name in ("1", "4", "8"):
        [figure] = chosen(FIGURES, [name], None)
        first, second = (Builder(store, "urfb.sqlite").build(figure, tmp_path).svg for _ in range(2))
        assert first == second
        assert b"<path" in first


def test_fonts_in_pdf_files_are_truetype_without_layout_tables(everything):
    for name in (name for name in everything.files[0] if name.endswith(".pdf")):
        pdf = everything.files[0][name]
        assert b"/Type3" not in pdf
        streams = [zlib.decompress(part) for part in re.findall(rb"stream\r?\n(x.*?)\nendstream", pdf, re.DOTALL)]
        heads = [stream[:400] for stream in streams if b"glyf" in stream[:400]]
        assert heads
        assert not any(b"GSUB" in head or b"GPOS" in head for head in heads)


def test_only_what_its_data_changed_is_made_again(store, tmp_path):
    store.add_protocols(3, seeds=1)
    render(store, [4, 5, 10], tmp_path)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = render(store, [4, 5, 10], tmp_path)
    assert [figure.made for figure in again] == [False] * 3
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == written
    assert again[1].shortfalls == render(store, [5], tmp_path, force=True)[0].shortfalls != []

    store.add(3, dataset="cifar100", off_class_weight=1 / 99)  # is in Figure 5 alone
    assert [figure.made for figure in render(store, [4, 5, 10], tmp_path)] == [False, True, False]
    store.alignment_rows[-1]["correlation"] += 0.1  # of that run, which Figure 10 does not show
    assert [figure.made for figure in render(store, [4, 5, 10], tmp_path)] == [False, False, False]
    next(row for row in store.alignment_rows if row["rule"] == "urfb")["correlation"] += 0.1
    assert [figure.made for figure in render(store, [4, 5, 10], tmp_path)] == [False, False, True]


def test_what_has_been_deleted_or_asked_for_otherwise_is_made_again(store, tmp_path):
    store.add(3)
    render(store, [4], tmp_path)
    (tmp_path / "figure04.pdf").unlink()
    assert render(store, [4], tmp_path)[0].made
    assert not render(store, [4], tmp_path)[0].made
    assert render(store, [4], tmp_path, location="other.sqlite")[0].made


def test_no_window_opens_and_no_setting_stays(everything):
    before, after = everything.settings
    assert before == after
    assert pyplot.get_fignums() == []


def test_settings_of_a_notebook_change_no_file_and_stay(store, tmp_path):
    store.add_protocols(3, seeds=2)
    first = [path.read_bytes() for one in render(store, [4, 5], tmp_path, force=True) for path in one.files]
    settings = {"font.size": 30, "savefig.bbox": "tight", "axes.prop_cycle": cycler(color="k")}
    with matplotlib.rc_context(settings):
        again = [path.read_bytes() for one in render(store, [4, 5], tmp_path, force=True) for path in one.files]
        assert {name: matplotlib.rcParams[name] for name in settings} == settings
    assert again == first


@pytest.mark.parametrize("number", ["4", "5", "10"])
def test_pandas_reads_the_table_and_people_its_head(store, tmp_path, number):
    store.add_protocols(3, seeds=2)
    [rendered] = render(store, [number], tmp_path, location="my results.sqlite")
    path = rendered.files[-1]
    table = pd.read_csv(path, comment="#")
    assert {"panel", "protocol", "mean", "low", "high", "n", "runs"} <= set(table.columns)
    assert set(table["n"]) <= {0, 2}
    head = head_of(path)
    assert head[0].startswith(f"Figure {number} of Amit (2019)")
    assert f"urfb: {__version__}" in head
    assert f"made by: urfb report figures {number} --store 'my results.sqlite' --out {tmp_path}" in head
    (selection,) = (line.removeprefix("selection: ") for line in head if line.startswith("selection: "))
    assert {"convention paper", "step size 0.1", "batch size 500"} <= set(re.split("[,;] ", selection))
    listed = {line.split()[1].rstrip(":") for line in head if line.startswith("run ")}
    assert listed == {run for runs in table["runs"].dropna() for run in runs.split()}
    assert any(line.endswith("URFB, seed 1, 3 epochs, done") for line in head)
    assert [
        line.removeprefix("incomplete: ") for line in head if line.startswith("incomplete: ")
    ] == rendered.shortfalls


def test_the_table_has_what_is_drawn(store, tmp_path):
    store.add(3)
    render(store, [4], tmp_path)
    table = pd.read_csv(tmp_path / "figure04.csv", comment="#")
    training = table[table["set"] == "training"]
    assert training["mean"].to_numpy() == pytest.approx(100 * store.epochs()["training_error"].to_numpy(), rel=1e-5)


def test_an_experiment_has_separate_files(store, tmp_path):
    store.add_protocols(2, experiments="quick")
    rendered = render(store, [4, 4], tmp_path, "quick", "a.sqlite")
    assert [path.name for path in rendered[0].files] == [f"quick-figure04.{suffix}" for suffix in SUFFIXES["figure"]]
    assert len(rendered) == 1
    assert rendered[0].completing_command == "urfb grid run experiments.yaml quick --store a.sqlite"
    assert "selection: the runs of the experiment quick" in head_of(tmp_path / "quick-figure04.csv")


def test_an_experiments_name_cannot_leave_the_folder(store, tmp_path):
    store.add(2, experiments="../a b")
    [rendered] = render(store, [4], tmp_path, "../a b", "a.sqlite")
    assert all(path.parent == tmp_path for path in rendered.files)
    assert rendered.completing_command == "urfb grid run GRID.yaml '../a b' --store a.sqlite"


def test_the_papers_figures_name_the_command_that_completes_them(store, tmp_path):
    rendered = render(store, [10], tmp_path)
    assert rendered[0].completing_command == "urfb grid run experiments.yaml figure10 --store results/urfb.sqlite"


def test_an_unknown_figure_draws_none(store, tmp_path):
    store.add(2)
    with pytest.raises(SelectionError, match="there is no figure '40': did you mean '4'"):
        render(store, [4, 40], tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_unknown_experiment_draws_none(store, tmp_path):
    store.add(2, experiments="quick")
    with pytest.raises(SelectionError, match="did you mean 'quick'"):
        render(store, [], tmp_path, "quikc")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_one_message(store, tmp_path):
    store.add(2)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="choose another path with --out"):
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


@pytest.mark.parametrize("number", ["4", "5", "10"])
def test_letters_stay_on_the_page(store, tmp_path, number):
    store.add_protocols(12, seeds=2, experiments="quick")
    store.add(7, step_size=1.0, experiments="quick")
    store.add(3, rule="bp", loss="softmax", connectivity=0.5, experiments="quick")
    drawn = made(number, store, "quick")
    drawn.figure.savefig(io.BytesIO(), format="png")
    page = drawn.figure.bbox
    for axes in drawn.figure.get_axes():
        box = axes.get_tightbbox()
        assert page.x0 <= box.x0 + 1
        assert box.x1 <= page.x1 + 1
        assert page.y0 <= box.y0 + 1
        assert box.y1 <= page.y1 + 1
