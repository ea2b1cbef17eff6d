"""A run that is killed or stopped between any two batches ends with the numbers of an uninterrupted one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.helpers import STEPS_AN_EPOCH, tiny_spec
from urfb.data.catalog import CATALOG
from urfb.data.datasets import Dataset
from urfb.errors import StoreError
from urfb.events import EpochEnded, Event, Finished, Started, Stopped
from urfb.grid.spec import RunSpec
from urfb.training import passes
from urfb.training.trainer import train
from urfb.training.weights import load_weights

pytestmark = pytest.mark.usefixtures("one_thread")

EVALUATIONS = (7, 2, 2)
"""The numbers of batches in an evaluation on the training, the validation and the test images."""


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "EVALUATION_BATCH", 200)


def pauses(batch_size: int) -> int:
    """Return how often training calls `stop` in an epoch and after it."""
    steps = -(-CATALOG["digits"].training // batch_size)
    return (steps - 1) + (EVALUATIONS[0] - 1) + (EVALUATIONS[1] - 1) + 1


PAUSES = pauses(CATALOG["digits"].batch_size)


def at(number: int) -> Callable[[], bool]:
    """Return a `stop` that returns True from the `number`th call on."""
    asked = count(1)
    return lambda: next(asked) >= number


def killed_at(number: int) -> Callable[[], bool]:
    """Return a `stop` that raises at the `number`th call, when the checkpoint of the batch before exists."""
    asked = count(1)

    def stop() -> bool:
        if next(asked) == number:
            raise KeyboardInterrupt
        return False

    return stop


def numbers(events: list[Event]) -> list[Any]:
    """Return the content of events without times and machines."""
    epochs = [replace(event, seconds=0.0) for event in events if isinstance(event, EpochEnded)]
    return [repr(epoch) for epoch in epochs] + [event for event in events if isinstance(event, Finished)]


def trained(spec: RunSpec, digits: Dataset, folder: Path) -> Iterator[list[Event]]:
    """Yield the events of each execution of a run that is stopped whenever it can be."""
    stored = 0
    for _ in range(100):
        stop = at(1 if stored < spec.epochs else 100)  # the evaluation on the test set starts again if it is stopped
        # A stopped run saves a checkpoint at once, regardless of the time between checkpoints.
        events = list(train(spec, digits, folder, epochs_stored=stored, stop=stop, seconds_between_checkpoints=1e9))
        yield events
        stored += sum(isinstance(event, EpochEnded) for event in events)
        if isinstance(events[-1], Finished):
            return
    raise AssertionError("the run makes no progress")


class Noisy(nn.Module):
    """A custom model that draws from PyTorch's default streams and has running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 12), nn.BatchNorm1d(12), nn.Tanh(), nn.Dropout(0.4), nn.Linear(12, 10)
        )

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.layers(x)
        return outputs


def build(shape: tuple[int, int, int], classes: int) -> nn.Module:
    return Noisy()


SPECS = {
    "paper": {},
    "two stages": {"pretraining_epochs": 1, "untied": "all", "gradient_batch": 20},
    "a user's model": {"network": f"{__name__}:build"},
}


@pytest.mark.parametrize("name", SPECS)
def test_a_run_stopped_between_all_batches_ends_as_a_whole_one(digits: Dataset, tmp_path: Path, name: str) -> None:
    spec = tiny_spec(epochs=3, batch_size=300, **SPECS[name])
    whole = list(train(spec, digits, tmp_path / "whole"))
    executions = list(trained(spec, digits, tmp_path / "parts"))
    # After the last epoch, `stop` is first called after the first batch of the test.
    assert len(executions) == 3 * pauses(300) + 1
    assert all(isinstance(events[-1], Stopped) for events in executions[:-1])
    assert numbers([event for events in executions for event in events]) == numbers(whole)
    ends = [torch.load(tmp_path / part / f"{spec.identity}.pt")["weights"] for part in ("whole", "parts")]
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())


@pytest.mark.parametrize("name", SPECS)
def test_a_run_killed_between_any_batches_ends_as_a_whole_one(digits: Dataset, tmp_path: Path, name: str) -> None:
    spec = tiny_spec(epochs=2, batch_size=500, **SPECS[name])
    whole = list(train(spec, digits, tmp_path / "whole"))
    for number in range(2, 100):
        folder = tmp_path / str(number)
        events: list[Event] = []
        try:
            for event in train(spec, digits, folder, stop=killed_at(number), seconds_between_checkpoints=0.0):
                events.append(event)
        except KeyboardInterrupt:
            pass
        else:
            break
        stored = sum(isinstance(event, EpochEnded) for event in events)
        resumed = list(train(spec, digits, folder, epochs_stored=stored))
        assert isinstance(resumed[0], Started)
        kept = resumed[0].epochs_done
        assert kept in (stored, stored - 1)  # it may be killed before the checkpoint after the epoch
        assert numbers(events)[:kept] + numbers(resumed) == numbers(whole)
    assert number > 2 * pauses(500)


def test_a_resumed_run_reports_its_step_within_the_epoch(digits: Dataset, tmp_path: Path) -> None:
    spec = tiny_spec(epochs=1)
    executions = trained(spec, digits, tmp_path)
    started = [event for events in executions for event in events if isinstance(event, Started)]
    assert [event.epochs_done for event in started] == [0] * PAUSES + [1]
    assert [event.steps_done for event in started] == [*range(STEPS_AN_EPOCH), *[STEPS_AN_EPOCH] * 7, 0]
    assert all(event.alignment == started[0].alignment for event in started[:-1])


def test_the_seconds_of_an_interrupted_epoch_include_all_parts(digits: Dataset, tmp_path: Path) -> None:
    spec = tiny_spec(epochs=1)
    list(train(spec, digits, tmp_path, stop=at(2)))
    path = tmp_path / f"{spec.identity}.pt"
    checkpoint = torch.load(path)
    assert 0 < checkpoint["within"]["seconds"] < 100
    checkpoint["within"]["seconds"] = 1000.0
    torch.save(checkpoint, path)
    (ended,) = (event for event in train(spec, digits, tmp_path) if isinstance(event, EpochEnded))
    assert 1000 < ended.seconds < 1100


def test_a_checkpoint_within_an_epoch_counts_as_the_epoch_before(digits: Dataset, tmp_path: Path) -> None:
    spec = tiny_spec(epochs=3)
    list(train(spec, digits, tmp_path, stop=at(PAUSES + 2)))  # after two steps of the second epoch
    for stored, goes_on_from in ((0, (0, 0)), (1, (1, 2)), (2, (1, 2))):
        started = next(train(spec, digits, tmp_path, epochs_stored=stored))
        assert isinstance(started, Started)
        assert (started.epochs_done, started.steps_done) == goes_on_from


def test_many_checkpoints_within_an_epoch_keep_the_one_before_it(digits: Dataset, tmp_path: Path) -> None:
    spec = tiny_spec(epochs=3)
    # A checkpoint after epoch 1, and one after each batch of epoch 2, which the store does not have.
    list(train(spec, digits, tmp_path, stop=at(2 * PAUSES + 3), seconds_between_checkpoints=0.0))
    started = next(train(spec, digits, tmp_path, epochs_stored=1))
    assert isinstance(started, Started)
    assert started.epochs_done == 1


def test_a_run_past_a_smaller_target_completes_its_epoch(digits: Dataset, tmp_path: Path) -> None:
    spec = tiny_spec(epochs=3)
    whole = list(train(spec, digits, tmp_path / "whole"))
    part = list(train(spec, digits, tmp_path, stop=at(2 * PAUSES + 3)))  # within epoch 3
    resumed = list(train(tiny_spec(epochs=2), digits, tmp_path, epochs_stored=2))
    assert numbers(part + resumed) == numbers(whole)


def test_a_run_stopped_during_its_test_is_tested_later(digits: Dataset, tmp_path: Path) -> None:
    spec = tiny_spec(epochs=1)
    whole = list(train(spec, digits, tmp_path / "whole"))
    part = list(train(spec, digits, tmp_path, stop=at(PAUSES)))
    assert [type(event) for event in part] == [Started, EpochEnded, Stopped]
    resumed = list(train(spec, digits, tmp_path, epochs_stored=1))
    assert [type(event) for event in resumed] == [Started, Finished]
    assert numbers(part + resumed) == numbers(whole)


def test_load_weights_ignores_checkpoints_within_an_epoch(digits: Dataset, tmp_path: Path) -> None:
    spec = tiny_spec(epochs=2)
    list(train(spec, digits, tmp_path, stop=at(PAUSES + 3)))
    with pytest.raises(StoreError, match="has no checkpoint of epoch 1"):
        load_weights(spec, tmp_path, 1)
