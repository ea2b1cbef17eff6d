"""The events that a run sends to the runner, from its start to its outcome."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AlignmentPoint:
    """How one layer's W and R relate after `step` updates. A measure that does not apply is None.

    Here R means the feedback weights that carry the error signal, in W's shape. Back-propagation and direct feedback
    alignment have none.

    Attributes:
        step: the number of updates so far; 0 is before training.
        epoch: the number of epochs so far, with a fraction within an epoch.
        layer: the number of the layer, from 1 for the lowest layer with weights up to the output layer.
        layer_name: the layer in the paper's notation.
        correlation: Pearson's correlation of W and R over all entries; missing connections count as zeros.
        correlation_shared: Pearson's correlation of W and R over the connections that both have.
        angle: the angle between W and R as vectors, in degrees.
        sign_agreement: the fraction of the shared connections on which W and R have the same sign.
        norm_ratio: ‖R‖/‖W‖.
        gradient_cosine: the cosine of the rule's gradient of W and that of true back-propagation, on a fixed batch.
        filter_similarity: for an untied layer, the correlation of a filter at two locations, averaged over all filters
            and pairs of locations.
        saturation: the fraction of a hidden layer's units that are beyond σ's bounds, where σ′ = 0, over the first 500
            training images, with dropout off and before any pool. None for the output layer and for a custom model.
    """

    step: int
    epoch: float
    layer: int
    layer_name: str
    correlation: float | None = None
    correlation_shared: float | None = None
    angle: float | None = None
    sign_agreement: float | None = None
    norm_ratio: float | None = None
    gradient_cosine: float | None = None
    filter_similarity: float | None = None
    saturation: float | None = None


@dataclass(frozen=True)
class SavedFilters:
    """The filters W of an untied layer at one location of its grid, before or after training (Figure 8).

    Attributes:
        epoch: the number of epochs so far.
        layer: the number of the layer, as in `AlignmentPoint`.
        row, column: the location.
        shape: (filters, height, width, channels).
        values: the entries as little-endian float32, in the order of `shape`.
    """

    epoch: int
    layer: int
    row: int
    column: int
    shape: tuple[int, int, int, int]
    values: bytes


@dataclass(frozen=True)
class Provenance:
    """The machine, device and versions of an execution, and the path of its log."""

    host: str
    process: int
    device: str
    device_name: str
    threads: int
    log: str | None
    urfb_version: str
    commit: str | None
    python_version: str
    torch_version: str


@dataclass(frozen=True)
class Started:
    """An execution starts after `epochs_done` epochs; later epochs in the store belong to an earlier execution.

    `steps_done` is the number of steps already done in the next epoch, if the execution continues within it.
    """

    epochs_done: int
    provenance: Provenance
    alignment: tuple[AlignmentPoint, ...] = ()
    filters: tuple[SavedFilters, ...] = ()
    steps_done: int = 0


@dataclass(frozen=True)
class EpochEnded:
    """The measurements of one epoch. Errors are fractions of images.

    The running loss and error are averages over the epoch's batches, with dropout on and while weights change. All
    others are measured after the epoch, with dropout off. The loss and error on the training images are measured
    after each of the first ten epochs, every fifth epoch and the last; otherwise they are None.
    """

    epoch: int
    running_loss: float
    running_error: float
    training_loss: float | None
    training_error: float | None
    validation_loss: float
    validation_error: float
    seconds: float
    alignment: tuple[AlignmentPoint, ...] = ()
    filters: tuple[SavedFilters, ...] = ()


@dataclass(frozen=True)
class Finished:
    """The run reached its target. Only then is it evaluated on the test set."""

    epoch: int
    test_loss: float
    test_error: float


@dataclass(frozen=True)
class Failed:
    """The run raised an exception, diverged or ran out of memory."""

    reason: str
    traceback: str


@dataclass(frozen=True)
class Stopped:
    """The run was asked to stop, and has saved a checkpoint."""


@dataclass(frozen=True)
class Lost:
    """The process or machine that trained the run is gone; another one continues the run from what is stored."""

    reason: str


Event = Started | EpochEnded | Finished | Failed | Stopped | Lost
END = (Finished, Failed, Stopped, Lost)
"""The events that end a job."""
