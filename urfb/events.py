"""The events that a run sends to the process that stores it, from its start to its outcome."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AlignmentPoint:
    """How one layer's feedback relates to its weights W after `step` updates; what does not apply is None.

    R stands for the feedback weights that carry the error signal, in W's shape: none under back-propagation and
    direct feedback alignment.

    Attributes:
        step: updates so far; 0 is before training.
        epoch: epochs so far, with a fraction within an epoch.
        layer: 1 is the lowest layer with weights, the highest the output layer.
        layer_name: the layer in the paper's notation.
        correlation: Pearson's correlation of W and R over all entries, absent connections counting as zeros.
        correlation_shared: over the connections that both W and R have.
        angle: between W and R as vectors, in degrees.
        sign_agreement: the fraction of the shared connections on which W and R have the same sign.
        norm_ratio: ‖R‖/‖W‖.
        gradient_cosine: of the rule's gradient of W and true back-propagation's, on a fixed batch.
        filter_similarity: of an untied layer: the correlation of a filter at two locations, averaged over all filters
            and pairs of locations.
        saturation: the fraction of a hidden layer's units that are beyond σ's bounds, where σ′ = 0, over the first 500
            training images, with dropout off and before any pool; None of the output layer and of a user's model.
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
    """The filters W of an untied layer at one location of its grid, before training or at its end (Figure 8).

    Attributes:
        epoch: epochs so far.
        layer: as in `AlignmentPoint`.
        row, column: the location.
        shape: (filters, height, width, channels).
        values: float32, little-endian, in that order.
    """

    epoch: int
    layer: int
    row: int
    column: int
    shape: tuple[int, int, int, int]
    values: bytes


@dataclass(frozen=True)
class Provenance:
    """What an execution ran on, and the file that has its log."""

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
    """An execution begins after `epochs_done` epochs; what is stored past them is not part of it.

    `steps_done` is how many steps of the next epoch are done, if it goes on within that.
    """

    epochs_done: int
    provenance: Provenance
    alignment: tuple[AlignmentPoint, ...] = ()
    filters: tuple[SavedFilters, ...] = ()
    steps_done: int = 0


@dataclass(frozen=True)
class EpochEnded:
    """One epoch's measurements.

    The running loss and error are averages over the epoch's batches, with dropout on and weights changing. The rest is
    measured after the epoch, with dropout off; those on the training images after the first ten epochs, every fifth
    and the last, else they are None. Errors are fractions of images.
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
    """The run reached its target; only now is it evaluated on the test set."""

    epoch: int
    test_loss: float
    test_error: float


@dataclass(frozen=True)
class Failed:
    """The run raised, diverged or ran out of memory."""

    reason: str
    traceback: str


@dataclass(frozen=True)
class Stopped:
    """The run was asked to stop, and has a checkpoint of where it was."""


@dataclass(frozen=True)
class Lost:
    """The process or machine that trained the run is gone; the run continues elsewhere from what is stored."""

    reason: str


Event = Started | EpochEnded | Finished | Failed | Stopped | Lost
END = (Finished, Failed, Stopped, Lost)
"""The last event of a job is one of these."""
