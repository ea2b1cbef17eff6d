"""What a grid file may say, and every mistake in one, each with its place.

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
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq, TaggedScalar
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from urfb.errors import GridError, NotationError, nearest
from urfb.grid import spec
from urfb.nn.networks import NETWORKS
from urfb.nn.notation import canonical
from urfb.plugins import is_import_path

Place = tuple[int | str, ...]


def _notation(text: str) -> str:
    """Accept a network in the paper's notation, or the import path of a model."""
    if is_import_path(text):
        return text
    try:
        return canonical(text)
    except NotationError as error:
        raise PydanticCustomError("notation", "{problem}", {"problem": str(error)}) from error


def _name(name: str) -> str:
    """Accept a name that needs no quotes in a shell, a file name or a list."""
    if not re.fullmatch(r"[\w.-]+", name):
        raise PydanticCustomError("name", "an experiment's name has letters, digits, '_', '-' and '.' alone")
    return name


def _known_network(value: str, info: ValidationInfo) -> str:
    """Accept the name of a network, or a network written out."""
    names = {*NETWORKS, *(info.context or {}).get("networks", ())}
    if value in names or is_import_path(value):
        return value
    if ";" in value:
        return _notation(value)
    raise PydanticCustomError(
        "unknown_network",
        "{problem}; a network is one of these names, a name under 'networks:', a text such as 'Full 100; Output', "
        "or a model's import path such as 'my_models:build'",
        {"problem": nearest(value, sorted(names))},
    )


def _written_numbers(value: Any) -> Any:
    """Accept the numbers of conv layers as YAML has them, 2 or [2, 3], beside the text '2 3'."""
    numbers = value if isinstance(value, list) else [value]
    if numbers and all(isinstance(number, int) and not isinstance(number, bool) for number in numbers):
        return " ".join(str(number) for number in numbers)
    return value


ConvLayers = Annotated[spec.ConvLayers, BeforeValidator(_written_numbers)]

T = TypeVar("T")
Part = Annotated[T, BeforeValidator(lambda value: {} if value is None else value)]
"""A mapping of which nothing is said may be left empty in YAML, which then has null."""


class Strict(BaseModel):
    """A part of a grid file: no key but those it knows, no value of another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


class Settings(Strict):
    """The settings of a run as a user gives them; what is left out has a default or follows from the others.

    The documentation's table of settings is made of this class.
    """

    network: Annotated[str, AfterValidator(_known_network)] | None = None
    """One of the paper's networks, a name under `networks:`, a text in the paper's notation, or the import path of a
    model of your own, such as `my_models:build`."""
    dataset: spec.DatasetName | None = None
    """The images, cut into training, validation and test images the same way always, or the import path of a data set
    of your own, such as `my_data:stripes`."""
    rule: spec.RuleName | None = None
    """The learning rule, or the import path of one of your own, such as `my_models:halfway`."""
    epsilon: spec.Finite | None = None
    """ε, the multiple of W's increment that R takes, under a rule that leaves it open."""
    decay: spec.Decay | None = None
    """λ, the fraction of W and R that each update takes away, under a rule that leaves it open."""
    loss: spec.LossName | None = None
    """`hinge` is the paper's local multi-class hinge loss, `softmax` cross-entropy."""
    connectivity: spec.Density | None = None
    """The fraction of W's connections that exist, in every layer but the output."""
    feedback_connectivity: spec.Density | None = None
    """The fraction of R's connections that exist; as many as of W where nothing is said."""
    dense_output: bool | None = None
    """Whether the output layer keeps all of its connections."""
    untied: ConvLayers | None = None
    """Conv layers that have filters of their own at every location: `none`, `all`, or numbers such as `[2, 3]`."""
    untied_start: spec.UntiedStart | None = None
    """Whether the locations of an untied layer start from draws of their own or from one filter."""
    pretraining_epochs: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    """The epochs of a first stage, in which all layers are tied. After it the layers in `frozen` keep W and R, all
    others are drawn again, and `untied` holds. `epochs` counts both stages."""
    pretraining_rule: spec.RuleName | None = None
    """The rule of the first stage."""
    frozen: ConvLayers | None = None
    """The conv layers that keep what they have learned in the first stage, written as for `untied`."""
    convention: Annotated[str, AfterValidator(spec.OneOf(spec.CONVENTIONS))] | None = None
    """A reading of what the paper leaves open: it stands for `activation_slope`, `pool_padding` and `untied_start`,
    which can also be given one by one."""
    activation_slope: spec.Positive | None = None
    """The slope of σ between its bounds −1 and 1."""
    pool_padding: spec.PoolPadding | None = None
    """Where the zeros of overlapping pools stand: on every side, or on the bottom and right."""
    off_class_weight: spec.NotNegative | None = None
    """μ of the hinge loss: what each wrong class counts. 1 / (classes − 1) where nothing is said."""
    off_class_margin: spec.Finite | None = None
    """The activity below which the hinge loss leaves a wrong class alone."""
    true_class_margin: spec.Finite | None = None
    """The activity above which the hinge loss leaves the true class alone."""
    input_offset: spec.Finite | None = None
    """Subtracted from every pixel after scaling to 0 … 1; 0.5 centres them."""
    step_size: spec.Positive | None = None
    """η, of plain stochastic gradient descent."""
    batch_size: spec.Count | None = None
    """Images an update. `author-code` has 50 at most where layers are untied."""
    precision: spec.Precision | None = None
    """Of the arithmetic. `bfloat16` shortens activity and error signals, `tf32` (on a GPU) the factors of products;
    W and R stay float32 under both."""
    seed: spec.Seed | None = None
    """Of weights, masks, the order of images and dropout. Runs that differ in the rule alone start from the same W."""
    gradient_batch: spec.Count | None = None
    """On so many training images, the rule's gradient is compared with true back-propagation's wherever alignment is
    measured."""
    epochs: spec.Count | None = None
    """How far to train; a longer target later continues the same run."""

    def given(self) -> dict[str, Any]:
        """Return the settings that are given."""
        return self.model_dump(exclude_none=True)


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


class _AxesBase(Strict):
    """Settings with one value or several each; the fields are those of `Settings`."""

    def axes(self) -> dict[str, list[Any]]:
        """Return each axis that is given, with its values."""
        return {name: getattr(self, name) for name in Settings.model_fields if getattr(self, name) is not None}

    def in_step(self) -> list[dict[str, Any]]:
        """Return one combination for each position of the axes, which are of one length."""
        return [dict(zip(self.axes(), values, strict=True)) for values in zip(*self.axes().values(), strict=True)]


if TYPE_CHECKING:
    Axes = _AxesBase
else:
    Axes = create_model(
        "Axes",
        __base__=_AxesBase,
        **{
            # A setting may be left out, so it is `T | None`; a value of an axis may not.
            name: (Annotated[list[get_args(field.annotation)[0]], BeforeValidator(_as_list)] | None, None)
            for name, field in Settings.model_fields.items()
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
    networks: Part[dict[str, Annotated[str, AfterValidator(_notation)]]] = Field(default_factory=dict)
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
    """A grid file as written: its plain data, and where each part of it stands."""

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
        """Return plain Python data, noting where each key and item stands."""
        if isinstance(node, CommentedMap) and place[-2:] == ("matrix", "zip"):
            return [self._plain(node, (*place, 0))]  # a single zip may do without its list
        if isinstance(node, CommentedMap):
            for key in node:
                if not isinstance(key, str):
                    raise GridError([self.problem(place, f"the key {key!r} is not text; put it in quotes")])
                if key in node.lc.data:  # what a merge (<<) brings has its place elsewhere
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
        """Return a message with the file, line and column of `place`, or of the nearest part of it that is there."""
        known = place
        while known and known not in self.places:
            known = known[:-1]
        where = str(self.path)
        if known:
            line, column = self.places[known]
            where += f":{line + 1}:{column + 1}"
        path = ".".join(str(step) for step in known)
        return f"{where}: {path}: {message}" if path else f"{where}: {message}"


def reports_of(path: Path) -> Path | None:
    """Return the file of the user's own figures and tables that a grid file names; None if it names none.

    Raises:
        GridError: the grid file cannot be read, or names none in the right way.
    """
    source = SourceFile(path)
    named = source.data.get("reports")
    if named is None:
        return None
    if not isinstance(named, str):
        raise GridError([source.problem(("reports",), f"the name of one Python file is wanted (got {named!r})")])
    return path.parent / named


def read_grid(path: Path) -> tuple[SourceFile, GridFile, list[str]]:
    """Read a grid file.

    Returns:
        The file as written; what it says, without the experiments that have mistakes; and the mistakes, one line each.

    Raises:
        GridError: the file cannot be read, or is not a grid file at all.
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
    """Return what is wrong with the zips of a file as written, whatever else may be wrong with it."""
    for name, experiment in experiments.items() if isinstance(experiments, dict) else ():
        matrix = experiment.get("matrix") if isinstance(experiment, dict) else None
        if not isinstance(matrix, dict) or not isinstance(matrix.get("zip"), list):
            continue
        taken = set(matrix) & set(Settings.model_fields)
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
            taken |= set(axes) & set(Settings.model_fields)


def _message(detail: ErrorDetails) -> str:
    """Say what is wrong in words that a user of the file knows."""
    key, given = detail["loc"][-1], detail["input"]
    match detail["type"]:
        case "extra_forbidden":
            return f"unknown key '{key}': {nearest(str(key), _allowed_keys(detail['loc'][:-1]))}"
        case "missing":
            return f"the key '{key}' is missing"
        case "unknown_word":
            return f"'{given}': {detail['msg']}"
        case "unknown_network" | "notation":
            return f"'{given}': {detail['msg']}"
        case _:
            return f"{detail['msg']} (got {given!r})"


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
