"""Build a run's network, for each of its stages, and its learner from the run's spec and seed."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Set
from contextlib import contextmanager
from functools import partial
from pkgutil import resolve_name

import torch
from torch import Tensor, nn

from urfb.data.catalog import DatasetInfo
from urfb.errors import InputError, PluginError
from urfb.grid.spec import RunSpec
from urfb.learning.catalog import ALGORITHMS
from urfb.learning.learner import Learner
from urfb.nn.convert import convert
from urfb.nn.losses import Loss, hinge_loss, softmax_loss
from urfb.nn.modules import Network
from urfb.nn.randomness import seeded
from urfb.nn.rules import Rule
from urfb.plugins import (
    USERS_ERRORS,
    definition_of,
    described,
    is_import_path,
    load_plugin,
    place_of,
    source_hash,
    users_code,
)


def build_network(spec: RunSpec, info: DatasetInfo, epoch: int = 1) -> nn.Module:
    """Return the run's network as drawn, for the stage that `epoch` belongs to.

    Raises:
        PluginError: a custom model or rule cannot be used, or its source has changed since the run was planned.
    """
    if spec.import_paths and source_hash(spec.import_paths) != spec.source:
        raise PluginError(f"{', '.join(spec.import_paths)}: the source has changed since the run was planned")
    if is_import_path(spec.layers):
        return with_feedback(users_model(spec, info), spec, info)
    rule = spec.rule_of(epoch)
    if epoch <= spec.pretraining_epochs:
        return _network(spec, info, rule)
    return _network(
        spec,
        info,
        rule,
        stage=2 if spec.pretraining_epochs else 1,
        untied=spec.untied_layers,
        frozen=spec.frozen_layers,
    )


def second_stage(spec: RunSpec, info: DatasetInfo, pretrained: nn.Module) -> nn.Module:
    """Return the network of the second stage: frozen layers as trained in the first stage, all others drawn again."""
    network = build_network(spec, info, spec.pretraining_epochs + 1)
    assert isinstance(network, Network)
    assert isinstance(pretrained, Network)
    for number in spec.frozen_layers:
        network.conv_layers[number - 1].take_over(pretrained.conv_layers[number - 1])
    return network


def build_learner(network: nn.Module, spec: RunSpec) -> Learner:
    """Return the learner for a run's network of either stage."""
    algorithm = ALGORITHMS[spec.algorithm]
    settings = algorithm.settings.model_validate_json(spec.algorithm_settings)
    learner: Learner = resolve_name(algorithm.learner)(network, build_loss(spec), settings)
    return learner


def build_loss(spec: RunSpec) -> Loss:
    """Return the run's loss function, a mean over a batch."""
    if spec.loss == "softmax":
        return softmax_loss
    assert spec.off_class_weight is not None
    assert spec.off_class_margin is not None
    return partial(
        hinge_loss,
        off_class_weight=spec.off_class_weight,
        off_class_margin=spec.off_class_margin,
        true_class_margin=spec.true_class_margin,
    )


def weight_dtype(precision: str) -> torch.dtype:
    """Return the type of W, R and the images."""
    return torch.float64 if precision == "float64" else torch.float32


def _network(
    spec: RunSpec,
    info: DatasetInfo,
    rule: Rule,
    *,
    stage: int = 1,
    untied: Set[int] = frozenset(),
    frozen: Set[int] = frozenset(),
) -> Network:
    return Network(
        spec.layers,
        info.shape,
        info.classes,
        rule,
        seed=spec.seed,
        stage=stage,
        connectivity=spec.connectivity,
        feedback_connectivity=spec.feedback_connectivity,
        dense_output=spec.dense_output,
        untied=untied,
        untied_start=spec.untied_start or "independent",
        frozen=frozen,
        activation_slope=spec.activation_slope,
        pool_padding=spec.pool_padding,
        dtype=weight_dtype(spec.precision),
    )


def users_model(spec: RunSpec, info: DatasetInfo) -> nn.Module:
    """Build a custom model; weights that it draws depend on the run's seed.

    Raises:
        PluginError: the model cannot be built.
    """
    with blaming(spec.layers, spec.dataset):
        build = load_plugin(spec.layers)
        if not callable(build) or isinstance(build, nn.Module):
            raise PluginError(f"must be a function build(shape, classes), not {type(build).__name__}")
        try:
            inspect.signature(build).bind(info.shape, info.classes)
        except ValueError:
            pass  # a function written in C may have no signature
        except TypeError as error:
            raise PluginError(f"cannot be called as build(shape, classes): {error}") from error
        with seeded(spec.seed, "model"):
            model = build(info.shape, info.classes)
        if not isinstance(model, nn.Module):
            raise PluginError(f"must return a torch.nn.Module, not {type(model).__name__}")
    return model


def with_feedback(model: nn.Module, spec: RunSpec, info: DatasetInfo) -> nn.Module:
    """Return a custom model with the run's feedback weights.

    Raises:
        PluginError: the model's outputs have the wrong shape, or no layer can have feedback weights.
    """
    dtype = weight_dtype(spec.precision)
    with blaming(spec.layers, spec.dataset):
        example = torch.zeros(2, *info.shape, dtype=dtype)
        with torch.no_grad():
            outputs = model.to(dtype).eval()(example)
        returned = f"one of shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else type(outputs).__name__
        if not isinstance(outputs, Tensor) or outputs.shape != (2, info.classes):
            raise PluginError(
                f"the model must return a tensor of shape (2, {info.classes}) for 2 images of {info.name}, one output "
                f"per class, not {returned}"
            )
        return convert(
            model,
            spec.rule_of(1),
            seed=spec.seed,
            connectivity=spec.connectivity,
            feedback_connectivity=spec.feedback_connectivity,
            example=example,
        )


@contextmanager
def blaming(import_path: str, dataset: str, fails: str = "") -> Iterator[None]:
    """Convert any error of a custom model or rule within the context to a PluginError that names the line.

    `fails` is the text before the error's own message.

    Raises:
        PluginError: the custom code raised an error.
    """
    try:
        with users_code():
            yield
    except USERS_ERRORS as error:
        place = place_of(error)
        problem = str(error) if isinstance(error, InputError) else described(error)
        if isinstance(error, InputError) or place is None:
            problem += f", at {place or definition_of(import_path)}"
        raise PluginError(f"'{import_path}' on {dataset}: {fails}{problem}") from error
