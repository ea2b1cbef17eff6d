"""The schema of a grid file, and every mistake in a file with its place.

defaults:      settings of every run, unless an experiment says otherwise
networks:      name: text in the paper's notation
reports:       a Python file beside this one, with figures and tables of the user's own
experiments:
  NAME:
    description: for people
    defaults:    settings of every run of this experiment
    matrix:      setting: [values…], plus `zip` (settings taken in step), `include` and `exclude` (as in CI files)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    field_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq, TaggedScalar
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from urfb.errors import GridError, nearest
from urfb.grid.settings import SETTINGS, checked_notation
from urfb.nn.networks import NETWORKS
from urfb.nn.notation import canonical

Place = tuple[int | str, ...]


def _name(name: str) -> str:
    """Accept a name that needs no quotes in a shell, a file name or a list."""
    if not re.fullmatch(r"[\w.-]+", name):
        raise PydanticCustomError("name", "an experiment's name has letters, digits, '_', '-' and '.' alone")
    return name


T = TypeVar("T")
Part = Annotated[T, BeforeValidator(lambda value: {} if value is None else value)]
"""A mapping may be left empty in YAML, where it is null."""


class Strict(BaseModel):
    """A part of a grid file, without unknown keys and values of other types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


class _SettingsBase(Strict):
    """The settings of a run that a grid file gives; the others have a default or follow from these.

    The documentation's table of settings is made from the fields.
    """

    def values(self) -> dict[str, Any]:
        """Return the settings that have a value."""
        return self.model_dump(exclude_none=True)


class _AxesBase(Strict):
    """Settings with one value or several each; the fields are those of `Settings`."""

    def axes(self) -> dict[str, list[Any]]:
        """Return the values of each axis with values."""
        return {name: getattr(self, name) for name in IN_GRID_FILE if getattr(self, name) is not None}

    def in_step(self) -> list[dict[str, Any]]:
        """Return a combination for each position of the axes, which have the same length."""
        return [dict(zip(self.axes(), values, strict=True)) for values in zip(*self.axes().values(), strict=True)]


IN_GRID_FILE = {
    name: setting.use.grid_type or setting.type for name, setting in SETTINGS.items() if setting.use.in_grid_file
}
"""The settings that a grid file can give, with their types there."""

if TYPE_CHECKING:
    Settings = _SettingsBase
    Axes = _AxesBase
else:
    # A setting may be left out, so it is `T | None`; a value of an axis may not.
    Settings = create_model(
        "Settings",
        __base__=_SettingsBase,
        **{name: (kind | None, Field(None, description=SETTINGS[name].doc)) for name, kind in IN_GRID_FILE.items()},
    )
    Axes = create_model(
        "Axes",
        __base__=_AxesBase,
        **{
            name: (Annotated[list[kind], BeforeValidator(_as_list)] | None, None) for name, kind in IN_GRID_FILE.items()
        },
    )


class Matrix(Axes):
    """The product of its axes and zips, without what `exclude` names, with what `include` adds."""

    zip: Annotated[list[Axes], BeforeValidator(lambda value: value or [])] = Field(default_factory=list)
    """Settings with as many values each, taken in step: an axis of the product. One mapping, or a list of them."""
    include: Annotated[list[Axes], BeforeValidator(lambda value: value or [])] = Field(default_factory=list)
    """Each entry is added to the combinations whose own values it agrees with, or else becomes one of its own."""
    exclude: Annotated[list[Axes], BeforeValidator(lambda value: value or [])] = Field(default_factory=list)
    """The combinations that have every value of an entry are taken away."""


class Experiment(Strict):
    """A named part of the grid."""

    description: str = ""
    """For people."""
    defaults: Part[Settings] = Settings()
    """Settings of every run of this experiment, unless its matrix says otherwise."""
    matrix: Part[Matrix] = Matrix()
    """Settings with one value or a list of them each: the experiment's runs are their product."""


class GridFile(Strict):
    """A grid file."""

    defaults: Part[Settings] = Settings()
    """Settings of every run, unless an experiment says otherwise."""
    networks: Part[dict[str, Annotated[str, AfterValidator(checked_notation)]]] = Field(default_factory=dict)
    """Names of your own for networks, each a text in the paper's notation or the import path of a model."""
    reports: str | None = None
    """A Python file beside this one, with figures and tables of your own."""
    experiments: dict[Annotated[str, AfterValidator(_name)], Part[Experiment]]
    """The experiments, by their names."""

    @field_validator("networks")
    @classmethod
    def _keep_the_papers_networks(cls, networks: dict[str, str]) -> dict[str, str]:
        for name, text in networks.items():
            if name in NETWORKS and text != canonical(NETWORKS[name]):
                raise PydanticCustomError("papers_name", f"'{name}' is the paper's network; choose another name")
        return networks


class SourceFile:
    """A grid file as written: its plain data, and the place of each part."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            GridError: it cannot be read, is not YAML, or its top level is not a mapping.
        """
        self.path = path
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise GridError([f"{path}: cannot be read ({error})"]) from error
        try:
            tree = YAML(typ="rt", pure=True).load(text)
        except MarkedYAMLError as error:
            mark = error.problem_mark
            where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
            problem = str(error.problem or error.context or "").strip().splitlines()[0]
            raise GridError([f"{where}: not valid YAML: {problem}"]) from error
        except (YAMLError, ValueError) as error:
            raise GridError([f"{path}: not valid YAML: {error}"]) from error
        if not isinstance(tree, CommentedMap):
            raise GridError([f"{path}: a grid file is a mapping with a key 'experiments'; this one is empty or a list"])
        self.places: dict[Place, tuple[int, int]] = {}
        self.data: dict[str, Any] = self._plain(tree, ())

    def _plain(self, node: Any, place: Place) -> Any:
        """Return plain Python data, and record the place of each key and item."""
        if isinstance(node, CommentedMap) and place[-2:] == ("matrix", "zip"):
            return [self._plain(node, (*place, 0))]  # a single zip needs no list
        if isinstance(node, CommentedMap):
            for key in node:
                if not isinstance(key, str):
                    raise GridError([self.problem(place, f"the key {key!r} is not text; put it in quotes")])
                if key in node.lc.data:  # a key that a merge (<<) adds stands elsewhere
                    self.places[(*place, key)] = node.lc.key(key)
            return {key: self._plain(value, (*place, key)) for key, value in node.items()}
        if isinstance(node, CommentedSeq):
            for index in range(len(node)):
                self.places[(*place, index)] = node.lc.item(index)
            return [self._plain(value, (*place, index)) for index, value in enumerate(node)]
        for kind in (bool, int, float, str):
            if isinstance(node, kind):
                return kind(node)
        if isinstance(node, TaggedScalar):
            raise GridError([self.problem(place, f"the tag of {node.value!r} means nothing here; take it away")])
        return node

    def problem(self, place: Place, message: str) -> str:
        """Return a message with the file, line and column of `place`, or of its nearest part in the file."""
        present = place
        while present and present not in self.places:
            present = present[:-1]
        where = str(self.path)
        if present:
            line, column = self.places[present]
            where += f":{line + 1}:{column + 1}"
        path = ".".join(str(step) for step in present)
        return f"{where}: {path}: {message}" if path else f"{where}: {message}"


def reports_of(path: Path) -> Path | None:
    """Return the file of the user's figures and tables that a grid file names; None if it names none.

    Raises:
        GridError: the grid file cannot be read, or its value of `reports` is not a file name.
    """
    source = SourceFile(path)
    name = source.data.get("reports")
    if name is None:
        return None
    if not isinstance(name, str):
        raise GridError([source.problem(("reports",), f"the name of one Python file is wanted (got {name!r})")])
    return path.parent / name


def read_grid(path: Path) -> tuple[SourceFile, GridFile, list[str]]:
    """Read a grid file.

    Returns:
        The file as written; the grid file, without the experiments that have mistakes; and the mistakes, one line each.

    Raises:
        GridError: the file cannot be read, or is not a grid file.
    """
    source = SourceFile(path)
    data = dict(source.data)
    experiments = data.get("experiments")
    if isinstance(experiments, dict) and not experiments:
        raise GridError([source.problem(("experiments",), "no experiment is given, so there is nothing to run")])
    networks = data.get("networks")
    context = {"networks": tuple(networks) if isinstance(networks, dict) else ()}
    mistakes = list(_zip_mistakes(experiments))
    try:
        file = GridFile.model_validate(data, context=context)
        if not mistakes:
            return source, file, []
    except ValidationError as error:
        mistakes += [(detail["loc"], _message(detail)) for detail in error.errors(include_url=False)]
    problems = list(dict.fromkeys(source.problem(place, message) for place, message in mistakes))
    wrong = {place[1] for place, _ in mistakes if place[0] == "experiments" and len(place) > 1}
    if any(place[0] != "experiments" or len(place) == 1 for place, _ in mistakes):
        raise GridError(problems)
    data["experiments"] = {name: value for name, value in data["experiments"].items() if name not in wrong}
    return source, GridFile.model_validate(data, context=context), problems


def _zip_mistakes(experiments: Any) -> Iterator[tuple[Place, str]]:
    """Return the mistakes in the zips of a file as written, whatever other mistakes it has."""
    for name, experiment in experiments.items() if isinstance(experiments, dict) else ():
        matrix = experiment.get("matrix") if isinstance(experiment, dict) else None
        if not isinstance(matrix, dict) or not isinstance(matrix.get("zip"), list):
            continue
        taken = set(matrix) & IN_GRID_FILE.keys()
        for number, axes in enumerate(matrix["zip"]):
            if not isinstance(axes, dict):
                continue
            place = ("experiments", name, "matrix", "zip", number)
            lengths = {setting: len(_as_list(values)) for setting, values in axes.items()}
            if len(set(lengths.values())) > 1:
                counted = ", ".join(f"{setting} has {length}" for setting, length in lengths.items())
                yield place, f"settings that are taken in step have as many values each, and here {counted}"
            for setting in axes:
                if setting in taken:
                    yield (*place, setting), f"'{setting}' is an axis of this matrix already; keep it in one place"
            taken |= set(axes) & IN_GRID_FILE.keys()


def _message(detail: ErrorDetails) -> str:
    """Return a mistake in the words of a grid file."""
    key, value = detail["loc"][-1], detail["input"]
    match detail["type"]:
        case "extra_forbidden":
            return f"unknown key '{key}': {nearest(str(key), _allowed_keys(detail['loc'][:-1]))}"
        case "missing":
            return f"the key '{key}' is missing"
        case "unknown_word":
            return f"'{value}': {detail['msg']}"
        case "unknown_network" | "notation":
            return f"'{value}': {detail['msg']}"
        case _:
            return f"{detail['msg']} (got {value!r})"


def _allowed_keys(place: Place) -> list[str]:
    """Return the keys that may stand at `place`."""
    parent = place[-2:] if place and isinstance(place[-1], int) else place[-1:]
    match parent:
        case ():
            model: type[BaseModel] = GridFile
        case ("matrix",):
            model = Matrix
        case ("defaults",) | ("zip" | "include" | "exclude", _):
            model = Settings
        case _:
            model = Experiment
    return list(model.model_fields)
