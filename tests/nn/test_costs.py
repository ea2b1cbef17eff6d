"""The costs of networks, compared with their modules."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from urfb.nn.costs import network_costs
from urfb.nn.modules import Network
from urfb.nn.networks import NETWORKS, network_text
from urfb.nn.rules import RULES

ODD = "Conv 4 3x2; Conv 4 3x3; SUM; Maxpool 3; Conv 3 2x2; Maxpool 2; Drop .5; Full 7; Output"


@pytest.mark.parametrize("rule", ["bp", "urfb", "dfa", "sham", "shallow"])
@pytest.mark.parametrize("untied", [frozenset(), frozenset({1, 3})], ids=str)
def test_weights_are_those_of_the_modules(rule: str, untied: frozenset[int]) -> None:
    network = Network(ODD, (3, 9, 7), 5, RULES[rule], seed=0, untied=untied)
    counted = network_costs(ODD, (3, 9, 7), 5, RULES[rule], untied)
    layers = [statement for statement in counted.statements if statement.weights]
    assert [statement.weights for statement in layers] == [layer.weight.numel() for layer in network.layers]
    assert [statement.feedback for statement in layers] == [
        0 if layer.feedback is None else layer.feedback.numel() for layer in network.layers
    ]


@pytest.mark.parametrize("convention", ["paper", "author-code"])
@pytest.mark.parametrize("name", NETWORKS)
def test_operations_of_the_papers_networks_match_pytorchs_count(name: str, convention: str) -> None:
    text = network_text(name, convention)
    network = Network(text, (3, 32, 32), 10, RULES["frfb"], seed=0)
    counted = network_costs(text, (3, 32, 32), 10, RULES["frfb"])
    x = torch.rand(2, 3, 32, 32)
    with FlopCounterMode(display=False) as counter:
        network.eval()(x)
    # An even filter is computed on a grid with one more row and column, which are then dropped.
    even = "2x2" in text
    assert counter.get_total_flops() / 2 == pytest.approx(counted.forward, rel=0.05 if even else 0)
    with FlopCounterMode(display=False) as counter:
        network.train()(x).sum().backward()
    assert counter.get_total_flops() / 2 == pytest.approx(counted.step, rel=0.05 if even else 0)


def test_untied_layer_adds_weights_by_location_but_no_arithmetic() -> None:
    tied = network_costs(ODD, (3, 9, 7), 5, RULES["urfb"])
    untied = network_costs(ODD, (3, 9, 7), 5, RULES["urfb"], frozenset({2}))
    assert (untied.forward, untied.step) == (tied.forward, tied.step)
    assert untied.statements[1].weights == 63 * tied.statements[1].weights


def test_under_shallow_only_the_output_layers_increment_is_computed() -> None:
    counted = network_costs(ODD, (3, 9, 7), 5, RULES["shallow"])
    assert counted.step == counted.forward + counted.statements[-1].forward
