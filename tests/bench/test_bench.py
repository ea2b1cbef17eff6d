"""The baseline is the same network as urfb's, and the measurements are printed and written to a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from urfb.bench.baseline import Baseline, training_step
from urfb.bench.candidates import candidates
from urfb.bench.measure import Figures, _Recorded, peak_memory
from urfb.cli import app
from urfb.data.datasets import Dataset
from urfb.grid.expand import resolve
from urfb.training.networks import build_learner, build_network
from urfb.training.passes import Passes, images_of

CPU = torch.device("cpu")


def test_the_baseline_takes_the_same_step_as_back_propagation(digits: Dataset) -> None:
    text = "Conv 4 3x3; Conv 4 3x3; SUM; Maxpool 2; Conv 3 3x3; Full 20; Output"
    spec = resolve({"network": text, "dataset": "digits", "rule": "bp", "loss": "softmax", "precision": "float64",
                    "batch_size": 50, "epochs": 1}, {})  # fmt: skip
    network, model = build_network(spec, digits.info), Baseline(text, digits.info.classes).double()
    positions = torch.arange(50)
    x, labels = images_of(spec, digits, digits.training, positions)
    model(x)
    grid = model.steps[5][1].in_features // 3  # the baseline flattens by channel, urfb by location
    weights = [parameter.detach().clone() for parameter in network.parameters()]
    weights[3] = weights[3].view(20, grid, 3).mT.flatten(1)
    with torch.no_grad():
        for parameter, weight in zip(model.parameters(), weights, strict=True):
            parameter.copy_(weight)
    torch.testing.assert_close(model(x), network(x))
    training_step(model, torch.optim.SGD(model.parameters(), lr=spec.step_size), x, labels)
    Passes(build_learner(network, spec), spec, digits).step(positions)
    torch.testing.assert_close(model(x), network(x))
    assert not torch.allclose(next(model.parameters()), weights[0])


def test_every_product_of_a_step_is_recorded() -> None:
    bp = next(
        candidate
        for candidate in candidates("Conv 4 3x3; Conv 4 3x3; Full 20; Output", "digits", 50, CPU)
        if candidate.name == "bp"
    )
    with _Recorded() as recorded:
        bp.prepare(1, CPU).step()
    # Two convolutions forward, two backward (each with its increment), and three products for each of two full layers.
    assert len(recorded.calls) == 2 + 2 + 2 * 3
    for call in recorded.calls:
        call()


def test_candidates_are_measured_against_the_baseline() -> None:
    measured = candidates("simpnet", "cifar10", 500, CPU)
    names = [candidate.name for candidate in measured if candidate.code != "biotorch"]
    assert names == [
        "plain PyTorch, NCHW", "plain PyTorch, channels last", "bp", "frfb", "urfb", "urfb 50 %", "urfb untied",
        "urfb bfloat16",
    ]  # fmt: skip
    on_a_gpu = candidates("simpnet", "cifar10", 500, torch.device("cuda"))
    assert "urfb tf32" in [candidate.name for candidate in on_a_gpu]


def test_figures_have_ratios_by_round_and_an_evaluation_share() -> None:
    figures = Figures("n", "cifar10", "a", (10.0, 20.0), (8.0, 10.0), (5.0, 5.0), 100, 1)
    baseline = Figures("n", "cifar10", "b", (20.0, 30.0), (8.0, 10.0), (), 100, 1)
    assert figures.ratios(baseline) == [2.0, 1.5]
    assert figures.over_bare == pytest.approx((10 / 8 + 20 / 10) / 2)
    evaluation = 5 * (1 / 5 + 5_000 / 45_000)
    assert figures.evaluation_share == pytest.approx(evaluation / (evaluation + 15))


@pytest.mark.slow
def test_memory_leaves_out_what_this_process_uses() -> None:
    ours = torch.ones(2**28)  # 1 GiB
    measured = candidates("Conv 4 3x3; Output", "digits", 50, CPU)
    bp = next(candidate for candidate in measured if candidate.name == "bp")
    assert 0 < peak_memory(bp, CPU) < ours.nbytes / 4


@pytest.mark.slow
def test_a_bench_is_printed_and_written(tmp_path: Path) -> None:
    text, path = "Conv 4 3x3; Maxpool 3; Drop .3; Full 20; Output", tmp_path / "bench.json"
    result = CliRunner().invoke(
        app,
        ["bench", text, "--dataset", "digits", "--batch-size", "50", "--rounds", "2", "--json", str(path)],
        env={"COLUMNS": "200"},
    )
    assert result.exit_code == 0, result.output
    assert "urfb 50 %" in result.stdout
    written = json.loads(path.read_text())
    assert written["batch_size"] == 50
    for figures in written["figures"]:
        assert len(figures["step_ms"]) == len(figures["bare_ms"]) == 2
        assert min(figures["step_ms"]) > 0
        assert figures["memory"] > 0
    assert (written["figures"][0]["candidate"], written["figures"][0]["evaluation_ms"]) == ("plain PyTorch, NCHW", [])


def test_an_unknown_network_is_refused() -> None:
    result = CliRunner().invoke(app, ["bench", "simplenet"])
    assert result.exit_code == 2
    assert "simpnet" in result.stderr
