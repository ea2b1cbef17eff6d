"""The paper's networks (section 4), in the paper's notation."""

from __future__ import annotations

NETWORKS = {
    "simpnet": "Conv 32 5x5; Maxpool 3; Drop .8; Full 500; Drop .3; Output",
    "deepnet": (
        "Conv 32 5x5; Maxpool 3; Conv 32 3x3; Conv 32 3x3; Maxpool 3; Drop .8; "
        "Conv 32 3x3; Conv 32 3x3; Maxpool 3; Drop .3; Full 500; Output"
    ),
    "deepernet": (
        "Conv 16 3x3; Conv 16 3x3; SUM; Conv 32 3x3; Conv 32 3x3; SUM; Maxpool 3; Drop .5; "
        "Conv 64 3x3; Conv 64 3x3; SUM; Maxpool 3; Conv 128 3x3; Conv 128 3x3; SUM; Maxpool 3; Drop .8; "
        "Full 500; Output"
    ),
    "deepnet_s": (
        "Conv 16 3x3; Conv 16 3x3; SUM; Maxpool 3, stride 3; Drop .5; Conv 64 3x3; Conv 64 3x3; SUM; Maxpool 2; "
        "Conv 64 2x2; Conv 64 2x2; SUM; Maxpool 2; Drop .5; Full 500; Output"
    ),
}

AUTHOR_CODE = {
    # In the first layer of the last pair, the author's code has 2x2 filters and the paper prints 3x3.
    "deepernet": NETWORKS["deepernet"].replace("Conv 128 3x3; Conv 128 3x3", "Conv 128 2x2; Conv 128 3x3"),
}


def network_text(name: str, convention: str) -> str:
    """Return the text of one of the paper's networks under a convention."""
    return AUTHOR_CODE.get(name, NETWORKS[name]) if convention == "author-code" else NETWORKS[name]
