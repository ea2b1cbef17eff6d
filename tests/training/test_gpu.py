from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from tests.helpers import TINY, grid_file, tiny_spec
from urfb import open_store
from urfb.cli import app
from urfb.data.datasets import load
from urfb.events import EpochEnded
from urfb.nn.rules import RULES
from urfb.training.trainer import train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("untied", ["none", "all"])
@pytest.mark.parametrize("rule", sorted(set(RULES) - {"brsf"}))
def test_gpu_and_cpu_agree_in_float64(tmp_path: Path, rule: str, untied: str) -> None:
    """Without dropout and feedback of the batch, whose draws are the device's own."""
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
    for here, there in zip(on_cpu, on_gpu, strict=True):
        assert there.running_loss == pytest.approx(here.running_loss, abs=1e-10)
        assert there.validation_loss == pytest.approx(here.validation_loss, abs=1e-10)
        for one, other in zip(here.alignment, there.alignment, strict=True):
            for name in ("correlation", "gradient_cosine", "filter_similarity"):
                assert getattr(other, name) == pytest.approx(getattr(one, name), abs=1e-10, nan_ok=True)


def test_stages_and_feedback_of_the_batch_are_trained_on_the_gpu(tmp_path: Path) -> None:
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
