from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from urfb.errors import NotationError
from urfb.nn.networks import NETWORKS, network_text
from urfb.nn.notation import Drop, canonical, parse, shapes

CIFAR = (3, 32, 32)


def test_case_and_spacing_do_not_matter() -> None:
    printed = "conv 16 3x3; conv 16 3x3;\n SUM;maxpool 3, stride 3; drop .5; full conn. 500; output"
    assert canonical(printed) == "Conv 16 3x3; Conv 16 3x3; SUM; Maxpool 3, stride 3; Drop .5; Full 500; Output"
    assert canonical("Maxpool 3, stride 2; drop 0.30; Output;") == "Maxpool 3; Drop .3; Output"


@given(st.floats(min_value=0, max_value=1, exclude_max=True))
def test_every_fraction_is_written_in_the_notation(fraction: float) -> None:
    (drop, _) = parse(f"Drop {format(Decimal(repr(fraction)), 'f') if fraction else 0}; Output")
    assert drop == Drop(fraction)
    assert parse(f"{drop}; Output")[0] == drop


def test_simpnet_has_the_sizes_of_section_4() -> None:
    assert shapes(NETWORKS["simpnet"], CIFAR, 10) == (
        (32, 32, 32),
        (32, 16, 16),
        (32, 16, 16),
        (500,),
        (500,),
        (10,),
    )


def test_overlapping_pools_halve_and_disjoint_cut_the_last_window() -> None:
    grids = [shape[1:] for shape in shapes(NETWORKS["deepnet_s"], CIFAR, 10) if len(shape) == 3]
    assert list(dict.fromkeys(grids)) == [(32, 32), (11, 11), (6, 6), (3, 3)]
    assert shapes("Maxpool 3; Output", (1, 7, 10), 2)[0] == (1, 4, 5)


def test_only_the_authors_deepernet_has_2x2_filters() -> None:
    assert "2x2" in network_text("deepernet", "author-code")
    assert "2x2" not in network_text("deepernet", "paper")
    assert network_text("simpnet", "author-code") == network_text("simpnet", "paper")


@pytest.mark.parametrize("name", NETWORKS)
def test_the_networks_are_written_the_canonical_way(name: str) -> None:
    assert canonical(NETWORKS[name]) == NETWORKS[name]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Conv 32; Output", "statement 1, 'Conv 32', is not in the paper's notation"),
        ("Conv 32 5x5; Bathnorm; Output", "statement 2, 'Bathnorm'"),
        ("Drop 1.5; Output", "statement 1, 'Drop 1.5'"),
        ("Conv 0 5x5; Output", "sizes must be at least 1"),
        ("Full 500", "a network ends with 'Output', as in 'Full 500; Output'"),
        (" Conv 8  3x3;Full 20; ", "as in 'Conv 8 3x3; Full 20; Output'"),
        ("Maxpool 2, stride 1; Output", "overlap and have an odd size"),
        ("Maxpool 2, stride 4; Output", "disjoint, with a stride equal to their size"),
        ("Output; Full 5; Output", "exactly one 'Output'"),
        ("", "statement 1, ''"),
    ],
)
def test_a_wrong_text_is_refused_with_its_statement(text: str, message: str) -> None:
    with pytest.raises(NotationError, match=message):
        canonical(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Full 10; Conv 8 3x3; Output", "statement 2, 'Conv 8 3x3': comes after a full layer"),
        ("Conv 8 90x3; Output", "statement 1, 'Conv 8 90x3': the filter is larger than its grid of 32x32"),
        ("Maxpool 40, stride 40; Output", "window is larger than its grid"),
        ("Conv 8 3x3; SUM; Output", "statement 2, 'SUM': needs two conv layers"),
        ("Conv 8 3x3; Conv 8 3x3; Drop .5; SUM; Output", "statement 4, 'SUM': needs two conv layers"),
        ("Conv 8 3x3; Conv 4 3x3; SUM; Output", "with equal numbers of filters"),
        ("Conv 8 3x3; Maxpool 3; Conv 8 3x3; SUM; Output", "right before it"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_with_their_statement(text: str, message: str) -> None:
    with pytest.raises(NotationError, match=message):
        shapes(text, CIFAR, 10)
