"""The candidates: training steps of plain PyTorch, of biotorch if it is installed, and of urfb's own rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal, NamedTuple

import torch

from urfb.bench.baseline import Baseline, training_step
from urfb.data.catalog import dataset_info
from urfb.data.datasets import Dataset
from urfb.engines.measuring import random_images
from urfb.grid.shown import checked, resolved
from urfb.grid.spec import RunSpec
from urfb.training.arithmetic import arithmetic
from urfb.training.networks import build_learner, build_network
from urfb.training.passes import Passes

BASELINE = "plain PyTorch, NCHW"


class Prepared(NamedTuple):
    """The parts of a candidate that are measured.

    Attributes:
        epoch: a function that does one training step per batch of the data set.
        step: a function that does one training step, launched as usual (without a CUDA graph).
        evaluate: a function that evaluates the training split; None for code other than urfb's.
    """

    epoch: Callable[[], object]
    step: Callable[[], object]
    evaluate: Callable[[], object] | None = None


@dataclass(frozen=True)
class Candidate:
    """One way to do a training step.

    Attributes:
        name: the name in the output.
        spec: the run whose training step it does.
        code: the library whose code does the step.
        memory_format: the memory format of images and weights; urfb's code ignores it and chooses its own.
    """

    name: str
    spec: RunSpec
    code: Literal["plain", "biotorch", "urfb"] = "urfb"
    memory_format: torch.memory_format = torch.channels_last

    def prepare(self, steps: int, device: torch.device) -> Prepared:
        """Build the network and random images for epochs of `steps` steps."""
        dataset = random_images(dataset_info(self.spec.dataset), steps * self.spec.batch_size, device)
        if self.code == "urfb":
            return _prepare_urfb(self.spec, dataset)
        split = dataset.training
        x = (split.images.permute(0, 3, 1, 2).float() / 255).contiguous(memory_format=self.memory_format)
        batches = list(zip(*(torch.split(values, self.spec.batch_size) for values in (x, split.labels)), strict=True))
        model: torch.nn.Module = Baseline(self.spec.layers, dataset.info.classes).to(device)
        model(x[:2])  # gives the lazy layers their shapes
        if self.code == "biotorch":
            from biotorch.module.biomodule import BioModule

            model = BioModule(model, mode="fa").to(device)
        model.to(memory_format=self.memory_format)
        optimizer = torch.optim.SGD(model.parameters(), lr=self.spec.step_size)

        def epoch() -> None:
            for images, labels in batches:
                training_step(model, optimizer, images, labels)

        return Prepared(epoch, lambda: training_step(model, optimizer, *batches[0]))


def _prepare_urfb(spec: RunSpec, dataset: Dataset) -> Prepared:
    device = dataset.training.labels.device
    passes = Passes(build_learner(build_network(spec, dataset.info), spec).to(device), spec, dataset)
    positions = torch.arange(spec.batch_size, device=device)

    def step() -> None:
        passes.learner.train()
        with arithmetic(spec.precision, device):
            passes.step(positions)

    return Prepared(lambda: passes.train(1), step, lambda: passes.evaluate("training"))


def candidates(network: str, dataset: str, batch_size: int, device: torch.device) -> list[Candidate]:
    """Return the candidates for a network: the baseline first, then those that are compared with it.

    Raises:
        InputError: there is no such network or data set, or they do not fit together.
    """

    def spec(rule: str, **settings: Any) -> RunSpec:
        shared = {"network": network, "dataset": dataset, "rule": rule, "loss": "softmax", "batch_size": batch_size}
        return resolved(checked({**shared, "epochs": 1, **settings}))

    bp = spec("bp")
    measured = [
        Candidate(BASELINE, bp, "plain", torch.contiguous_format),
        Candidate("plain PyTorch, channels last", bp, "plain"),
    ]
    if find_spec("biotorch") is not None:
        measured.append(Candidate("biotorch's feedback alignment", spec("frfb"), "biotorch"))
    half = {"connectivity": 0.5, "feedback_connectivity": 0.5}
    measured += [
        Candidate("bp", bp),
        Candidate("frfb", spec("frfb")),
        Candidate("urfb", spec("urfb")),
        Candidate("urfb 50 %", spec("urfb", **half)),
        Candidate("urfb untied", spec("urfb", untied="all")),
        Candidate("urfb bfloat16", spec("urfb", precision="bfloat16")),
    ]
    return measured + ([Candidate("urfb tf32", spec("urfb", precision="tf32"))] if device.type == "cuda" else [])
