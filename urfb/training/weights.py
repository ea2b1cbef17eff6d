"""The weights of a run that has been trained, read back from its checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch

from urfb.data.catalog import dataset_info
from urfb.errors import StoreError
from urfb.grid.spec import RunSpec
from urfb.nn.asymmetric import asymmetric_layers
from urfb.training.checkpoint import Checkpoints
from urfb.training.networks import build_learner, build_network


class LayerWeights(NamedTuple):
    """One layer's weights.

    Attributes:
        name: the layer in the paper's notation, or its name in a model of the user's own.
        W: [out, in], [filters, channels, k, k], or [locations, filters, k, k, channels] of an untied layer, whose
            location of row r and column c is r·width + c.
        R: of W's shape, and used transposed; [outputs, units below] under direct feedback alignment; None without.
        W_mask: of W's shape, 1 where there is a connection and 0 where not; None where every connection is there.
        R_mask: likewise, of R's.
    """

    name: str
    W: torch.Tensor
    R: torch.Tensor | None
    W_mask: torch.Tensor | None
    R_mask: torch.Tensor | None


def load_weights(spec: RunSpec, folder: Path, epochs_done: int) -> list[LayerWeights]:
    """Return the weights of a run after its last stored epoch, from the lowest layer up.

    Args:
        spec: of the run.
        folder: of its store's checkpoints.
        epochs_done: how many of its epochs are stored.

    Raises:
        StoreError: there is no checkpoint of the run's last epoch.
        PluginError: a model, rule or data set of the user's own cannot be imported, or has changed since.
    """
    info = dataset_info(spec.dataset)
    checkpoints = Checkpoints(folder, spec.identity)
    learner, epoch, _ = checkpoints.load(
        lambda epoch: build_learner(build_network(spec, info, epoch), spec), at_most=epochs_done, whole=True
    )
    if epoch != epochs_done or epoch == 0:
        raise StoreError(
            f"run {spec.identity}: {checkpoints.latest.parent} has no checkpoint of its epoch {epochs_done}; "
            "a run that is trained to its target with `urfb grid run` leaves one"
        )
    return [
        LayerWeights(
            layer.name,
            layer.weight.detach(),
            None if layer.feedback is None else layer.feedback.detach(),
            layer.mask,
            layer.feedback_mask,
        )
        for layer in asymmetric_layers(learner.network)
    ]
