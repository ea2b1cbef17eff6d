from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.nn import functional

from urfb.nn.activity import Dropout, Pool, SaturatedLinearity
from urfb.nn.modules import Network
from urfb.nn.notation import Maxpool
from urfb.nn.rules import RULES

STREAM = torch.Generator().manual_seed(0)


@pytest.mark.parametrize("height", [5, 8, 9, 16])
@pytest.mark.parametrize("width", [6, 7])
def test_overlapping_pools_include_zeros_outside_the_grid(height: int, width: int) -> None:
    # All units are negative, so zeros are the maximum at the edges.
    x = torch.rand(2, 3, height, width, generator=STREAM, dtype=torch.float64) - 1.5
    centred = Pool(Maxpool(3, 2), (3, height, width), "centred", None)(x)
    padded = functional.max_pool2d(functional.pad(x, (1, 1, 1, 1)), 3, 2)
    assert torch.equal(centred, padded)
    end = Pool(Maxpool(3, 2), (3, height, width), "end", None)(x)
    # An even side needs one zero after its last unit. An odd side needs two, because a window starts at its last unit.
    after = [1 if length % 2 == 0 else 2 for length in (width, height)]
    assert torch.equal(end, functional.max_pool2d(functional.pad(x, (0, after[0], 0, after[1])), 3, 2))


def test_zeros_at_the_end_come_only_after_the_grid() -> None:
    """In the author's code, each window starts at a unit, so there is no zero before the first unit."""
    x = -torch.arange(1.0, 26.0).view(1, 1, 5, 5)
    pooled = Pool(Maxpool(3, 2), (1, 5, 5), "end", None)(x)
    assert pooled[0, 0].tolist() == [[-1, -3, 0], [-11, -13, 0], [0, 0, 0]]


@given(
    half=st.integers(1, 3),
    stride=st.integers(1, 6),
    height=st.integers(1, 14),
    width=st.integers(1, 14),
    padding=st.sampled_from(["centred", "end"]),
)
def test_overlapping_pools_of_every_size_match_a_padded_grid(
    half: int, stride: int, height: int, width: int, padding: str
) -> None:
    size = 2 * half + 1
    assume(stride < size)
    x = torch.rand(1, 1, height, width, generator=STREAM) - 0.8
    sides = []
    for length in (width, height):
        windows = -(-length // stride)
        before = half if padding == "centred" else 0
        sides += [before, max((windows - 1) * stride + size - length - before, 0)]
    expected = functional.max_pool2d(functional.pad(x, sides), size, stride)
    windows_down, windows_across = -(-height // stride), -(-width // stride)
    pooled = Pool(Maxpool(size, stride), (1, height, width), padding, None)(x)
    assert torch.equal(pooled, expected[:, :, :windows_down, :windows_across])


def test_an_even_filter_has_its_odd_zero_at_the_end() -> None:
    network = Network("Conv 4 2x2; Output", (1, 5, 5), 3, RULES["bp"], seed=0, dtype=torch.float64)
    x = torch.rand(2, 1, 5, 5, generator=STREAM, dtype=torch.float64)
    expected = functional.conv2d(functional.pad(x, (0, 1, 0, 1)), network.layers[0].weight).clamp(-1, 1)
    torch.testing.assert_close(network.steps[0](x), expected)


def test_sum_adds_the_outputs_of_the_two_conv_layers_before_it() -> None:
    network = Network("Conv 4 3x3; Conv 4 3x3; SUM; Output", (1, 5, 5), 3, RULES["bp"], seed=0)
    x = torch.rand(2, 1, 5, 5, generator=STREAM)
    first = network.steps[0](x)
    second = network.steps[1](first)
    torch.testing.assert_close(network(x), network.steps[3](first + second))


def test_saturated_linearity_passes_error_only_within_bounds() -> None:
    h = torch.tensor([-3.0, -1.0, 0.5, 1.0, 1.5], requires_grad=True)
    x = SaturatedLinearity(1.0)(h)
    assert x.tolist() == [-1, -1, 0.5, 1, 1]
    assert torch.autograd.grad(x.sum(), h)[0].tolist() == [0, 1, 1, 1, 0]
    halved = SaturatedLinearity(0.5)(h)
    assert halved.tolist() == [-1, -0.5, 0.25, 0.5, 0.75]
    assert torch.autograd.grad(halved.sum(), h)[0].tolist() == [0, 0.5, 0.5, 0.5, 0.5]


@pytest.mark.parametrize("fraction", [0.8, 0.3])
@pytest.mark.parametrize("shape", [(1000, 25, 4, 10), (1000, 999)])
def test_dropout_zeroes_a_share_scales_the_rest_and_is_off_at_test(fraction: float, shape: tuple[int, ...]) -> None:
    dropout = Dropout(fraction)
    dropout.stream = torch.Generator().manual_seed(0)
    x = torch.ones(shape)
    dropped = dropout(x)
    assert dropped.unique().tolist() == pytest.approx([0, 1 / (1 - fraction)], rel=1e-4)
    # Each of the four units that share a draw is zeroed equally often, and independently of the others.
    zeroed = (dropped.movedim(1, -1).flatten()[: dropped.numel() // 4 * 4].view(-1, 4) == 0).double()
    deviation = (fraction * (1 - fraction) / len(zeroed)) ** 0.5
    assert (zeroed.mean(dim=0) - fraction).abs().max() < 5 * deviation
    assert torch.corrcoef(zeroed.T).fill_diagonal_(0).abs().max() < 5 / len(zeroed) ** 0.5
    assert torch.equal(dropout.eval()(x), x)


def test_dropout_passes_the_error_signal_of_the_units_it_kept() -> None:
    dropout = Dropout(0.5)
    x = torch.rand(20, 3, 5, 5, generator=STREAM, dtype=torch.float64).add_(0.1).requires_grad_()
    dropped = dropout(x)
    (error_signal,) = torch.autograd.grad(dropped.sum(), x)
    torch.testing.assert_close(error_signal * x, dropped)


@pytest.mark.parametrize("slope", [1.0, 0.5])
@pytest.mark.parametrize("padding", ["centred", "end"])
@pytest.mark.parametrize("windows", [Maxpool(3, 2), Maxpool(2, 2), Maxpool(3, 1)])
def test_sigma_of_a_pool_is_a_pool_of_sigma(windows: Maxpool, padding: str, slope: float) -> None:
    h = torch.randn(20, 3, 7, 8, generator=STREAM, dtype=torch.float64).sub_(1.5).requires_grad_()
    together = Pool(windows, (3, 7, 8), padding, slope)(h)
    after_another = Pool(windows, (3, 7, 8), padding, None)(SaturatedLinearity(slope)(h))
    assert torch.equal(together, after_another)
    delta = torch.randn(together.shape, generator=STREAM, dtype=torch.float64)
    torch.testing.assert_close(*(torch.autograd.grad(x, h, delta)[0] for x in (together, after_another)))
    assert together.min() < 0 < together.max()
