"""The algorithms by which a run can learn. Plain Python, no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from torch import nn

    from urfb.grid.spec import RunSpec
    from urfb.learning.learner import Learner


class Settings(BaseModel):
    """The settings of an algorithm that has none; those of others derive from it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


@dataclass(frozen=True)
class Algorithm:
    """One way to learn.

    Attributes:
        doc: one line for people.
        settings: the model of its settings, each with a default.
        learner: import path of its `Learner`.
    """

    doc: str
    settings: type[Settings]
    learner: str


ALGORITHMS = {
    "feedback": Algorithm(
        "separate feedback weights under a rule of RULES", Settings, "urfb.learning.feedback:Feedback"
    ),
}


def build_learner(network: nn.Module, spec: RunSpec) -> Learner:
    """Return the learner that teaches `network`, in whichever stage it is, as a run asks."""
    algorithm = ALGORITHMS["feedback"]
    learner: Learner = resolve_name(algorithm.learner)(network, spec, algorithm.settings())
    return learner
