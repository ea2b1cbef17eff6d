"""The requirements for every learner: the same numbers after an interruption, and a `step` that changes nothing."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.helpers import tiny_spec
from tests.training.made import random_dataset
from urfb.events import EpochEnded, Event, Finished, Started, Stopped
from urfb.grid.spec import RunSpec
from urfb.learning.catalog import ALGORITHMS, Algorithm, Settings
from urfb.learning.feedback import Feedback
from urfb.learning.learner import Step
from urfb.nn.losses import Loss
from urfb.training import trainer
from urfb.training.networks import build_learner, build_network
from urfb.training.passes import images_of

pytestmark = pytest.mark.usefixtures("one_thread")
train = partial(trainer.train, seconds_between_checkpoints=0.0)
TEXT = "Conv 3 3x3; Maxpool 3; Drop .2; Full 6; Output"
DATASET = random_dataset(training=14)


class MomentumSettings(Settings):
    """The settings of `Momentum`."""

    momentum: float = 0.9


class Momentum(Feedback):
    """Gradient steps with momentum, as a simple learner with state other than the network's weights."""

    def __init__(self, network: nn.Module, loss_function: Loss, settings: Settings) -> None:
        super().__init__(network, loss_function, settings)
        for number, parameter in enumerate(self.learning):
            self.register_buffer(f"velocity{number}", torch.zeros_like(parameter))

    def step(self, x: Tensor, labels: Tensor) -> Step:
        step = super().step(x, labels)
        assert isinstance(self.settings, MomentumSettings)
        kept = self.settings.momentum
        self.latest = [kept * velocity + new for velocity, new in zip(self.velocities, step.gradients, strict=True)]
        return step._replace(gradients=self.latest)

    def after(self) -> None:
        for velocity, latest in zip(self.velocities, self.latest, strict=True):
            velocity.copy_(latest)

    @property
    def velocities(self) -> list[Tensor]:
        return [self.get_buffer(f"velocity{number}") for number in range(len(self.learning))]


@pytest.fixture(params=[*ALGORITHMS, "momentum"])
def algorithm(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of each algorithm, and of one more with state."""
    momentum = Algorithm("gradient steps with momentum", MomentumSettings, f"{__name__}:Momentum")
    monkeypatch.setitem(ALGORITHMS, "momentum", momentum)
    return str(request.param)


def spec_of(**settings: Any) -> RunSpec:
    return tiny_spec(
        **{"network": TEXT, "rule": "urfb", "precision": "float64", "batch_size": 4, "epochs": 4, **settings}
    )


def numbers(events: list[Event]) -> list[Any]:
    """Return the content of events without times and machines."""
    epochs = [replace(event, seconds=0.0) for event in events if isinstance(event, EpochEnded)]
    return [repr(epoch) for epoch in epochs] + [event for event in events if isinstance(event, Finished)]


def saved(folder: Path, spec: RunSpec) -> dict[str, dict[str, Tensor]]:
    checkpoint = torch.load(folder / f"{spec.identity}.pt", weights_only=True)
    return {part: checkpoint[part] for part in ("weights", "learner")}


@pytest.mark.parametrize("settings", [{}, {"pretraining_epochs": 2, "untied": "all"}], ids=str)
@pytest.mark.parametrize("asked", [1, 3, 4, 6, 8, 9, 15])
def test_an_interrupted_run_ends_where_a_whole_one_does(
    algorithm: str, asked: int, settings: dict[str, Any], tmp_path: Path
) -> None:
    """Training calls `stop` between the four steps of an epoch, and after each epoch but the last."""
    spec = spec_of(algorithm=algorithm, **settings)
    whole = list(train(spec, DATASET, tmp_path / "whole"))
    number = itertools.count(1)
    part = list(train(spec, DATASET, tmp_path / "parts", stop=lambda: next(number) == asked))
    assert isinstance(part[-1], Stopped)
    resumed = list(train(spec, DATASET, tmp_path / "parts", epochs_stored=asked // 4))
    assert isinstance(resumed[0], Started)
    assert (resumed[0].epochs_done, resumed[0].steps_done) == divmod(asked, 4)
    assert numbers(part) + numbers(resumed) == numbers(whole)
    expected, found = saved(tmp_path / "whole", spec), saved(tmp_path / "parts", spec)
    for of_whole, of_parts in zip(expected.values(), found.values(), strict=True):
        assert of_whole.keys() == of_parts.keys()
        assert all(torch.equal(of_parts[name], value) for name, value in of_whole.items())
    assert algorithm != "momentum" or all(velocity.any() for velocity in found["learner"].values())


def test_a_step_changes_nothing_that_learns(algorithm: str) -> None:
    spec = spec_of(algorithm=algorithm, decay=0.1, rule="kolen-pollack")
    learner = build_learner(build_network(spec, DATASET.info), spec).eval()
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    x, labels = images_of(spec, DATASET, DATASET.training, torch.arange(4))
    first, again = learner.step(x, labels), learner.step(x, labels)
    assert all(torch.equal(value, before[name]) for name, value in learner.state_dict().items())
    assert torch.equal(first.outputs, learner(x))
    assert torch.equal(first.loss, learner.loss_function(first.outputs, labels))
    for gradient, same, values in zip(first.gradients, again.gradients, learner.learning, strict=True):
        assert gradient.shape == values.shape
        assert torch.equal(gradient, same)


def test_a_checkpoint_saves_weights_separately(algorithm: str, tmp_path: Path) -> None:
    spec = spec_of(algorithm=algorithm)
    list(train(spec, DATASET, tmp_path))
    parts = saved(tmp_path, spec)
    network = build_network(spec, DATASET.info)
    network.load_state_dict(parts["weights"])
    learner = build_learner(network, spec)
    assert {f"network.{name}" for name in parts["weights"]} | parts["learner"].keys() == learner.state_dict().keys()


def without_learner(path: Path) -> None:
    """Rewrite a checkpoint in the format of versions without learner state."""
    checkpoint = torch.load(path, weights_only=True)
    torch.save({"epoch": checkpoint["epoch"], "weights": checkpoint["weights"]}, path)


def test_a_run_continues_from_a_checkpoint_of_weights_only(tmp_path: Path) -> None:
    spec = spec_of()
    whole = list(train(spec, DATASET, tmp_path / "whole"))
    list(train(spec.model_copy(update={"epochs": 2}), DATASET, tmp_path / "old"))
    without_learner(tmp_path / "old" / f"{spec.identity}.pt")
    resumed = list(train(spec, DATASET, tmp_path / "old", epochs_stored=2))
    assert isinstance(resumed[0], Started)
    assert resumed[0].epochs_done == 2
    assert numbers(resumed) == numbers(whole)[2:]


def test_a_checkpoint_without_the_learners_state_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    momentum = Algorithm("gradient steps with momentum", MomentumSettings, f"{__name__}:Momentum")
    monkeypatch.setitem(ALGORITHMS, "momentum", momentum)
    spec = spec_of(algorithm="momentum")
    list(train(spec.model_copy(update={"epochs": 2}), DATASET, tmp_path))
    without_learner(tmp_path / f"{spec.identity}.pt")
    started = next(train(spec, DATASET, tmp_path, epochs_stored=2))
    assert isinstance(started, Started)
    assert started.epochs_done == 1
    assert "velocity0" in caplog.text


def test_a_learner_has_the_settings_of_its_run(monkeypatch: pytest.MonkeyPatch) -> None:
    momentum = Algorithm("gradient steps with momentum", MomentumSettings, f"{__name__}:Momentum")
    monkeypatch.setitem(ALGORITHMS, "momentum", momentum)
    for text, value in (("{}", 0.9), ('{"momentum": 0.5}', 0.5)):
        spec = spec_of(algorithm="momentum", algorithm_settings=text)
        assert build_learner(build_network(spec, DATASET.info), spec).settings == MomentumSettings(momentum=value)


def test_gradient_cosines_use_the_learners_gradients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients of the opposite sign have cosines of the opposite sign."""
    spec = spec_of(gradient_batch=8)
    started = next(train(spec, DATASET, tmp_path))
    assert isinstance(started, Started)
    step = Feedback.step

    def reversed_step(self: Feedback, x: Tensor, labels: Tensor) -> Step:
        result = step(self, x, labels)
        return result._replace(gradients=[-gradient for gradient in result.gradients])

    monkeypatch.setattr(Feedback, "step", reversed_step)
    again = next(train(spec, DATASET, tmp_path))
    assert isinstance(again, Started)
    cosines = [point.gradient_cosine for point in started.alignment]
    assert None not in cosines
    assert [point.gradient_cosine for point in again.alignment] == [-cosine for cosine in cosines]  # type: ignore[operator]
