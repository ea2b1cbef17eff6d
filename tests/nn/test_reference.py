"""A whole training step against the from-scratch NumPy one, in both conventions, under every rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.nn import reference
from urfb.data.catalog import CATALOG
from urfb.data.datasets import Dataset, Split
from urfb.grid.expand import resolve
from urfb.training.trainer import build_loss, build_network, train_epoch

NETWORKS: dict[str, list[reference.Statement]] = {
    # text: the same, in the reference's own words
    "Conv 3 5x5; Maxpool 3; Full 6; Output": [("conv",), ("pool", 3, 2), ("full",), ("output",)],
    "Conv 3 3x3; Conv 3 3x3; SUM; Maxpool 3, stride 3; Conv 4 2x2; Conv 4 2x2; SUM; Maxpool 2; Full 5; Output": [
        ("conv",), ("conv",), ("sum",), ("pool", 3, 3), ("conv",), ("conv",), ("sum",), ("pool", 2, 2),
        ("full",), ("output",),
    ],
    "Conv 3 3x5; Maxpool 3; Conv 4 2x3; Conv 2 3x3; Maxpool 3; Output": [
        ("conv",), ("pool", 3, 2), ("conv",), ("conv",), ("pool", 3, 2), ("output",),
    ],
}  # fmt: skip


def one_batch() -> Dataset:
    """Return a data set of one batch, of images of odd height."""
    stream = torch.Generator().manual_seed(5)
    info = replace(CATALOG["digits"], shape=(2, 9, 8), classes=4, training=6, scale=16)
    images = torch.randint(0, 17, (6, 9, 8, 2), generator=stream, dtype=torch.uint8)
    split = Split(images, torch.tensor([0, 1, 2, 3, 3, 0]))
    return Dataset(info, split, split, split)


@pytest.mark.parametrize("convention", ["paper", "author-code"])
@pytest.mark.parametrize("text", NETWORKS)
@pytest.mark.parametrize("rule", ["bp", "urfb", "frfb"])
@pytest.mark.parametrize("settings", [{"loss": "softmax"}, {"loss": "hinge", "connectivity": 0.5}], ids=str)
def test_a_step_is_the_references(text: str, convention: str, rule: str, settings: dict[str, Any]) -> None:
    dataset = one_batch()
    spec = resolve(
        {"network": text, "dataset": "digits", "rule": rule, "convention": convention, "precision": "float64",
         "batch_size": 6, "step_size": 0.7, "input_offset": 0.3, "seed": 2, **settings},
        {},
    )  # fmt: skip
    if spec.loss == "hinge":
        spec = spec.model_copy(update={"off_class_weight": 1 / 3})
    network = build_network(spec, dataset.info)
    for layer in network.layers:  # so that units saturate on either side, and errors do not vanish
        layer.weight.data *= 2
    W = [layer.weight.detach().numpy().copy() for layer in network.layers]
    R = [layer.feedback.detach().numpy().copy() for layer in network.layers if layer.feedback is not None]
    whole = [np.ones_like(weight) for weight in W]
    masks = [
        (
            one if layer.mask is None else layer.mask.numpy(),
            one if layer.feedback_mask is None else layer.feedback_mask.numpy(),
        )
        for one, layer in zip(whole, network.layers, strict=True)
    ]
    x = dataset.training.images.numpy().astype(np.float64).transpose(0, 3, 1, 2) / 16 - 0.3
    new_W, new_R = reference.step(
        NETWORKS[text], x, dataset.training.labels.numpy(), W, R or None,
        step_size=0.7, epsilon=1.0 if rule == "urfb" else 0.0,
        slope=1.0 if convention == "paper" else 0.5, zeros_at_the_end=convention != "paper",
        hinge=spec.loss == "hinge", masks=masks,
    )  # fmt: skip

    train_epoch(network, build_loss(spec), spec, dataset, epoch=1)
    for layer, before, after in zip(network.layers, W, new_W, strict=True):
        np.testing.assert_allclose(layer.weight.detach().numpy(), after, rtol=0, atol=1e-12)
        assert np.abs(after - before).max() > 1e-4
    feedback = [layer.feedback for layer in network.layers if layer.feedback is not None]
    for found, wanted in zip(feedback, new_R, strict=True):
        np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=0, atol=1e-12)
