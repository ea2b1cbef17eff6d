"""Networks and conventions, for `urfb network show` and `urfb convention diff`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from urfb.data.catalog import dataset_info
from urfb.errors import InputError, SelectionError, nearest
from urfb.grid.expand import resolve
from urfb.grid.schema import Settings
from urfb.grid.settings import CONVENTIONS
from urfb.grid.spec import RunSpec
from urfb.grid.wording import in_plain_words
from urfb.nn.costs import NetworkCosts, network_costs
from urfb.nn.networks import NETWORKS, network_text
from urfb.nn.notation import parse
from urfb.plugins import is_import_path

MEANINGS = {
    "activation_slope": "slope of σ between its bounds −1 and 1",
    "pool_padding": "zero padding of overlapping pools: on every side, or at the bottom and right",
    "untied_start": "start of untied layers: an independent draw at each location, or copies of one draw",
}
"""The meaning of each setting of a convention."""


@dataclass(frozen=True)
class ShownNetwork:
    """A network and its costs, in the run that `spec` describes."""

    spec: RunSpec
    costs: NetworkCosts


def shown_network(name: str, dataset: str, convention: str, rule: str, untied: str) -> ShownNetwork:
    """Return a network and its costs.

    Raises:
        InputError: arguments are wrong; the message lists all mistakes.
    """
    if is_import_path(name):
        raise InputError(f"'{name}' is a custom model: only networks in the paper's notation can be shown")
    settings = checked({"network": name, "dataset": dataset, "convention": convention, "rule": rule, "untied": untied})
    # The costs do not depend on ε and λ, so resolve the run with a rule that needs neither.
    spec = resolved({**settings, "rule": "urfb"}).model_copy(update={"rule": settings["rule"]})
    return ShownNetwork(spec, costs_of(spec))


def checked(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that are not None, checked like those of a grid file.

    Raises:
        InputError: settings are wrong; the message lists all mistakes.
    """
    try:
        return Settings.model_validate({key: value for key, value in settings.items() if value is not None}).values()
    except ValidationError as error:
        raise InputError(
            "\n".join(f"{detail['loc'][0]} '{detail['input']}': {in_plain_words(detail)}" for detail in error.errors())
        ) from error


def resolved(settings: dict[str, Any]) -> RunSpec:
    """Return the spec of the run with these settings.

    Raises:
        InputError: the settings do not fit together.
    """
    try:
        return resolve(settings, {})
    except ValueError as error:
        raise InputError(str(error)) from error


def costs_of(spec: RunSpec) -> NetworkCosts:
    """Return the costs of a run's network in the last stage."""
    info = dataset_info(spec.dataset)
    return network_costs(spec.layers, info.shape, info.classes, spec.rule_of(spec.epochs), spec.untied_layers)


def differences(first: str, second: str) -> list[list[str]]:
    """Return the differences between two conventions, one row each: name, the two values, meaning.

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
    settings = {"network": "deepnet_s", "dataset": "cifar10", "rule": "bp", "untied": "all"}
    sizes = [str(resolve({**settings, "convention": name}, {}).batch_size) for name in (first, second)]
    if sizes[0] != sizes[1]:
        rows.append(["batch_size", *sizes, "default for untied layers"])
    for network in NETWORKS:
        texts = (network_text(network, first), network_text(network, second))
        for number, statements in enumerate(zip(*map(parse, texts), strict=True), start=1):
            if statements[0] != statements[1]:
                rows.append([network, *map(str, statements), f"statement {number}"])
    return rows


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
