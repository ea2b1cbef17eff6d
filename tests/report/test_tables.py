"""The tables: their numbers, shortfalls, notes and files."""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from tests.report.conftest import FakeStore
from tests.report.test_texts import cells_of, of_latex, plain
from tests.store.simulated import simulated
from urfb.cli import app
from urfb.errors import SelectionError
from urfb.report.drawn import Tabulated
from urfb.report.exhibits import chosen
from urfb.report.published import BARS, PUBLISHED, REPRODUCED, SOURCES
from urfb.report.rendering import Rendered, render
from urfb.report.tables import TABLES
from urfb.store import Store, WritableStore, open_for_writing, open_store
from urfb.theory.spec import Point, SimulationSpec

T_OF_TWO_DEGREES = 4.302653
"""The 97.5 % point of Student's t, from a printed table."""


def tabulated(name: str, store: Any, experiment: str | None = None) -> Tabulated:
    [exhibit] = chosen(TABLES, [name], experiment)
    made = exhibit.make(exhibit.read(store, store.runs()))
    assert isinstance(made, Tabulated)
    assert made.shown.map(lambda cell: isinstance(cell, str)).all(axis=None)
    return made


def rows_of(made: Tabulated, **where: str) -> list[dict[str, str]]:
    return [row for row in made.shown.to_dict("records") if where.items() <= row.items()]


def row_of(made: Tabulated, **where: str) -> dict[str, str]:
    [row] = rows_of(made, **where)
    return row


def half_width(values: list[float]) -> float:
    return T_OF_TWO_DEGREES * statistics.stdev(values) / math.sqrt(3)


def written(name: str, store: Any, out: Path, experiment: str | None = None, **options: Any) -> Rendered:
    [rendered] = render(store, chosen(TABLES, [name], experiment), out, "a.sqlite", **options)
    return rendered


def test_errors_are_means_over_seeds_with_students_interval(store: FakeStore) -> None:
    errors = [0.40, 0.42, 0.47]
    for seed, error in enumerate(errors):
        store.add(4, seed=seed, test_error=error)
    made = tabulated("5", store)
    row = row_of(made, **{"network, data set": "simpnet, CIFAR-10", "protocol": "URFB"})
    assert (row["seeds"], row["epochs"]) == ("3", "4")
    assert row["test (%)"] == f"{100 * statistics.mean(errors):.2f} ± {half_width([100 * one for one in errors]):.2f}"
    validation = [100 * row["validation_error"] for row in store.epoch_rows if row["epoch"] == 4]
    assert row["validation (%)"] == f"{statistics.mean(validation):.2f} ± {half_width(validation):.2f}"
    numbers = made.data.query("n > 0 and set == 'test'").iloc[0]
    assert numbers["high"] - numbers["mean"] == pytest.approx(half_width([100 * error for error in errors]))
    assert numbers["runs"].split() == store.runs()["run"].to_list()


def test_all_three_errors_are_those_after_the_epoch_of_the_test(store: FakeStore) -> None:
    store.add(6, test_epoch=4.0, state="running")
    row = row_of(tabulated("5", store), **{"network, data set": "simpnet, CIFAR-10", "protocol": "URFB"})
    [at] = [row for row in store.epoch_rows if row["epoch"] == 4]
    assert row["epochs"] == "4"
    assert row["training (%)"] == f"{100 * at['training_error']:.2f}"
    assert row["validation (%)"] == f"{100 * at['validation_error']:.2f}"


def test_an_error_that_was_not_measured_is_a_dash(store: FakeStore) -> None:
    store.add(12, test_epoch=11.0)  # training errors are not measured after each epoch
    row = row_of(tabulated("5", store), **{"network, data set": "simpnet, CIFAR-10", "protocol": "URFB"})
    assert row["training (%)"] == "–"
    assert "–" not in row["validation (%)"]


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_have_no_interval(store: FakeStore, seeds: int) -> None:
    for seed in range(seeds):
        store.add(4, seed=seed, test_error=0.41237)
    made = tabulated("5", store)
    assert row_of(made, **{"network, data set": "simpnet, CIFAR-10", "protocol": "URFB"})["test (%)"] == "41.24"
    assert "from three seeds on" in made.notes[0]
    assert "with at least three seeds" in made.meaning
    assert made.data[["low", "high"]].isna().all(axis=None)


def test_a_mean_never_mixes_different_numbers_of_epochs(store: FakeStore) -> None:
    for seed in (0, 1):
        store.add(4, seed=seed)
    long = store.add(6, seed=2, test_error=0.39)
    made = tabulated("5", store)
    row = row_of(made, **{"network, data set": "simpnet, CIFAR-10", "protocol": "URFB"})
    assert (row["seeds"], row["epochs"], row["test (%)"]) == ("1", "6", "39.00")
    assert list(made.runs["run"]) == [long]
    assert "CIFAR-10 (URFB): 1 of 3 seeds" in made.shortfalls


def test_a_failed_seed_is_left_out_and_named(store: FakeStore) -> None:
    store.add(4, seed=0)
    store.add(4, seed=1, tested=False, state="failed")
    made = tabulated("5", store)
    assert row_of(made, **{"network, data set": "simpnet, CIFAR-10", "protocol": "URFB"})["seeds"] == "1"
    assert any("seed 1 failed" in line for line in made.shortfalls)


@pytest.mark.parametrize(("name", "rows"), [("5", 12), ("6", 12), ("9", 16), ("10", 4), ("11", 2)])
def test_an_empty_store_has_rows_without_numbers(store: FakeStore, name: str, rows: int) -> None:
    made = tabulated(name, store)
    assert len(made.shown) == rows
    assert set(made.shown["seeds"]) == {"0"}
    assert made.shortfalls == ["no run of this table in the store"]


def test_the_papers_numbers_are_shown_with_the_same_runs(store: FakeStore) -> None:
    store.add(4, network="deepernet", dataset="cifar100", rule="bp", loss="softmax")
    made = tabulated("6", store)
    for bar in BARS:
        row = row_of(made, **{"network, data set": f"{bar.network}, CIFAR-100", "protocol": bar.protocol})
        assert row["published (%)"] == f"{bar.error:g}"
    assert {row["published (%)"] for row in rows_of(made, protocol="URFB")} == {"–"}
    assert any(note.startswith("Published: Amit (2019)") for note in made.notes)


def test_the_papers_numbers_are_not_shown_with_other_runs(store: FakeStore) -> None:
    store.add(4, network="deepernet", dataset="cifar100", rule="bp", loss="softmax", experiments="quick")
    assert "published (%)" not in tabulated("6", store, "quick").shown
    assert "published (%)" not in tabulated("5", store).shown


def test_a_control_has_no_published_number(store: FakeStore) -> None:
    made = tabulated("input-offset", store)
    of_deepernet = [row for row in rows_of(made, protocol="BP-H") if row["network, data set"].startswith("deepernet")]
    assert [(row["network, data set"], row["published (%)"]) for row in of_deepernet] == [
        ("deepernet, CIFAR-100, input offset 0", "42"),
        ("deepernet, CIFAR-100, input offset 0.5", "–"),
    ]


def test_tied_and_untied_networks_are_rows_of_one_panel(store: FakeStore) -> None:
    store.add(4, test_error=0.3)
    store.add(4, test_error=0.4, untied="all", untied_start="independent")
    made = tabulated("9", store)
    names = [row["protocol"] for row in rows_of(made, **{"network, data set": "simpnet, CIFAR-10"})]
    assert names[4:6] == ["URFB tied", "URFB untied"]
    tests = [row_of(made, protocol=name, seeds="1")["test (%)"] for name in names[4:6]]
    assert tests == ["30.00", "40.00"]


def test_an_experiments_table_has_only_its_own_protocols(store: FakeStore) -> None:
    store.add(2, network="digitnet", dataset="digits", experiments="quick", rule="usf")
    store.add(2)
    made = tabulated("5", store, "quick")
    assert row_of(made)["network, data set"] == "digitnet, digits"
    assert row_of(made)["protocol"] == "uSF"
    assert made.shortfalls == []


def test_correlations_are_those_after_the_last_epoch(store: FakeStore) -> None:
    for seed in range(3):
        store.add(5, seed=seed)
    made = tabulated("10", store)
    final = store.alignment()[lambda rows: rows["epoch"] == 5]
    rows = rows_of(made, protocol="URFB")
    assert [row["layer"] for row in rows] == ["1: Conv 32 5x5", "2: Full 500", "3: Output"]
    for layer, row in enumerate(rows, start=1):
        values = final.loc[final["layer"] == layer, "correlation"].to_list()
        assert row["corr(W, Rᵗ)"] == f"{statistics.mean(values):.3f} ± {half_width(values):.3f}"
        assert (row["seeds"], row["epochs"]) == ("3", "5")
    assert "corr(W, Rᵗ), shared" not in made.shown  # all layers are dense
    assert "No error passes through R of layer 1." in made.notes


def test_sparse_layers_also_have_the_correlation_of_shared_entries(store: FakeStore) -> None:
    store.add(5)
    sparse = store.add(5, connectivity=0.5)
    made = tabulated("10", store)
    last = [row for row in store.alignment_rows if row["run"] == sparse][-1]
    row = rows_of(made, protocol="URFB 50 %")[-1]
    assert row["corr(W, Rᵗ)"] == f"{last['correlation']:.3f}"
    assert row["corr(W, Rᵗ), shared"] == f"{last['correlation_shared']:.3f}"
    assert {row["corr(W, Rᵗ), shared"] for row in rows_of(made, protocol="URFB")} == {"–"}
    assert set(made.data["entries"]) == {"all", "shared"}
    store.add(2, feedback_connectivity=0.5, experiments="quick")
    assert "corr(W, Rᵗ), shared" in tabulated("10", store, "quick").shown  # W is dense, R is not


def test_correlations_never_mix_different_numbers_of_epochs(store: FakeStore) -> None:
    store.add(3, seed=0)
    long = store.add(5, seed=1)
    made = tabulated("10", store)
    assert {(row["seeds"], row["epochs"]) for row in rows_of(made, protocol="URFB")} == {("1", "5")}
    assert list(made.runs["run"]) == [long]


def test_each_rule_has_the_correlations_after_its_last_epoch(store: FakeStore) -> None:
    store.add(5)
    store.add(3, rule="frfb")
    made = tabulated("10", store)
    assert [row["epochs"] for name in ("URFB", "FRFB") for row in rows_of(made, protocol=name)] == ["5"] * 3 + ["3"] * 3


def test_two_stage_runs_show_the_second_without_frozen_layers(store: FakeStore) -> None:
    two_stages = {"pretraining_epochs": 100, "pretraining_rule": "urfb", "frozen": "1"}
    store.add(103, network="deepnet_s", untied="all", untied_start="independent", **two_stages)
    made = tabulated("11", store)
    rows = rows_of(made, protocol="URFB")
    assert [row["layer"] for row in rows] == ["2: Full 500", "3: Output"]
    assert {row["epochs"] for row in rows} == {"3"}
    assert "103 of the paper's 1,100 epochs" in " ".join(made.shortfalls)


def test_back_propagation_has_no_correlation_to_show(store: FakeStore) -> None:
    store.add_protocols(2, seeds=1, experiments="quick")
    assert {"BP", "BP-H"}.isdisjoint(tabulated("10", store, "quick").shown["protocol"])


@pytest.fixture
def theory(tmp_path: Path) -> WritableStore:
    return open_for_writing(str(tmp_path / "theory.sqlite"))


def kept(store: WritableStore, draw: int, errors: tuple[float, float, float], top: float = 0.9, **settings: Any) -> str:
    """Store a simulation of section 5.1 with these errors after 200, 400 and 1,000 iterations; return its identity.

    The top layer's correlation grows to `top` at the end.
    """
    layered = settings.get("rule") != "bp"
    points = [Point(0, 9.0, (None, None, None) if layered else ())]
    points += [
        Point(at, e, (0.0, None, top * at / 1000) if layered else ())
        for at, e in zip((200, 400, 1000), errors, strict=True)
    ]
    standard = {name: getattr(SimulationSpec, name) for name in ("layers", "iterations", "step_size")}
    if settings.get("rule") == "bp":
        standard |= {"epsilon": None, "start": "random"}
    one = simulated(tuple(points), draw=draw, **{**standard, **settings})
    store.keep_simulation(one)
    return one.spec.identity


def test_simulations_have_log_errors_and_an_independent_reference(theory: WritableStore) -> None:
    for draw in range(3):
        kept(theory, draw, (10.0, 1.0, 10.0 ** -(draw + 1)), top=0.9 + draw / 100)
    made = tabulated("12", open_store(str(theory.location)))
    row = row_of(made, by="discrete steps", rule="ε = 0.5")
    assert row["draws"] == "3"
    assert row["log₁₀ e, 200"] == "1.00 ± 0.00"
    assert row["log₁₀ e, 1,000"] == f"−2.00 ± {half_width([1, 2, 3]):.2f}"
    assert row["corr(W₁, R₁ᵗ)"] == "0.00 ± 0.00"
    assert row["corr(W₂, R₂ᵗ)"] == "–"
    assert row["corr(W₃, R₃ᵗ)"] == f"0.91 ± {half_width([0.90, 0.91, 0.92]):.2f}"
    reference = row_of(made, by="independent", rule="ε = 0.5")
    [reproduced] = [one for one in REPRODUCED if one.epsilon == 0.5]
    assert reference["log₁₀ e, 200"] == f"{reproduced.errors[0]:.2f}"
    assert "ε = 0.5" not in " ".join(made.shortfalls)
    assert {"BP: no simulation", "ε = 1: no simulation"} < set(made.shortfalls)


def test_back_propagation_is_a_rule_among_the_simulations(theory: WritableStore) -> None:
    kept(theory, 0, (10.0, 1.0, 0.1), rule="bp")
    made = tabulated("12", open_store(str(theory.location)))
    row = row_of(made, by="discrete steps", rule="BP")
    assert (row["draws"], row["log₁₀ e, 1,000"], row["corr(W₃, R₃ᵗ)"]) == ("1", "−1.00", "–")
    assert "BP: 1 of 3 draws" in made.shortfalls


def test_methods_and_settings_are_not_mixed_and_divergence_is_noted(theory: WritableStore) -> None:
    own = kept(theory, 0, (10.0, 1.0, 0.1))
    solved = kept(theory, 0, (100.0, 1.0, 0.1), method="ode")
    kept(theory, 1, (1000.0, 1.0, 0.1), step_size=1e-3)
    kept(theory, 1, (1000.0, 1.0, 0.1), feedback_scale=0.3)
    theory.keep_simulation(
        simulated((Point(0, 9.0, (None,) * 3),), diverged_at=7, draw=2, layers=SimulationSpec.layers,
                  iterations=SimulationSpec.iterations, step_size=SimulationSpec.step_size)
    )  # fmt: skip
    made = tabulated("12", open_store(str(theory.location)))
    assert row_of(made, by="discrete steps", rule="ε = 0.5")["log₁₀ e, 200"] == "1.00"
    assert row_of(made, by="ODE solver", rule="ε = 0.5")["log₁₀ e, 200"] == "2.00"
    assert sorted(made.runs["simulation"]) == sorted([own, solved])
    assert "ε = 0.5, draw 2, discrete steps: diverged at iteration 7" in made.shortfalls
    assert "ε = 0.5: 1 of 3 draws" in made.shortfalls


def test_the_files_list_the_simulations_or_the_command_for_them(theory: WritableStore, tmp_path: Path) -> None:
    store = open_store(str(theory.location))
    assert written("12", store, tmp_path).completing_command == "urfb theory run --store a.sqlite"
    assert written("12", store, tmp_path).shortfalls == ["no simulation in the store"]
    identity = kept(theory, 0, (10.0, 1.0, 0.1))
    rendered = written("12", store, tmp_path)
    assert rendered.made
    assert f"# simulation {identity}: ε = 0.5, draw 0, discrete\n" in rendered.files[2].read_text()


def test_published_results_have_their_sources_and_no_runs(store: FakeStore) -> None:
    store.add(4)
    made = tabulated("published", store)
    assert made.runs.empty
    assert set(made.shown["source"]) == {source.name for source in SOURCES}
    assert all(any(note.startswith(f"{source.name}: http") for note in made.notes) for source in SOURCES)
    assert len(made.data) == sum(len(one.values) for one in PUBLISHED)
    assert row_of(made, network="LeNet", rule="frSF")["error (%)"] == "16.86"
    ours = row_of(made, source="makrout", rule="URFB")
    [accuracy] = [one.values["URFB"] for one in PUBLISHED if one.of == "last epoch"]
    assert (ours["error (%)"], ours["seeds"]) == (f"{100 - accuracy:.1f}", "1")
    with pytest.raises(SelectionError, match="Table published cannot show the runs of 'quick'"):
        chosen(TABLES, ["published"], "quick")


def test_runs_table_has_epochs_and_hours_for_each_machine(store: FakeStore) -> None:
    store.add(4, seed=0, seconds=100.0)
    store.add(6, seed=1, seconds=140.0, threads=2)
    store.add(6, seed=2, seconds=300.0)
    store.add(0, seed=3, tested=False, state="new", seconds=0.0, device_name=None)
    begun_elsewhere = {"device": None, "device_name": None, "threads": np.nan, "state": "running"}
    store.add(3, seed=4, seconds=45.0, **begun_elsewhere)
    store.add(1000, rule="frfb", device="cuda", device_name="a GPU", seconds=36.0, dataset="cifar100")
    store.add(2, batch_size=50, connectivity=0.5)
    made = tabulated("runs", store)
    rows = [tuple(row.values()) for row in made.shown.to_dict("records")]
    assert sorted(rows) == sorted(
        [
            ("simpnet, CIFAR-10, batch size 500", "URFB", "2", "4 to 6", "40.0", "0.0556", "a processor, 1 thread"),
            ("simpnet, CIFAR-10, batch size 500", "URFB", "1", "6", "23.3", "0.0389", "a processor, 2 threads"),
            ("simpnet, CIFAR-10, batch size 500", "URFB", "1", "3", "15.0", "0.0125", "unknown"),
            ("simpnet, CIFAR-10, batch size 50", "URFB 50 %", "1", "2", "10.0", "0.0056", "a processor, 1 thread"),
            ("simpnet, CIFAR-100", "FRFB", "1", "1,000", "0.0", "0.0100", "a GPU"),
        ]
    )
    assert made.notes[:3] == [
        "On a GPU: 1 run, 1,000 epochs, 0.0100 hours.",
        "On a processor, 1 thread: 3 runs, 12 epochs, 0.1167 hours.",
        "On a processor, 2 threads: 1 run, 6 epochs, 0.0389 hours.",
    ]
    assert made.notes[3] == "On an unknown machine: 1 run, 3 epochs, 0.0125 hours."
    assert len(made.runs) == made.data["n"].sum() == 6
    assert made.data["seconds"].sum() == 100 + 140 + 300 + 36 + 20 + 45


def test_runs_table_names_a_single_machine_only_below(store: FakeStore) -> None:
    store.add(4)
    made = tabulated("runs", store)
    assert "machine" not in made.shown
    assert made.notes[0].startswith("On a processor, 1 thread: 1 run, 4 epochs")
    assert list(made.data["machine"]) == ["a processor, 1 thread"]


def test_the_table_of_runs_of_an_empty_store_is_empty(store: FakeStore, tmp_path: Path) -> None:
    assert tabulated("runs", store).shortfalls == ["no run of this table in the store"]
    store.add(0, tested=False, state="new")
    assert tabulated("runs", store).shown.empty
    [markdown, *_] = written("runs", store, tmp_path).files
    assert "selection: all runs" in markdown.read_text()


def test_a_table_has_three_files_with_its_provenance(store: FakeStore, tmp_path: Path) -> None:
    store.add_protocols(3, seeds=2)
    rendered = written("5", store, tmp_path)
    assert [file.name for file in rendered.files] == ["table05.md", "table05.tex", "table05.csv"]
    numbers = pd.read_csv(rendered.files[2], comment="#")
    assert {"panel", "protocol", "set", "epochs", "mean", "low", "high", "n", "runs"} == set(numbers.columns)
    named = {run for runs in numbers["runs"].dropna() for run in runs.split()}
    assert named == set(store.runs()["run"])
    for file in rendered.files:
        text = file.read_text()
        assert "made by: urfb report tables 5 --store a.sqlite" in text
        assert "Figure 5 of Amit (2019)" in text
        assert all(f"run {run}: simpnet, cifar10" in text for run in named)
    for file in rendered.files[:2]:
        assert "Incomplete: CIFAR-100: no run." in file.read_text()
    assert not written("5", store, tmp_path).made
    store.epoch_rows[2]["validation_error"] += 0.01
    assert written("5", store, tmp_path).made


def test_an_experiments_table_is_not_named_after_the_paper(store: FakeStore, tmp_path: Path) -> None:
    store.add(3, experiments="quick", dataset="digits", network="digitnet")
    rendered = written("5", store, tmp_path, "quick")
    assert rendered.files[0].name == "quick-table05.md"
    text = rendered.files[0].read_text()
    assert text.startswith("**Table 5 for the experiment quick: error rates of every protocol**\n")
    assert r"\label{tab:quick-table05}" in rendered.files[1].read_text()  # one document may have both
    assert "Amit" not in text


def test_hostile_names_stay_text_in_every_file(store: FakeStore, tmp_path: Path) -> None:
    name = "a|b <script>x</script> 100% _$c$_ \x1b[31m --> {\\input}"
    store.add(3, network=name, experiments="quick")
    rendered = written("5", store, tmp_path, "quick")
    markdown, latex = (file.read_text() for file in rendered.files[:2])
    seen = plain(f"{name}, CIFAR-10")
    assert cells_of(markdown)[1][0] == seen
    row = next(line for line in latex.splitlines() if line.startswith("a\\textbar{}b"))
    assert "\x1b" not in row
    assert of_latex(row.split(" & ")[0]) == seen
    assert markdown.count("-->") == 1
    assert pd.read_csv(rendered.files[2], comment="#")["panel"][0] == f"{name}, CIFAR-10"


@pytest.fixture
def run(tmp_path: Path, store: FakeStore, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that runs `urfb report tables` on a small store."""
    opened = open_for_writing(str(tmp_path / "urfb.sqlite"))
    assert isinstance(opened, Store)
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["report", "tables", *arguments, "--store", "urfb.sqlite"])

    return invoke


def test_the_command_prints_the_files_and_the_completing_command(run: Any, tmp_path: Path) -> None:
    result = run("5")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "Table 5",
        "  tables/table05.md",
        "  tables/table05.tex",
        "  tables/table05.csv",
        "  incomplete: no run of this table in the store",
        "  to complete it: urfb grid run experiments.yaml figure5 --store urfb.sqlite",
    ]
    assert (tmp_path / "tables" / "table05.tex").exists()
    assert run("5").stdout.startswith("Table 5 (unchanged)\n")


def test_all_tables_are_written_by_default(run: Any, tmp_path: Path) -> None:
    result = run("--out", "elsewhere")
    assert result.exit_code == 0
    assert len(list((tmp_path / "elsewhere").iterdir())) == 3 * len(TABLES)


def test_print_writes_only_markdown(run: Any, tmp_path: Path) -> None:
    result = run("5", "published", "--print")
    first, second = ((tmp_path / "tables" / name).read_text() for name in ("table05.md", "table-published.md"))
    assert result.stdout == "\n".join(text.partition("\n<!--\n")[0] for text in (first, second))
    assert "made by" not in result.stdout


def test_an_unknown_table_is_one_message(run: Any) -> None:
    result = run("7")
    assert result.exit_code == 2
    assert "there is no table '7'" in result.stderr


def test_the_help_has_an_example(run: Any) -> None:
    assert "urfb report tables 5 --print" in run("--help").stdout
