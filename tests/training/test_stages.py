"""Runs in two stages and resumed runs: equal bit for bit to uninterrupted ones, regardless of earlier draws."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers import STEPS_AN_EPOCH, tiny_spec
from urfb.data.datasets import Dataset
from urfb.events import EpochEnded, Event, Finished, Started
from urfb.grid.spec import RunSpec
from urfb.nn.modules import Network
from urfb.nn.rules import RULES
from urfb.nn.saturation import saturation
from urfb.training import trainer
from urfb.training.checkpoint import Checkpoints
from urfb.training.measurements import Measurements, saved_filters
from urfb.training.networks import build_learner, build_network, second_stage
from urfb.training.passes import Passes

pytestmark = pytest.mark.usefixtures("one_thread")
TEXT = "Conv 4 3x3; Conv 4 3x3; SUM; Maxpool 3; Drop .3; Full 12; Output"
train = partial(trainer.train, seconds_between_checkpoints=0.0)
STAGES: dict[str, Any] = {"network": TEXT, "pretraining_epochs": 2, "untied": "all", "epochs": 4}


def numbers(events: list[Event]) -> list[Any]:
    """Return the numbers in events, without times and machines."""
    return [
        (event.epoch, event.running_loss, event.training_loss, event.validation_error, repr(event.alignment))
        for event in events
        if isinstance(event, EpochEnded)
    ] + [(event.test_loss, event.test_error) for event in events if isinstance(event, Finished)]


def saved_weights(folder: Path, spec: RunSpec) -> dict[str, Tensor]:
    saved: dict[str, Tensor] = torch.load(folder / f"{spec.identity}.pt", weights_only=True)["weights"]
    return saved


def staged(rule: str, **settings: Any) -> RunSpec:
    """Return a run of one epoch in each stage."""
    parameters = dict.fromkeys(RULES[rule].required, 0.01)
    return tiny_spec(rule=rule, **{**STAGES, "pretraining_epochs": 1, "epochs": 2, **parameters, **settings})


def pretrained_network(spec: RunSpec, digits: Dataset) -> Network:
    """Return the network after the only epoch of the first stage."""
    network = build_network(spec, digits.info)
    assert isinstance(network, Network)
    Passes(build_learner(network, spec), spec, digits).train(1)
    return network


def second_stages(spec: RunSpec, digits: Dataset) -> tuple[Network, Network]:
    """Return the network at the start of the second stage, and after one epoch of it."""
    pretrained = pretrained_network(spec, digits)
    start = second_stage(spec, digits.info, pretrained)
    end = second_stage(spec, digits.info, pretrained)
    assert isinstance(start, Network)
    assert isinstance(end, Network)
    Passes(build_learner(end, spec), spec, digits).train(2)
    return start, end


def test_the_first_stage_is_tied_and_the_same_under_every_rule(digits: Dataset, tmp_path: Path) -> None:
    first = []
    for rule in ("bp", "urfb", "frfb", "usf"):
        spec = tiny_spec(rule=rule, **STAGES)
        events = list(train(spec, digits, tmp_path / rule))
        first.append(numbers(events)[:2])
        network = build_network(spec, digits.info, epoch=2)
        assert isinstance(network, Network)
        assert [layer.weight.dim() for layer in network.conv_layers] == [4, 4]
    assert first == [first[0]] * 4


def test_second_stage_keeps_frozen_layer_and_redraws_the_rest(digits: Dataset, tmp_path: Path) -> None:
    spec = tiny_spec(rule="urfb", connectivity=0.5, **STAGES)
    list(train(spec.model_copy(update={"epochs": 2}), digits, tmp_path))
    first = saved_weights(tmp_path, spec)
    list(train(spec.model_copy(update={"epochs": 4}), digits, tmp_path, epochs_stored=2))
    second = saved_weights(tmp_path, spec)
    names = [name for name in first if name.endswith("weight")]
    assert torch.equal(first[names[0]], second[names[0]])
    drawn = build_network(spec, digits.info, epoch=1)
    assert not torch.equal(first[names[0]], drawn.state_dict()[names[0]])
    again = build_network(spec, digits.info, epoch=3)
    assert torch.equal(first[names[0]] == 0, second[names[0]] == 0)
    assert isinstance(again, Network)
    assert isinstance(drawn, Network)
    assert again.conv_layers[1].weight.shape == (64, 4, 3, 3, 4)
    first_draw, second_draw = drawn.layers[2].weight.flatten(), again.layers[2].weight.flatten()
    present = (first_draw != 0) & (second_draw != 0)
    assert abs(torch.corrcoef(torch.stack([first_draw[present], second_draw[present]]))[0, 1]) < 0.1
    learned = [layer.weight.requires_grad for layer in again.layers]
    assert learned == [False, True, True, True]
    assert torch.equal(again.layers[0].mask, drawn.layers[0].mask)  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", sorted(RULES))
def test_a_frozen_layer_stays_bit_for_bit_under_every_rule(rule: str, digits: Dataset) -> None:
    spec = staged(rule, frozen="1 2")
    start, end = second_stages(spec, digits)
    for before, after in zip(start.layers, end.layers, strict=True):
        learns = before not in start.conv_layers and (rule != "shallow" or before.is_output)
        assert torch.equal(before.weight, after.weight) != learns


@pytest.mark.parametrize("first", ["urfb", "frsf", "bp", "usf", "dfa"])
@pytest.mark.parametrize("second", ["urfb", "frsf", "usf", "dfa"])
def test_a_frozen_layer_keeps_the_r_that_carried_its_error_signal(first: str, second: str, digits: Dataset) -> None:
    """R is kept if both rules draw an R of W's shape. Any other R starts as in a network without a first stage."""
    spec = staged(second, pretraining_rule=first, frozen="2")
    pretrained = pretrained_network(spec, digits)
    as_drawn = build_network(spec, digits.info, epoch=2)
    assert isinstance(as_drawn, Network)
    kept = {first, second} <= {"urfb", "frsf"}
    expected = (pretrained if kept else as_drawn).conv_layers[1].feedback
    assert expected is not None
    for network in second_stages(spec, digits):
        feedback = network.conv_layers[1].feedback
        assert feedback is not None
        assert torch.equal(feedback, expected)


@pytest.mark.parametrize("second", ["urfb", "frsf"])
def test_frozen_layer_feedback_has_second_stage_rule_connections(second: str, digits: Dataset) -> None:
    spec = staged(second, frozen="2", connectivity=0.5)
    before = pretrained_network(spec, digits).conv_layers[1]
    layer = second_stages(spec, digits)[1].conv_layers[1]
    assert before.feedback is not None
    assert layer.feedback is not None
    assert layer.feedback_mask is not None
    assert torch.equal(layer.feedback, before.feedback * layer.feedback_mask)
    assert layer.mask is not None
    assert torch.equal(layer.mask, layer.feedback_mask) == (second == "frsf")


def test_feedback_started_as_w_in_a_frozen_layer_equals_bp(digits: Dataset) -> None:
    _, ours = second_stages(staged("zipser-rumelhart", frozen="2", precision="float64"), digits)
    _, bp = second_stages(staged("bp", frozen="2", precision="float64"), digits)
    for one, other in zip(ours.layers, bp.layers, strict=True):
        torch.testing.assert_close(one.weight, other.weight, rtol=0, atol=1e-12)
        torch.testing.assert_close(one.feedback, one.weight, rtol=0, atol=1e-12)


def test_a_second_stage_of_several_epochs_starts_once(digits: Dataset, tmp_path: Path) -> None:
    spec = tiny_spec(rule="urfb", **STAGES)
    list(train(spec, digits, tmp_path))
    network, epoch = build_network(spec, digits.info), 0
    for epoch in (1, 2, 3, 4):
        if epoch == 3:
            network = second_stage(spec, digits.info, network)
        Passes(build_learner(network, spec), spec, digits).train(epoch)
    found = saved_weights(tmp_path, spec)
    assert all(torch.equal(found[name], value) for name, value in network.state_dict().items())


@pytest.mark.parametrize("rule", ["urfb", "brsf", "dfa"])
def test_measuring_changes_no_weight(rule: str, digits: Dataset, tmp_path: Path) -> None:
    """Compare a run that measures gradients between steps with training without measurements."""
    settings: dict[str, Any] = {"network": TEXT, "rule": rule, "epochs": 2, "untied": "2"}
    measured = tiny_spec(gradient_batch=30, **settings)
    list(train(measured, digits, tmp_path))
    spec = tiny_spec(**settings)
    network = build_network(spec, digits.info)
    for epoch in (1, 2):
        Passes(build_learner(network, spec), spec, digits).train(epoch)
    found = saved_weights(tmp_path, measured)
    assert all(torch.equal(found[name], value) for name, value in network.state_dict().items())


def test_order_and_dropout_differ_by_epoch_and_seed(digits: Dataset) -> None:
    def shown_and_dropped(epoch: int, seed: int) -> tuple[tuple[int, ...], tuple[bool, ...]]:
        spec = tiny_spec(network="Drop .5; Output", seed=seed, input_offset=-1.0)  # only dropout makes units 0
        network = build_network(spec, digits.info)
        shown: list[int] = []
        dropped: list[bool] = []
        assert isinstance(network, Network)
        network.steps[0].register_forward_hook(
            lambda module, inputs, output: dropped.extend((output == 0).flatten().tolist())
        )

        def loss(outputs: Tensor, labels: Tensor) -> Tensor:
            shown.extend(labels.tolist())
            return outputs.sum()

        passes = Passes(build_learner(network, spec), spec, digits)
        passes.learner.loss_function = loss
        passes.train(epoch)
        assert sorted(shown) == sorted(digits.training.labels.tolist())
        assert sum(dropped) / len(dropped) == pytest.approx(0.5, abs=0.02)
        return tuple(shown), tuple(dropped[:500])

    cases = [shown_and_dropped(epoch, seed) for epoch, seed in ((1, 0), (2, 0), (1, 1))]
    assert len({shown for shown, _ in cases}) == 3
    assert len({dropped for _, dropped in cases}) == 3
    assert shown_and_dropped(1, 0) == cases[0]


@pytest.mark.parametrize("rule", ["urfb", "brsf", "zipser-rumelhart"])
@pytest.mark.parametrize("stopped_after", [1, 2, 3])
def test_a_run_in_stages_resumes_from_any_epoch(digits: Dataset, tmp_path: Path, stopped_after: int, rule: str) -> None:
    spec = tiny_spec(rule=rule, **STAGES)
    whole = list(train(spec, digits, tmp_path / "whole"))
    part = train(spec, digits, tmp_path / "parts")
    begun = [next(part) for _ in range(stopped_after + 1)]
    next(part)  # the next epoch, whose rows are lost
    part.close()
    resumed = list(train(spec, digits, tmp_path / "parts", epochs_stored=stopped_after))
    assert isinstance(resumed[0], Started)
    assert resumed[0].epochs_done == stopped_after
    assert numbers(begun) + numbers(resumed) == numbers(whole)


def test_alignment_is_dense_in_the_first_steps_of_each_stage(digits: Dataset, tmp_path: Path) -> None:
    spec = tiny_spec(rule="urfb", gradient_batch=20, **STAGES)
    events = list(train(spec, digits, tmp_path))
    started = events[0]
    assert isinstance(started, Started)
    points = [*started.alignment, *(p for event in events if isinstance(event, EpochEnded) for p in event.alignment)]
    early = [1, 2, 5, 10, 20]
    start = 2 * STEPS_AN_EPOCH
    assert sorted({point.step for point in points}) == [
        0, *early, STEPS_AN_EPOCH, start, *(start + step for step in early), start + STEPS_AN_EPOCH,
        start + 2 * STEPS_AN_EPOCH,
    ]  # fmt: skip
    assert all(point.epoch == point.step / STEPS_AN_EPOCH for point in points)
    untied = {point.layer for point in points if point.filter_similarity is not None}
    assert untied == {2}
    assert {point.layer for point in points if point.gradient_cosine is None and point.step > start} == {1}
    output = [point for point in points if point.layer == 4]
    assert [point.gradient_cosine for point in output] == pytest.approx([1.0] * len(output))
    assert {point.layer for point in points if point.saturation is None} == {4}


def test_saturation_uses_first_training_images_without_dropout(digits: Dataset, tmp_path: Path) -> None:
    spec = tiny_spec(network="Conv 4 3x3; Maxpool 3; Drop .5; Full 20; Output", rule="bp", input_offset=0.5, epochs=3)
    *_, last, _ = train(spec, digits, tmp_path)
    assert isinstance(last, EpochEnded)
    learner, epoch, _ = Checkpoints(tmp_path, spec.identity).load(
        lambda epoch: build_learner(build_network(spec, digits.info, epoch), spec), at_most=spec.epochs
    )
    assert epoch == last.epoch == 3
    network = learner.network
    assert isinstance(network, Network)
    x = digits.training.images[:500].permute(0, 3, 1, 2).float() / digits.info.scale - 0.5
    expected = saturation(network.eval(), x)
    assert [point.saturation for point in last.alignment] == pytest.approx(list(expected.values()))
    assert max(expected.values()) > 0.01
    assert expected != saturation(network.train(), x)
    learner.train()
    within_an_epoch = Measurements(spec, digits).alignment(learner, step=1)  # the learner is in training mode
    assert [point.saturation for point in within_an_epoch] == pytest.approx(list(expected.values()))
    assert network.training


def test_alignment_is_measured_to_step_50_and_never_twice(digits: Dataset, tmp_path: Path) -> None:
    for batch_size, steps in ((20, 65), (26, 50)):
        events = list(train(tiny_spec(network="Output", batch_size=batch_size, epochs=2), digits, tmp_path))
        assert [[point.step for point in event.alignment] for event in events if isinstance(event, EpochEnded)] == [
            [1, 2, 5, 10, 20, *([50] if steps > 50 else []), steps],
            [2 * steps],
        ]


def test_saved_filters_match_locations_on_a_non_square_grid() -> None:
    network = Network("Conv 2 3x3; Output", (1, 5, 9), 3, RULES["urfb"], seed=0, untied=(1,))
    saved = saved_filters(network, 7)
    assert [(filters.row, filters.column) for filters in saved] == [(1, 2), (1, 6), (3, 2), (3, 6)]
    for filters in saved:
        # A location's h is the product of its saved filters and the patch that it sees.
        x = torch.rand(1, 1, 5, 9)
        seen = x[0, 0, filters.row - 1 : filters.row + 2, filters.column - 1 : filters.column + 2]
        bank = torch.frombuffer(bytearray(filters.values), dtype=torch.float32).view(filters.shape)
        h = network.layers[0](x)[0, :, filters.row, filters.column]
        torch.testing.assert_close(h, (bank[..., 0] * seen).sum((1, 2)))


def test_untied_first_layer_filters_are_saved_at_four_locations(digits: Dataset, tmp_path: Path) -> None:
    spec = tiny_spec(rule="urfb", untied="all", untied_start="tied-copy", epochs=2)
    events = list(train(spec, digits, tmp_path))
    started, _, last, _ = events
    assert isinstance(started, Started)
    assert isinstance(last, EpochEnded)
    for saved, epoch in ((started.filters, 0), (last.filters, 2)):
        assert [(filters.epoch, filters.layer, filters.row, filters.column) for filters in saved] == [
            (epoch, 1, row, column) for row in (2, 6) for column in (2, 6)
        ]
    weight = next(value for name, value in saved_weights(tmp_path, spec).items() if name.endswith("weight"))
    for filters in last.filters:
        bank = torch.frombuffer(bytearray(filters.values), dtype=torch.float32).view(filters.shape)
        assert torch.equal(bank, weight[filters.row * 8 + filters.column])
    assert len({filters.values for filters in started.filters}) == 1
    assert len({filters.values for filters in last.filters}) == 4


@pytest.mark.parametrize("rule", sorted(RULES))
def test_equal_specs_give_equal_bits_regardless_of_earlier_draws(rule: str, digits: Dataset, tmp_path: Path) -> None:
    spec = tiny_spec(rule=rule, network=TEXT, untied="2", connectivity=0.5, **dict.fromkeys(RULES[rule].required, 0.01))

    def trained() -> list[Tensor]:
        network = build_network(spec, digits.info)
        Passes(build_learner(network, spec), spec, digits).train(1)
        return list(network.state_dict().values())

    first = trained()
    torch.manual_seed(4)
    torch.rand(5)
    list(train(tiny_spec(rule="bp", seed=5, epochs=1), digits, tmp_path))
    for one, other in zip(first, trained(), strict=True):
        assert torch.equal(one, other)


def test_another_process_gives_the_same_bits(digits: Dataset, tmp_path: Path) -> None:
    spec = tiny_spec(rule="urfb", **STAGES)
    list(train(spec, digits, tmp_path / "here"))
    program = f"""
import sys, torch
from pathlib import Path
from urfb.data.datasets import load
from urfb.grid.spec import RunSpec
from urfb.training.trainer import train
torch.set_num_threads(1)
spec = RunSpec.model_validate_json({spec.model_dump_json()!r})
list(train(spec, load("digits", Path()), Path(sys.argv[1])))
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "there")], check=True)
    here, there = saved_weights(tmp_path / "here", spec), saved_weights(tmp_path / "there", spec)
    assert here.keys() == there.keys()
    assert all(torch.equal(here[name], there[name]) for name in here)
