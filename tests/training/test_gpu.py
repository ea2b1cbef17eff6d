from __future__ import annotations

import itertools
from functools import partial
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from tests.helpers import TINY, grid_file, tiny_spec
from urfb import open_store
from urfb.cli import app
from urfb.data.datasets import load
from urfb.engines.measuring import measured_memory, peaks
from urfb.events import EpochEnded, Finished, Stopped
from urfb.nn.rules import RULES
from urfb.training.graphs import Graphed
from urfb.training.networks import build_learner, build_network
from urfb.training.passes import Passes
from urfb.training.trainer import train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("untied", ["none", "all"])
@pytest.mark.parametrize("rule", sorted(set(RULES) - {"brsf"}))
def test_gpu_and_cpu_agree_in_float64(tmp_path: Path, rule: str, untied: str) -> None:
    """Compare runs without dropout and redrawn feedback, whose draws differ between devices."""
    spec = tiny_spec(
        network=TINY.replace("Drop .3; ", ""), precision="float64", epochs=3, connectivity=0.5, rule=rule,
        untied=untied, gradient_batch=50, **dict.fromkeys(RULES[rule].required, 0.01),
    )  # fmt: skip
    on_cpu, on_gpu = (
        [
            event
            for event in train(spec, load("digits", Path(), device), tmp_path / device, device=device)
            if isinstance(event, EpochEnded)
        ]
        for device in ("cpu", "cuda")
    )
    for cpu_epoch, gpu_epoch in zip(on_cpu, on_gpu, strict=True):
        assert gpu_epoch.running_loss == pytest.approx(cpu_epoch.running_loss, abs=1e-10)
        assert gpu_epoch.validation_loss == pytest.approx(cpu_epoch.validation_loss, abs=1e-10)
        for cpu_point, gpu_point in zip(cpu_epoch.alignment, gpu_epoch.alignment, strict=True):
            for name in ("correlation", "gradient_cosine", "filter_similarity", "saturation"):
                assert getattr(gpu_point, name) == pytest.approx(getattr(cpu_point, name), abs=1e-10, nan_ok=True)


def test_stages_and_redrawn_feedback_are_trained_on_the_gpu(tmp_path: Path) -> None:
    network = "Conv 4 3x3; Conv 4 3x3; SUM; Maxpool 3; Drop .3; Full 20; Output"
    spec = tiny_spec(network=network, rule="brsf", pretraining_epochs=2, untied="all", epochs=4)
    events = list(train(spec, load("digits", Path(), "cuda"), tmp_path, device="cuda"))
    errors = [event.training_error for event in events if isinstance(event, EpochEnded)]
    assert len(errors) == 4
    assert errors[3] < errors[2]


def test_a_grid_is_trained_on_the_gpu(tmp_path: Path) -> None:
    store = tmp_path / "urfb.sqlite"
    result = CliRunner().invoke(
        app, ["grid", "run", str(grid_file(tmp_path)), "--store", str(store), "--device", "cuda"]
    )
    assert result.exit_code == 0, result.output
    assert open_store(str(store)).runs()["device"].str.startswith("cuda").all()


def test_a_graph_computes_the_same_as_single_launches(tmp_path: Path) -> None:
    """Compare epochs that are launched as graphs after the first batches with epochs of single launches."""
    spec = tiny_spec(precision="float64", connectivity=0.5, epochs=1)
    dataset = load("digits", Path(), "cuda")
    ends = []
    for graphed in (True, False):
        network = build_network(spec, dataset.info).to("cuda")
        passes = Passes(build_learner(network, spec), spec, dataset)
        assert isinstance(passes._step, Graphed)
        if not graphed:
            passes._step = passes.step
        running = [passes.train(epoch) for epoch in (1, 2, 3)]
        assert graphed == (isinstance(passes._step, Graphed) and passes._step.graph is not None)
        ends.append((running, passes.evaluate("validation"), [values.clone() for values in network.parameters()]))
    (running, evaluation, weights), (expected_running, expected_evaluation, expected_weights) = ends
    assert running == [pytest.approx(measured, abs=1e-10) for measured in expected_running]
    assert evaluation == pytest.approx(expected_evaluation, abs=1e-10)
    torch.testing.assert_close(weights, expected_weights, rtol=0, atol=1e-10)


@pytest.mark.parametrize("rule", ["urfb", "brsf"])
def test_a_resumed_run_has_the_same_numbers_on_the_gpu(tmp_path: Path, rule: str) -> None:
    spec = tiny_spec(rule=rule, epochs=5)
    dataset = load("digits", Path(), "cuda")
    whole = list(train(spec, dataset, tmp_path / "whole", device="cuda"))
    list(train(spec.model_copy(update={"epochs": 2}), dataset, tmp_path / "parts", device="cuda"))
    resumed = list(train(spec, dataset, tmp_path / "parts", epochs_stored=2, device="cuda"))
    losses = [[event.running_loss for event in events if isinstance(event, EpochEnded)] for events in (whole, resumed)]
    assert losses[0][2:] == losses[1]


@pytest.mark.parametrize("network", [TINY, "tests.training.test_interruption:build"], ids=["graph", "user's model"])
def test_a_run_resumed_within_an_epoch_has_the_same_numbers_on_the_gpu(tmp_path: Path, network: str) -> None:
    spec = tiny_spec(network=network, epochs=2)
    dataset = load("digits", Path(), "cuda")
    whole = list(train(spec, dataset, tmp_path / "whole", device="cuda"))
    asked = itertools.count(1)
    part = list(train(spec, dataset, tmp_path / "parts", device="cuda", stop=lambda: next(asked) == 12))
    assert isinstance(part[-1], Stopped)
    resumed = list(train(spec, dataset, tmp_path / "parts", device="cuda"))
    losses = [[event.running_loss for event in events if isinstance(event, EpochEnded)] for events in (whole, resumed)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_lower_precision_learns_about_as_well(tmp_path: Path, precision: str) -> None:
    dataset = load("digits", Path(), "cuda")
    errors = []
    for compared in ("float32", precision):
        *_, finished = train(tiny_spec(precision=compared, epochs=15), dataset, tmp_path, device="cuda")
        assert isinstance(finished, Finished)
        errors.append(finished.test_error)
    assert errors[1] == pytest.approx(errors[0], abs=0.05)


def test_a_step_is_measured_on_the_gpu() -> None:
    result = CliRunner().invoke(app, ["bench", TINY, "--dataset", "digits", "--batch-size", "50", "--rounds", "2"])
    assert result.exit_code == 0, result.output
    assert "urfb tf32" in result.stdout


def test_gpu_memory_is_measured_and_too_large_a_run_is_reported() -> None:
    large = tiny_spec(network="Full 100000; Output")
    sizes = measured_memory([tiny_spec(), large], partial(peaks, device="cuda:0", free=2**28))
    assert 0 < sizes[0] <= 2**28 < sizes[1]
