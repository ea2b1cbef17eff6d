"""The measurements of a run, compared with the same computed by hand: on which images, with which loss, and when."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from tests.helpers import tiny_spec
from tests.nn import reference
from tests.training.made import CLASSES, SCALE, random_dataset
from urfb.data.datasets import Dataset, Split
from urfb.errors import DivergedError
from urfb.events import EpochEnded, Event, Finished, Started
from urfb.grid.spec import RunSpec
from urfb.nn.modules import Network
from urfb.training import trainer
from urfb.training.checkpoint import Checkpoints
from urfb.training.networks import build_learner, build_network

train = partial(trainer.train, seconds_between_checkpoints=0.0)
TEXT = "Conv 3 3x3; Maxpool 3; Full 6; Output"
STATEMENTS: list[reference.Statement] = [("conv",), ("pool", 3, 2), ("full",), ("output",)]
MARGINS = {"off_class_margin": -0.4, "true_class_margin": 0.7, "off_class_weight": 0.6}
LOSSES: list[dict[str, Any]] = [{"loss": "softmax"}, {"loss": "hinge"}, {"loss": "hinge", **MARGINS}]


def float64_spec(**settings: Any) -> RunSpec:
    """Return a run on the random images, by default of a network without dropout."""
    return tiny_spec(**{"network": TEXT, "precision": "float64", "batch_size": 4, "input_offset": 0.3, **settings})


def trained(spec: RunSpec, dataset: Dataset, folder: Path) -> tuple[nn.Module, list[Event]]:
    """Return a run's network after its last epoch, and its events."""
    events = list(train(spec, dataset, folder))
    learner, epoch, _ = Checkpoints(folder, spec.identity).load(
        lambda epoch: build_learner(build_network(spec, dataset.info, epoch), spec), at_most=spec.epochs
    )
    assert epoch == spec.epochs
    return learner.network.eval(), events


def mean_loss_and_error(network: nn.Module, spec: RunSpec, split: Split) -> tuple[float, float]:
    """Compute a split's mean loss (equation 4) and error, image by image."""
    images = split.images.permute(0, 3, 1, 2).double() / SCALE - spec.input_offset
    outputs = network(images).detach().numpy()
    losses, errors = [], []
    for x, c in zip(outputs, split.labels.tolist(), strict=True):
        if spec.loss == "softmax":
            losses.append(np.log(np.exp(x).sum()) - x[c])
        else:
            assert spec.off_class_weight is not None
            assert spec.off_class_margin is not None
            off_class = sum(max(x[i] - spec.off_class_margin, 0) for i in range(CLASSES) if i != c)
            losses.append(max(spec.true_class_margin - x[c], 0) + spec.off_class_weight * off_class)
        errors.append(int(np.argmax(x)) != c)
    return float(np.mean(losses)), float(np.mean(errors))


@pytest.mark.parametrize("settings", LOSSES, ids=str)
def test_losses_and_errors_match_split_and_weights_of_the_epoch(settings: dict[str, Any], tmp_path: Path) -> None:
    dataset = random_dataset(training=10, validation=11, test=13)
    dropping = "Conv 3 3x3; Maxpool 3; Drop .4; Full 6; Output"  # dropout must be off in evaluations
    spec = float64_spec(network=dropping, rule="urfb", step_size=0.3, **settings)
    network, events = trained(spec, dataset, tmp_path)
    last, finished = events[-2:]
    assert isinstance(last, EpochEnded)
    assert isinstance(finished, Finished)
    found = {
        "training": (last.training_loss, last.training_error),
        "validation": (last.validation_loss, last.validation_error),
        "test": (finished.test_loss, finished.test_error),
    }
    expected = {name: mean_loss_and_error(network, spec, getattr(dataset, name)) for name in found}
    assert found == {name: pytest.approx(value, rel=1e-12) for name, value in expected.items()}
    assert len({loss for loss, _ in expected.values()}) == 3


@pytest.mark.parametrize("settings", LOSSES, ids=str)
def test_the_running_loss_uses_the_training_images(settings: dict[str, Any], tmp_path: Path) -> None:
    """With a tiny step size, the running loss is the loss of the initial weights."""
    dataset = random_dataset(training=10)
    spec = float64_spec(rule="bp", step_size=1e-30, **settings)
    network, events = trained(spec, dataset, tmp_path)
    last = events[-2]
    assert isinstance(last, EpochEnded)
    expected = mean_loss_and_error(network, spec, dataset.training)
    assert (last.running_loss, last.running_error) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_loss_that_is_not_finite_on_any_split_stops_the_run(split: str, tmp_path: Path) -> None:
    """The images of the other splits are nearly black and those of `split` white, so that only its loss overflows."""
    info = replace(random_dataset().info, shape=(1, 32, 32), classes=2, scale=255)
    black, white = (
        Split(torch.full((4, 32, 32, 1), value, dtype=torch.uint8), torch.tensor([0, 0, 1, 1])) for value in (1, 255)
    )
    validation, test = (white, black) if split == "validation" else (black, white)
    spec = tiny_spec(network="Output", rule="bp", loss="hinge", step_size=3e38, batch_size=4, epochs=1)
    with pytest.raises(DivergedError, match="a loss is" if split == "validation" else "the test loss is"):
        list(train(spec, Dataset(info, black, validation, test), tmp_path))


def increments(spec: RunSpec, network: Network, dataset: Dataset, rule: str) -> list[NDArray[np.float64]]:
    """Return each layer's increment on the first images under a rule, from the NumPy reference."""
    W = [layer.weight.detach().numpy() for layer in network.layers]
    R = [layer.feedback.detach().numpy() for layer in network.layers if layer.feedback is not None]
    masks = [
        tuple(
            np.ones_like(weight) if mask is None else mask.numpy() for mask in (layer.mask, layer.feedback_mask)
        )
        for weight, layer in zip(W, network.layers, strict=True)
    ]  # fmt: skip
    count = spec.gradient_batch
    x = dataset.training.images[:count].numpy().astype(np.float64).transpose(0, 3, 1, 2) / SCALE - spec.input_offset
    after, _ = reference.step(
        rule, STATEMENTS, x, dataset.training.labels[:count].numpy(), W, None if rule == "bp" else R,
        step_size=1.0, epsilon=0.0, decay=0.0, slope=1.0, zeros_at_the_end=False, hinge=spec.loss == "hinge",
        masks=masks,
    )  # fmt: skip
    return [new - old for new, old in zip(after, W, strict=True)]


@pytest.mark.parametrize("loss", ["softmax", "hinge"])
@pytest.mark.parametrize("connectivity", [1.0, 0.5])
@pytest.mark.parametrize("rule", ["frfb", "usf"])
def test_gradient_cosines_match_reference_increments_of_run_loss(
    rule: str, connectivity: float, loss: str, tmp_path: Path
) -> None:
    dataset = random_dataset(training=10)
    spec = float64_spec(rule=rule, loss=loss, connectivity=connectivity, gradient_batch=7)
    if loss == "hinge":
        spec = spec.model_copy(update={"off_class_weight": 1 / (CLASSES - 1)})  # as in the reference
    network = build_network(spec, dataset.info)
    assert isinstance(network, Network)
    started = next(train(spec, dataset, tmp_path))
    assert isinstance(started, Started)
    of_the_rule, true = (increments(spec, network, dataset, each) for each in (rule, "bp"))
    expected = [
        float((one * other).sum() / np.linalg.norm(one) / np.linalg.norm(other))
        for one, other in zip(of_the_rule, true, strict=True)
    ]
    assert [point.gradient_cosine for point in started.alignment] == pytest.approx(expected, abs=1e-12)
    assert max(expected[:2]) < 0.99


@pytest.mark.parametrize(("pretraining_epochs", "epochs"), [(0, 23), (22, 24)])
def test_alignment_is_measured_by_stage_epoch_and_after_the_last(
    pretraining_epochs: int, epochs: int, tmp_path: Path
) -> None:
    """Epoch 23 is measured as the last of a run or the first of a second stage. Epochs 21 and 22 are not measured."""
    stages = {"pretraining_epochs": pretraining_epochs} if pretraining_epochs else {}
    spec = tiny_spec(network=TEXT, rule="urfb", batch_size=3, epochs=epochs, **stages)
    events = list(train(spec, random_dataset(), tmp_path))
    measured = [
        event.epoch
        for event in events
        if isinstance(event, EpochEnded) and event.epoch in {point.epoch for point in event.alignment}
    ]
    assert measured == [*range(1, 21), *range(23, epochs + 1)]
