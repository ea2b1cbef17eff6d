"""Measurements other than the errors: alignment, gradients, saturation, and the filters of untied layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from urfb.data.datasets import Dataset
from urfb.events import AlignmentPoint, SavedFilters
from urfb.grid.spec import RunSpec
from urfb.learning.learner import Learner
from urfb.nn.alignment import filter_similarity, gradient_cosines, weight_alignment
from urfb.nn.asymmetric import AsymmetricLayer, UntiedMap, asymmetric_layers
from urfb.nn.modules import Network
from urfb.nn.saturation import saturation
from urfb.training.arithmetic import arithmetic
from urfb.training.passes import images_of

EARLY_STEPS = frozenset((1, 2, 5, 10, 20, 50))
"""The steps of a stage's first epoch after which alignment is also measured."""

SATURATION_IMAGES = 500
"""The number of training images, from the first one, for saturation: less than a hundredth of an epoch's work."""


@dataclass(frozen=True)
class Measurements:
    """Measures a run's alignment, gradients and saturation."""

    spec: RunSpec
    dataset: Dataset

    @property
    def steps_per_epoch(self) -> int:
        """The number of updates per epoch, including a smaller last batch."""
        return -(-len(self.dataset.training.labels) // self.spec.batch_size)

    def early(self, points: list[AlignmentPoint], epoch: int) -> Callable[[Learner, int], None] | None:
        """Return a function that adds to `points` after the first steps of a stage; None after its first epoch."""
        if self.spec.epoch_of_stage(epoch) != 1:
            return None

        def measure(learner: Learner, step: int) -> None:
            if step in EARLY_STEPS and step < self.steps_per_epoch:
                points.extend(self.alignment(learner, (epoch - 1) * self.steps_per_epoch + step))

        return measure

    def alignment(self, learner: Learner, step: int) -> tuple[AlignmentPoint, ...]:
        """Return the measurements after `step` updates, for each layer that has any."""
        layers = asymmetric_layers(learner.network)
        was_training = learner.training
        learner.eval()
        cosines = {} if self.spec.gradient_batch is None else self.gradient_cosines(learner)
        saturated = self.saturation(learner.network)
        learner.train(was_training)
        points = []
        for number, layer in enumerate(layers, start=1):
            alignment = weight_alignment(layer)
            measured = {} if alignment is None else alignment._asdict()
            if layer in cosines:
                measured["gradient_cosine"] = cosines[layer]
            if layer in saturated:
                measured["saturation"] = saturated[layer]
            if isinstance(layer.linear_map, UntiedMap):
                measured["filter_similarity"] = filter_similarity(layer.weight)
            if measured:
                points.append(AlignmentPoint(step, step / self.steps_per_epoch, number, layer.name, **measured))
        return tuple(points)

    def gradient_cosines(self, learner: Learner) -> dict[AsymmetricLayer, float]:
        """Compare the learner's gradients with back-propagation's on the first `gradient_batch` training images."""
        assert self.spec.gradient_batch is not None
        x, labels = self._first_images(self.spec.gradient_batch)
        with arithmetic(self.spec.precision, x.device):
            gradients = dict(zip(learner.learning, learner.step(x, labels).gradients, strict=True))
            return gradient_cosines(
                asymmetric_layers(learner.network), gradients, lambda: learner.loss_function(learner(x), labels)
            )

    def saturation(self, network: nn.Module) -> dict[AsymmetricLayer, float]:
        """Return the saturation of each hidden layer; {} for a custom model, whose units may have no bounds."""
        if not isinstance(network, Network):
            return {}
        x, _ = self._first_images(SATURATION_IMAGES)
        with arithmetic(self.spec.precision, x.device):
            return saturation(network, x)

    def _first_images(self, number: int) -> tuple[Tensor, Tensor]:
        training = self.dataset.training
        positions = torch.arange(min(number, len(training.labels)), device=training.labels.device)
        return images_of(self.spec, self.dataset, training, positions)


@torch.no_grad()
def saved_filters(network: nn.Module, epoch: int) -> tuple[SavedFilters, ...]:
    """Return the first layer's filters at the centres of the grid's quarters, if that layer is untied (Figure 8)."""
    layers = asymmetric_layers(network)
    if not layers or not isinstance(layers[0].linear_map, UntiedMap):
        return ()
    grid = layers[0].linear_map
    saved = []
    for row in (grid.height // 4, 3 * grid.height // 4):
        for column in (grid.width // 4, 3 * grid.width // 4):
            bank = layers[0].weight[row * grid.width + column].float().cpu().numpy().astype("<f4")
            saved.append(SavedFilters(epoch, 1, row, column, bank.shape, bank.tobytes()))
    # In a small grid, the centres can coincide.
    return tuple({(filters.row, filters.column): filters for filters in saved}.values())
