"""Properties of random small networks with random rules, masks and untied layers."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy

from urfb.nn.modules import Network
from urfb.nn.notation import Conv, canonical, parse, shapes
from urfb.nn.rules import RULES

CLASSES = 3
grids = st.tuples(st.integers(1, 3), st.integers(4, 9), st.integers(4, 9))
blocks = st.one_of(
    st.builds("Conv {} {}x{}".format, st.integers(1, 4), st.integers(1, 3), st.integers(1, 3)),
    st.builds("Conv {0} 3x3; Conv {0} {1}x2; SUM".format, st.integers(1, 3), st.integers(1, 3)),
    st.sampled_from(["Maxpool 3", "Maxpool 2", "Maxpool 1, stride 1", "Maxpool 3, stride 1", "Drop .5"]),
)


@st.composite
def networks(draw: st.DrawFn) -> str:
    """Draw a network of a few blocks that fits all grids."""
    first = draw(st.lists(blocks, min_size=0, max_size=4))
    pools = 0
    kept = []
    for block in first:
        pools += block in ("Maxpool 3", "Maxpool 2")
        if pools <= 1 or "Maxpool" not in block:
            kept.append(block)
    full = draw(st.lists(st.builds("Full {}".format, st.integers(1, 6)), max_size=2))
    return "; ".join([*kept, *full, "Output"])


cases = st.fixed_dictionaries(
    {
        "text": networks(),
        "grid": grids,
        "rule": st.sampled_from(sorted(RULES)),
        "untied": st.sets(st.integers(1, 5)),
        "how": st.sampled_from(["tied-copy", "independent"]),
        "connectivity": st.sampled_from([1.0, 0.6]),
        "feedback_connectivity": st.sampled_from([1.0, 0.3]),
        "dense_output": st.booleans(),
        "slope": st.sampled_from([1.0, 0.5]),
        "pool_padding": st.sampled_from(["centred", "end"]),
        "seed": st.integers(0, 5),
    }
)
property_test = settings(deadline=None, max_examples=60, derandomize=True)


def build(case: dict[str, Any], **changed: Any) -> Network:
    case = {**case, **changed}
    return Network(
        case["text"], case["grid"], CLASSES, RULES[case["rule"]], seed=case["seed"], dtype=torch.float64,
        connectivity=case["connectivity"], feedback_connectivity=case["feedback_connectivity"],
        dense_output=case["dense_output"], pool_padding=case["pool_padding"], activation_slope=case["slope"],
        untied=case["untied"], untied_start=case["how"],
    ).eval()  # fmt: skip


def batch(case: dict[str, Any]) -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(case["seed"])
    return torch.rand(4, *case["grid"], dtype=torch.float64, generator=stream), torch.arange(4) % CLASSES


def gradients(network: Network, case: dict[str, Any]) -> dict[str, Tensor]:
    x, labels = batch(case)
    learning = {name: value for name, value in network.named_parameters() if value.requires_grad}
    values = torch.autograd.grad(cross_entropy(network(x), labels), list(learning.values()))
    return dict(zip(learning, values, strict=True))


@property_test
@given(cases)
def test_every_statement_has_the_shape_that_the_notation_says(case: dict[str, Any]) -> None:
    network = build(case)
    computed: list[tuple[int, ...]] = []
    for step in network.steps:
        step.register_forward_hook(lambda module, inputs, output: computed.append(tuple(output.shape[1:])))
    outputs = network(batch(case)[0])
    assert outputs.shape == (4, CLASSES)
    statements = parse(case["text"])
    wanted = shapes(case["text"], case["grid"], CLASSES)
    sums = [number for number, statement in enumerate(statements) if str(statement) == "SUM"]
    assert computed == [shape for number, shape in enumerate(wanted) if number not in sums]
    assert canonical(canonical(case["text"])) == canonical(case["text"])
    assert parse(canonical(case["text"].upper().replace(" ", "  "))) == statements


@property_test
@given(cases)
def test_a_copy_of_w_in_rs_place_is_back_propagation(case: dict[str, Any]) -> None:
    bp, sham = (gradients(build(case, rule=rule), case) for rule in ("bp", "sham"))
    for name, gradient in bp.items():
        torch.testing.assert_close(sham[name], gradient, rtol=0, atol=1e-13)


@property_test
@given(cases)
def test_w_and_r_take_one_increment_on_their_own_connections(case: dict[str, Any]) -> None:
    network = build(case)
    computed = gradients(network, case)
    for name, layer in ((name, module) for name, module in network.named_modules() if module in network.layers):
        increment = computed.get(f"{name}.weight")
        if increment is None:
            continue
        if layer.mask is not None:
            assert not increment[layer.mask == 0].any()  # type: ignore[index]
        if f"{name}.feedback" in computed:
            both = torch.ones_like(increment)
            for mask in (layer.mask, layer.feedback_mask):
                both = both if mask is None else both * mask  # type: ignore[operator]
            assert torch.equal(increment * both, computed[f"{name}.feedback"] * both)
            if layer.feedback_mask is not None:
                assert not computed[f"{name}.feedback"][layer.feedback_mask == 0].any()  # type: ignore[index]


@property_test
@given(cases)
def test_untied_copies_compute_what_the_tied_network_does(case: dict[str, Any]) -> None:
    dense = {"connectivity": 1.0, "feedback_connectivity": 1.0}
    tied = build(case, untied=set(), **dense)
    convs = sum(isinstance(statement, Conv) for statement in parse(case["text"]))
    untied = build(case, untied=set(range(1, convs + 1)), how="tied-copy", **dense)
    x, _ = batch(case)
    torch.testing.assert_close(tied(x), untied(x), rtol=0, atol=1e-12)
    pairs = zip(gradients(untied, case).values(), gradients(tied, case).values(), strict=True)
    for untied_gradient, tied_gradient in pairs:
        by_location = untied_gradient.dim() == 5
        summed = untied_gradient.sum(0).permute(0, 3, 1, 2) if by_location else untied_gradient
        torch.testing.assert_close(summed, tied_gradient, rtol=0, atol=1e-12)
