"""Users' models and rules, tried before anything is trained: a network of each is built and trained for a step."""

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
    """Make sure that users' models and rules can be trained; a model is built once for each data set.

    They are tried in a child process, on the CPU, so that this one stays as it is, whatever they do. PyTorch's meta
    device is no faster: its first pass imports more than the CPU computes, unless the model is huge.

    Args:
        specs: of the runs that are to be trained; those without a user's model or rule are not tried.
        stop: is asked again and again whether to stop.

    Raises:
        PluginError: naming all that is wrong, one line each.
        KeyboardInterrupt: it was stopped.
    """
    alike: dict[tuple[str, str, str | None], dict[tuple[Workload, Workload], RunSpec]] = {}
    for spec in specs:
        if set(spec.import_paths) - {spec.dataset}:
            alike.setdefault((spec.layers, spec.dataset, spec.source), {}).setdefault(workloads(spec), spec)
    groups = [list(unlike.values()) for unlike in alike.values()]
    faults = [fault for found in answers(_send_faults, groups, dead=_death, stop=stop) for fault in found]
    if faults:
        raise PluginError("\n".join(dict.fromkeys(faults)))


def _death(specs: Sequence[RunSpec], exit_code: int | None) -> list[str]:
    if exit_code == -signal.SIGKILL:  # so the system ends what is too large, which is no fault of the model's
        return []
    spec = specs[0]
    path = next(path for path in spec.import_paths if path != spec.dataset)
    cause = cause_of_death(exit_code)
    return [f"'{path}' on {spec.dataset}: the process that tried it died ({cause}), at {definition_of(path)}"]


def _send_faults(pipe: Connection, groups: Sequence[Sequence[RunSpec]]) -> None:
    """Try groups of runs one after the other in this new process, and send the faults of each."""
    import torch

    os.environ["PYTHONBREAKPOINT"] = "0"  # there is no terminal here
    os.dup2(2, 1)
    limit_memory(torch.device("cpu"), psutil.virtual_memory().available)
    for specs in groups:
        # What is too large for this machine is left to the memory checks, or to the GPU.
        pipe.send([str(fault) for fault in _faults(specs) if not is_out_of_memory(fault)])


def _faults(specs: Sequence[RunSpec]) -> list[PluginError]:
    """Return what is wrong with the user's model or rules of runs that have network, data set and source in common."""
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
    """Train the stages of a run that have to do with a user's model or rule, for a step each.

    Raises:
        PluginError: that fails.
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
    """Compute what a batch teaches.

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
            f"its output does not depend on {', '.join(names)}; take out what is not used, or freeze it with "
            "requires_grad_(False)"
        ) from error


def _too_small(spec: RunSpec, info: DatasetInfo, network: nn.Module) -> str:
    """Say that batches of one image are the matter, before the error itself."""
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
