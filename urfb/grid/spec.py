"""One run, completely specified, and its identity."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from urfb.data.catalog import CATALOG
from urfb.errors import nearest
from urfb.nn.notation import Conv, parse
from urfb.nn.rules import RULES, Rule
from urfb.plugins import find_rule, is_import_path

SCIENCE_VERSION = 2
"""Raised by hand when numbers change beyond rounding; runs of an older version then count as missing.

2: dropout draws 16 bits a unit.
"""

LOSSES = ("softmax", "hinge")
PRECISIONS = ("float32", "float64", "tf32", "bfloat16")
POOL_PADDINGS = ("centred", "end")
UNTIED_STARTS = ("independent", "tied-copy")

CONVENTIONS: dict[str, dict[str, Any]] = {
    # Two readings of what the paper leaves open: its text, and its author's code.
    "paper": {"activation_slope": 1.0, "pool_padding": "centred", "untied_start": "independent"},
    "author-code": {"activation_slope": 0.5, "pool_padding": "end", "untied_start": "tied-copy"},
}


class OneOf:
    """A validator for a word out of `words`, which suggests the nearest one."""

    def __init__(self, words: Iterable[str], *, or_import_path: bool = False) -> None:
        """Take the words, beside which an import path may be allowed."""
        self.words = tuple(words)
        self.or_import_path = or_import_path

    def __call__(self, word: str) -> str:
        """Return the word, if it is allowed."""
        if word not in self.words and not (self.or_import_path and is_import_path(word)):
            raise PydanticCustomError("unknown_word", "{problem}", {"problem": nearest(word, self.words)})
        return word


def _conv_layers(text: str) -> str:
    """Accept 'none', 'all', or the numbers of conv layers, and write them the one way that identities are made of."""
    words = text.split()
    if words in (["none"], ["all"]):
        return words[0]
    if not words or not all(re.fullmatch("[1-9][0-9]{0,3}", word) for word in words):
        raise PydanticCustomError("conv_layers", "conv layers are 'none', 'all' or numbers from 1, such as [2, 3]")
    return " ".join(str(number) for number in sorted({int(word) for word in words}))


DatasetName = Annotated[str, AfterValidator(OneOf(CATALOG, or_import_path=True))]
RuleName = Annotated[str, AfterValidator(OneOf(RULES, or_import_path=True))]
LossName = Annotated[str, AfterValidator(OneOf(LOSSES))]
Precision = Annotated[str, AfterValidator(OneOf(PRECISIONS))]
PoolPadding = Annotated[str, AfterValidator(OneOf(POOL_PADDINGS))]
UntiedStart = Annotated[str, AfterValidator(OneOf(UNTIED_STARTS))]
ConvLayers = Annotated[str, AfterValidator(_conv_layers)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Density = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, lt=2**31)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


def conv_numbers(which: str, layers: str) -> frozenset[int]:
    """Return the numbers of the conv layers that 'none', 'all' or a text such as '2 3 4' stands for in a network."""
    if which == "none":
        return frozenset()
    if which == "all":
        return frozenset(range(1, sum(isinstance(statement, Conv) for statement in parse(layers)) + 1))
    return frozenset(int(number) for number in which.split())


class RunSpec(BaseModel):
    """Everything that a run's numbers depend on, resolved, beside its name and its target of epochs.

    Attributes:
        network: a name for people; not part of the identity.
        layers: the network in the paper's notation, written the canonical way, or a model's import path.
        source: a hash of the source of the user's own model, rule and data set; None without.
        dataset, rule, loss: names in the tables of `urfb.data`, `urfb.nn.rules` and `urfb.nn.losses`; a data set or a
            rule of the user's own by its import path.
        epsilon: ε, the multiple of W's increment that R takes; None where the rule itself says it.
        decay: λ, the fraction of W and R that each update takes away; None where the rule itself says it.
        connectivity, feedback_connectivity: the fractions of W's and of R's connections that exist.
        dense_output: whether the output layer keeps all of its connections.
        untied: which conv layers are locally connected: 'none', 'all', or their numbers, as in '2 3 4'.
        untied_start: whether an untied layer's locations start from one filter ('tied-copy') or each from a draw of
            its own ('independent'); None without untied layers.
        pretraining_epochs: epochs of a first stage, in which every layer is tied and learns under `pretraining_rule`.
            After it the layers in `frozen` keep W and R, all others are drawn again, and `untied` holds.
        pretraining_rule, frozen: None without a first stage; `frozen` is written like `untied`.
        activation_slope: the slope of σ between its bounds.
        pool_padding: where the zeros of overlapping pools stand, 'centred' or 'end'.
        off_class_weight: μ of the hinge loss; None under softmax.
        off_class_margin: the activity below which the hinge leaves a wrong class alone; None under softmax.
        true_class_margin: the activity above which the hinge leaves the true class alone.
        input_offset: subtracted from every pixel after scaling to 0 … 1.
        step_size: η.
        batch_size: images an update.
        precision: of the arithmetic: 'float32', 'float64', 'tf32' (factors of products rounded to 10 bits, on a GPU)
            or 'bfloat16' (activity and error signals; W and R stay float32).
        seed: of weights, masks, shuffles and dropout.
        gradient_batch: the first so many training images, on which the rule's gradient is compared with true
            back-propagation's; None to leave that out.
        epochs: how far to train, a first stage included; a target, so not part of the identity.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    network: str
    layers: str
    dataset: DatasetName
    rule: RuleName
    epsilon: Finite | None = None
    decay: Decay | None = None
    loss: LossName
    connectivity: Density = 1.0
    feedback_connectivity: Density = 1.0
    dense_output: bool = True
    untied: ConvLayers = "none"
    untied_start: UntiedStart | None = None
    pretraining_epochs: Annotated[int, Field(ge=0, lt=2**31)] = 0
    pretraining_rule: RuleName | None = None
    frozen: ConvLayers | None = None
    activation_slope: Positive = 1.0
    pool_padding: PoolPadding = "centred"
    off_class_weight: NotNegative | None = None
    off_class_margin: Finite | None = None
    true_class_margin: Finite = 1.0
    input_offset: Finite = 0.0
    step_size: Positive
    batch_size: Count
    precision: Precision = "float32"
    seed: Seed = 0
    gradient_batch: Count | None = None
    source: str | None = None
    epochs: Count

    @property
    def identity(self) -> str:
        """A hash of what the numbers depend on.

        Fields at their defaults are left out, so that a field added later changes no identity of a run without it.
        """
        fields = self.model_dump(exclude_defaults=True, exclude={"network", "epochs"})
        canonical = json.dumps({"science": SCIENCE_VERSION, **fields}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @property
    def untied_layers(self) -> frozenset[int]:
        """The numbers of the untied conv layers."""
        return conv_numbers(self.untied, self.layers)

    @property
    def frozen_layers(self) -> frozenset[int]:
        """The numbers of the conv layers that keep what they learned in the first stage."""
        return conv_numbers(self.frozen or "none", self.layers)

    def rule_of(self, epoch: int) -> Rule:
        """Return the rule that an epoch is trained under, with the ε and λ that the run gives it.

        Raises:
            PluginError: a rule of the user's own cannot be imported.
        """
        if epoch <= self.pretraining_epochs:
            assert self.pretraining_rule is not None
            return find_rule(self.pretraining_rule)
        rule = find_rule(self.rule)
        return replace(
            rule,
            epsilon=rule.epsilon if self.epsilon is None else self.epsilon,
            decay=rule.decay if self.decay is None else self.decay,
        )

    def epoch_of_stage(self, epoch: int) -> int:
        """Return how many epochs of its own stage have been trained after `epoch`."""
        return epoch if epoch <= self.pretraining_epochs else epoch - self.pretraining_epochs

    @property
    def import_paths(self) -> tuple[str, ...]:
        """The import paths of the user's own model, data set and rules."""
        named = (self.layers, self.dataset, self.rule, self.pretraining_rule)
        return tuple(name for name in named if name and is_import_path(name))

    @property
    def run(self) -> str:
        """The identity, by the name it has in the store's tables."""
        return self.identity

    @property
    def convention(self) -> str:
        """The name of the convention whose every value this run has, or 'custom'."""
        for name, values in CONVENTIONS.items():
            if all(getattr(self, field) in (value, None) for field, value in values.items()):
                return name
        return "custom"


def _kind(annotation: Any) -> type:
    """Return str, int, float or bool of an annotation such as `Annotated[float, …] | None`."""
    while not isinstance(annotation, type):
        annotation = get_args(annotation)[0]
    return annotation


FIELD_TYPES: dict[str, type] = {
    "run": str,
    "convention": str,
    **{name: _kind(field.annotation) for name, field in RunSpec.model_fields.items()},
}
"""What can be asked of a run, and what it holds."""
