"""Networks and conventions as a user asks to see them."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from urfb.data.catalog import dataset_info
from urfb.errors import InputError, SelectionError, nearest
from urfb.grid.expand import UNTIED_BATCH_SIZE, resolve
from urfb.grid.schema import Settings
from urfb.grid.spec import CONVENTIONS, RunSpec
from urfb.nn.costs import NetworkCosts, network_costs
from urfb.nn.networks import NETWORKS, named
from urfb.nn.notation import parse

MEANINGS = {
    "activation_slope": "slope of σ between its bounds −1 and 1",
    "pool_padding": "where the zeros around overlapping pools stand",
    "untied_start": "how the locations of an untied layer start",
}
"""What each setting of a convention means."""

PRECISION_BYTES = {"float32": 4, "float64": 8}


@dataclass(frozen=True)
class ShownNetwork:
    """A network and what it costs, for the run that `spec` describes."""

    spec: RunSpec
    costs: NetworkCosts
    memory: dict[str, int]


def shown_network(
    name: str, dataset: str, convention: str, rule: str, untied: str, batch_size: int | None, precision: str
) -> ShownNetwork:
    """Return a network and what it costs.

    Raises:
        InputError: saying all that is wrong with what was asked.
    """
    info = dataset_info(dataset)
    given = {
        "network": name, "dataset": dataset, "convention": convention, "rule": rule, "untied": untied,
        "batch_size": batch_size, "precision": precision,
    }  # fmt: skip
    try:
        settings = Settings.model_validate({key: value for key, value in given.items() if value is not None}).given()
        # A rule's ε and λ have no part in what it costs.
        spec = resolve({**settings, "rule": "urfb"}, {}).model_copy(update={"rule": settings["rule"]})
    except ValidationError as error:
        raise InputError(
            "\n".join(f"{one['loc'][0]} '{one['input']}': {one['msg']}" for one in error.errors())
        ) from error
    except ValueError as error:
        raise InputError(str(error)) from error
    counted = network_costs(spec.layers, info.shape, info.classes, spec.rule_of(1), spec.untied_layers)
    return ShownNetwork(spec, counted, counted.memory(spec.batch_size, PRECISION_BYTES[precision]))


def differences(first: str, second: str) -> list[list[str]]:
    """Return what differs between two conventions: what it is, its two values, and what it means.

    Raises:
        SelectionError: there is no such convention.
    """
    for name in (first, second):
        if name not in CONVENTIONS:
            raise SelectionError(f"there is no convention '{name}': {nearest(name, CONVENTIONS)}")
    rows = [
        [setting, _text(CONVENTIONS[first][setting]), _text(CONVENTIONS[second][setting]), MEANINGS[setting]]
        for setting in CONVENTIONS[first]
        if CONVENTIONS[first][setting] != CONVENTIONS[second][setting]
    ]
    untied = {name: str(UNTIED_BATCH_SIZE) if name == "author-code" else "as tied" for name in (first, second)}
    if untied[first] != untied[second]:
        rows.append(["batch_size", untied[first], untied[second], "default where layers are untied"])
    for network in NETWORKS:
        texts = (named(network, first), named(network, second))
        for number, (one, other) in enumerate(zip(*map(parse, texts), strict=True), start=1):
            if one != other:
                rows.append([network, str(one), str(other), f"statement {number}"])
    return rows


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
