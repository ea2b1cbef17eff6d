"""From a grid file to its runs: the product of each experiment's axes, resolved into run specs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from urfb.data.catalog import CATALOG
from urfb.errors import GridError, NotationError, PluginError, SelectionError, nearest
from urfb.grid.schema import Experiment, GridFile, Matrix, read_grid
from urfb.grid.spec import CONVENTIONS, RunSpec, conv_numbers
from urfb.nn.networks import NETWORKS, named
from urfb.nn.notation import canonical, shapes
from urfb.nn.rules import RULES
from urfb.plugins import find_rule, is_import_path, load_plugin, look_in, source_hash

UNTIED_BATCH_SIZE = 50
"""The author's code takes small batches where layers are untied; the paper says 500 throughout."""

OF_THE_NOTATION = (
    "untied", "untied_start", "pretraining_epochs", "pretraining_rule", "frozen", "dense_output", "activation_slope",
    "pool_padding",
)  # fmt: skip
"""Settings that only networks in the paper's notation have."""

PAPER_NAMES = {named(name, convention): name for convention in CONVENTIONS for name in NETWORKS}


@dataclass(frozen=True)
class GridRun:
    """A run of the grid, and the experiments that ask for it."""

    spec: RunSpec
    experiments: tuple[str, ...]


@dataclass(frozen=True)
class Grid:
    """The runs of a grid file, each once, in the order in which the file names them.

    Attributes:
        path: the file.
        runs: the runs of the chosen experiments.
    """

    path: Path
    runs: tuple[GridRun, ...]


def load_grid(path: Path, experiments: Sequence[str] = (), *, epochs: int | None = None) -> Grid:
    """Read a grid file and expand it into runs.

    Args:
        path: the file.
        experiments: names of those wanted; all where empty.
        epochs: how far to train, in place of what the file says.

    Raises:
        GridError: with every mistake in the file.
        SelectionError: an experiment that the file does not have.
    """
    look_in(path.parent)
    source, file, problems = read_grid(path)
    runs: dict[str, GridRun] = {}
    for name, experiment in file.experiments.items():
        specs: list[RunSpec] = []
        misfits: dict[str, None] = {}  # an ordered set: a hundred seeds make a mistake once
        for settings in combinations(experiment.matrix):
            try:
                specs.append(resolve(settings_of(file, experiment, settings), file.networks))
            except (ValueError, PluginError) as error:
                misfits[str(error)] = None
        problems += [source.problem(("experiments", name), misfit) for misfit in misfits]
        if not specs and not misfits:
            problems.append(source.problem(("experiments", name, "matrix"), "no run is left in this experiment"))
        if experiments and name not in experiments:
            continue
        for spec in specs:
            wanted = spec.model_copy(update={"epochs": epochs}) if epochs else spec
            known = runs.get(wanted.identity)
            if known is None:
                runs[wanted.identity] = GridRun(wanted, (name,))
            else:
                longest = wanted if wanted.epochs > known.spec.epochs else known.spec
                shared = known.experiments if name in known.experiments else (*known.experiments, name)
                runs[wanted.identity] = replace(known, spec=longest, experiments=shared)
    if problems:
        raise GridError(problems)
    for name in experiments:
        if name not in file.experiments:
            raise SelectionError(f"{path} has no experiment '{name}': {nearest(name, file.experiments)}")
    return Grid(path, tuple(runs.values()))


def settings_of(file: GridFile, experiment: Experiment, settings: dict[str, Any]) -> dict[str, Any]:
    """Return one run's settings: the file's defaults, then the experiment's, then the matrix's."""
    return {**file.defaults.given(), **experiment.defaults.given(), **settings}


def combinations(matrix: Matrix) -> Iterator[dict[str, Any]]:
    """Return the settings of each run of a matrix, as CI files have it.

    The product of the axes; less the combinations that contain every value of an entry of `exclude`; then each entry
    of `include` is added to all combinations whose own values it agrees with, or else becomes one of its own. An
    entry with several values for a setting stands for as many entries.
    """
    axes = matrix.axes()
    only_includes = not axes and matrix.include
    product = [] if only_includes else _product(axes)
    excluded = [entry for axes_entry in matrix.exclude for entry in _product(axes_entry.axes())]
    kept = [own for own in product if not any(entry.items() <= own.items() for entry in excluded)]
    extended = [dict(own) for own in kept]
    alone = []
    for entry in (entry for axes_entry in matrix.include for entry in _product(axes_entry.axes())):
        agreeing = [
            whole
            for own, whole in zip(kept, extended, strict=True)
            if all(own[key] == value for key, value in entry.items() if key in own)
        ]
        for whole in agreeing:
            whole.update(entry)
        if not agreeing:
            alone.append(entry)
    yield from extended
    yield from alone


def _product(axes: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def resolve(settings: dict[str, Any], networks: dict[str, str]) -> RunSpec:
    """Return the complete spec of a run, every convention and default resolved into its value.

    Raises:
        ValueError: a setting is missing, or two do not go together.
        PluginError: a model or rule of the user's own cannot be imported.
    """
    missing = [name for name in ("network", "dataset", "rule") if name not in settings]
    if missing:
        raise ValueError(f"no {' and no '.join(missing)} is given: put it into the matrix or under 'defaults'")
    values = dict(settings)
    convention = values.pop("convention", None)
    dataset = CATALOG[values["dataset"]]
    name = values["network"]
    values["layers"] = networks.get(name) or (
        canonical(named(name, convention or "paper")) if name in NETWORKS else name
    )
    # The paper's networks go by their own names, whatever a file calls them: reports find them so.
    values["network"] = PAPER_NAMES.get(values["layers"], name)
    if is_import_path(values["layers"]):
        _check_users_model(values, convention)
    else:
        for setting, value in CONVENTIONS[convention or "paper"].items():
            values.setdefault(setting, value)
        try:
            shapes(values["layers"], dataset.shape, dataset.classes)
        except NotationError as error:
            raise ValueError(f"network '{name}' does not fit {dataset.name}: {error}") from error
        _resolve_stages(values)
        _resolve_untied(values, given_start="untied_start" in settings)
    author_untied = convention == "author-code" and values.get("untied", "none") != "none"
    values.setdefault("batch_size", min(dataset.batch_size, UNTIED_BATCH_SIZE if author_untied else dataset.batch_size))
    for setting in ("batch_size", "gradient_batch"):
        if values.get(setting, 0) > dataset.training:
            raise ValueError(
                f"{setting} {values[setting]} is more than the {dataset.training} training images of {dataset.name}"
            )
    values.setdefault("loss", "hinge")
    if values["loss"] == "hinge":
        values.setdefault("off_class_weight", 1 / (dataset.classes - 1))
        values.setdefault("off_class_margin", -1.0)
    elif given := [key for key in ("off_class_weight", "off_class_margin", "true_class_margin") if key in values]:
        raise ValueError(f"{' and '.join(given)} belongs to the hinge loss, and the loss here is {values['loss']}")
    _resolve_rule(values)
    sources = [values[key] for key in ("layers", "rule", "pretraining_rule") if is_import_path(values.get(key) or "")]
    if sources:
        values["source"] = source_hash(sources)
    return RunSpec(**{"step_size": 0.1, "epochs": 1000, **values})


def _resolve_rule(values: dict[str, Any]) -> None:
    """Check the rule's parameters, and give R the connectivity of W where nothing else is said."""
    rule = find_rule(values["rule"])
    for parameter in ("epsilon", "decay"):
        if parameter in rule.required and parameter not in values:
            raise ValueError(f"rule {values['rule']} needs {parameter}: give it beside the rule")
        if parameter in values and parameter not in rule.required + rule.optional:
            having = [name for name, other in RULES.items() if parameter in other.required + other.optional]
            raise ValueError(f"{parameter} belongs to {' and '.join(having)}, and the rule here is {values['rule']}")
    connectivity = values.setdefault("connectivity", 1.0)
    feedback_connectivity = values.setdefault("feedback_connectivity", connectivity)
    if not rule.own_connections and feedback_connectivity != connectivity:
        raise ValueError(
            f"under rule {values['rule']} feedback has the connections of W, so feedback_connectivity cannot differ "
            f"from connectivity (here {feedback_connectivity:g} and {connectivity:g})"
        )


def _resolve_stages(values: dict[str, Any]) -> None:
    """Resolve what concerns a first stage."""
    if values.get("pretraining_epochs", 0) == 0:
        if given := [key for key in ("pretraining_rule", "frozen") if key in values]:
            raise ValueError(f"{' and '.join(given)} belongs to a first stage; give pretraining_epochs, too")
        return
    values.setdefault("pretraining_rule", "urfb")
    if needed := find_rule(values["pretraining_rule"]).required:
        raise ValueError(f"pretraining_rule {values['pretraining_rule']} needs {needed[0]}, which a first stage lacks")
    values["frozen"] = _numbers("frozen", values.get("frozen", "1"), values["layers"])


def _resolve_untied(values: dict[str, Any], *, given_start: bool) -> None:
    """Resolve which conv layers are untied: a frozen one stays as it was trained, which is tied."""
    values["untied"] = _numbers("untied", values.get("untied", "none"), values["layers"])
    if "frozen" in values:
        free = conv_numbers(values["untied"], values["layers"]) - conv_numbers(values["frozen"], values["layers"])
        values["untied"] = _numbers("untied", " ".join(map(str, free)) or "none", values["layers"])
    if values["untied"] == "none":
        if given_start:
            raise ValueError("untied_start is given, and no layer is untied: say which, as in untied: all")
        del values["untied_start"]


def _numbers(setting: str, which: str, layers: str) -> str:
    """Write conv layers the one way that identities are made of: 'none', 'all', or some of their numbers."""
    every = conv_numbers("all", layers)
    chosen = conv_numbers(which, layers)
    if not chosen <= every:
        raise ValueError(f"{setting} {which}: the network has {len(every)} conv layers")
    if not chosen:
        return "none"
    return "all" if chosen == every else " ".join(map(str, sorted(chosen)))


def _check_users_model(values: dict[str, Any], convention: str | None) -> None:
    """Refuse the settings that only a network in the paper's notation has."""
    given = [setting for setting in OF_THE_NOTATION if setting in values] + ["convention"] * (convention is not None)
    if given:
        raise ValueError(
            f"{', '.join(given)}: only a network in the paper's notation has that; '{values['layers']}' says itself "
            "how it is built"
        )
    load_plugin(values["layers"])
