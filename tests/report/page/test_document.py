"""The contents of the page's file and when it is written, without a browser."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.helpers import tiny_run
from tests.report.conftest import FakeStore
from tests.report.page.conftest import FIGURE, HOSTILE, TABLE
from tests.store.recorded import finish
from urfb.cli import app
from urfb.errors import InputError, SelectionError
from urfb.report.claims import Verdict, evaluate
from urfb.report.figures import FIGURES
from urfb.report.page.document import write_page
from urfb.report.page.runs import POINTS, details, rows
from urfb.store import open_store


def unfolded(file: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="run-details">(.*?)</script>', file.read_text(), re.DOTALL)
    assert found
    parsed: dict[str, Any] = json.loads(found.group(1))
    return parsed


def test_an_unchanged_page_is_not_written_again(mixed, tmp_path):
    out = tmp_path / "page.html"
    store = open_store(str(mixed.location))
    options: dict[str, Any] = {"logs": mixed.location.logs}
    assert write_page(store, [FIGURE], out, **options).made
    first = out.read_bytes()
    assert not write_page(store, [FIGURE], out, **options).made
    assert write_page(store, [FIGURE], out, **options, force=True).made
    assert out.read_bytes() == first
    run = tiny_run("tiny", seed=77)
    mixed.register([run])
    assert write_page(store, [FIGURE], out, **options).made
    assert run.spec.identity in out.read_text()


def test_runs_shorter_than_the_papers_make_a_figure_incomplete(mixed, tmp_path):
    out = tmp_path / "page.html"
    write_page(open_store(str(mixed.location)), [next(one for one in FIGURES if one.name == "4")], out)
    page = out.read_text()
    assert re.search(r"<summary>Incomplete: [^<]+</summary>\s*<ul>\s*<li>no run of this figure in the store</li>", page)
    assert "0 complete, 1 incomplete" in page
    assert "lacks" not in page.lower()  # "lacks 10 of 1,000 epochs" would mean the opposite


@pytest.mark.parametrize("change", ["log", "exhibit", "location", "experiment"])
def test_the_page_is_written_again_when_its_contents_change(mixed, tmp_path, change):
    out = tmp_path / "page.html"
    store = open_store(str(mixed.location))
    options: dict[str, Any] = {"exhibits": [FIGURE], "out": out, "logs": mixed.location.logs}
    write_page(store, **options)
    if change == "log":
        next(mixed.location.logs.iterdir()).write_text("another end")
    options |= {
        "exhibit": {"exhibits": [FIGURE, TABLE]},
        "location": {"location": "other.sqlite"},
        "experiment": {"exhibits": [FIGURE.of_experiment("other")], "experiment": "other"},
    }.get(change, {})
    assert write_page(store, **options).made
    assert not write_page(store, **options).made


def test_a_failed_write_keeps_the_old_page(mixed, write, tmp_path, monkeypatch):
    before = write().read_bytes()

    def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(InputError, match="No space left on device"):
        write(force=True)
    assert (tmp_path / "page.html").read_bytes() == before
    assert not list(tmp_path.glob(".page*"))


def test_an_unknown_experiment_writes_nothing(mixed, write, tmp_path):
    with pytest.raises(SelectionError, match="did you mean 'tiny'"):
        write(exhibits=[FIGURE.of_experiment("tinny")], experiment="tinny")
    assert not (tmp_path / "page.html").exists()


def test_an_experiments_page_lists_only_its_runs(mixed, write):
    text = write(exhibits=[FIGURE.of_experiment("other")], experiment="other").read_text()
    listed = re.findall(r'<tr id="run-(\w+)"', text)
    runs = mixed.runs()
    assert listed == list(runs["run"][runs["rule"] == "bp"])
    assert 'id="claim-' not in text
    assert re.search("<p>All runs have .*dataset digits", text)


def test_identical_figures_of_an_experiment_are_shown_once(mixed, write):
    wanted = [figure.of_experiment("tiny") for figure in FIGURES if figure.selection.panels]
    shown = re.findall(r'<article [^>]*id="([\w-]+)"', write(exhibits=wanted, experiment="tiny").read_text())
    assert {"figure04", "figure05", "figure10"} <= set(shown)
    assert not {"figure06", "figure07", "figure11"} & set(shown)


def test_texts_of_a_store_do_not_become_markup(stored, write):
    run = tiny_run("tiny", HOSTILE, network="Full 20; Output", source=None)
    stored.register([run])
    finish(stored, run)
    file = write(exhibits=[FIGURE, TABLE])
    text = file.read_text()
    assert "alert" in text
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert text.count("</script>") == 2
    shown = unfolded(file)
    assert HOSTILE in shown["runs"][0]["provenance"][shown["provenance"].index("experiments")]


def test_the_page_runs_only_its_own_script(mixed, write):
    text = write().read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy
    assert "default-src 'none'" in policy.group(1)
    assert "script-src 'sha256-" in policy.group(1)
    assert not re.search(r'(?:src|href)="(?!data:|#)', text)


def test_curves_are_thinned_and_keep_their_ends():
    store = FakeStore()
    run = store.add(1000, rule="urfb")
    [detail] = details(store, store.runs(), None)["runs"]
    for name, (epochs, errors) in detail["errors"].items():
        stored = store.epochs()[["epoch", f"{name}_error"]].dropna().set_index("epoch")[f"{name}_error"]
        assert len(epochs) == len(errors) == POINTS
        assert epochs[0] == 1
        assert epochs[-1] == 1000
        assert errors == pytest.approx(100 * stored[epochs].to_numpy(), abs=0.005)
    alignment = detail["alignment"]
    assert alignment["layers"] == ["1: Conv 32 5x5", "2: Full 500", "3: Output"]
    assert alignment["epochs"][0] == 0
    assert alignment["epochs"][-1] == 1000
    stored = store.alignment(run=[run]).pivot(index="epoch", columns="layer", values="correlation")
    expected = stored.loc[alignment["epochs"]].to_numpy().T
    assert np.array(alignment["correlations"]) == pytest.approx(expected, abs=5e-4)


def test_runs_without_anything_measured_have_no_curves():
    store = FakeStore()
    store.add(0, tested=False, rule="bp")
    [detail] = details(store, store.runs(), None)["runs"]
    assert "errors" not in detail
    assert "alignment" not in detail


def test_a_row_shows_how_its_run_differs_from_others():
    store = FakeStore()
    store.add(3, rule="bp", loss="softmax")
    store.add(3, connectivity=0.5, batch_size=50, convention="author-code", experiments="a,b")
    store.add(3, rule="interpolated", epsilon=0.25, epochs_target=30, tested=False)
    plain, other, interpolated = rows(store.runs())
    assert (plain.protocol, plain.dataset, plain.epochs) == ("BP", "CIFAR-10", "3")
    assert (other.protocol, other.settings) == ("URFB 50 %", "convention author-code, batch_size 50")
    assert plain.settings == interpolated.settings == ""
    assert other.experiments == "a, b"
    assert (interpolated.protocol, interpolated.test) == ("interpolated ε 0.25", "")
    assert interpolated.epochs == "3 of 30"
    errors = 100 * store.runs().iloc[0][["training_error", "validation_error", "test_error"]]
    assert [plain.training, plain.validation, plain.test] == [f"{error:.1f}" for error in errors]


def test_summary_totals_training_and_counts_states_and_verdicts(mixed, tmp_path):
    undecided, *others = evaluate(open_store(str(mixed.location)))
    claims = [undecided, undecided, *(replace(claim, verdict=Verdict.SUPPORTED) for claim in others[:2])]
    store = FakeStore()
    store.add(3, seconds=5400.0)
    store.add(4, seconds=1800.0, seed=1)
    store.add(2, seconds=900.0, seed=2, epochs_target=30, state="unfinished")
    text = write_page(store, [], tmp_path / "page.html", claims=claims).file.read_text()
    summary = " ".join(re.sub("<[^>]+>", " ", text.partition('id="findings"')[2]).split())
    for words in (
        "Runs 3 2 done, 1 unfinished", "Claims of the paper 3 2 supported, 0 contradicted, 1 not enough runs",
        "Epochs 9 2 to 4 per run", "Seeds 3 3 for the same settings", "Training time 2.2 hours",
    ):  # fmt: skip
        assert words in summary


def test_details_have_the_end_of_the_log_and_no_file_elsewhere(mixed, write, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret")
    done = mixed.runs()["run"].iloc[0]
    (mixed.location.logs / f"{done}.log").symlink_to(secret)
    runs = unfolded(write())["runs"]
    [logged] = [run["log"] for run in runs if "log" in run]
    assert logged.splitlines()[0] == "line 81"
    assert logged.splitlines()[-1] == "the last words"
    assert "the secret" not in (tmp_path / "page.html").read_text()


def test_the_command_writes_next_to_the_store_and_prints_the_path(mixed, tmp_path, monkeypatch):
    monkeypatch.setattr("urfb.report.paper.FIGURES", (FIGURE,))
    monkeypatch.chdir(tmp_path)

    def report(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["report", "page", "--store", str(mixed.location), *arguments])

    out = tmp_path / "page.html"
    written, hint = report().stdout.splitlines()
    assert written == str(out)
    assert hint.startswith("These show the paper's runs. To show one experiment, use --experiment NAME: ")
    assert "tiny (" in hint
    assert "tiny (" in re.search("Experiments with their runs: .*", out.read_text())[0]
    assert report().stdout == f"{out} (unchanged)\n{hint}\n"
    assert "not enough runs" in out.read_text()
    assert "urfb grid run experiments.yaml claims" in re.sub("<[^>]+>", "", out.read_text())
    assert report("--experiment", "tiny").stdout == f"{tmp_path / 'tiny-page.html'}\n"
    assert report("--out", "deep/mine.html").stdout == f"{Path('deep/mine.html')}\n{hint}\n"
    assert report("--store", "absent.sqlite").exit_code == 2
