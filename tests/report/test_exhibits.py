"""Users' own exhibits, and the example in the documentation."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from urfb.errors import GridError, ReportError, SelectionError
from urfb.nn.networks import NETWORKS
from urfb.report import Data, Drawn, figure
from urfb.report.everything import everything
from urfb.report.exhibits import Exhibit, chosen, fitting
from urfb.report.figures import FIGURES
from urfb.report.fingerprints import fingerprint
from urfb.report.paper import exhibits
from urfb.report.rendering import render
from urfb.report.tables import TABLES
from urfb.report.user_exhibits import load_exhibits

DOCUMENT = Path(__file__).parents[2] / "docs" / "reports.md"
DECLARATION = """
from urfb.report import figure

@figure("{name}", "a title", experiment="quick")
def {name}(data): ...
"""


def invoke(command: str) -> str:
    """Run a command of the documentation in a separate process, because it imports the user's modules."""
    words = [sys.executable, "-c", "from urfb.cli import app; app()", *shlex.split(command)[1:]]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "experiments.yaml"
    path.write_text("reports: mine.py\nexperiments:\n  quick: {defaults: {network: simpnet}}\n")
    return path


def test_the_documented_example_of_a_rule_runs_and_is_plotted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    section = DOCUMENT.read_text().split("## A rule of your own")[1]
    files = re.findall(r"`([\w.]+)`:\n\n```\w+\n(.*?)```", section, re.DOTALL)
    assert [name for name, _ in files] == ["my_rules.py", "half.yaml", "my_figures.py"]
    assert sum(len(text.splitlines()) for _, text in files) < 40
    for name, text in files:
        Path(name).write_text(text)
    run, draw = re.search(r"```sh\n(urfb .*)\n(urfb .*)\n```", section).groups()  # type: ignore[union-attr]

    invoke(f"{run} --epochs 2 --device cpu --jobs 0")
    output = invoke(draw)
    assert output.splitlines()[0] == "Figure half"
    assert Path("results/figures/figure-half.png").stat().st_size > 10_000
    table = pd.read_csv("results/figures/figure-half.csv", comment="#")
    assert len(table) == 3 * 3 * 2
    assert set(table["rule"]) == {"urfb", "frfb", "my_rules:half_symmetric"}
    head = Path("results/figures/figure-half.csv").read_text()
    assert head.count("\n# run ") == 9
    assert (
        "# made by: urfb report figures half --store results/urfb.sqlite --out results/figures --grid half.yaml" in head
    )
    assert "half (unchanged)" in invoke(draw)
    Path("my_figures.py").write_text(Path("my_figures.py").read_text().replace("2.6", "2.5"))
    assert "unchanged" not in invoke(draw)
    Path("my_rules.py").write_text(Path("my_rules.py").read_text().replace("/ 2", "/ 3"))
    invoke(f"{run} --epochs 1 --device cpu --jobs 0")
    assert "the store also has 3 runs not in half.yaml" in invoke(draw)
    assert "Runs: digitnet, digits, source " in Path("results/figures/figure-half.txt").read_text()


def test_a_grid_files_figures_come_after_the_papers(grid: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(DECLARATION.format(name="noisy"))
    found = exhibits("figure")
    assert [exhibit.name for exhibit in found] == [*(exhibit.name for exhibit in FIGURES), "noisy"]
    assert found[-1].completed_by == "grid run experiments.yaml quick"
    assert exhibits("figure", grid)[-1].completed_by == f"grid run {grid} quick"
    grid.write_text("experiments:\n  quick: {}\n")
    assert exhibits("figure") == list(FIGURES)


def test_a_users_file_may_have_data_classes(grid: Path, tmp_path: Path) -> None:
    """Data classes look for their module if annotations are text."""
    head = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n\n@dataclass\nclass Bar:\n    x: int\n"
    )
    (tmp_path / "mine.py").write_text(head + DECLARATION.format(name="noisy"))
    assert exhibits("figure", grid)[-1].name == "noisy"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (None, "mine.py: not a Python file"),
        ("1 / 0", "mine.py: cannot be run: ZeroDivisionError: division by zero"),
        ("import sys\n\nsys.exit('no data')", "mine.py: cannot be run: SystemExit: no data, at .*mine.py:3$"),
        ("x = 1\nx = = 1", "mine.py: cannot be run: SyntaxError: invalid syntax, at .*mine.py:2$"),
        ("x = 1", "declares no figure or table"),
        (
            DECLARATION.format(name="one") + DECLARATION.replace("def {name}", "def other").format(name="one"),
            "Figure one is",
        ),
        (DECLARATION.replace('"{name}"', '"13"').format(name="one"), "'13': use letters.* not only digits"),
        (DECLARATION.replace('"{name}"', '"../x"').format(name="one"), "'../x': use letters, digits"),
        (DECLARATION.replace(', experiment="quick"', "").format(name="one"), "choose its runs with either"),
        (
            DECLARATION.replace('"quick"', '"quick", measured=["epoch"]').format(name="one"),
            "measured: unknown frame 'epoch': did you mean 'epochs'",
        ),
    ],
)
def test_mistakes_in_a_users_file_name_the_file(grid: Path, tmp_path: Path, code: str | None, message: str) -> None:
    if code is not None:
        (tmp_path / "mine.py").write_text(code)
    with pytest.raises(ReportError, match=message):
        exhibits("figure")


def test_the_files_that_a_users_file_imports_count_as_part_of_it(  # type: ignore[no-untyped-def]
    grid: Path, tmp_path: Path, store
) -> None:
    (tmp_path / "mine.py").write_text(
        "from matplotlib.figure import Figure\nfrom urfb.report import Drawn, figure\n\n"
        "@figure('x', 'a title', experiment='quick')\ndef x(data):\n"
        "    from next_to_mine import WIDTH\n    return Drawn(Figure((WIDTH, 2)), data.runs[['run']], data.runs)\n"
    )
    (tmp_path / "next_to_mine.py").write_text("WIDTH = 3\n")
    (tmp_path / ".#mine.py").symlink_to("an editor's lock")
    store.add(1, experiments="quick")

    def made() -> bool:
        [rendered] = render(store, chosen(exhibits("figure", grid), ["x"], None), tmp_path / "out")
        return rendered.made

    assert [made(), made()] == [True, False]
    (tmp_path / "next_to_mine.py").write_text("WIDTH = 2\n")
    assert made()


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        ("figure", "data.measured['nope']", "mine.py:8: Figure x: KeyError: 'nope'"),
        ("figure", "exit(3)", "mine.py:8: Figure x: SystemExit: 3"),
        ("figure", "None", "mine.py: Figure x: returns NoneType; a figure returns Drawn"),
        ("figure", "Tabulated(NUMBERS, NUMBERS, data.runs)", "returns Tabulated; a figure returns Drawn"),
        ("table", "Drawn(Figure(), NUMBERS, data.runs)", "returns Drawn; a table returns Tabulated"),
        ("figure", "Drawn(Figure(), NUMBERS, data.runs[['run']])", "runs have no column 'network'; return whole"),
    ],
)
def test_mistakes_in_a_users_function_name_it_and_write_nothing(  # type: ignore[no-untyped-def]
    grid: Path, tmp_path: Path, store, kind: str, body: str, message: str
) -> None:
    (tmp_path / "mine.py").write_text(
        "import pandas as pd\nfrom matplotlib.figure import Figure\n"
        "from urfb.report import Drawn, Tabulated, figure, table\nNUMBERS = pd.DataFrame({'a': [1]})\n\n"
        f"@{kind}('x', 'a title', experiment='quick')\ndef x(data):\n    return {body}\n"
    )
    store.add(1, experiments="quick")
    with pytest.raises(ReportError, match=re.escape(message)):
        list(render(store, chosen(exhibits(kind, grid), ["x"], None), tmp_path / "out"))  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_the_name_of_the_file_must_be_text(grid: Path) -> None:
    grid.write_text("reports: [a.py]\nexperiments:\n  quick: {}\n")
    with pytest.raises(GridError, match=r"experiments.yaml:1:1: reports: give the name of one Python file"):
        exhibits("figure")


def test_a_grid_file_that_names_two_files_is_refused(grid: Path) -> None:
    grid.write_text("reports: a.py\nreports: b.py\nexperiments:\n  quick: {}\n")
    with pytest.raises(GridError, match=r"experiments.yaml:2:1: reports: this key is already on line 1"):
        exhibits("figure")


def test_an_experiment_has_the_figures_that_show_runs_and_its_own(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(DECLARATION.format(name="noisy"))
    everything = [*FIGURES, *load_exhibits(tmp_path / "mine.py", tmp_path / "grid.yaml", ["quick"])]
    assert {exhibit.selection.experiment for exhibit in chosen(everything, [], "other")} == {"other"}
    assert "noisy" not in [exhibit.name for exhibit in chosen(everything, [], "other")]
    with pytest.raises(SelectionError, match="Figure noisy cannot show the runs of 'other'"):
        chosen(everything, ["noisy"], "other")
    assert chosen(everything, ["noisy"], "quick") == everything[-1:]
    assert chosen(everything, [], "quick")[-1] is everything[-1]


def test_an_unknown_experiment_of_a_users_figure_is_an_error(store, grid: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "mine.py").write_text(DECLARATION.format(name="noisy").replace("quick", "quik"))
    store.add(2, experiments="quick")
    with pytest.raises(SelectionError, match=r"mine.py: Figure noisy: no experiment 'quik' .*did you mean 'quick'"):
        list(render(store, exhibits("figure", grid)[-1:], tmp_path / "out"))


def test_the_saturation_of_custom_models_is_not_drawn(store, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    store.add(2, network="my_net:build", layers="my_net:build", experiments="custom,both")
    [saturation] = chosen(FIGURES, ["saturation"], "custom")
    assert fitting([saturation], store.runs()) == []
    with pytest.raises(SelectionError, match="all runs of 'custom' have custom models"):
        list(render(store, [saturation], tmp_path))
    store.add(2, experiments="both")
    [saturation] = chosen(FIGURES, ["saturation"], "both")
    assert fitting([saturation], store.runs()) == [saturation]
    [rendered] = render(store, [saturation], tmp_path)
    assert "my_net" not in " ".join(rendered.shortfalls)


@pytest.mark.usefixtures("grid")
def test_an_experiment_is_completed_from_the_grid_file_that_has_it() -> None:
    [of_mine] = chosen(FIGURES, ["4"], "half a", Path("mine.yaml"))
    assert of_mine.completed_by == "grid run mine.yaml 'half a'"
    [of_default] = chosen(FIGURES, ["4"], "quick")
    assert of_default.completed_by == "grid run experiments.yaml quick"
    [elsewhere] = chosen(FIGURES, ["4"], "slow")
    assert elsewhere.completed_by == "grid run GRID.yaml slow"


def test_runs_are_selected_by_values_and_lists_of_them(store) -> None:  # type: ignore[no-untyped-def]
    wanted = [store.add(2), store.add(2, rule="frfb"), store.add(2, step_size=1.0)]
    store.add(2, rule="bp")
    store.add(2, dataset="cifar100")

    @figure("some", "some", runs={"rule": ["urfb", "frfb"], "dataset": "cifar10", "decay": None}, measured=["epochs"])
    def some(data: Data) -> Drawn:
        raise AssertionError

    data = some.read(store, store.runs())
    assert sorted(data.runs["run"]) == sorted(wanted)
    assert [panel.title for panel in data.panels] == [
        "simpnet, CIFAR-10, step size 0.1",
        "simpnet, CIFAR-10, step size 1",
    ]
    assert set(data.measured["epochs"]["run"]) == set(wanted)


def test_a_run_in_two_panels_is_one_of_the_runs(store) -> None:  # type: ignore[no-untyped-def]
    runs = [store.add(2, rule="bp", loss="softmax"), *(store.add(2, off_class_weight=weight) for weight in (0.5, 1.0))]
    data = chosen(FIGURES, ["4"], None)[0].read(store, store.runs())
    assert [len(panel.runs) for panel in data.panels] == [2, 2]
    assert sorted(data.runs["run"]) == sorted(runs)


def test_a_figure_shows_the_networks_that_its_title_names() -> None:
    for exhibit in FIGURES:
        if named := set(re.findall(r"\w+", exhibit.title)) & set(NETWORKS):
            assert {panel["network"] for panel in exhibit.selection.panels} == named
            assert named == set(re.findall(r"\w+", exhibit.subject)) & set(NETWORKS)


@pytest.mark.parametrize("exhibit", [*FIGURES, *TABLES], ids=lambda exhibit: exhibit.stem)
def test_an_experiments_title_names_no_network_and_is_not_empty(exhibit: Exhibit) -> None:
    title = exhibit.of_experiment("mine").title
    assert title
    assert not set(re.findall(r"\w+", title)) & set(NETWORKS)
    assert title == exhibit.title or exhibit.subject


def test_an_empty_store_says_that_it_has_no_experiment(store, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    shown = fitting(chosen(FIGURES, [], "quick"), store.runs())
    with pytest.raises(SelectionError, match="the store has no runs of any experiment yet"):
        list(render(store, shown, tmp_path))


def test_names_and_headings_follow_from_the_papers_figure() -> None:
    [four, control] = chosen(FIGURES, ["4", "7-alignment"], None)
    assert chosen(FIGURES, ["figure04", "figure-7-alignment"], None) == [four, control]
    assert (four.label, four.stem, four.paper_figure) == ("Figure 4", "figure04", 4)
    assert four.heading.startswith("Figure 4 of Amit (2019)")
    assert four.heading.endswith(": simpnet, error by epoch")
    assert four.of_experiment("quick").heading == "Figure 4 for the experiment quick: error by epoch"
    assert (control.stem, control.paper_figure) == ("figure-7-alignment", None)
    assert control.heading == "Figure 7-alignment: deepernet, correlation of W and Rᵗ by epoch"
    [five] = chosen(TABLES, ["5"], None)
    assert five.stem == "table05"
    assert five.heading.startswith("Table 5, behind Figure 5 of Amit (2019)")


@pytest.mark.parametrize(
    "became",
    [{"test_error": 0.5}, {"test_epoch": 1.0}, {"epochs_done": 1}, {"epochs_target": 3}, {"state": "failed"}],
    ids=lambda became: next(iter(became)),
)
def test_a_figure_is_made_again_when_something_else_has_become_of_a_run(store, became: dict[str, Any]) -> None:  # type: ignore[no-untyped-def]
    bars = chosen(FIGURES, ["5"], None)[0]
    store.add(2)
    before = fingerprint(bars, bars.read(store, store.runs()), "")
    store.rows[0].update(became)
    assert fingerprint(bars, bars.read(store, store.runs()), "") != before


def test_an_unknown_field_gets_the_nearest_name(store) -> None:  # type: ignore[no-untyped-def]
    some = figure("some", "some", runs={"rul": "urfb"})(lambda data: None)  # type: ignore[arg-type,return-value]
    with pytest.raises(SelectionError, match="runs have no field 'rul': did you mean 'rule'"):
        some.read(store, store.runs())


def test_a_figure_without_runs_yet_does_not_stop_others(store, grid: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "mine.py").write_text(DECLARATION.format(name="noisy"))
    store.add(2, experiments="another")
    shown = [exhibit for exhibit in exhibits("figure", grid) if exhibit.name in ("4", "noisy")]
    four, noisy = render(store, shown, tmp_path / "out")
    assert four.made
    assert (noisy.made, noisy.files) == (False, [])
    assert noisy.shortfalls == ["no run of the experiment quick in the store"]
    assert noisy.completing_command.startswith(f"urfb grid run {grid} quick --store")
    parts = list(everything(store, shown, tmp_path / "all"))
    assert [part.name for part in parts if part.files] == ["Figure 4", "Claims", "Page"]


def test_an_experiment_has_the_figures_that_fit_its_runs_each_once(store) -> None:  # type: ignore[no-untyped-def]
    for rule in ("urfb", "frfb"):
        store.add(2, rule=rule, experiments="plain,untied")
    store.add(2, untied="all", untied_start="independent", experiments="untied")
    store.add(2, rule="interpolated", epsilon=0.5, experiments="epsilon")
    store.add(2, gradient_batch=500, experiments="gradients")

    def shown(experiment: str) -> set[str]:
        return {exhibit.name for exhibit in fitting(chosen(FIGURES, [], experiment), store.runs())}

    plain = {"4", "5", "10", "alignment-and-error", "saturation"}
    assert shown("plain") == plain
    assert shown("untied") == plain | {"8", "8-start", "9", "9-batch"}
    assert shown("epsilon") == plain | {"epsilon"}
    assert shown("gradients") == plain | {"gradients"}
    assert fitting(FIGURES, store.runs()) == list(FIGURES)
