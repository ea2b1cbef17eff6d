"""The schema of a grid file. Every mistake in a file is reported with its place.

defaults:      settings of every run, unless an experiment sets them
networks:      name: text in the paper's notation
reports:       a Python file next to this one, with custom figures and tables
experiments:
  NAME:
    description: a text for readers
    defaults:    settings of every run of this experiment
    matrix:      setting: [values…], plus `zip` (settings that vary together), `include` and `exclude` (as in GitHub
                 Actions)
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
from urfb.grid.wording import in_plain_words, lacks_space
from urfb.nn.networks import NETWORKS
from urfb.nn.notation import canonical

MAX_RUNS = 100_000
"""The largest number of runs in an experiment. A plan of this size takes about 15 seconds."""


def _name(name: str) -> str:
    """Return the name of an experiment if it needs no quotes in a shell, a file name or a list."""
    if not re.fullmatch(r"[\w.-]+", name):
        raise PydanticCustomError("name", "an experiment's name has only letters, digits, '_', '-' and '.'")
    return name


class Strict(BaseModel):
    """A part of a grid file. It accepts no unknown keys, and converts no values from other types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def seed_range(value: Any) -> range | None:
    """Return the seeds of a range such as '0-9'; None if the value is not a range."""
    limits = re.fullmatch(r"(\d{1,18}) *- *(\d{1,18})", value) if isinstance(value, str) else None
    return range(int(limits[1]), int(limits[2]) + 1) if limits else None


def _seed_or_range(value: Any, validate: Callable[[Any], int]) -> int | range:
    seeds = seed_range(value)
    if seeds is None:
        return validate(value)
    if not 0 < len(seeds) <= MAX_RUNS:
        problem = f"a range goes from a lower seed to a higher one and has at most {MAX_RUNS:,} seeds"
        raise PydanticCustomError("range", "{problem}", {"problem": problem})
    return seeds


def _written_out(seeds: list[int | range]) -> list[int]:
    return [seed for part in seeds for seed in (part if isinstance(part, range) else (part,))]


def _naming_a_setting(entry: _AxesBase) -> _AxesBase:
    """Refuse an entry without settings, because it would match every combination."""
    if not entry.model_fields_set:
        raise PydanticCustomError("no_setting", "this entry names no setting: name one, or remove the entry")
    return entry


class _SettingsBase(Strict):
    """The settings of a run in a grid file. A setting without a value has a default or follows from the others."""

    def values(self) -> dict[str, Any]:
        """Return the settings that have a value."""
        return self.model_dump(exclude_none=True)


class _AxesBase(Strict):
    """Settings with one or more values each; the fields are those of `Settings`."""

    def axes(self) -> dict[str, list[Any]]:
        """Return the values of each axis that has values."""
        return {name: getattr(self, name) for name in IN_GRID_FILE if getattr(self, name) is not None}

    @property
    def size(self) -> int:
        """The number of combinations of the axes' values."""
        return math.prod(map(len, self.axes().values()))

    def in_step(self) -> list[dict[str, Any]]:
        """Return one combination per position of the axes, which have the same length."""
        return [dict(zip(self.axes(), values, strict=True)) for values in zip(*self.axes().values(), strict=True)]


IN_GRID_FILE = {
    name: setting.use.grid_type or setting.type for name, setting in SETTINGS.items() if setting.use.in_grid_file
}
"""The settings that a grid file can set, with their types there."""

if TYPE_CHECKING:
    Settings = _SettingsBase
    Axes = _AxesBase
else:
    # A setting may be missing, so its type is `T | None`. The values of an axis cannot be None.
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
    """The product of its axes and zips, without the combinations that `exclude` removes, with those of `include`."""

    zip: list[Entry] = Field(default_factory=list)
    """Settings that vary together, as one axis of the product. Each has the same number of values. Give one mapping, or
    a list of mappings."""
    include: list[Entry] = Field(default_factory=list)
    """Each entry is added to all combinations whose axes agree with it. An entry that agrees with none becomes a new
    combination."""
    exclude: list[Entry] = Field(default_factory=list)
    """A combination is removed if it has every value of an entry."""

    @model_validator(mode="after")
    def _refuse_too_many(self) -> Matrix:
        size = self.size * math.prod(max(map(len, zipped.axes().values()), default=1) for zipped in self.zip)
        most = max([size, *(entry.size for entry in (*self.include, *self.exclude))])
        if most > MAX_RUNS:
            problem = f"this makes {most:,} runs, but an experiment may have at most {MAX_RUNS:,}"
            raise PydanticCustomError("too_many", "{problem}", {"problem": problem})
        return self


class Experiment(Strict):
    """A named part of the grid."""

    description: str = ""
    """A text for readers of the file."""
    defaults: Settings = Settings()
    """Settings of every run of this experiment, unless its matrix sets them."""
    matrix: Matrix = Matrix()
    """Settings with one value or a list of values each. The experiment's runs are their product."""


class GridFile(Strict):
    """A grid file."""

    defaults: Settings = Settings()
    """Settings of every run, unless an experiment sets them."""
    networks: dict[str, Annotated[str, AfterValidator(checked_notation)]] = Field(default_factory=dict)
    """Your own names for networks. Each network is a text in the paper's notation, or the import path of a model."""
    reports: str | None = None
    """A Python file next to this one, with your own figures and tables."""
    experiments: dict[Annotated[str, AfterValidator(_name)], Experiment]
    """The experiments, by name."""

    @field_validator("networks")
    @classmethod
    def _keep_the_papers_networks(cls, networks: dict[str, str]) -> dict[str, str]:
        for name, text in networks.items():
            if name in NETWORKS and text != canonical(NETWORKS[name]):
                raise PydanticCustomError("papers_name", f"'{name}' is the paper's network; choose another name")
        return networks


def outline(path: Path) -> tuple[Path | None, list[str]]:
    """Return the file with custom figures and tables that a grid file names, and the names of its experiments.

    Raises:
        GridError: the grid file cannot be read, or its value of `reports` is not a file name.
    """
    source = SourceFile(path)
    if source.mistakes:
        raise GridError([source.problem(place, message) for place, message in source.mistakes])
    name = source.data.get("reports")
    if name is not None and not isinstance(name, str):
        raise GridError([source.problem(("reports",), f"give the name of one Python file (got {name!r})")])
    experiments = source.data.get("experiments")
    names = [str(experiment) for experiment in experiments] if isinstance(experiments, dict) else []
    return None if name is None else path.parent / name, names


def read_grid(path: Path) -> tuple[SourceFile, GridFile, list[str]]:
    """Read a grid file.

    Returns:
        The file as written; the grid file, without the experiments that have mistakes; the mistakes, one line each.

    Raises:
        GridError: the file cannot be read, or has mistakes outside its experiments.
    """
    source = SourceFile(path)
    data = dict(source.data)
    experiments = data.get("experiments")
    networks = data.get("networks")
    context = {"networks": tuple(networks) if isinstance(networks, dict) else ()}
    mistakes = [*source.mistakes, *_zip_mistakes(experiments)]
    reports = data.get("reports")
    if isinstance(reports, str) and not (path.parent / reports).is_file():
        mistakes.append((("reports",), f"'{reports}' does not exist next to this file"))
    if experiments == {}:
        mistakes.append((("experiments",), "no experiment is given: add one under 'experiments'"))
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
    """Yield the mistakes in the zips of a file as written, even if the file has other mistakes."""
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
                setting: sum(len((setting == "seed" and seed_range(value)) or [value]) for value in _as_list(values))
                for setting, values in axes.items()
            }
            if len(set(lengths.values())) > 1:
                counted = ", ".join(f"{setting} has {length}" for setting, length in lengths.items())
                yield place, f"the settings of a zip have the same number of values, but here {counted}"
            for setting in axes:
                if setting in taken:
                    yield (*place, setting), f"'{setting}' is already an axis of this matrix; set it in one place only"
            taken |= set(axes) & IN_GRID_FILE.keys()


def _message(detail: ErrorDetails) -> str:
    """Return pydantic's mistake as a message in the terms of a grid file."""
    key, value = detail["loc"][-1], detail["input"]
    match detail["type"]:
        case "extra_forbidden":
            return _unknown_key(str(key), detail["loc"][:-1])
        case "missing":
            return f"the key '{key}' is missing"
        case "unknown_word" | "unknown_network" | "notation" | "file":
            return f"'{value}': {detail['msg']}"
        case "too_short":
            return "the list is empty: give a value, or remove the key"
        case "too_many" | "no_setting":
            return detail["msg"]
        case "int_type" if key == "seed" and seed_range(value):
            return f"put a range of seeds such as {value} under 'matrix'"
        case "model_type" | "dict_type" if hint := lacks_space(value):
            return hint
        case "list_type":
            return f"must be a mapping or a list of mappings (got {reprlib.repr(value)})"
        case _ if isinstance(value, list) and detail["loc"][-2:-1] == ("defaults",):
            return "one value is allowed here; move the list to 'matrix'"
        case _:
            return f"{in_plain_words(detail)} (got {reprlib.repr(value)})"


def _unknown_key(key: str, place: Place) -> str:
    """Return a message about a key that is not allowed at `place`: the allowed keys, or the part that it belongs to."""
    model: type[BaseModel] = Settings
    below = ""
    match place:
        case ():
            model = GridFile
            below = "'defaults:'" if key in IN_GRID_FILE else "an experiment" if key in Experiment.model_fields else ""
        case ("experiments", _):
            model = Experiment
            below = "'matrix:'" if key in Matrix.model_fields else ""
            below += " or 'defaults:'" if key in IN_GRID_FILE else ""
        case ("experiments", _, "matrix"):
            model = Matrix
    if below:
        return f"unknown key '{key}': it belongs below {below}, with more indentation"
    return f"unknown key '{key}': {nearest(key, model.model_fields)}"
