"""The effects of a run's precision."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.engines.test_runner import run
from tests.helpers import tiny_run, tiny_spec
from urfb.data.datasets import Dataset
from urfb.errors import DeviceError
from urfb.events import Finished
from urfb.nn.asymmetric import asymmetric_layers
from urfb.training.networks import build_learner, build_network
from urfb.training.passes import Passes, images_of
from urfb.training.trainer import train


def test_precision_is_part_of_the_identity() -> None:
    precisions = ("float32", "float64", "tf32", "bfloat16")
    assert len({tiny_spec(precision=precision).identity for precision in precisions}) == 4


def test_bfloat16_shortens_activities_but_not_weights(digits: Dataset) -> None:
    spec = tiny_spec(rule="urfb", precision="bfloat16", connectivity=0.5, feedback_connectivity=0.5)
    network = build_network(spec, digits.info)
    passes = Passes(build_learner(network, spec), spec, digits)
    types = set()
    for layer in asymmetric_layers(network):
        layer.register_forward_hook(lambda module, inputs, h: types.add(h.dtype))
    before = [(layer.weight - layer.feedback).detach().clone() for layer in asymmetric_layers(network)]
    shared = [layer.mask * layer.feedback_mask for layer in asymmetric_layers(network)[:-1]]
    passes.train(1)
    assert types == {torch.bfloat16}
    for layer, difference, both in zip(asymmetric_layers(network), before, shared, strict=False):
        assert layer.weight.dtype == layer.feedback.dtype == torch.float32
        # W and R take the same increments where both have a connection.
        torch.testing.assert_close((layer.weight - layer.feedback) * both, difference * both, atol=1e-6, rtol=0)
        assert not layer.weight[layer.mask == 0].any()


def test_bfloat16_learns_about_as_well(digits: Dataset, tmp_path: Path) -> None:
    errors = {}
    for precision in ("float32", "bfloat16"):
        spec = tiny_spec(precision=precision, epochs=15)
        *_, finished = train(spec, digits, tmp_path)
        assert isinstance(finished, Finished)
        errors[precision] = finished.test_error
    assert errors["bfloat16"] == pytest.approx(errors["float32"], abs=0.05)
    assert errors["float32"] < 0.2


def test_the_outputs_of_a_bfloat16_run_are_near_those_of_float32(digits: Dataset) -> None:
    outputs = []
    for precision in ("float32", "bfloat16"):
        spec = tiny_spec(precision=precision)
        network = build_network(spec, digits.info).eval()
        noted: list[torch.Tensor] = []
        network.register_forward_hook(lambda module, inputs, output, noted=noted: noted.append(output))
        Passes(build_learner(network, spec), spec, digits).evaluate("test")
        outputs += noted
    assert outputs[1].dtype == torch.bfloat16
    x, _ = images_of(tiny_spec(precision="bfloat16"), digits, digits.test, torch.arange(2))
    assert x.dtype == torch.float32
    difference = (outputs[1].float() - outputs[0]).norm() / outputs[0].norm()
    assert 1e-4 < difference < 0.02


def test_unsupported_precision_is_refused_before_any_writing(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="precision tf32: precision 'tf32' needs a GPU that supports it; choose"):
        run([tiny_run(), tiny_run(precision="tf32")], tmp_path)
    assert not list(tmp_path.glob("*.sqlite"))
