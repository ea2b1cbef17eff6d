"""A whole training step, compared with the NumPy reference, in both conventions and under every rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.nn import reference
from tests.training.made import CLASSES, SCALE, random_dataset
from urfb.grid.expand import resolve
from urfb.nn.modules import Network
from urfb.nn.rules import RULES
from urfb.training.networks import build_learner, build_network
from urfb.training.passes import Passes

NETWORKS: dict[str, list[reference.Statement]] = {
    # the text: its statements for the reference
    "Conv 3 5x5; Maxpool 3; Full 6; Output": [("conv",), ("pool", 3, 2), ("full",), ("output",)],
    "Conv 3 3x3; Conv 3 3x3; SUM; Maxpool 3, stride 3; Conv 4 2x2; Conv 4 2x2; SUM; Maxpool 2; Full 5; Output": [
        ("conv",), ("conv",), ("sum",), ("pool", 3, 3), ("conv",), ("conv",), ("sum",), ("pool", 2, 2),
        ("full",), ("output",),
    ],
    "Conv 3 3x5; Maxpool 3; Conv 4 2x3; Conv 2 3x3; Maxpool 3; Output": [
        ("conv",), ("pool", 3, 2), ("conv",), ("conv",), ("pool", 3, 2), ("output",),
    ],
}  # fmt: skip


PARAMETERS: dict[str, dict[str, float]] = {
    **{rule: {} for rule in RULES},
    "kolen-pollack": {"decay": 0.05},
    "interpolated": {"epsilon": -1.5, "decay": 0.02},
}
DENSE, SPARSE = {"loss": "softmax"}, {"loss": "hinge", "connectivity": 0.5}


@pytest.mark.parametrize("convention", ["paper", "author-code"])
@pytest.mark.parametrize("text", NETWORKS)
@pytest.mark.parametrize("rule", ["bp", "urfb", "frfb"])
@pytest.mark.parametrize("settings", [DENSE, SPARSE], ids=str)
def test_a_step_matches_the_reference(text: str, convention: str, rule: str, settings: dict[str, Any]) -> None:
    check_a_step(text, {"convention": convention, "rule": rule, **settings})


@pytest.mark.parametrize("settings", [DENSE, SPARSE], ids=str)
@pytest.mark.parametrize("untied", ["none", "all"])
@pytest.mark.parametrize("rule", RULES)
def test_a_step_of_every_rule_matches_the_reference(rule: str, untied: str, settings: dict[str, Any]) -> None:
    check_a_step(list(NETWORKS)[1], {"rule": rule, "untied": untied, **PARAMETERS[rule], **settings})


@pytest.mark.parametrize("text", NETWORKS)
@pytest.mark.parametrize("rule", ["urfb", "dfa"])
def test_partly_untied_author_code_step_matches_the_reference(text: str, rule: str) -> None:
    check_a_step(text, {"rule": rule, "untied": "1", "convention": "author-code", "feedback_connectivity": 0.7})


def test_r_decays_even_without_an_increment() -> None:
    check_a_step(next(iter(NETWORKS)), {"rule": "interpolated", "epsilon": 0.0, "decay": 0.05})


@pytest.mark.parametrize("settings", [DENSE, SPARSE], ids=str)
def test_a_smaller_batch_takes_the_step_of_its_own_mean(settings: dict[str, Any]) -> None:
    check_a_step(next(iter(NETWORKS)), {"rule": "urfb", "batch_size": 8, **settings})


def check_a_step(text: str, settings: dict[str, Any]) -> None:
    """Train one step in float64 and compare every weight with the reference's."""
    dataset = random_dataset()
    spec = resolve(
        {"network": text, "dataset": "digits", "precision": "float64", "batch_size": 6, "step_size": 0.7,
         "input_offset": 0.3, "seed": 2, **settings},
        {},
    )  # fmt: skip
    if spec.loss == "hinge":
        spec = spec.model_copy(update={"off_class_weight": 1 / (CLASSES - 1)})
    network = build_network(spec, dataset.info)
    assert isinstance(network, Network)
    for layer in network.layers:  # larger weights, so that units saturate at both bounds and errors do not vanish
        layer.weight.data *= 2
    W = [layer.weight.detach().numpy().copy() for layer in network.layers]
    R = [layer.feedback.detach().numpy().copy() for layer in network.layers if layer.feedback is not None]
    masks = [
        tuple(
            np.ones_like(weight) if mask is None else mask.numpy() for mask in (layer.mask, layer.feedback_mask)
        )
        for weight, layer in zip(W, network.layers, strict=True)
    ]  # fmt: skip
    Passes(build_learner(network, spec), spec, dataset).train(1)
    feedback = [layer.feedback.detach().numpy() for layer in network.layers if layer.feedback is not None]
    if spec.rule == "brsf":  # R is drawn again for this batch
        assert all(np.abs(new - old).max() > 0.01 for new, old in zip(feedback, R, strict=True))
        R = [drawn.copy() for drawn in feedback]

    x = dataset.training.images.numpy().astype(np.float64).transpose(0, 3, 1, 2) / SCALE - 0.3
    rule = spec.rule_of(1)
    new_W, new_R = reference.step(
        spec.rule, NETWORKS[text], x, dataset.training.labels.numpy(), W, R or None,
        step_size=0.7, epsilon=rule.epsilon, decay=rule.decay,
        slope=1.0 if spec.convention == "paper" else 0.5, zeros_at_the_end=spec.convention != "paper",
        hinge=spec.loss == "hinge", masks=masks,
    )  # fmt: skip
    for layer, before, after in zip(network.layers, W, new_W, strict=True):
        np.testing.assert_allclose(layer.weight.detach().numpy(), after, rtol=0, atol=1e-12)
        if spec.rule != "shallow" or layer.is_output:
            assert np.abs(after - before).max() > 1e-4
    for trained, wanted in zip(feedback, new_R, strict=True):
        np.testing.assert_allclose(trained, wanted, rtol=0, atol=1e-12)
