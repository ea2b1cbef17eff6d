"""urfb: a laboratory for learning with asymmetric feedback."""

from __future__ import annotations

from typing import TYPE_CHECKING

from urfb.data.catalog import DatasetInfo
from urfb.nn.rules import RULES, Rule

if TYPE_CHECKING:
    from torch import Tensor, nn

    from urfb.store import Store
    from urfb.training.weights import LayerWeights

__version__ = "0.1.0"
__all__ = ["RULES", "DatasetInfo", "Rule", "__version__", "convert", "load_weights", "open_store"]


def open_store(location: str) -> Store:
    """Open a results store for reading.

    Args:
        location: the path of an SQLite file, or a URL such as `postgresql://USER@HOST/DATABASE`.

    Returns:
        A store whose `runs()`, `epochs()` and `alignment()` return tidy pandas DataFrames. Errors in them are
            fractions.

    Raises:
        urfb.errors.StoreError: the store does not exist, or this version of urfb cannot read it.
    """
    from urfb.store import open_store as open_existing

    return open_existing(location)


def load_weights(run: str, store: str = "results/urfb.sqlite") -> list[LayerWeights]:
    """Return the weights and masks of a trained run after its last stored epoch.

    Args:
        run: the run's identity, or the first characters of it.
        store: the path or URL of the store. The checkpoints must be next to it.

    Returns:
        One `LayerWeights` per layer, from the lowest layer up, with tensors on the CPU.

    Raises:
        urfb.errors.SelectionError: no run, or more than one, has an identity that starts with `run`.
        urfb.errors.StoreError: the store does not exist, or it has no checkpoint of the run's last epoch.
        urfb.errors.PluginError: a custom model, rule or data set cannot be imported, or has changed since training.
    """
    from urfb.training.weights import load_weights as load

    opened = open_store(store)
    spec = opened.spec(run)
    _, epochs_done = opened.progress()[spec.identity]
    return load(spec, opened.location.checkpoints, epochs_done)


def convert(
    model: nn.Module,
    rule: str | Rule = "urfb",
    *,
    seed: int = 0,
    epsilon: float | None = None,
    connectivity: float = 1.0,
    feedback_connectivity: float | None = None,
    example: Tensor | None = None,
) -> nn.Module:
    """Return a copy of a model whose Linear and Conv2d layers have separate feedback weights.

    W and the bias keep their values and their names, such as 'conv1.weight' and 'fc.bias'. R is a new parameter, such
    as 'conv1.feedback'. It has W's shape and is drawn uniformly with W's root mean square. Under direct feedback
    alignment R is [outputs, units below]. Hooks, mode, device and frozen parameters stay as they are; if W is frozen,
    so is R.

    Subclasses of Linear and Conv2d, such as those in attention layers and those that `torch.nn.utils.parametrize`
    creates, are not converted because they define their own computation.

    Any optimizer that steps along the gradients follows the rule. The optimizer must apply the decay λ: for
    'kolen-pollack', use plain SGD with weight_decay = λ / learning rate, which shrinks W and R alike. Gradients of
    gradients are not supported. Convert the model before you call torch.compile.

    Args:
        model: the model, which is not changed.
        rule: a name in `urfb.RULES`, or a `urfb.Rule`.
        seed: the seed of R and of the masks. Each layer has separate random streams.
        epsilon: ε, for a rule that takes it, such as 'interpolated'.
        connectivity: the fraction of W's connections that exist, above 0 and at most 1. The output layer keeps all
            connections.
        feedback_connectivity: the fraction of R's connections that exist; by default the same as `connectivity`.
        example: a batch of inputs, [batch, …], with which a copy of the model runs in eval mode. Direct feedback
            alignment needs it to find the sizes of the layers. With an example, the output layer is the layer that is
            used last; without one, it is the last layer of the model.

    Returns:
        A model that takes the same inputs and returns the same outputs as `model`, except for connections that
            `connectivity` removes.

    Raises:
        urfb.errors.SelectionError: there is no rule of this name.
        urfb.errors.InputError: the model cannot be converted, or an argument is missing, out of range or not allowed
            for the rule.
    """
    from urfb.nn.convert import convert as convert_model

    return convert_model(
        model,
        rule,
        seed=seed,
        epsilon=epsilon,
        connectivity=connectivity,
        feedback_connectivity=feedback_connectivity,
        example=example,
    )
