"""The weights of a run that has been trained, read back from its checkpoint."""

from __future__ import annotations

from typing import NamedTuple

import torch

from urfb.data.catalog import dataset_info
from urfb.errors import StoreError
from urfb.store import open_store
from urfb.training.checkpoint import Checkpoints
from urfb.training.networks import asymmetric_layers, build_network


class LayerWeights(NamedTuple):
    """One layer's weights.

    Attributes:
        name: the layer in the paper's notation, or its name in a model of the user's own.
        W: [out, in], [filters, channels, k, k], or [locations, filters, k, k, channels] of an untied layer, whose
            location of row r and column c is r·width + c.
        R: of W's shape, and used transposed; [outputs, units below] under direct feedback alignment; None without.
        W_mask, R_mask: 1 where there is a connection, 0 where not; None where every connection is there.
    """

    name: str
    W: torch.Tensor
    R: torch.Tensor | None
    W_mask: torch.Tensor | None
    R_mask: torch.Tensor | None


def load_weights(run: str, store: str) -> list[LayerWeights]:
    """Return the weights of a run after its last stored epoch, from the lowest layer up.

    Args:
        run: its identity in the store, or the beginning of it.
        store: location of the store, beside which the checkpoints are.

    Raises:
        SelectionError: there is no such run.
        StoreError: there is no store, or no checkpoint of the run's last epoch.
        PluginError: a model, rule or data set of the user's own cannot be imported, or has changed since.
    """
    opened = open_store(store)
    spec = opened.spec(run)
    _, epochs_done = opened.progress()[spec.identity]
    info = dataset_info(spec.dataset)
    checkpoints = Checkpoints(opened.location.checkpoints, spec.identity)
    network, epoch = checkpoints.load(lambda epoch: build_network(spec, info, epoch), at_most=epochs_done)
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
        for layer in asymmetric_layers(network)
    ]
