"""From a grid file to its runs: the product of each experiment's axes, resolved into run specs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from urfb.data.catalog import CATALOG
from urfb.errors import GridError, NotationError, SelectionError, nearest
from urfb.grid.schema import PLANNED, Experiment, GridFile, Matrix, read_grid
from urfb.grid.spec import CONVENTIONS, RunSpec
from urfb.nn.networks import NETWORKS, named
from urfb.nn.notation import canonical, shapes
from urfb.nn.rules import RULES

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
        later: experiments left out because they wait for a later version of urfb, with the features they wait for.
    """

    path: Path
    runs: tuple[GridRun, ...]
    later: dict[str, list[str]]


def load_grid(path: Path, experiments: Sequence[str] = (), *, epochs: int | None = None) -> Grid:
    """Read a grid file and expand it into runs.

    Args:
        path: the file.
        experiments: names of those wanted; all that this version can run where empty.
        epochs: how far to train, in place of what the file says.

    Raises:
        GridError: with every mistake in the file.
        SelectionError: an experiment that the file does not have, or that this version of urfb cannot run yet.
    """
    source, file, problems, later = read_grid(path)
    runs: dict[str, GridRun] = {}
    names = [*file.experiments, *later]
    for name, experiment in file.experiments.items():
        specs: list[RunSpec] = []
        misfits: dict[str, None] = {}  # an ordered set: a hundred seeds make a mistake once
        for settings in combinations(experiment.matrix):
            try:
                specs.append(resolve(settings_of(file, experiment, settings), file.networks))
            except ValueError as error:
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
        if name not in names:
            raise SelectionError(f"{path} has no experiment '{name}': {nearest(name, names)}")
        if name in later:
            features = " and ".join(PLANNED[feature] for feature in later[name])
            raise SelectionError(f"experiment '{name}' needs {features}, which this version of urfb does not have yet")
    return Grid(path, tuple(runs.values()), {} if experiments else later)


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
    """
    missing = [name for name in ("network", "dataset", "rule") if name not in settings]
    if missing:
        raise ValueError(f"no {' and no '.join(missing)} is given: put it into the matrix or under 'defaults'")
    values = dict(settings)
    convention = values.pop("convention", "paper")
    values = {**CONVENTIONS[convention], **values}
    name = values["network"]
    if name in networks:
        values["layers"] = networks[name]
    elif name in NETWORKS:
        values["layers"] = canonical(named(name, convention))
    else:
        values["layers"] = name
    # The paper's networks go by their own names, whatever a file calls them: reports find them so.
    values["network"] = PAPER_NAMES.get(values["layers"], name)
    dataset = CATALOG[values["dataset"]]
    try:
        shapes(values["layers"], dataset.shape, dataset.classes)
    except NotationError as error:
        raise ValueError(f"network '{name}' does not fit {dataset.name}: {error}") from error
    values.setdefault("batch_size", dataset.batch_size)
    if values["batch_size"] > dataset.training:
        raise ValueError(
            f"batch_size {values['batch_size']} is more than the {dataset.training} training images of {dataset.name}"
        )
    values.setdefault("loss", "hinge")
    if values["loss"] == "hinge":
        values.setdefault("off_class_weight", 1 / (dataset.classes - 1))
        values.setdefault("off_class_margin", -1.0)
    elif given := [key for key in ("off_class_weight", "off_class_margin") if key in values]:
        raise ValueError(f"{' and '.join(given)} belongs to the hinge loss, and the loss here is {values['loss']}")
    connectivity = values.setdefault("connectivity", 1.0)
    feedback_connectivity = values.setdefault("feedback_connectivity", connectivity)
    if not RULES[values["rule"]].separate and feedback_connectivity != connectivity:
        raise ValueError(
            f"under rule {values['rule']} R is Wᵗ, so feedback_connectivity cannot differ from connectivity "
            f"(here {feedback_connectivity:g} and {connectivity:g})"
        )
    return RunSpec(**{"step_size": 0.1, "epochs": 1000, **values})
