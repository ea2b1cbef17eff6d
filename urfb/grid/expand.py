"""Expand grid files into runs: the product of each experiment's axes, resolved into run specs."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from urfb.data.catalog import dataset_info
from urfb.errors import GridError, NotationError, PluginError, SelectionError, counted, nearest
from urfb.grid.schema import Axes, Experiment, GridFile, Matrix, read_grid
from urfb.grid.settings import CONVENTIONS, SETTINGS
from urfb.grid.spec import RunSpec, conv_numbers
from urfb.grid.wording import in_plain_words
from urfb.learning.catalog import ALGORITHMS
from urfb.nn.networks import NETWORKS, network_text
from urfb.nn.notation import canonical, shapes
from urfb.nn.rules import RULES
from urfb.plugins import (
    add_import_folder,
    find_rule,
    folder_of,
    is_import_path,
    load_plugin,
    refuse_hidden,
    source_hash,
)

UNTIED_BATCH_SIZE = 50
"""The batch size of the author's code for untied layers. The paper says 500 throughout."""

USUAL = {name: setting.use.usual for name, setting in SETTINGS.items() if setting.use.usual is not None}
"""The values of settings that have no default, for runs whose grid file does not set them."""

PAPER_NAMES = {network_text(name, convention): name for convention in CONVENTIONS for name in NETWORKS}


@dataclass(frozen=True)
class GridRun:
    """A run of the grid, with the experiments that ask for it."""

    spec: RunSpec
    experiments: tuple[str, ...]


@dataclass(frozen=True)
class Grid:
    """The runs of grid files, without duplicates, in the order of the files.

    Attributes:
        paths: the grid files.
        runs: the runs of the selected experiments.
        identities: the identities of the runs of all experiments in the files.
    """

    paths: tuple[Path, ...]
    runs: tuple[GridRun, ...]
    identities: frozenset[str]


def files_and_experiments(arguments: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Separate grid files, whose names end in .yaml or .yml, from experiment names.

    Raises:
        SelectionError: none of the arguments is a grid file.
    """
    is_file = [argument.lower().endswith((".yaml", ".yml")) for argument in arguments]
    experiments = [argument for argument, file in zip(arguments, is_file, strict=True) if not file]
    if not any(is_file):
        raise SelectionError(
            f"{', '.join(repr(name) for name in experiments)}: no grid file (.yaml or .yml) is given; "
            "put one before the experiments, as in `urfb grid plan experiments.yaml figure4`"
        )
    return [Path(argument) for argument, file in zip(arguments, is_file, strict=True) if file], experiments


def load_grid(path: Path, experiments: Sequence[str] = (), *, epochs: int | None = None) -> Grid:
    """Return the grid of one file; see `load_grids`."""
    return load_grids([path], experiments, epochs=epochs)


def load_grids(paths: Sequence[Path], experiments: Sequence[str] = (), *, epochs: int | None = None) -> Grid:
    """Read grid files and expand them into the runs of one grid.

    A file's defaults and networks apply only to that file. Custom modules are imported from the file's folder. A run
    that several experiments or files ask for is in the grid once, with the largest target.

    Args:
        paths: the grid files.
        experiments: names of the selected experiments, from any file; all experiments if empty.
        epochs: a target of epochs that replaces the targets in the files.

    Raises:
        GridError: the files have mistakes; the message lists all of them.
        SelectionError: no file has one of the experiments.
    """
    runs: dict[str, GridRun] = {}
    names: dict[str, None] = {}
    identities: set[str] = set()
    problems: list[str] = []
    # Every file may import from a folder on Python's path.
    folders = {path.parent.resolve() for path in paths} - {Path(entry).resolve() for entry in sys.path}
    for path in paths:
        try:
            expanded, mistakes = _expand(path, folders - {path.parent.resolve()})
        except GridError as error:
            problems += error.problems
            continue
        problems += mistakes
        names |= dict.fromkeys(expanded)
        for name, specs in expanded.items():
            for spec in specs:
                identity = spec.identity
                identities.add(identity)
                if not experiments or name in experiments:
                    _add(runs, identity, name, spec.model_copy(update={"epochs": epochs}) if epochs else spec)
    if problems:
        raise GridError(dict.fromkeys(problems))
    if unknown := [name for name in experiments if name not in names]:
        where = ", ".join(map(str, paths))
        raise SelectionError(
            "\n".join(f"{where}: there is no experiment '{name}': {nearest(name, names)}" for name in unknown)
            + "\n(an argument that ends in .yaml or .yml is a grid file, any other argument is an experiment; put a "
            "condition after --where)"
        )
    return Grid(tuple(paths), tuple(runs.values()), frozenset(identities))


def _expand(path: Path, other_folders: Set[Path]) -> tuple[dict[str, list[RunSpec]], list[str]]:
    """Return the runs of each experiment of a file, and the file's mistakes.

    Args:
        path: the grid file.
        other_folders: the folders of the other files, from which this file must not import modules.

    Raises:
        GridError: the file cannot be read, or nothing in it can be expanded.
    """
    source, file, problems = read_grid(path)
    add_import_folder(path.parent)
    plugin_fault = cache(partial(_plugin_fault, folder=path.parent))
    expanded: dict[str, list[RunSpec]] = {}
    for name, experiment in file.experiments.items():
        specs = expanded[name] = []
        misfits: dict[str, None] = {}  # an ordered set, which lists a mistake of many runs once
        for combination in combinations(experiment.matrix):
            settings = settings_of(file, experiment, combination)
            network = settings.get("network", "")
            import_paths = _import_paths(settings, file.networks.get(network, network))
            if faults := list(filter(None, map(plugin_fault, import_paths))):
                misfits |= dict.fromkeys(faults)
                continue
            try:
                specs.append(resolve(settings, file.networks))
            except (ValueError, PluginError) as error:
                misfits[str(error)] = None
        for import_path in {import_path for spec in specs if spec.source for import_path in spec.import_paths}:
            if (folder := folder_of(import_path)) in other_folders:
                misfits[
                    f"'{import_path}' is found in {folder}, next to another grid file, and Python imports only one "
                    "module of each name: rename the module next to this file, or put both grid files into one folder"
                ] = None
        problems += [source.problem(("experiments", name), misfit) for misfit in misfits]
        if not specs and not misfits:
            problems.append(source.problem(("experiments", name, "matrix"), "no run is left in this experiment"))
    return expanded, problems


def _import_paths(settings: dict[str, Any], layers: str) -> list[str]:
    """Return the import paths in a run's settings and in its network's layers."""
    names = (layers, *(settings.get(key) or "" for key in ("dataset", "rule", "pretraining_rule")))
    return [name for name in names if is_import_path(name)]


def _plugin_fault(import_path: str, folder: Path) -> str | None:
    """Return why a grid file in `folder` cannot use a custom module; None if it can."""
    try:
        refuse_hidden(import_path, folder)
        load_plugin(import_path)
    except (PluginError, ValueError) as error:  # ValueError: '__main__', which cannot be imported
        return str(error)
    return None


def _add(runs: dict[str, GridRun], identity: str, name: str, spec: RunSpec) -> None:
    """Add a run of an experiment to the grid. If the grid has the run already, add the experiment to it."""
    run = runs.get(identity)
    if run is None:
        runs[identity] = GridRun(spec, (name,))
    else:
        longest = spec if spec.epochs > run.spec.epochs else run.spec
        experiments = run.experiments if name in run.experiments else (*run.experiments, name)
        runs[identity] = replace(run, spec=longest, experiments=experiments)


def settings_of(file: GridFile, experiment: Experiment, settings: dict[str, Any]) -> dict[str, Any]:
    """Return one run's settings. Those of the matrix override the experiment's defaults, which override the file's."""
    return {**file.defaults.values(), **experiment.defaults.values(), **settings}


def combinations(matrix: Matrix) -> Iterator[dict[str, Any]]:
    """Yield the settings of each run of a matrix, by the rules of GitHub Actions.

    1. Take the product of the axes. A zip is one axis, with one combination per position.
    2. Remove each combination that contains every value of an entry of `exclude`.
    3. Add each entry of `include` to all combinations whose axes agree with it. If there are none, the entry becomes a
       new combination.

    An entry with several values for a setting counts as one entry per value.
    """
    factors = _factors(matrix) + [zipped.in_step() for zipped in matrix.zip if zipped.axes()]
    only_includes = not factors and matrix.include
    product = [] if only_includes else _product(factors)
    excluded = [entry for axes in matrix.exclude for entry in _product(_factors(axes))]
    kept = [original for original in product if not any(entry.items() <= original.items() for entry in excluded)]
    extended = [dict(original) for original in kept]
    added = []
    for entry in (entry for axes in matrix.include for entry in _product(_factors(axes))):
        agreeing = [
            combination
            for original, combination in zip(kept, extended, strict=True)
            if all(original[key] == value for key, value in entry.items() if key in original)
        ]
        for combination in agreeing:
            combination.update(entry)
        if not agreeing:
            added.append(entry)
    yield from extended
    yield from added


def _factors(axes: Axes) -> list[list[dict[str, Any]]]:
    """Return each axis as a list of combinations, one per value."""
    return [[{name: value} for value in values] for name, values in axes.axes().items()]


def _product(factors: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [{key: value for part in parts for key, value in part.items()} for parts in itertools.product(*factors)]


def resolve(settings: dict[str, Any], networks: dict[str, str]) -> RunSpec:
    """Return the complete spec of a run, with every convention and default resolved into a value.

    Raises:
        ValueError: a setting is missing, or two settings contradict each other.
        PluginError: a custom model, rule or data set cannot be imported.
    """
    missing = [name for name in ("network", "dataset", "rule") if name not in settings]
    if missing:
        raise ValueError(f"no {' and no '.join(missing)} is given: set it in the matrix or under 'defaults'")
    values = USUAL | settings
    convention = values.pop("convention", None)
    dataset = dataset_info(values["dataset"])
    name = values["network"]
    values["layers"] = networks.get(name) or (
        canonical(network_text(name, convention or "paper")) if name in NETWORKS else name
    )
    # Reports find the paper's networks by their names, so these replace the names that a file gives them.
    values["network"] = PAPER_NAMES.get(values["layers"], name)
    if is_import_path(values["layers"]):
        _check_users_model(values["layers"], settings)
    else:
        for setting, value in CONVENTIONS[convention or "paper"].items():
            values.setdefault(setting, value)
        try:
            shapes(values["layers"], dataset.shape, dataset.classes)
        except NotationError as error:
            raise ValueError(f"network '{name}' does not fit {dataset.name}: {error}") from error
        _resolve_stages(values)
        _resolve_untied(values, start_is_set="untied_start" in settings)
    author_untied = convention == "author-code" and values.get("untied", "none") != "none"
    values.setdefault("batch_size", min(dataset.batch_size, UNTIED_BATCH_SIZE if author_untied else dataset.batch_size))
    for setting in ("batch_size", "gradient_batch"):
        if values.get(setting, 0) > dataset.training:
            raise ValueError(
                f"{setting} {values[setting]} is more than the {dataset.training} training images of {dataset.name}"
            )
    if values["loss"] == "hinge":
        values.setdefault("off_class_weight", 1 / (dataset.classes - 1))
        values.setdefault("off_class_margin", -1.0)
    elif unused := [name for name in values if SETTINGS[name].use.compares == "hinge"]:
        raise ValueError(f"only the hinge loss takes {' and '.join(unused)}, but the loss is {values['loss']}")
    _resolve_rule(values)
    _resolve_algorithm(values)
    if sources := _import_paths(values, values["layers"]):
        values["source"] = source_hash(sources)
    return RunSpec(**values)


def _resolve_rule(values: dict[str, Any]) -> None:
    """Check the rule's parameters, and set R's connectivity to that of W by default."""
    rule = find_rule(values["rule"])
    for parameter in ("epsilon", "decay"):
        if parameter in rule.required and parameter not in values:
            raise ValueError(f"rule {values['rule']} needs {parameter}: set {parameter}, too")
        if parameter in values and parameter not in rule.required + rule.optional:
            rules = [name for name, row in RULES.items() if parameter in row.required + row.optional]
            raise ValueError(f"{parameter} is only for {' and '.join(rules)}, but the rule is {values['rule']}")
    connectivity = values.setdefault("connectivity", 1.0)
    feedback_connectivity = values.setdefault("feedback_connectivity", connectivity)
    if not rule.own_connections and feedback_connectivity != connectivity:
        raise ValueError(
            f"under rule {values['rule']} feedback has the connections of W, so feedback_connectivity cannot differ "
            f"from connectivity (got {feedback_connectivity:g} and {connectivity:g})"
        )


def _resolve_algorithm(values: dict[str, Any]) -> None:
    """Write the algorithm's settings in the canonical form that identities use: without those at their defaults."""
    name, text = (values.get(key, SETTINGS[key].default) for key in ("algorithm", "algorithm_settings"))
    try:
        settings = ALGORITHMS[name].settings.model_validate_json(text)
    except ValidationError as error:
        problems = (": ".join([*map(str, detail["loc"]), in_plain_words(detail)]) for detail in error.errors())
        allowed = ", ".join(ALGORITHMS[name].settings.model_fields) or "none"
        raise ValueError(f"algorithm_settings of {name}: {'; '.join(problems)} (its settings: {allowed})") from error
    values["algorithm_settings"] = json.dumps(
        settings.model_dump(exclude_defaults=True), sort_keys=True, separators=(",", ":")
    )


def _resolve_stages(values: dict[str, Any]) -> None:
    """Check and complete the settings of a first stage."""
    if values.get("pretraining_epochs", 0) == 0:
        if unused := [key for key in ("pretraining_rule", "frozen") if key in values]:
            raise ValueError(f"only a run with a first stage takes {' and '.join(unused)}: set pretraining_epochs, too")
        return
    values.setdefault("pretraining_rule", "urfb")
    if needs := find_rule(values["pretraining_rule"]).required:
        raise ValueError(
            f"pretraining_rule {values['pretraining_rule']} needs {needs[0]}, which a first stage cannot have"
        )
    values["frozen"] = _numbers("frozen", values.get("frozen", "1"), values["layers"])


def _resolve_untied(values: dict[str, Any], *, start_is_set: bool) -> None:
    """Resolve which conv layers are untied. A frozen layer stays tied, as it was trained."""
    values["untied"] = _numbers("untied", values.get("untied", "none"), values["layers"])
    if "frozen" in values:
        learning = conv_numbers(values["untied"], values["layers"]) - conv_numbers(values["frozen"], values["layers"])
        values["untied"] = _numbers("untied", " ".join(map(str, learning)) or "none", values["layers"])
    if values["untied"] == "none":
        if start_is_set:
            raise ValueError("untied_start is given, but no layer is untied: set untied, too, as in untied: all")
        del values["untied_start"]


def _numbers(setting: str, text: str, layers: str) -> str:
    """Return conv layers in the canonical form that identities use: 'none', 'all', or their numbers."""
    every = conv_numbers("all", layers)
    numbers = conv_numbers(text, layers)
    if not numbers <= every:
        raise ValueError(f"{setting} {text}: the network has {counted(len(every), 'conv layer')}")
    if not numbers:
        return "none"
    return "all" if numbers == every else " ".join(map(str, sorted(numbers)))


def _check_users_model(model: str, settings: dict[str, Any]) -> None:
    """Refuse the settings that only a network in the paper's notation has, and a model that cannot be imported."""
    refused = [name for name, setting in SETTINGS.items() if setting.use.notation and name in settings]
    if refused:
        raise ValueError(
            f"{', '.join(refused)}: only a network in the paper's notation has this setting; the model '{model}' "
            "defines its own layers"
        )
    load_plugin(model)
