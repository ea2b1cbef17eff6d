"""The settings of a run. Each is declared once: type, default, doc, and where it is used.

The following derive from `RunSettings`: the settings that a grid file accepts (`urfb.grid.schema`), `RunSpec` and its
identity (`urfb.grid.spec`), the store's columns and views, the types in `--where` conditions, listings, the workloads
that are timed, the runs that a figure compares, and the reference page. To add a setting, add a field here and a
migration for its column.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from urfb.data.catalog import CATALOG
from urfb.errors import NotationError, PluginError, nearest
from urfb.learning.catalog import ALGORITHMS
from urfb.nn.networks import NETWORKS
from urfb.nn.notation import canonical, is_notation
from urfb.nn.rules import RULES
from urfb.plugins import is_import_path, refuse_file

CONVENTIONS: dict[str, dict[str, Any]] = {
    # Values for the settings that the paper leaves open: from its text, and from its author's code.
    "paper": {"activation_slope": 1.0, "pool_padding": "centred", "untied_start": "independent"},
    "author-code": {"activation_slope": 0.5, "pool_padding": "end", "untied_start": "tied-copy"},
}


class OneOf:
    """A validator that accepts one of `words` and otherwise suggests the nearest one."""

    def __init__(self, words: Collection[str], *, or_import_path: tuple[str, str] | None = None) -> None:
        """Set the allowed words, and what an import path names, with an example, if one is also allowed."""
        self.words = words
        self.or_import_path = or_import_path

    def __call__(self, word: str) -> str:
        """Return the word if it is allowed."""
        if word not in self.words and not (self.or_import_path and _checked_import_path(word)):
            problem = nearest(word, self.words)
            if self.or_import_path and problem.startswith("allowed"):
                kind, example = self.or_import_path
                problem += f", or the import path of your own {kind}, such as '{_as_import_path(word, example)}'"
            raise PydanticCustomError("unknown_word", "{problem}", {"problem": problem})
        return word


def _as_import_path(text: str, example: str) -> str:
    """Return a dotted name, such as 'my_rules.foo', as an import path; the example for any other text."""
    module, _, name = text.rpartition(".")
    path = f"{module}:{name}"
    return path if is_import_path(path) and name != "py" else example


def _checked_import_path(text: str) -> bool:
    """Return whether a text is an import path; refuse the path of a file."""
    try:
        refuse_file(text)
    except PluginError as error:
        raise PydanticCustomError("file", "{problem}", {"problem": str(error)}) from error
    return is_import_path(text)


def checked_notation(text: str) -> str:
    """Return a network's text in canonical notation, or a model's import path unchanged."""
    if _checked_import_path(text):
        return text
    try:
        return canonical(text)
    except NotationError as error:
        raise PydanticCustomError("notation", "{problem}", {"problem": str(error)}) from error


def _network_name(value: str, info: ValidationInfo) -> str:
    """Return a network's name or import path unchanged, or a network's text in canonical notation.

    The validation context has the names of the grid file's networks.
    """
    names = {*NETWORKS, *(info.context or {}).get("networks", ())}
    if value in names or _checked_import_path(value):
        return value
    if is_notation(value):
        return checked_notation(value)
    raise PydanticCustomError(
        "unknown_network",
        "{problem}; use one of these names, a name under 'networks:', a text such as 'Full 100; Output', "
        "or a model's import path such as '{example}'",
        {"problem": nearest(value, sorted(names)), "example": _as_import_path(value, "my_models:build")},
    )


def _joined_numbers(value: Any) -> Any:
    """Return conv layers that YAML gives as numbers, 2 or [2, 3], as a text, '2' or '2 3'; other values unchanged."""
    numbers = value if isinstance(value, list) else [value]
    if numbers and all(isinstance(number, int) and not isinstance(number, bool) for number in numbers):
        return " ".join(str(number) for number in numbers)
    return value


def _as_json(value: Any) -> Any:
    """Return a mapping from YAML as JSON; other values unchanged."""
    return json.dumps(value, sort_keys=True) if isinstance(value, dict) else value


def _conv_layers(text: str) -> str:
    """Return 'none', 'all' or the numbers of conv layers in the canonical form that identities use."""
    words = text.split()
    if words in (["none"], ["all"]):
        return words[0]
    if not words or not all(re.fullmatch("[1-9][0-9]{0,3}", word) for word in words):
        raise PydanticCustomError("conv_layers", "give conv layers as 'none', 'all' or numbers from 1, such as [2, 3]")
    return " ".join(str(number) for number in sorted({int(word) for word in words}))


NetworkName = Annotated[str, AfterValidator(_network_name)]
DatasetName = Annotated[str, AfterValidator(OneOf(CATALOG, or_import_path=("data set", "my_data:load")))]
RuleName = Annotated[str, AfterValidator(OneOf(RULES, or_import_path=("rule", "my_rules:foo")))]
AlgorithmName = Annotated[str, AfterValidator(OneOf(ALGORITHMS))]
AlgorithmSettings = Annotated[str, BeforeValidator(_as_json)]
LossName = Annotated[str, AfterValidator(OneOf(("softmax", "hinge")))]
Precision = Annotated[str, AfterValidator(OneOf(("float32", "float64", "tf32", "bfloat16")))]
PoolPadding = Annotated[str, AfterValidator(OneOf(("centred", "end")))]
UntiedStart = Annotated[str, AfterValidator(OneOf(("independent", "tied-copy")))]
ConventionName = Annotated[str, AfterValidator(OneOf(CONVENTIONS))]
ConvLayers = Annotated[str, BeforeValidator(_joined_numbers), AfterValidator(_conv_layers)]
ONE_ZERO = AfterValidator(lambda number: number + 0.0)
"""A validator that turns −0.0 into 0.0, so that equal values give the same identity."""
Decay = Annotated[float, Field(ge=0, lt=1), ONE_ZERO]
Density = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False), ONE_ZERO]
Finite = Annotated[float, Field(allow_inf_nan=False), ONE_ZERO]
NotNegativeInt = Annotated[int, Field(ge=0, lt=2**31)]
Count = Annotated[int, Field(ge=1, lt=2**31)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


@dataclass(frozen=True)
class Use:
    """Where a setting is used. Most settings use the defaults.

    Attributes:
        in_grid_file: whether a grid file can set it.
        grid_type: its type in a grid file, if it differs from the type in a run.
        usual: its value in a run if the grid file does not set it; None for the field's default.
        notation: whether it applies only to networks in the paper's notation.
        workload: whether the time and memory of a training step depend on it.
        follows: the settings that determine its value if a grid file does not set it. It is part of the names of runs
            only if these settings do not already distinguish them.
        compares: what it distinguishes in a figure: `panels`; `protocols`, the protocols of a panel; `untied`, the
            protocols of a panel that compares tied networks with untied ones, otherwise panels; `hinge`, runs with the
            hinge loss, because it applies only to them; `nothing`, such as the seed.
        fixed: whether all of the paper's runs have the same value. The paper's figures select runs by this value.
        paper: that value, if it is neither `usual` nor the field's default.
    """

    in_grid_file: bool = True
    grid_type: Any = None
    usual: Any = None
    notation: bool = False
    workload: bool = False
    follows: tuple[str, ...] = ()
    compares: Literal["panels", "protocols", "untied", "hinge", "nothing"] = "panels"
    fixed: bool = True
    paper: Any = None


class RunSettings(BaseModel):
    """All settings that a run's numbers depend on, with the network's name and the target of epochs."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    network: Annotated[str, Use(grid_type=NetworkName, fixed=False)]
    """One of the paper's networks, a name under `networks:`, a text in the paper's notation, or the import path of your
    own model, such as `my_models:build`."""
    layers: Annotated[str, Use(follows=("network", "convention"), in_grid_file=False, workload=True, fixed=False)]
    """the network in the paper's notation, or a model's import path"""
    dataset: Annotated[DatasetName, Use(workload=True, fixed=False)]
    """The data set, or the import path of your own, such as `my_data:stripes`. The split into training, validation and
    test images is always the same."""
    rule: Annotated[RuleName, Use(workload=True, compares="protocols")]
    """The learning rule, or the import path of your own, such as `my_models:halfway`."""
    algorithm: Annotated[AlgorithmName, Use(workload=True)] = "feedback"
    """The learning algorithm. `feedback` trains with any rule."""
    algorithm_settings: Annotated[AlgorithmSettings, Use(follows=("algorithm",), workload=True)] = "{}"
    """The settings of the algorithm, as a mapping. `feedback` has none."""
    epsilon: Annotated[Finite | None, Use(compares="protocols")] = None
    """ε: R takes ε times the increment of W. Only rules that leave ε open accept it."""
    decay: Annotated[Decay | None, Use(compares="protocols")] = None
    """λ: each update removes this fraction of W and R. Only rules that leave λ open accept it."""
    loss: Annotated[LossName, Use(usual="hinge", compares="protocols")]
    """`hinge` is the paper's local multi-class hinge loss. `softmax` is cross-entropy."""
    connectivity: Annotated[Density, Use(workload=True, compares="protocols")] = 1.0
    """The fraction of W's connections that exist. The output layer keeps all of its connections, unless `dense_output`
    is false."""
    feedback_connectivity: Annotated[Density, Use(follows=("connectivity",), workload=True, compares="protocols")] = 1.0
    """The fraction of R's connections that exist; by default, the same as `connectivity`."""
    dense_output: Annotated[bool, Use(notation=True)] = True
    """Whether the output layer keeps all of its connections."""
    untied: Annotated[ConvLayers, Use(notation=True, workload=True, compares="untied")] = "none"
    """The conv layers with separate filters at each location: `none`, `all`, or numbers such as `[2, 3]`."""
    untied_start: Annotated[
        UntiedStart | None, Use(follows=("untied", "convention"), notation=True, compares="untied", fixed=False)
    ] = None
    """How the locations of an untied layer start: with independent draws, or with copies of one filter."""
    pretraining_epochs: Annotated[NotNegativeInt, Use(notation=True, workload=True, compares="untied")] = 0
    """The number of epochs in a first stage, in which all layers are tied. After it, the layers in `frozen` keep W
    (and R, if both rules draw R like W), all other layers are drawn again, and `untied` takes effect. `epochs` counts
    both stages."""
    pretraining_rule: Annotated[
        RuleName | None,
        Use(follows=("pretraining_epochs",), notation=True, workload=True, compares="untied", fixed=False),
    ] = None
    """The rule of the first stage."""
    frozen: Annotated[
        ConvLayers | None, Use(follows=("pretraining_epochs",), notation=True, compares="untied", fixed=False)
    ] = None
    """The conv layers that keep W from the first stage, written as for `untied`."""
    activation_slope: Annotated[Positive, Use(follows=("convention",), notation=True, fixed=False)] = 1.0
    """The slope of σ between its bounds −1 and 1."""
    pool_padding: Annotated[PoolPadding, Use(follows=("convention",), notation=True, fixed=False)] = "centred"
    """Where overlapping pools are padded with zeros: on every side (`centred`), or at the bottom and right (`end`)."""
    off_class_weight: Annotated[NotNegative | None, Use(follows=("loss", "dataset"), compares="hinge")] = None
    """μ of the hinge loss: the weight of each wrong class; by default, 1 / (classes − 1)."""
    off_class_margin: Annotated[Finite | None, Use(follows=("loss",), compares="hinge")] = None
    """The hinge loss ignores a wrong class if its activity is below this value."""
    true_class_margin: Annotated[Finite, Use(compares="hinge")] = 1.0
    """The hinge loss ignores the true class if its activity is above this value."""
    input_offset: Annotated[Finite, Use()] = 0.0
    """The value subtracted from every pixel after scaling to 0 … 1; 0.5 centres the pixels."""
    step_size: Annotated[Positive, Use(usual=0.1)]
    """η, the step size of plain stochastic gradient descent."""
    batch_size: Annotated[Count, Use(follows=("dataset",), workload=True, paper=500)]
    """The number of images per update. Under `author-code`, the default is at most 50 if layers are untied."""
    precision: Annotated[Precision, Use(workload=True)] = "float32"
    """The precision of the arithmetic. `bfloat16` computes activity and error signals in bfloat16. `tf32` (GPU only)
    rounds the factors of products. W and R stay float32 under both."""
    seed: Annotated[Seed, Use(compares="nothing")] = 0
    """The seed for weights, masks, the order of images, and dropout. Runs that differ only in the rule start from the
    same W."""
    gradient_batch: Annotated[Count | None, Use()] = None
    """The number of training images on which the rule's gradient is compared with true back-propagation's, whenever
    alignment is measured; by default, the gradients are not compared."""
    source: Annotated[
        str | None, Use(follows=("network", "dataset", "rule"), in_grid_file=False, workload=True, compares="nothing")
    ] = None
    """hash of the source code of custom models, rules and data sets; empty without them"""
    epochs: Annotated[Count, Use(usual=1000, compares="nothing")]
    """The target: the number of epochs to train. A larger target later continues the same run."""


class Setting(NamedTuple):
    """A declared setting.

    Attributes:
        name: the name of the field, the column and the key in a grid file.
        type: the type of its value, without None, with the bounds that pydantic checks.
        kind: str, int, float or bool.
        optional: whether a run may have None.
        default: the field's default; None if there is none.
        doc: its description in the reference.
        use: where it is used.
    """

    name: str
    type: Any
    kind: type
    optional: bool
    default: Any
    doc: str
    use: Use

    @property
    def usual(self) -> Any:
        """The value if nothing sets it; None if the value follows from other settings."""
        return self.default if self.use.usual is None else self.use.usual

    @property
    def paper(self) -> Any:
        """The value in the paper's runs."""
        return self.usual if self.use.paper is None else self.use.paper


def _declared(name: str, field: FieldInfo) -> Setting:
    """Return the setting that a field of `RunSettings` declares."""
    (use,) = (mark for mark in field.metadata if isinstance(mark, Use))
    alternatives = get_args(field.annotation)
    optional = NoneType in alternatives
    value_type: Any = Annotated[(alternatives[0] if optional else field.annotation, *field.metadata)]
    kind = get_args(value_type)[0]
    default = None if field.is_required() else field.default
    return Setting(name, value_type, kind, optional, default, " ".join((field.description or "").split()), use)


CONVENTION = Setting(
    "convention",
    ConventionName,
    str,
    optional=False,
    default="paper",
    doc="A set of values for the settings that the paper leaves open: `activation_slope`, `pool_padding` and "
    "`untied_start`. You can also set each of them directly.",
    use=Use(notation=True),
)
"""The name of a convention, in grid files and stores; not a field of a run."""


def _with_convention() -> Iterator[Setting]:
    for name, field in RunSettings.model_fields.items():
        if name == "activation_slope":
            yield CONVENTION
        yield _declared(name, field)


SETTINGS: dict[str, Setting] = {setting.name: setting for setting in _with_convention()}
"""All settings by name, in the order of declaration."""

WORKLOAD_SETTINGS = tuple(name for name, setting in SETTINGS.items() if setting.use.workload)
"""The settings that the time and memory of a training step depend on."""
