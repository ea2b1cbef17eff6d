"""Every setting of a run, declared once: type, default, doc, and where it counts.

What a grid file may set (`urfb.grid.schema`), `RunSpec` and its identity (`urfb.grid.spec`), the store's columns and
views, the types of `--where`, the listings, the workloads that are timed, the runs that a figure compares and the
reference page derive from `RunSettings`. A new setting is a field here and, for its column, a migration.
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
from urfb.errors import NotationError, nearest
from urfb.learning.catalog import ALGORITHMS
from urfb.nn.networks import NETWORKS
from urfb.nn.notation import canonical, is_notation
from urfb.nn.rules import RULES
from urfb.plugins import is_import_path

CONVENTIONS: dict[str, dict[str, Any]] = {
    # Two readings of what the paper leaves open: its text, and its author's code.
    "paper": {"activation_slope": 1.0, "pool_padding": "centred", "untied_start": "independent"},
    "author-code": {"activation_slope": 0.5, "pool_padding": "end", "untied_start": "tied-copy"},
}


class OneOf:
    """A validator for a word out of `words`, which suggests the nearest one."""

    def __init__(self, words: Collection[str], *, or_import_path: bool = False) -> None:
        """Take the words, and whether an import path is allowed, too."""
        self.words = words
        self.or_import_path = or_import_path

    def __call__(self, word: str) -> str:
        """Return the word, if it is allowed."""
        if word not in self.words and not (self.or_import_path and is_import_path(word)):
            raise PydanticCustomError("unknown_word", "{problem}", {"problem": nearest(word, self.words)})
        return word


def checked_notation(text: str) -> str:
    """Accept a network in the paper's notation, or the import path of a model."""
    if is_import_path(text):
        return text
    try:
        return canonical(text)
    except NotationError as error:
        raise PydanticCustomError("notation", "{problem}", {"problem": str(error)}) from error


def _network_name(value: str, info: ValidationInfo) -> str:
    """Accept the name of a network, or a network written out; the context has the names of a grid file's networks."""
    names = {*NETWORKS, *(info.context or {}).get("networks", ())}
    if value in names or is_import_path(value):
        return value
    if is_notation(value):
        return checked_notation(value)
    raise PydanticCustomError(
        "unknown_network",
        "{problem}; a network is one of these names, a name under 'networks:', a text such as 'Full 100; Output', "
        "or a model's import path such as 'my_models:build'",
        {"problem": nearest(value, sorted(names))},
    )


def _joined_numbers(value: Any) -> Any:
    """Accept the numbers of conv layers as YAML has them, 2 or [2, 3], and the text '2 3'."""
    numbers = value if isinstance(value, list) else [value]
    if numbers and all(isinstance(number, int) and not isinstance(number, bool) for number in numbers):
        return " ".join(str(number) for number in numbers)
    return value


def _as_json(value: Any) -> Any:
    """Accept a mapping as YAML has it, and JSON."""
    return json.dumps(value, sort_keys=True) if isinstance(value, dict) else value


def _conv_layers(text: str) -> str:
    """Accept 'none', 'all', or the numbers of conv layers, and write them in the canonical form of identities."""
    words = text.split()
    if words in (["none"], ["all"]):
        return words[0]
    if not words or not all(re.fullmatch("[1-9][0-9]{0,3}", word) for word in words):
        raise PydanticCustomError("conv_layers", "conv layers are 'none', 'all' or numbers from 1, such as [2, 3]")
    return " ".join(str(number) for number in sorted({int(word) for word in words}))


NetworkName = Annotated[str, AfterValidator(_network_name)]
DatasetName = Annotated[str, AfterValidator(OneOf(CATALOG, or_import_path=True))]
RuleName = Annotated[str, AfterValidator(OneOf(RULES, or_import_path=True))]
AlgorithmName = Annotated[str, AfterValidator(OneOf(ALGORITHMS))]
AlgorithmSettings = Annotated[str, BeforeValidator(_as_json)]
LossName = Annotated[str, AfterValidator(OneOf(("softmax", "hinge")))]
Precision = Annotated[str, AfterValidator(OneOf(("float32", "float64", "tf32", "bfloat16")))]
PoolPadding = Annotated[str, AfterValidator(OneOf(("centred", "end")))]
UntiedStart = Annotated[str, AfterValidator(OneOf(("independent", "tied-copy")))]
ConventionName = Annotated[str, AfterValidator(OneOf(CONVENTIONS))]
ConvLayers = Annotated[str, BeforeValidator(_joined_numbers), AfterValidator(_conv_layers)]
ONE_ZERO = AfterValidator(lambda number: number + 0.0)
"""Makes −0.0 0.0: one value must not give two identities."""
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
    """Where a setting counts; the defaults hold for most settings.

    Attributes:
        in_grid_file: whether a grid file can set it.
        grid_type: its type in a grid file, where that differs from a run's.
        usual: the value of a run whose grid file does not set it; None for the field's default.
        notation: whether only networks in the paper's notation have it.
        workload: whether the time and the memory of a training step depend on it.
        follows: the settings that its value follows from where a grid file does not set it; it tells runs apart only
            where these do not.
        compares: what it tells apart in a figure: the panels; the protocols of a panel; `untied`, the protocols of a
            panel that compares tied networks with untied ones, else the panels; `hinge`, runs with the hinge loss, to
            which alone it applies; or nothing, as the seed.
        fixed: whether all of the paper's runs have the same value, by which its figures select runs.
        paper: that value, where it is neither `usual` nor the field's default.
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
    """All settings that a run's numbers depend on, its name for people, and its target of epochs."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    network: Annotated[str, Use(grid_type=NetworkName, fixed=False)]
    """One of the paper's networks, a name under `networks:`, a text in the paper's notation, or the import path of a
    model of your own, such as `my_models:build`."""
    layers: Annotated[str, Use(follows=("network", "convention"), in_grid_file=False, workload=True, fixed=False)]
    """the network in the paper's notation, or a model's import path"""
    dataset: Annotated[DatasetName, Use(workload=True, fixed=False)]
    """The images, cut into training, validation and test images the same way always, or the import path of a data set
    of your own, such as `my_data:stripes`."""
    rule: Annotated[RuleName, Use(workload=True, compares="protocols")]
    """The learning rule, or the import path of one of your own, such as `my_models:halfway`."""
    algorithm: Annotated[AlgorithmName, Use(workload=True)] = "feedback"
    """The algorithm by which the network learns; `feedback` is that of every rule."""
    algorithm_settings: Annotated[AlgorithmSettings, Use(follows=("algorithm",), workload=True)] = "{}"
    """The settings of the algorithm, as a mapping; `feedback` has none."""
    epsilon: Annotated[Finite | None, Use(compares="protocols")] = None
    """ε, the multiple of W's increment that R takes, under a rule that leaves it open."""
    decay: Annotated[Decay | None, Use(compares="protocols")] = None
    """λ, the fraction of W and R that each update takes away, under a rule that leaves it open."""
    loss: Annotated[LossName, Use(usual="hinge", compares="protocols")]
    """`hinge` is the paper's local multi-class hinge loss, `softmax` cross-entropy."""
    connectivity: Annotated[Density, Use(workload=True, compares="protocols")] = 1.0
    """The fraction of W's connections that exist, in every layer but the output."""
    feedback_connectivity: Annotated[Density, Use(follows=("connectivity",), workload=True, compares="protocols")] = 1.0
    """The fraction of R's connections that exist; as many as of W where nothing is said."""
    dense_output: Annotated[bool, Use(notation=True)] = True
    """Whether the output layer keeps all of its connections."""
    untied: Annotated[ConvLayers, Use(notation=True, workload=True, compares="untied")] = "none"
    """Conv layers that have filters of their own at every location: `none`, `all`, or numbers such as `[2, 3]`."""
    untied_start: Annotated[
        UntiedStart | None, Use(follows=("untied", "convention"), notation=True, compares="untied", fixed=False)
    ] = None
    """Whether the locations of an untied layer start from draws of their own or from one filter."""
    pretraining_epochs: Annotated[NotNegativeInt, Use(notation=True, workload=True, compares="untied")] = 0
    """The epochs of a first stage, in which all layers are tied. After it the layers in `frozen` keep W and R, all
    others are drawn again, and `untied` holds. `epochs` counts both stages."""
    pretraining_rule: Annotated[
        RuleName | None,
        Use(follows=("pretraining_epochs",), notation=True, workload=True, compares="untied", fixed=False),
    ] = None
    """The rule of the first stage."""
    frozen: Annotated[
        ConvLayers | None, Use(follows=("pretraining_epochs",), notation=True, compares="untied", fixed=False)
    ] = None
    """The conv layers that keep what they have learned in the first stage, written as for `untied`."""
    activation_slope: Annotated[Positive, Use(follows=("convention",), notation=True, fixed=False)] = 1.0
    """The slope of σ between its bounds −1 and 1."""
    pool_padding: Annotated[PoolPadding, Use(follows=("convention",), notation=True, fixed=False)] = "centred"
    """Where the zeros of overlapping pools stand: on every side, or on the bottom and right."""
    off_class_weight: Annotated[NotNegative | None, Use(follows=("loss", "dataset"), compares="hinge")] = None
    """μ of the hinge loss: what each wrong class counts. 1 / (classes − 1) where nothing is said."""
    off_class_margin: Annotated[Finite | None, Use(follows=("loss",), compares="hinge")] = None
    """The activity below which the hinge loss leaves a wrong class alone."""
    true_class_margin: Annotated[Finite, Use(compares="hinge")] = 1.0
    """The activity above which the hinge loss leaves the true class alone."""
    input_offset: Annotated[Finite, Use()] = 0.0
    """Subtracted from every pixel after scaling to 0 … 1; 0.5 centres them."""
    step_size: Annotated[Positive, Use(usual=0.1)]
    """η, of plain stochastic gradient descent."""
    batch_size: Annotated[Count, Use(follows=("dataset",), workload=True, paper=500)]
    """Images an update. `author-code` has 50 at most where layers are untied."""
    precision: Annotated[Precision, Use(workload=True)] = "float32"
    """Of the arithmetic. `bfloat16` shortens activity and error signals, `tf32` (on a GPU) the factors of products;
    W and R stay float32 under both."""
    seed: Annotated[Seed, Use(compares="nothing")] = 0
    """Of weights, masks, the order of images and dropout. Runs that differ in the rule alone start from the same W."""
    gradient_batch: Annotated[Count | None, Use()] = None
    """On so many training images, the rule's gradient is compared with true back-propagation's wherever alignment is
    measured."""
    source: Annotated[
        str | None, Use(follows=("network", "dataset", "rule"), in_grid_file=False, workload=True, compares="nothing")
    ] = None
    """hash of the source of the user's own model, rule and data set; empty without"""
    epochs: Annotated[Count, Use(usual=1000, compares="nothing")]
    """How far to train; a longer target later continues the same run."""


class Setting(NamedTuple):
    """A declared setting.

    Attributes:
        name: of the field, the column and the key in a grid file.
        type: of its value, with the bounds that pydantic checks; None is no part of it.
        kind: str, int, float or bool.
        optional: whether a run may have None.
        default: of a run; None where there is none.
        doc: what it is.
        use: where it counts.
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
        """The value where nothing sets it; None where the value follows from other settings."""
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
    doc="A reading of what the paper leaves open: it stands for `activation_slope`, `pool_padding` and `untied_start`, "
    "which can also be given one by one.",
    use=Use(notation=True),
)
"""The name of the settings of a convention, in grid files and stores; not a field of a run."""


def _with_convention() -> Iterator[Setting]:
    for name, field in RunSettings.model_fields.items():
        if name == "activation_slope":
            yield CONVENTION
        yield _declared(name, field)


SETTINGS: dict[str, Setting] = {setting.name: setting for setting in _with_convention()}
"""All settings by name, in the order of their declarations."""

WORKLOAD_SETTINGS = tuple(name for name, setting in SETTINGS.items() if setting.use.workload)
"""The settings that the time and the memory of a training step depend on."""
