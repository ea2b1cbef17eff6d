"""What networks cost, held to the modules that they are built of."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from urfb.nn.costs import network_costs
from urfb.nn.modules import Network
from urfb.nn.networks import NETWORKS, named
from urfb.nn.rules import RULES

ODD = "Conv 4 3x2; Conv 4 3x3; SUM; Maxpool 3; Conv 3 2x2; Maxpool 2; Drop .5; Full 7; Output"


@pytest.mark.parametrize("rule", ["bp", "urfb", "dfa", "sham", "shallow"])
@pytest.mark.parametrize("untied", [frozenset(), frozenset({1, 3})], ids=str)
def test_weights_are_those_of_the_modules(rule: str, untied: frozenset[int]) -> None:
    network = Network(ODD, (3, 9, 7), 5, RULES[rule], seed=0, untied=untied)
    counted = network_costs(ODD, (3, 9, 7), 5, RULES[rule], untied)
    found = [one for one in counted.statements if one.weights]
    assert [one.weights for one in found] == [layer.weight.numel() for layer in network.layers]
    assert [one.feedback for one in found] == [
        0 if layer.feedback is None else layer.feedback.numel() for layer in network.layers
    ]


@pytest.mark.parametrize("convention", ["paper", "author-code"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_papers_networks_have_the_arithmetic_that_pytorch_counts(name: str, convention: str) -> None:
    text = named(name, convention)
    network = Network(text, (3, 32, 32), 10, RULES["frfb"], seed=0)
    counted = network_costs(text, (3, 32, 32), 10, RULES["frfb"])
    x = torch.rand(2, 3, 32, 32)
    with FlopCounterMode(display=False) as counter:
        network.eval()(x)
    # An even filter is computed on a grid that is larger by one, whose first row and column are dropped.
    even = "2x2" in text
    assert counter.get_total_flops() / 2 == pytest.approx(counted.forward, rel=0.05 if even else 0)
    with FlopCounterMode(display=False) as counter:
        network.train()(x).sum().backward()
    assert counter.get_total_flops() / 2 == pytest.approx(counted.step, rel=0.05 if even else 0)


def test_an_untied_layer_costs_the_same_arithmetic_and_as_many_weights_as_it_has_locations() -> None:
    tied = network_costs(ODD, (3, 9, 7), 5, RULES["urfb"])
    untied = network_costs(ODD, (3, 9, 7), 5, RULES["urfb"], frozenset({2}))
    assert (untied.forward, untied.step) == (tied.forward, tied.step)
    assert untied.statements[1].weights == 63 * tied.statements[1].weights


def test_under_shallow_only_the_output_layers_increment_is_computed() -> None:
    counted = network_costs(ODD, (3, 9, 7), 5, RULES["shallow"])
    assert counted.step == counted.forward + counted.statements[-1].forward


def test_memory_grows_with_the_batch_and_the_precision_and_has_a_part_that_does_not() -> None:
    counted = network_costs(NETWORKS["simpnet"], (3, 32, 32), 10, RULES["urfb"])
    one, two = counted.memory(100, "float32"), counted.memory(200, "float32")
    assert one["weights"] == two["weights"] == 2 * 4 * 4_103_400
    assert two["activity"] == 2 * one["activity"]
    doubled = counted.memory(100, "float64")
    assert doubled["weights"] == 2 * one["weights"]
    # In either precision, a pool's indices, one for each of 32×16×16 maxima, are of 64 bits, and dropout's masks of 8.
    assert doubled["activity"] == 2 * one["activity"] - 100 * (32 * 16 * 16 * (8 + 1) + 500)


@pytest.mark.parametrize(
    "text",
    [
        "Conv 8 3x3; Conv 8 3x3; SUM; Maxpool 3; Conv 6 3x3; Maxpool 2; Drop .5; Full 20; Output",
        "Conv 8 3x3; Maxpool 3; Drop .5; Conv 6 3x3; Conv 6 3x3; SUM; Maxpool 2; Output",
    ],
)
@pytest.mark.parametrize(
    ("rule", "untied"),
    [("bp", ()), ("urfb", ()), ("urfb", (1, 3)), ("sham", ()), ("frsf", (1,)), ("dfa", ()), ("shallow", ())],
)
def test_activity_is_what_a_forward_pass_leaves_for_the_backward_pass(
    rule: str, untied: tuple[int, ...], text: str
) -> None:
    network = Network(text, (3, 12, 12), 5, RULES[rule], seed=0, untied=frozenset(untied)).train()
    own = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    left: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            left[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = network(torch.rand(50, 3, 12, 12))
    assert outputs.requires_grad
    counted = network_costs(text, (3, 12, 12), 5, RULES[rule], frozenset(untied)).memory(50, "float32")
    assert sum(left.values()) == counted["activity"]


def test_an_untied_layers_patches_are_there_for_one_row_at_a_time_but_on_a_gpu_for_all() -> None:
    counted = network_costs("Conv 8 3x3; Output", (3, 12, 12), 5, RULES["urfb"], frozenset({1}))
    on_cpu, on_gpu = (counted.memory(50, "float32", on_gpu=on_gpu) for on_gpu in (False, True))
    assert on_gpu["passing"] - on_cpu["passing"] == (12 - 1) * 12 * 27 * 50 * 4
    assert "overhead" not in on_gpu


def test_the_most_is_passing_where_error_signals_meet_most_of_what_is_still_kept() -> None:
    def passing(text: str) -> float:
        return network_costs(text, (3, 12, 12), 5, RULES["urfb"]).memory(50, "float32")["passing"] / (50 * 4)

    grid = 12 * 12
    # At the second layer: its error signal before and after σ′, and the one below; the output's input is freed by then.
    assert passing("Conv 1 3x3; Conv 8 3x3; Output") == 2 * 8 * grid + grid - 8 * grid
    # Higher up, as the grid's own activity is the larger part: at the second full layer, less the output's input.
    assert passing("Conv 8 3x3; Full 400; Full 400; Output") == 3 * 400 - 400
