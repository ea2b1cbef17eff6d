"""Checkpoints of a run: its weights after an epoch, written so that a crash at any moment leaves a complete one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

import torch

from urfb.files import atomic_write
from urfb.learning.learner import Learner
from urfb.training.files import CheckpointFiles

log = logging.getLogger(__name__)


class Checkpoints:
    """The latest checkpoint of a run and the one before it.

    Two are kept because the latest may be ahead of the store, whose runner died before it wrote that epoch's rows, or
    damaged. What an epoch draws depends on seed and epoch alone, and masks on the seed, so the weights are all there is
    to save of a network. What else its learner holds is stored with them; older checkpoints have weights alone.
    """

    def __init__(self, folder: Path, identity: str, seconds_between: float = 60.0) -> None:
        """Use the folder of checkpoints; it is made when the first one is saved."""
        self.latest, self.previous, self.partial = CheckpointFiles.of(folder, identity)
        self._seconds_between = seconds_between
        self._latest_is_good = False
        self._saved_at = time.monotonic()

    def save(self, learner: Learner, epoch: int, *, last: bool = False) -> None:
        """Save what is learned after `epoch`, unless that was done a moment ago; in any case after the last epoch."""
        if not last and time.monotonic() - self._saved_at < self._seconds_between:
            return
        weights = learner.network.state_dict()
        learner_state = {name: value for name, value in learner.state_dict().items() if not name.startswith("network.")}
        with atomic_write(self.latest, self.partial) as partial:
            torch.save({"epoch": epoch, "weights": weights, "learner": learner_state}, partial)
            if self._latest_is_good:  # one that was passed over must not push out the one that this run went on from
                self.latest.replace(self.previous)
        self._latest_is_good = True
        self._saved_at = time.monotonic()

    def load(self, build: Callable[[int], Learner], *, at_most: int) -> tuple[Learner, int]:
        """Return the learner of the newest complete checkpoint of at most `at_most` epochs, and its epoch.

        Args:
            build: makes the learner, its network as drawn, that an epoch belongs to.
            at_most: epochs. Without a checkpoint, the learner is the one that training starts from, its epoch 0.
        """
        for path in (self.latest, self.previous):
            if at_most == 0 or not path.exists():
                continue
            try:
                saved = torch.load(path, map_location="cpu", weights_only=True)
                epoch, weights = int(saved["epoch"]), saved["weights"]
                if epoch > at_most:
                    continue
                learner = build(epoch)
                learner.network.load_state_dict(weights)
                state = learner.network.state_dict(prefix="network.")
                state.update(saved.get("learner", {}))
                learner.load_state_dict(state)  # raises where the checkpoint lacks something that the learner holds
            except Exception as error:  # damage shows itself in as many ways as there are bytes
                log.warning("checkpoint %s is damaged (%s); going back to the one before it", path, error)
                continue
            self._latest_is_good = path == self.latest
            return learner, epoch
        return build(1), 0
