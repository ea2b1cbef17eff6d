"""Checkpoints of a run, after an epoch or within one, written so that a crash at any moment leaves a complete one."""

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
    """What a checkpoint holds.

    Attributes:
        learner: as it was then.
        epoch: how many epochs were complete.
        within: of a checkpoint within the next epoch, what that epoch had given by then; else None.
    """

    learner: Learner
    epoch: int
    within: dict[str, Any] | None


class Checkpoints:
    """The latest checkpoint of a run and the last one of fewer epochs.

    Two are kept because the latest may be ahead of the store, whose runner died before it wrote that epoch's rows, or
    damaged. A checkpoint within an epoch counts as one of the epoch before. What an epoch draws depends on seed and
    epoch alone, and masks on the seed, so after an epoch the weights are all there is to save of a network. What else
    its learner holds is stored with them; older checkpoints have weights alone.
    """

    def __init__(self, folder: Path, identity: str, seconds_between: float = 60.0) -> None:
        """Use the folder of checkpoints; it is made when the first one is saved."""
        self.latest, self.previous, self.partial = CheckpointFiles.of(folder, identity)
        self._seconds_between = seconds_between
        self._latest_epoch: int | None = None  # of a checkpoint that can be used
        self._saved_at = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether the last checkpoint is so old that another one is wanted."""
        return time.monotonic() - self._saved_at >= self._seconds_between

    def save(self, learner: Learner, epoch: int, within: dict[str, Any] | None = None) -> None:
        """Save what is learned after `epoch`, or `within` the epoch after it."""
        weights = learner.network.state_dict()
        learner_state = {name: value for name, value in learner.state_dict().items() if not name.startswith("network.")}
        with atomic_write(self.latest, self.partial) as partial:
            torch.save({"epoch": epoch, "within": within, "weights": weights, "learner": learner_state}, partial)
            # One that was passed over must not push out the one that this run went on from, nor one of as many epochs
            # the one of fewer.
            if self._latest_epoch is not None and self._latest_epoch < epoch:
                self.latest.replace(self.previous)
        self._latest_epoch = epoch
        self._saved_at = time.monotonic()

    def load(self, build: Callable[[int], Learner], *, at_most: int, whole: bool = False) -> Loaded:
        """Return what the newest complete checkpoint that can be used holds.

        Args:
            build: makes the learner, its network as drawn, that an epoch belongs to.
            at_most: the most complete epochs. Without a checkpoint there are 0, and the learner is the one that
                training starts from.
            whole: whether one within an epoch cannot be used.
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
                learner.load_state_dict(state)  # raises where the checkpoint lacks something that the learner holds
            except Exception as error:  # damage shows itself in as many ways as there are bytes
                log.warning("checkpoint %s is damaged (%s); going back to the one before it", path, error)
                continue
            if path == self.latest:
                self._latest_epoch = epoch
            return Loaded(learner, epoch, within)
        return Loaded(build(1), 0, None)
