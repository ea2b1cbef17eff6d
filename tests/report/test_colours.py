"""One colour and one marker for each protocol, whatever else is in a figure."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb

from urfb.nn.rules import RULES
from urfb.report.colours import MARKERS, epsilon_look, layer_looks, look_of
from urfb.report.protocols import BP, BP_H, FRFB, PROTOCOLS, TIED_AND_UNTIED, URFB, protocols_in

ALL = [
    ("bp", "softmax"),
    *((rule, "hinge") for rule, declared in RULES.items() if not declared.required),
]


def test_each_rule_has_a_different_colour_and_marker():
    looks = [look_of(rule, loss) for rule, loss in ALL]
    looks += [look_of("kolen-pollack", "hinge", decay=0.001), look_of("interpolated", "hinge", epsilon=0.5)]
    assert len({look.colour for look in looks}) == len(looks)
    assert {rule for rule, _ in ALL} | {"kolen-pollack", "interpolated"} == set(RULES)
    base = [look_of(rule, loss).marker for rule, loss in ALL if (rule, loss) != ("bp", "hinge")]
    assert len(set(base)) == len(base)


def test_the_papers_colours_are_green_blue_and_red():
    def largest(protocol):
        return max(range(3), key=to_rgb(protocol.colour).__getitem__)

    assert [largest(protocol) for protocol in (FRFB, BP, BP_H, URFB)] == [0, 1, 1, 2]


def test_a_colour_does_not_depend_on_what_else_is_there(store):
    store.add(2, rule="usf")
    store.add(2, rule="my_rules:half")
    store.add(2, rule="interpolated", epsilon=0.3)
    alone = {protocol.name: (protocol.colour, protocol.marker) for protocol in protocols_in(store.runs())}
    store.add_protocols(2)
    store.add(2, rule="brsf")
    store.add(2, rule="interpolated", epsilon=0.1)
    together = {protocol.name: (protocol.colour, protocol.marker) for protocol in protocols_in(store.runs()[::-1])}
    assert {name: together[name] for name in alone} == alone
    assert len(together) == len(PROTOCOLS) + 5


def test_values_of_epsilon_come_in_their_order(store):
    for epsilon in (0.5, 0.01, 0.25, 0.1):
        store.add(2, rule="interpolated", epsilon=epsilon)
    assert [protocol.epsilon for protocol in protocols_in(store.runs())] == [0.01, 0.1, 0.25, 0.5]


def test_epsilon_goes_from_the_colour_of_frfb_to_that_of_urfb():
    assert epsilon_look(0)[0] == FRFB.colour
    assert epsilon_look(1)[0] == URFB.colour
    reds, _, blues = zip(*(to_rgb(epsilon_look(number / 10)[0]) for number in range(11)), strict=True)
    assert list(reds) == sorted(reds, reverse=True)
    assert reds[0] > blues[0]
    assert blues[-1] > reds[-1]


@pytest.mark.parametrize("step", [0.01, 0.05, 0.1, 0.125, 0.25])
def test_neighbouring_epsilons_have_different_markers(step):
    markers = [epsilon_look(step * number)[1] for number in range(1, 5)]
    assert all(one != other for one, other in itertools.pairwise(markers))


def test_losses_connectivities_and_decays_are_shades():
    shades = [
        look_of("urfb", "hinge"),
        look_of("urfb", "softmax"),
        look_of("urfb", "hinge", 0.5, 0.5),
        look_of("urfb", "hinge", 0.25, 0.25),
        look_of("urfb", "hinge", 0.5, 0.25),
        look_of("urfb", "softmax", 0.5, 0.5),
    ]
    assert len({shade.colour for shade in shades}) == len(shades)
    assert all(sum(to_rgb(shade.colour)) > sum(to_rgb(URFB.colour)) for shade in shades[1:])
    assert [bool(shade.hatch) for shade in shades] == [False, False, True, True, True, True]
    decays = [look_of("kolen-pollack", "hinge", decay=decay) for decay in (0.1, 0.01, 0.001, 0.0001)]
    assert len({look.colour for look in decays}) == 4


def test_untied_bars_are_hatched_in_the_protocols_colour():
    for tied, untied in zip(TIED_AND_UNTIED[::2], TIED_AND_UNTIED[1::2], strict=True):
        assert tied.colour == untied.colour
        assert tied.hatch != untied.hatch


@given(st.text(min_size=1), st.sampled_from(["hinge", "softmax"]), st.floats(0.01, 1), st.floats(0, 0.5))
def test_any_rule_has_a_look(name, loss, connectivity, decay):
    look = look_of(f"mine:{name}", loss, connectivity, connectivity, None, decay)
    assert look == look_of(f"mine:{name}", loss, connectivity, connectivity, None, decay)
    assert look.marker in MARKERS
    assert max(to_rgb(look.colour)) <= 1


def test_layers_keep_their_look_in_a_network_of_one_depth():
    assert layer_looks([3, 2, 1], 3)[2] == layer_looks([2], 3)[2]
    assert len({look["color"] for look in layer_looks(range(1, 12), 11).values()}) == 11
