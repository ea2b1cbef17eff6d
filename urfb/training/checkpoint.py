"""Checkpoints of a run, after or within an epoch. A crash at any moment leaves a complete one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from urfb.files import atomic_write
from urfb.learning.learner import Learner
from urfb.training.files import CheckpointFiles

log = logging.getLogger(__name__)


class Loaded(NamedTuple):
    """The content of a checkpoint.

    Attributes:
        learner: the learner in the state of the checkpoint.
        epoch: the number of complete epochs.
        within: for a checkpoint within an epoch, the epoch's position and results so far; otherwise None.
    """

    learner: Learner
    epoch: int
    within: dict[str, Any] | None


class Checkpoints:
    """The latest checkpoint of a run, and the last one before it with fewer epochs.

    The second one is needed if the latest is damaged, or is ahead of the store because the runner crashed before it
    stored that epoch. A checkpoint within an epoch counts as one of the epoch before.

    An epoch's random draws depend only on seed and epoch, and masks only on the seed. So a checkpoint after an epoch
    needs only the network's weights and the learner's other state. Older versions of urfb saved the weights alone.
    """

    def __init__(self, folder: Path, identity: str, seconds_between: float = 60.0) -> None:
        """Use the checkpoints of a run in `folder`, which is created when the first one is saved."""
        self.latest, self.previous, self.partial = CheckpointFiles.of(folder, identity)
        self._seconds_between = seconds_between
        self._latest_epoch: int | None = None  # the epoch of the latest checkpoint, if it can be used
        self._saved_at = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether the time between checkpoints has passed since the last one."""
        return time.monotonic() - self._saved_at >= self._seconds_between

    def save(self, learner: Learner, epoch: int, within: dict[str, Any] | None = None) -> None:
        """Save the learner after `epoch`, or `within` the epoch after it."""
        weights = learner.network.state_dict()
        learner_state = {name: value for name, value in learner.state_dict().items() if not name.startswith("network.")}
        with atomic_write(self.latest, self.partial) as partial:
            torch.save({"epoch": epoch, "within": within, "weights": weights, "learner": learner_state}, partial)
            # Keep the old checkpoint as the previous one only if this run could use it and it has fewer epochs.
            if self._latest_epoch is not None and self._latest_epoch < epoch:
                self.latest.replace(self.previous)
        self._latest_epoch = epoch
        self._saved_at = time.monotonic()

    def load(self, build: Callable[[int], Learner], *, at_most: int, whole: bool = False) -> Loaded:
        """Return the content of the newest usable checkpoint, or the start of training if there is none.

        Args:
            build: a function that builds the learner for the stage of an epoch, with its network as drawn.
            at_most: the largest number of complete epochs that a usable checkpoint may have.
            whole: whether to skip checkpoints within an epoch.
        """
        for path in (self.latest, self.previous):
            if not path.exists():
                continue
            try:
                saved = torch.load(path, map_location="cpu", weights_only=True)
                epoch, within, weights = int(saved["epoch"]), saved.get("within"), saved["weights"]
                if epoch > at_most or (whole and within is not None):
                    continue
                learner = build(epoch if within is None else epoch + 1)
                learner.network.load_state_dict(weights)
                state = learner.network.state_dict(prefix="network.")
                state.update(saved.get("learner", {}))
                learner.load_state_dict(state)  # raises if the checkpoint lacks a part of the learner's state
            except Exception as error:  # a damaged file can raise anything
                log.warning("checkpoint %s is damaged (%s); going back to the one before it", path, error)
                continue
            if path == self.latest:
                self._latest_epoch = epoch
            return Loaded(learner, epoch, within)
        return Loaded(build(1), 0, None)
