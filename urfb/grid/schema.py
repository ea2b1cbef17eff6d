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

import math
import re
import reprlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WrapValidator,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from urfb.errors import GridError, nearest
from urfb.grid.settings import SETTINGS, checked_notation
from urfb.grid.source import Place, SourceFile
from urfb.nn.networks import NETWORKS
from urfb.nn.notation import canonical

MAX_RUNS = 100_000
"""Of one experiment; a plan of so many takes about 15 seconds."""


def _name(name: str) -> str:
    """Accept a name that needs no quotes in a shell, a file name or a list."""
    if not re.fullmatch(r"[\w.-]+", name):
        raise PydanticCustomError("name", "an experiment's name has letters, digits, '_', '-' and '.' alone")
    return name


class Strict(BaseModel):
    """A part of a grid file, without unknown keys and values of other types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _range(value: Any) -> range | None:
    """Return the seeds that a text such as '0-9' stands for; None if it is no range."""
    limits = re.fullmatch(r"(\d{1,18}) *- *(\d{1,18})", value) if isinstance(value, str) else None
    return range(int(limits[1]), int(limits[2]) + 1) if limits else None


def _seed_or_range(value: Any, validate: Callable[[Any], int]) -> int | range:
    seeds = _range(value)
    if seeds is None:
        return validate(value)
    if not 0 < len(seeds) <= MAX_RUNS:
        problem = f"a range goes from a lower seed to a higher one, and has {MAX_RUNS:,} at most"
        raise PydanticCustomError("range", "{problem}", {"problem": problem})
    return seeds


def _written_out(seeds: list[int | range]) -> list[int]:
    return [seed for part in seeds for seed in (part if isinstance(part, range) else (part,))]


def _naming_a_setting(entry: _AxesBase) -> _AxesBase:
    """Refuse an entry that would agree with every combination."""
    if not entry.model_fields_set:
        raise PydanticCustomError("no_setting", "this entry names no setting: name one, or take the entry away")
    return entry


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

    @property
    def size(self) -> int:
        """The number of combinations of the axes' values."""
        return math.prod(map(len, self.axes().values()))

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
    values_of = {name: Annotated[list[kind], Field(min_length=1)] for name, kind in IN_GRID_FILE.items()}
    seed_type = IN_GRID_FILE["seed"]
    seed_or_range = Annotated[seed_type, WrapValidator(_seed_or_range)]
    values_of["seed"] = Annotated[list[seed_or_range], Field(min_length=1), AfterValidator(_written_out)]
    Settings = create_model(
        "Settings",
        __base__=_SettingsBase,
        **{name: (kind | None, Field(None, description=SETTINGS[name].doc)) for name, kind in IN_GRID_FILE.items()},
    )
    Axes = create_model(
        "Axes",
        __base__=_AxesBase,
        **{name: (Annotated[kind, BeforeValidator(_as_list)] | None, None) for name, kind in values_of.items()},
    )

Entry = Annotated[Axes, AfterValidator(_naming_a_setting)]


class Matrix(Axes):
    """The product of its axes and zips, without what `exclude` names, with what `include` adds."""

    zip: list[Entry] = Field(default_factory=list)
    """Settings with as many values each, taken in step: an axis of the product. One mapping, or a list of them."""
    include: list[Entry] = Field(default_factory=list)
    """Each entry is added to the combinations whose own values it agrees with, or else becomes one of its own."""
    exclude: list[Entry] = Field(default_factory=list)
    """The combinations that have every value of an entry are taken away."""

    @model_validator(mode="after")
    def _refuse_too_many(self) -> Matrix:
        size = self.size * math.prod(max(map(len, zipped.axes().values()), default=1) for zipped in self.zip)
        most = max([size, *(entry.size for entry in (*self.include, *self.exclude))])
        if most > MAX_RUNS:
            problem = f"this stands for {most:,} runs, and {MAX_RUNS:,} is the most that an experiment may have"
            raise PydanticCustomError("too_many", "{problem}", {"problem": problem})
        return self


class Experiment(Strict):
    """A named part of the grid."""

    description: str = ""
    """For people."""
    defaults: Settings = Settings()
    """Settings of every run of this experiment, unless its matrix says otherwise."""
    matrix: Matrix = Matrix()
    """Settings with one value or a list of them each: the experiment's runs are their product."""


class GridFile(Strict):
    """A grid file."""

    defaults: Settings = Settings()
    """Settings of every run, unless an experiment says otherwise."""
    networks: dict[str, Annotated[str, AfterValidator(checked_notation)]] = Field(default_factory=dict)
    """Names of your own for networks, each a text in the paper's notation or the import path of a model."""
    reports: str | None = None
    """A Python file beside this one, with figures and tables of your own."""
    experiments: dict[Annotated[str, AfterValidator(_name)], Experiment]
    """The experiments, by their names."""

    @field_validator("networks")
    @classmethod
    def _keep_the_papers_networks(cls, networks: dict[str, str]) -> dict[str, str]:
        for name, text in networks.items():
            if name in NETWORKS and text != canonical(NETWORKS[name]):
                raise PydanticCustomError("papers_name", f"'{name}' is the paper's network; choose another name")
        return networks


def reports_of(path: Path) -> Path | None:
    """Return the file of the user's figures and tables that a grid file names; None if it names none.

    Raises:
        GridError: the grid file cannot be read, or its value of `reports` is not a file name.
    """
    source = SourceFile(path)
    if source.mistakes:
        raise GridError([source.problem(place, message) for place, message in source.mistakes])
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
    networks = data.get("networks")
    context = {"networks": tuple(networks) if isinstance(networks, dict) else ()}
    mistakes = [*source.mistakes, *_zip_mistakes(experiments)]
    if experiments == {}:
        mistakes.append((("experiments",), "no experiment is given, so there is nothing to run"))
    try:
        file = GridFile.model_validate(data, context=context)
        if not mistakes:
            return source, file, []
    except ValidationError as error:
        known = {place for place, _ in source.mistakes}
        mistakes += [
            (detail["loc"], _message(detail))
            for detail in error.errors(include_url=False)
            if detail["loc"] not in known
        ]
    problems = list(dict.fromkeys(source.problem(place, message) for place, message in mistakes))
    if any(place[:1] != ("experiments",) or len(place) == 1 for place, _ in mistakes):
        raise GridError(problems)
    wrong = {place[1] for place, _ in mistakes}
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
            lengths = {
                setting: sum(len((setting == "seed" and _range(value)) or [value]) for value in _as_list(values))
                for setting, values in axes.items()
            }
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
        case "too_short":
            return "the list is empty: give a value, or take the key away"
        case "too_many" | "no_setting":
            return detail["msg"]
        case "int_type" if key == "seed" and _range(value):
            return f"a range of seeds such as {value} stands under 'matrix'"
        case _:
            return f"{detail['msg']} (got {reprlib.repr(value)})"


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
