"""The algorithms by which a run can learn. Plain Python, no torch."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict


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
