"""Read the weights of a trained run from its checkpoint."""

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
    """The weights and masks of one layer.

    Attributes:
        name: the layer in the paper's notation, or the module's name in a custom model.
        W: the feedforward weights: [out, in] in a full layer, [filters, channels, k, k] in a convolutional layer, or
            [locations, filters, k, k, channels] in an untied layer, where the location in row r and column c has the
            index r·width + c.
        R: the feedback weights, of W's shape and used transposed, or [outputs, units below] under direct feedback
            alignment. None under a rule without R.
        W_mask: a tensor of W's shape: 1 where W has a connection, otherwise 0. None if W has all connections.
        R_mask: a tensor of R's shape: 1 where R has a connection, otherwise 0. None if R has all connections.
    """

    name: str
    W: torch.Tensor
    R: torch.Tensor | None
    W_mask: torch.Tensor | None
    R_mask: torch.Tensor | None


def load_weights(spec: RunSpec, folder: Path, epochs_done: int) -> list[LayerWeights]:
    """Return the weights of a run after its last stored epoch, from the lowest layer up.

    Args:
        spec: the run.
        folder: the folder of the store's checkpoints.
        epochs_done: the number of the run's stored epochs.

    Raises:
        StoreError: there is no checkpoint of the run's last epoch.
        PluginError: a custom model, rule or data set cannot be imported, or has changed since training.
    """
    info = dataset_info(spec.dataset)
    checkpoints = Checkpoints(folder, spec.identity)
    learner, epoch, _ = checkpoints.load(
        lambda epoch: build_learner(build_network(spec, info, epoch), spec), at_most=epochs_done, whole=True
    )
    if epoch != epochs_done or epoch == 0:
        raise StoreError(
            f"run {spec.identity} has no checkpoint of epoch {epochs_done} in {checkpoints.latest.parent}; "
            "`urfb grid run` leaves one when a run reaches its target"
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
