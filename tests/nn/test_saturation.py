from __future__ import annotations

import numpy as np
import pytest
import torch

from urfb.nn.modules import Network
from urfb.nn.rules import RULES
from urfb.nn.saturation import saturation

IMAGES = torch.rand(5, 2, 6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def network(text: str, **settings: object) -> Network:
    defaults = {"rule": RULES["urfb"], "seed": 0, "dtype": torch.float64}
    return Network(text, (2, 6, 7), 4, **{**defaults, **settings}).eval()  # type: ignore[arg-type]


def test_the_fraction_matches_numpy() -> None:
    below = network("Full 30; Full 20; Output")
    W1, W2 = (3 * layer.weight.detach().numpy() for layer in below.layers[:2])
    for layer in below.layers:
        layer.weight.data *= 3
    h1 = IMAGES.permute(0, 2, 3, 1).flatten(1).numpy() @ W1.T
    h2 = np.clip(h1, -1, 1) @ W2.T
    fractions = saturation(below, IMAGES)
    assert list(fractions) == below.layers[:2]  # the output layer has no σ
    assert list(fractions.values()) == pytest.approx([np.mean(np.abs(h1) > 1), np.mean(np.abs(h2) > 1)])
    assert 0.1 < min(fractions.values()) < max(fractions.values()) < 0.9


@pytest.mark.parametrize("untied", [(), (1,)], ids=["tied", "untied"])
def test_units_of_the_grid_are_counted_before_pooling(untied: tuple[int, ...]) -> None:
    # The convolution with a 2×2 filter adds a row and a column, which are then dropped and must not count.
    text = "Conv 3 2x2; {}Output"
    pooled, unpooled = (
        network(text.format(pool), untied=untied, untied_start="tied-copy") for pool in ("Maxpool 3; ", "")
    )
    for variant in (pooled, unpooled):
        variant.layers[0].weight.data *= 4
    with torch.no_grad():
        x = unpooled.steps[0](IMAGES)
    expected = float((x.abs() == 1).double().mean())
    assert 0.1 < expected < 0.9
    for variant in (pooled, unpooled):
        assert list(saturation(variant, IMAGES).values()) == pytest.approx([expected])


def test_smaller_slope_saturates_less_and_bounds_do_not_count() -> None:
    steep = network("Full 8; Output")
    steep.layers[0].weight.data.fill_(0)
    steep.layers[0].weight.data[:, 0] = torch.tensor([1, -1, 1.5, -1.5, 2, -2, 3, 0.5], dtype=torch.float64)
    bright = torch.ones_like(IMAGES)
    assert list(saturation(steep, bright).values()) == [5 / 8]
    half = network("Full 8; Output", activation_slope=0.5)
    half.layers[0].weight.data = steep.layers[0].weight.data
    assert list(saturation(half, bright).values()) == [1 / 8]


def test_no_hooks_are_left_in_the_network() -> None:
    measured = network("Conv 3 3x3; Maxpool 3; Full 8; Output")
    saturation(measured, IMAGES)
    assert not any(module._forward_hooks for module in measured.modules())
