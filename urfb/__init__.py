"""urfb: the laboratory for learning with asymmetric feedback."""

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
        location: path of an SQLite file, or a URL such as `postgresql://USER@HOST/DATABASE`.

    Returns:
        A store whose `runs()`, `epochs()` and `alignment()` are tidy pandas DataFrames. Errors in them are fractions.

    Raises:
        urfb.errors.StoreError: there is no store there, or this version cannot read it.
    """
    from urfb.store import open_store as open_existing

    return open_existing(location)


def load_weights(run: str, store: str = "results/urfb.sqlite") -> list[LayerWeights]:
    """Return the W, R and masks of a trained run, a layer each, from the lowest up.

    Args:
        run: its identity in the store, or the beginning of it.
        store: location of the store, beside which its checkpoints are.

    Returns:
        Tensors on the CPU, after the run's last stored epoch; `LayerWeights` says of which shapes.

    Raises:
        urfb.errors.SelectionError: there is no such run, or more than one that begins so.
        urfb.errors.StoreError: there is no store, or no checkpoint of the run's last epoch.
        urfb.errors.PluginError: a model, rule or data set of the user's own cannot be imported, or has changed since.
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
    """Return a copy of a model whose Linear and Conv2d layers have feedback weights of their own.

    W and bias stay what they are, under their names ('conv1.weight', 'fc.bias'); R is beside them ('conv1.feedback'),
    of W's shape and drawn uniformly with W's root mean square; under direct feedback alignment it is [outputs, units
    below]. Everything else is as it was: hooks, mode, device, and what is frozen;
    an R whose W is frozen is frozen, too. Subclasses of Linear and Conv2d, such as those of attention and of
    `torch.nn.utils.parametrize`, are left alone, for they compute something of their own.

    An optimizer that steps along gradients follows the rule. A rule's decay is the optimizer's, so 'kolen-pollack' is
    'urfb' with it: plain SGD with a weight_decay of λ / learning rate takes λ from W and R alike. Gradients of
    gradients are refused. Convert first, then use torch.compile.

    Args:
        model: any model; it is left as it is.
        rule: a name in `urfb.RULES`, or a rule.
        seed: of R and masks, each layer having streams of its own.
        epsilon: ε, for the rule 'interpolated'.
        connectivity: the fraction of W's connections that exist, above 0 to 1, except in the output layer, which keeps
            all.
        feedback_connectivity: likewise of R's; R has as many as W where nothing is said.
        example: a batch of inputs, [batch, …], which direct feedback alignment needs to find the sizes of the layers:
            a copy of the model runs it in eval mode. With it, the output layer is the one that is used last, without
            it the last one of the model.

    Returns:
        The copy, which takes and gives what the model does.

    Raises:
        urfb.errors.SelectionError: there is no such rule.
        urfb.errors.InputError: the model cannot be converted, or the rule needs something else than what is given.
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
