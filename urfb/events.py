"""What a run tells the process that stores it, from its start to its outcome."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AlignmentPoint:
    """How far one layer's R resembles its W after `step` updates.

    Attributes:
        step: updates so far; 0 is before training.
        epoch: epochs so far.
        layer: 1 is the lowest layer with weights, the highest the output layer.
        layer_name: the layer in the paper's notation.
        correlation: Pearson's correlation over all entries.
        correlation_shared: over the connections that both W and R have.
    """

    step: int
    epoch: float
    layer: int
    layer_name: str
    correlation: float
    correlation_shared: float


@dataclass(frozen=True)
class Provenance:
    """What an execution ran on."""

    host: str
    process: int
    device: str
    device_name: str
    threads: int
    urfb_version: str
    commit: str | None
    python_version: str
    torch_version: str


@dataclass(frozen=True)
class Started:
    """An execution begins after `epochs_done` epochs; what is stored past them is not part of it."""

    epochs_done: int
    provenance: Provenance
    alignment: tuple[AlignmentPoint, ...] = ()


@dataclass(frozen=True)
class EpochEnded:
    """One epoch's measurements.

    The running loss and error are averages over the epoch's batches, with dropout on and weights changing. All others
    are measured after the epoch, with dropout off. Errors are fractions of images.
    """

    epoch: int
    running_loss: float
    running_error: float
    training_loss: float
    training_error: float
    validation_loss: float
    validation_error: float
    seconds: float
    alignment: tuple[AlignmentPoint, ...] = ()


@dataclass(frozen=True)
class Finished:
    """The run reached its target; only now is the test set looked at."""

    epoch: int
    test_loss: float
    test_error: float


@dataclass(frozen=True)
class Failed:
    """The run raised, diverged, ran out of memory or lost its process."""

    reason: str
    traceback: str


Event = Started | EpochEnded | Finished | Failed
