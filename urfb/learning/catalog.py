"""The table of learning algorithms. Plain Python, no torch."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """The base class of an algorithm's settings, and the class for an algorithm without settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


@dataclass(frozen=True)
class Algorithm:
    """A learning algorithm.

    Attributes:
        doc: one line that describes the algorithm.
        settings: the pydantic model of its settings, each with a default.
        learner: the import path of its `Learner`.
    """

    doc: str
    settings: type[Settings]
    learner: str


ALGORITHMS = {
    "feedback": Algorithm(
        "separate feedback weights under a rule of RULES", Settings, "urfb.learning.feedback:Feedback"
    ),
}
