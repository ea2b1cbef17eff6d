"""One run, completely specified, and its identity."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from urfb.data.catalog import CATALOG
from urfb.errors import nearest
from urfb.nn.rules import RULES

SCIENCE_VERSION = 1
"""Raised by hand when numbers change beyond rounding; runs of an older version then count as missing."""

LOSSES = ("softmax", "hinge")
PRECISIONS = ("float32", "float64")
POOL_PADDINGS = ("centred", "end")

CONVENTIONS: dict[str, dict[str, Any]] = {
    # Two readings of what the paper leaves open: its text, and its author's code.
    "paper": {"activation_slope": 1.0, "pool_padding": "centred"},
    "author-code": {"activation_slope": 0.5, "pool_padding": "end"},
}


def one_of(allowed: Iterable[str]) -> Callable[[str], str]:
    """Return a validator for a word out of `allowed`, which suggests the nearest one."""
    words = tuple(allowed)

    def check(word: str) -> str:
        if word not in words:
            raise PydanticCustomError("unknown_word", "{problem}", {"problem": nearest(word, words)})
        return word

    return check


DatasetName = Annotated[str, AfterValidator(one_of(CATALOG))]
RuleName = Annotated[str, AfterValidator(one_of(RULES))]
LossName = Annotated[str, AfterValidator(one_of(LOSSES))]
Precision = Annotated[str, AfterValidator(one_of(PRECISIONS))]
PoolPadding = Annotated[str, AfterValidator(one_of(POOL_PADDINGS))]
Density = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, lt=2**31)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class RunSpec(BaseModel):
    """Everything that a run's numbers depend on, resolved, beside its name and its target of epochs.

    Attributes:
        network: a name for people; not part of the identity.
        layers: the network in the paper's notation, written the canonical way.
        dataset, rule, loss: names in the tables of `urfb.data`, `urfb.nn.rules` and `urfb.nn.losses`.
        connectivity, feedback_connectivity: the fractions of W's and of R's connections that exist.
        dense_output: whether the output layer keeps all of its connections.
        activation_slope: the slope of σ between its bounds.
        pool_padding: where the zeros of overlapping pools stand, 'centred' or 'end'.
        off_class_weight: μ of the hinge loss; None under softmax.
        off_class_margin: the activity below which the hinge leaves a wrong class alone; None under softmax.
        input_offset: subtracted from every pixel after scaling to 0 … 1.
        step_size: η.
        batch_size: images an update.
        precision: of weights, activity and gradients.
        seed: of weights, masks, shuffles and dropout.
        epochs: how far to train; a target, so not part of the identity.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    network: str
    layers: str
    dataset: DatasetName
    rule: RuleName
    loss: LossName
    connectivity: Density = 1.0
    feedback_connectivity: Density = 1.0
    dense_output: bool = True
    activation_slope: Positive = 1.0
    pool_padding: PoolPadding = "centred"
    off_class_weight: NotNegative | None = None
    off_class_margin: Finite | None = None
    input_offset: Finite = 0.0
    step_size: Positive
    batch_size: Count
    precision: Precision = "float32"
    seed: Seed = 0
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
    def run(self) -> str:
        """The identity, by the name it has in the store's tables."""
        return self.identity

    @property
    def convention(self) -> str:
        """The name of the convention whose every value this run has, or 'custom'."""
        for name, values in CONVENTIONS.items():
            if all(getattr(self, field) == value for field, value in values.items()):
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
