"""Tries custom models and rules before runs are trained: builds a network with each and trains it for a step."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

import psutil

from urfb.data.catalog import DatasetInfo, dataset_info
from urfb.engines.estimate import Workload, workloads
from urfb.engines.measuring import is_out_of_memory, limit_memory, random_images
from urfb.engines.processes import answers, cause_of_death
from urfb.errors import PluginError
from urfb.grid.spec import RunSpec
from urfb.plugins import definition_of, is_import_path

if TYPE_CHECKING:
    from torch import Tensor, nn

    from urfb.learning.learner import Learner


def refuse_broken(specs: Sequence[RunSpec], stop: Callable[[], bool] = lambda: False) -> None:
    """Check that custom models and rules can be trained; each model is built once per data set.

    They are tried on the CPU in a child process, so that they cannot affect this one. PyTorch's meta device would be no
    faster, because its first pass imports many modules, which takes longer than the step on the CPU unless the model is
    huge.

    Args:
        specs: the runs to train; those without a custom model or rule are skipped.
        stop: a function that is called repeatedly and returns whether to stop.

    Raises:
        PluginError: a model or rule fails; the message has one line for each fault.
        KeyboardInterrupt: `stop` returned True.
    """
    alike: dict[tuple[str, str, str | None], dict[tuple[Workload, Workload], RunSpec]] = {}
    for spec in specs:
        if set(spec.import_paths) - {spec.dataset}:
            alike.setdefault((spec.layers, spec.dataset, spec.source), {}).setdefault(workloads(spec), spec)
    groups = [list(unlike.values()) for unlike in alike.values()]
    faults = [fault for group in answers(_send_faults, groups, dead=_death, stop=stop) for fault in group]
    if faults:
        raise PluginError("\n".join(dict.fromkeys(faults)))


def _death(specs: Sequence[RunSpec], exit_code: int | None) -> list[str]:
    if exit_code == -signal.SIGKILL:  # the system ran out of memory, which is not the model's fault
        return []
    spec = specs[0]
    path = next(path for path in spec.import_paths if path != spec.dataset)
    cause = cause_of_death(exit_code)
    return [f"'{path}' on {spec.dataset}: the process that tried it crashed ({cause}), at {definition_of(path)}"]


def _send_faults(pipe: Connection, groups: Sequence[Sequence[RunSpec]]) -> None:
    """Try groups of runs one after another in this child process, and send the faults of each group."""
    import torch

    os.environ["PYTHONBREAKPOINT"] = "0"  # a child process has no terminal
    os.dup2(2, 1)
    limit_memory(torch.device("cpu"), psutil.virtual_memory().available)
    for specs in groups:
        # Ignore a lack of memory: the memory checks find it, and a GPU may have more.
        pipe.send([str(fault) for fault in _faults(specs) if not is_out_of_memory(fault)])


def _faults(specs: Sequence[RunSpec]) -> list[PluginError]:
    """Return the faults of the custom model or rules of runs that share network, data set and source."""
    from urfb.training.networks import users_model

    info = dataset_info(specs[0].dataset)
    faults = []
    try:
        model = users_model(specs[0], info) if is_import_path(specs[0].layers) else None
    except PluginError as fault:
        return [fault]
    for spec in specs:
        try:
            _train(spec, info, model)
        except PluginError as fault:
            faults.append(fault)
    return faults


def _train(spec: RunSpec, info: DatasetInfo, model: nn.Module | None) -> None:
    """Train each stage of a run that uses a custom model or rule for a step.

    Raises:
        PluginError: training fails.
    """
    import torch

    from urfb.training.arithmetic import arithmetic
    from urfb.training.networks import blaming, build_learner, build_network, with_feedback
    from urfb.training.passes import images_of

    cpu = torch.device("cpu")
    dataset = random_images(info, 2, cpu)
    for epoch in sorted({1, spec.pretraining_epochs + 1}):
        rule = spec.rule if epoch > spec.pretraining_epochs else str(spec.pretraining_rule)
        if model is None and not is_import_path(rule):
            continue
        network = build_network(spec, info, epoch) if model is None else with_feedback(model, spec, info)
        learner = build_learner(network, spec).train()
        path = rule if model is None else spec.layers
        fails = f"training under rule '{rule}' fails: " if is_import_path(rule) else "training fails: "
        with arithmetic(spec.precision, cpu):
            with blaming(path, spec.dataset, fails):
                _step(learner, *images_of(spec, dataset, dataset.training, torch.arange(2)))
            if 1 in (spec.batch_size, info.training % spec.batch_size):
                with blaming(path, spec.dataset, _too_small(spec, info, network)):
                    _step(learner, *images_of(spec, dataset, dataset.training, torch.arange(1)))


def _step(learner: Learner, x: Tensor, labels: Tensor) -> None:
    """Compute the gradients of a batch.

    Raises:
        PluginError: the network has parameters that it does not use.
    """
    import torch

    try:
        learner.step(x, labels)
    except RuntimeError as error:
        if "allow_unused" not in str(error):
            raise
        gradients = torch.autograd.grad(learner(x).sum(), learner.learning, allow_unused=True)
        unused = {id(values) for values, gradient in zip(learner.learning, gradients, strict=True) if gradient is None}
        names = [name for name, values in learner.network.named_parameters() if id(values) in unused]
        raise PluginError(
            f"its output does not depend on {', '.join(names)}; remove unused parameters, or freeze them with "
            "requires_grad_(False)"
        ) from error


def _too_small(spec: RunSpec, info: DatasetInfo, network: nn.Module) -> str:
    """Return the start of the message for a model that cannot take a batch of one image; the error follows."""
    from torch.nn import BatchNorm1d, BatchNorm2d, BatchNorm3d

    has_norm = any(isinstance(module, (BatchNorm1d, BatchNorm2d, BatchNorm3d)) for module in network.modules())
    batch = "a batch"
    if spec.batch_size > 1:
        batch = f"the last batch of {info.training} training images in batches of {spec.batch_size}"
    larger = next(size for size in range(spec.batch_size + 1, info.training + 2) if info.training % size != 1)
    return (
        f"{batch} has 1 image, which {'batch norm' if has_norm else 'this model'} cannot take; choose another "
        f"batch_size, such as {larger}: "
    )
