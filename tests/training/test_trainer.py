from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

from tests.helpers import STEPS_AN_EPOCH, tiny_spec
from urfb.data.datasets import Dataset
from urfb.errors import DivergedError
from urfb.events import EpochEnded, Event, Finished, Started
from urfb.grid.spec import RunSpec
from urfb.nn.modules import Network
from urfb.training import trainer
from urfb.training.networks import build_learner, build_network
from urfb.training.passes import Passes
from urfb.training.trainer import is_alignment_epoch

pytestmark = pytest.mark.usefixtures("one_thread")
train = partial(trainer.train, seconds_between_checkpoints=0.0)


def trained(spec: RunSpec, digits: Dataset, epochs: int = 2) -> tuple[Network, Network]:
    """Return a run's network as drawn, and after some epochs."""
    start, network = build_network(spec, digits.info), build_network(spec, digits.info)
    for epoch in range(1, epochs + 1):
        Passes(build_learner(network, spec), spec, digits).train(epoch)
    return start, network


def measurements(events: list[Event]) -> list[tuple[float, ...]]:
    return [
        (event.epoch, event.running_loss, event.training_loss, event.validation_loss, event.validation_error)
        for event in events
        if isinstance(event, EpochEnded)
    ]


def test_the_training_images_are_evaluated_often_at_first_and_at_the_end(digits: Dataset, tmp_path: Path) -> None:
    events = list(train(tiny_spec(epochs=17), digits, tmp_path))
    epochs = [event for event in events if isinstance(event, EpochEnded)]
    measured = [event.epoch for event in epochs if event.training_error is not None]
    assert measured == [*range(1, 11), 15, 17]
    assert measured == [event.epoch for event in epochs if event.training_loss is not None]
    assert all(0 < event.validation_error < 1 and 0 < event.running_error < 1 for event in epochs)


def test_a_run_reports_its_start_every_epoch_and_its_end(digits: Dataset, tmp_path: Path) -> None:
    events = list(train(tiny_spec(epochs=3), digits, tmp_path))
    assert [type(event) for event in events] == [Started, EpochEnded, EpochEnded, EpochEnded, Finished]
    started, first, *_, last, finished = events
    assert isinstance(started, Started)
    assert isinstance(first, EpochEnded)
    assert isinstance(last, EpochEnded)
    assert isinstance(finished, Finished)
    assert [(point.step, point.layer_name) for point in started.alignment] == [
        (0, "Conv 4 3x3"),
        (0, "Full 20"),
        (0, "Output"),
    ]
    assert {point.step for point in last.alignment} == {3 * STEPS_AN_EPOCH}
    assert 0 < last.validation_error < first.validation_error < 1
    assert finished.epoch == 3
    assert 0 < finished.test_error < 0.8  # chance is 0.9


def test_w_minus_r_is_constant_under_urfb(digits: Dataset) -> None:
    start, network = trained(tiny_spec(rule="urfb", precision="float64"), digits)
    for before, after in zip(start.layers, network.layers, strict=True):
        assert before.feedback is not None
        assert after.feedback is not None
        torch.testing.assert_close(after.weight - after.feedback, before.weight - before.feedback, rtol=0, atol=1e-13)
        assert (after.feedback - before.feedback).abs().max() > 0.01


def test_r_is_constant_under_frfb(digits: Dataset) -> None:
    start, network = trained(tiny_spec(rule="frfb"), digits)
    for before, after in zip(start.layers, network.layers, strict=True):
        assert before.feedback is not None
        assert after.feedback is not None
        assert torch.equal(after.feedback, before.feedback)
        assert not torch.equal(after.weight, before.weight)


def test_missing_connections_stay_exactly_zero(digits: Dataset) -> None:
    _, network = trained(tiny_spec(rule="urfb", connectivity=0.5), digits)
    for layer in network.layers[:-1]:
        assert layer.mask is not None
        assert layer.feedback is not None
        assert layer.feedback_mask is not None
        assert (layer.weight[layer.mask == 0] == 0).all()
        assert (layer.feedback[layer.feedback_mask == 0] == 0).all()
        assert not torch.equal(layer.mask, layer.feedback_mask)


def test_every_image_is_used_once_per_epoch_even_in_a_short_batch(digits: Dataset, tmp_path: Path) -> None:
    """With a tiny step size, the running loss is the mean over all images, in any order."""
    spec = tiny_spec(network="Full 5; Output", step_size=1e-30, precision="float64")
    events = list(train(spec, digits, tmp_path))
    last = events[-2]
    assert isinstance(last, EpochEnded)
    assert len(digits.training.labels) % spec.batch_size != 0
    assert last.running_loss == pytest.approx(last.training_loss, rel=1e-12)


def test_the_same_spec_gives_the_same_numbers_and_another_seed_others(digits: Dataset, tmp_path: Path) -> None:
    first = measurements(list(train(tiny_spec(), digits, tmp_path / "a")))
    torch.rand(7)  # earlier draws in the process must have no effect
    assert measurements(list(train(tiny_spec(), digits, tmp_path / "b"))) == first
    assert measurements(list(train(tiny_spec(seed=1), digits, tmp_path / "c"))) != first


@pytest.mark.parametrize("stopped_after", [1, 2, 4])
def test_a_resumed_run_equals_an_uninterrupted_one(digits: Dataset, tmp_path: Path, stopped_after: int) -> None:
    whole = list(train(tiny_spec(epochs=5), digits, tmp_path / "whole"))
    stopped = train(tiny_spec(epochs=5), digits, tmp_path / "parts")
    # Advance one event past `stopped_after`, so that its checkpoint exists; the store does not have the last event.
    for _ in range(stopped_after + 2):
        next(stopped)
    stopped.close()
    resumed = list(train(tiny_spec(epochs=5), digits, tmp_path / "parts", epochs_stored=stopped_after))
    started = resumed[0]
    assert isinstance(started, Started)
    assert started.epochs_done == stopped_after
    assert measurements(resumed) == measurements(whole)[stopped_after:]
    assert resumed[-1] == whole[-1]


def test_a_checkpoint_ahead_of_the_store_is_skipped(digits: Dataset, tmp_path: Path) -> None:
    list(train(tiny_spec(epochs=3), digits, tmp_path))  # leaves checkpoints of epochs 2 and 3
    for stored, goes_on_from in ((3, 3), (2, 2), (1, 0)):
        started = next(train(tiny_spec(epochs=4), digits, tmp_path, epochs_stored=stored))
        assert isinstance(started, Started)
        assert started.epochs_done == goes_on_from


@pytest.mark.parametrize("damage", ["cut short", "overwritten", "of another network"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    digits: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    spec = tiny_spec(epochs=3)
    whole = list(train(spec, digits, tmp_path))
    latest = tmp_path / f"{spec.identity}.pt"
    match damage:
        case "cut short":
            latest.write_bytes(latest.read_bytes()[:-1000])
        case "overwritten":
            latest.write_bytes(b"\x80" * latest.stat().st_size)
        case "of another network":
            other = tiny_spec(epochs=3, network="Full 5; Output")
            list(train(other, digits, tmp_path))
            (tmp_path / f"{other.identity}.pt").replace(latest)
    resumed = train(spec, digits, tmp_path, epochs_stored=3)
    started = next(resumed)
    assert isinstance(started, Started)
    assert started.epochs_done == 2
    assert "is damaged" in caplog.text
    assert list(resumed)[-1] == whole[-1]
    # The skipped checkpoint has not replaced the one from which the run continued.
    started = next(train(spec, digits, tmp_path, epochs_stored=2))
    assert isinstance(started, Started)
    assert started.epochs_done == 2


def test_a_run_with_a_loss_that_is_not_finite_is_stopped(digits: Dataset, tmp_path: Path) -> None:
    events = train(tiny_spec(step_size=3e38, loss="softmax", network="Output"), digits, tmp_path)
    with pytest.raises(DivergedError, match="a smaller step_size may help"):
        list(events)


def test_alignment_is_measured_often_early_and_at_most_60_times() -> None:
    measured = [epoch for epoch in range(1, 1001) if is_alignment_epoch(epoch)]
    assert measured[:20] == list(range(1, 21))
    assert {25, 100, 150, 500, 1000} <= set(measured)
    assert len(measured) == 54
