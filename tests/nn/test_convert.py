"""`urfb.convert`: converted models, compared with autograd in float64."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.models import resnet18

import urfb
from urfb.errors import InputError, SelectionError
from urfb.nn.asymmetric import AsymmetricLayer

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")  # from the original


class Everything(nn.Module):
    """A model with strides, groups, dilation, biases, all kinds of padding, a layer used twice, and a time axis."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.same = nn.Conv2d(6, 6, (2, 4), padding="same", dilation=(1, 2), bias=False)
        self.grouped = nn.Conv2d(6, 9, 3, groups=3, padding="valid")
        self.reflected = nn.Conv2d(9, 5, (3, 1), padding=(1, 0), padding_mode="reflect")
        self.circular = nn.Conv2d(5, 5, 3, padding="same", padding_mode="circular")
        self.norm = nn.BatchNorm2d(5)
        self.twice = nn.Linear(5, 5)
        self.head = nn.Sequential(nn.Tanh(), nn.Linear(5, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.stem(x))
        x = torch.tanh(self.grouped(torch.tanh(self.same(x))))
        x = self.norm(torch.tanh(self.circular(torch.tanh(self.reflected(x)))))
        tokens = x.flatten(2).mT  # [batch, locations, channels]
        tokens = torch.tanh(self.twice(torch.tanh(self.twice(tokens))))
        return self.head(tokens).mean(dim=1)


def model_and_batch() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return Everything().double(), torch.randn(5, 4, 11, 9, dtype=torch.float64)


def gradients(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Return the gradient of each parameter that learns, by name."""
    parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}
    loss = model(x).square().sum()
    return dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True))


def layers_of(model: nn.Module) -> list[AsymmetricLayer]:
    return [module for module in model.modules() if isinstance(module, AsymmetricLayer)]


@pytest.mark.parametrize("rule", ["bp", "sham", "zipser-rumelhart"])
def test_gradients_are_autograds_if_r_equals_w(rule: str) -> None:
    model, x = model_and_batch()
    converted = urfb.convert(model, rule)
    assert len(layers_of(converted)) == 7
    torch.testing.assert_close(converted(x), model(x), rtol=0, atol=1e-12)
    computed, wanted = gradients(converted, x), gradients(model, x)
    for name, gradient in wanted.items():
        torch.testing.assert_close(computed[name], gradient, rtol=0, atol=1e-11)
    assert {name for name in computed if "feedback" not in name} == wanted.keys()


@pytest.mark.parametrize("rule", ["urfb", "frfb", "usf", "brsf", "frsf"])
def test_other_feedback_changes_the_gradients_of_all_but_the_last_layer(rule: str) -> None:
    model, x = model_and_batch()
    computed, wanted = gradients(urfb.convert(model, rule), x), gradients(model, x)
    for name, gradient in wanted.items():
        same = name.startswith("head")
        assert torch.allclose(computed[name], gradient, rtol=1e-6, atol=1e-12) == same, name
    if rule == "urfb":
        for name in wanted:
            if name.endswith("weight") and "norm" not in name:
                assert torch.equal(computed[name], computed[name.replace("weight", "feedback")])


def test_plain_sgd_follows_the_rules() -> None:
    model, x = model_and_batch()
    for rule, options in {"urfb": {}, "frfb": {}, "kolen-pollack": {"weight_decay": 0.5}}.items():
        converted = urfb.convert(model, rule)
        layers = layers_of(converted)
        before = [(layer.weight.clone(), layer.feedback.clone()) for layer in layers]  # type: ignore[union-attr]
        optimizer = torch.optim.SGD(converted.parameters(), lr=0.1, **options)
        for _ in range(3):
            optimizer.zero_grad()
            converted(x).square().sum().backward()
            optimizer.step()
        kept = 0.95**3 if rule == "kolen-pollack" else 1.0
        for layer, (weight, feedback) in zip(layers, before, strict=True):
            assert not torch.allclose(layer.weight, weight, rtol=0, atol=1e-6)
            if rule == "frfb":
                assert torch.equal(layer.feedback, feedback)
            else:
                difference = layer.weight - layer.feedback
                torch.testing.assert_close(difference, kept * (weight - feedback), rtol=0, atol=1e-12)


def test_direct_feedback_carries_the_output_error_to_each_layers_input() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3, stride=2), nn.Tanh(), nn.Conv2d(3, 4, 2, padding="same"), nn.Tanh(), nn.Flatten(),
        nn.Linear(4 * 9, 5),
    ).double()  # fmt: skip
    x = torch.randn(6, 2, 8, 8, dtype=torch.float64)
    converted = urfb.convert(model, "dfa", example=x[:1])
    _, second, last = layers_of(converted)
    computed = gradients(converted, x)
    h = model[0](x)
    delta_output = 2 * model(x)  # of the loss Σ outputs²
    assert second.feedback is not None
    assert last.feedback is not None
    assert second.feedback.shape == (5, 3 * 3 * 3)
    delta_input = (delta_output @ second.feedback).view_as(h)
    delta = (delta_input * (1 - torch.tanh(h) ** 2)).detach()
    wanted = torch.autograd.grad(h, [model[0].weight, model[0].bias], delta)
    torch.testing.assert_close(computed["0.weight"], wanted[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(computed["0.bias"], wanted[1], rtol=0, atol=1e-12)
    torch.testing.assert_close(computed["5.weight"], gradients(model, x)["5.weight"], rtol=0, atol=1e-12)


def test_only_the_output_layer_learns_under_shallow() -> None:
    model, x = model_and_batch()
    assert gradients(urfb.convert(model, "shallow"), x).keys() == {"head.1.weight", "head.1.bias"}


def test_the_model_is_unchanged_and_the_copy_keeps_its_state() -> None:
    model, x = model_and_batch()
    model.eval()
    model.stem.weight.requires_grad_(False)  # type: ignore[union-attr]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    converted = urfb.convert(model, "urfb", seed=3)
    assert not layers_of(model)
    assert not any(module.training for module in converted.modules())
    stem = layers_of(converted)[0]
    assert not stem.weight.requires_grad
    assert stem.feedback is not None
    assert not stem.feedback.requires_grad
    for name, value in state.items():
        assert torch.equal(converted.state_dict()[name], value)
        assert torch.equal(model.state_dict()[name], value)
    again = urfb.convert(model, "urfb", seed=4)
    again.load_state_dict(converted.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), converted.parameters(), strict=True))
    assert torch.equal(copy.deepcopy(converted)(x), converted(x))


def test_feedback_has_weight_spread_and_varies_with_seed_and_layer() -> None:
    model = nn.Sequential(nn.Linear(200, 300), nn.ReLU(), nn.Linear(300, 200), nn.ReLU(), nn.Linear(200, 300))
    layer, other_seed = (layers_of(urfb.convert(model, "frfb", seed=seed))[0] for seed in (1, 2))
    torch.manual_seed(9)
    again = layers_of(urfb.convert(model, "frfb", seed=1))[0]
    assert torch.equal(layer.feedback, again.feedback)  # type: ignore[arg-type]
    assert abs(torch.corrcoef(torch.stack([layer.feedback.flatten(), other_seed.feedback.flatten()]))[0, 1]) < 0.02  # type: ignore[union-attr]
    above = layers_of(urfb.convert(model, "frfb", seed=1))[2]
    assert abs(torch.corrcoef(torch.stack([layer.feedback.flatten(), above.feedback.flatten()]))[0, 1]) < 0.02  # type: ignore[union-attr]
    assert layer.feedback.std().item() == pytest.approx(layer.weight.std().item(), rel=0.02)  # type: ignore[union-attr]


def test_missing_connections_stay_missing_except_in_the_output_layer() -> None:
    model, x = model_and_batch()
    converted = urfb.convert(model, "urfb", connectivity=0.5, feedback_connectivity=0.25)
    absent = [(layer.weight == 0, layer.feedback == 0) for layer in layers_of(converted)]
    assert [round(float(w.double().mean()), 1) for w, _ in absent[:3]] == pytest.approx([0.5] * 3, abs=0.1)
    assert not absent[-1][0].any()
    optimizer = torch.optim.SGD(converted.parameters(), lr=0.1)
    converted(x).square().sum().backward()
    optimizer.step()
    for layer, (no_weight, no_feedback) in zip(layers_of(converted), absent, strict=True):
        assert torch.equal(layer.weight == 0, no_weight)
        assert torch.equal(layer.feedback == 0, no_feedback)


def test_a_single_layer_and_a_shared_layer_are_converted() -> None:
    alone = urfb.convert(nn.Linear(3, 2), "frfb")
    assert isinstance(alone, AsymmetricLayer)
    shared = nn.Linear(3, 3)
    converted = urfb.convert(nn.Sequential(shared, nn.Tanh(), shared), "frfb")
    assert converted[0] is converted[2]  # type: ignore[index]


class Tied(nn.Module):
    """A model with a plain list of its layers, a shared weight, and a last layer that is used first."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(7, 4)
        self.out = nn.Linear(4, 7, bias=False)
        self.out.weight = self.words.weight
        self.hidden = nn.Linear(4, 4)
        self.in_order = [self.hidden, self.out]

    def forward(self, words: Tensor) -> Tensor:
        x = self.words(words)
        for layer in self.in_order:
            x = torch.tanh(layer(x))
        return x


def test_references_lead_to_the_converted_layer_with_its_hooks() -> None:
    torch.manual_seed(0)
    model, words = Tied().double(), torch.arange(6)
    seen: list[torch.Size] = []
    model.hidden.register_forward_hook(lambda layer, inputs, h: seen.append(h.shape))
    converted: Any = urfb.convert(model, "bp")
    for name, gradient in gradients(converted, words).items():
        torch.testing.assert_close(gradient, gradients(model, words)[name], rtol=0, atol=1e-12)
    seen.clear()
    converted = urfb.convert(model, "urfb")
    assert converted.in_order == [converted.hidden, converted.out]
    assert converted.out.weight is converted.words.weight
    assert converted.hidden.in_features == 4
    converted(words).sum().backward()
    assert seen == [(6, 4)]
    assert torch.equal(converted.hidden.weight.grad, converted.hidden.feedback.grad)


def test_output_layer_is_last_in_model_or_last_used_by_example() -> None:
    words = torch.arange(6)
    for example, output, hidden in ((None, "hidden", "out"), (words, "out", "hidden")):
        model: Any = Tied()
        converted: Any = urfb.convert(model, "frfb", connectivity=0.5, example=example)
        assert (converted.get_submodule(output).weight != 0).all()
        assert (converted.get_submodule(hidden).weight == 0).any()
        shallow = urfb.convert(model, "shallow", example=example)
        assert shallow.get_submodule(output).weight.requires_grad
        assert not shallow.get_submodule(hidden).weight.requires_grad


def test_an_example_changes_neither_mode_nor_statistics() -> None:
    model, x = model_and_batch()
    model.head.eval()  # type: ignore[union-attr]
    converted = urfb.convert(model, "dfa", example=x)
    assert [module.training for module in converted.modules()] == [module.training for module in model.modules()]
    for name, value in model.state_dict().items():
        assert torch.equal(converted.state_dict()[name], value), name


def test_frozen_parameters_stay_frozen_in_the_output_layer() -> None:
    layer = nn.Linear(3, 2)
    layer.weight.requires_grad_(False)
    converted: Any = urfb.convert(layer, "shallow")
    assert not converted.weight.requires_grad
    assert converted.bias.requires_grad


def test_epsilon_is_an_argument_or_part_of_a_custom_rule() -> None:
    x = torch.randn(6, 3, dtype=torch.float64)
    custom_rule = replace(urfb.RULES["interpolated"], epsilon=0.25)
    for rule, epsilon, expected in (("interpolated", 0.5, 0.5), (custom_rule, None, 0.25), (custom_rule, 0.75, 0.75)):
        computed = gradients(urfb.convert(nn.Linear(3, 2).double(), rule, epsilon=epsilon), x)
        torch.testing.assert_close(computed["feedback"], expected * computed["weight"], rtol=0, atol=1e-14)


def test_samples_without_a_batch_work_as_in_torchs_layers() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Conv2d(3, 4, 2, padding="same"), nn.Flatten(0), nn.Linear(36, 2))
    model, x = model.double(), torch.randn(2, 5, 5, dtype=torch.float64)
    computed = gradients(urfb.convert(model, "sham"), x)
    for name, gradient in gradients(model, x).items():
        torch.testing.assert_close(computed[name], gradient, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rule", ["urfb", "zipser-rumelhart", "usf"])
def test_feedback_and_masks_keep_weight_dtype_and_memory_format(rule: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8, 2)).to(torch.bfloat16)
    layer = layers_of(urfb.convert(model.to(memory_format=torch.channels_last), rule, connectivity=0.5))[0]
    for values in (layer.weight, layer.feedback, layer.mask, layer.feedback_mask):
        assert values is not None
        assert values.dtype == torch.bfloat16
        assert values.is_contiguous(memory_format=torch.channels_last)


def test_weights_of_zero_do_not_block_the_error_signal() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2, bias=False)).double()
    nn.init.zeros_(model[1].weight)
    converted = urfb.convert(model, "frfb")
    x = torch.randn(5, 3, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(converted(x).sum(), converted[0].weight)  # type: ignore[index, union-attr]
    assert gradient.abs().max() > 0


def test_direct_feedback_in_a_layer_over_time() -> None:
    """The output error of a sample at all times goes to all units below."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    x = torch.randn(2, 6, 4, dtype=torch.float64)
    converted: Any = urfb.convert(model, "dfa", example=x)
    h = model[0](x)
    delta_input = (2 * model(x)).flatten(1) @ converted[2].feedback
    delta = delta_input.view_as(h) * (1 - torch.tanh(h) ** 2)
    (wanted,) = torch.autograd.grad(h, model[0].weight, delta)
    torch.testing.assert_close(gradients(converted, x)["0.weight"], wanted, rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # from PyTorch, because dfa breaks the graph
@pytest.mark.filterwarnings("ignore:Guards may run slower on Python 3.13.0")
@pytest.mark.filterwarnings("ignore:.*autograd.function.Function.* should not be instantiated")  # from PyTorch 2.11
@pytest.mark.parametrize(("rule", "full_graph"), [("bp", True), ("urfb", True), ("frsf", True), ("dfa", False)])
def test_a_compiled_model_has_the_same_gradients(rule: str, full_graph: bool) -> None:
    model, x = model_and_batch()
    converted = urfb.convert(model, rule, example=x)
    wanted = gradients(converted, x)
    torch.compiler.reset()
    compiled = torch.compile(converted, backend="aot_eager", fullgraph=full_graph)
    for name, gradient in gradients(compiled, x).items():  # type: ignore[arg-type]
        torch.testing.assert_close(gradient, wanted[name.removeprefix("_orig_mod.")], rtol=0, atol=1e-11)


def test_gradients_of_gradients_are_refused() -> None:
    x = torch.randn(2, 3, requires_grad=True)
    with pytest.raises(RuntimeError, match="does not support gradients of gradients"):
        torch.autograd.grad(urfb.convert(nn.Linear(3, 1), "bp")(x).sum(), x, create_graph=True)


@pytest.mark.parametrize("rule", sorted(set(urfb.RULES) - {"interpolated"}))
def test_converted_model_saves_whole_and_gradients_are_unshared(rule: str, tmp_path: Path) -> None:
    model, x = model_and_batch()
    converted = urfb.convert(model, rule, example=x)
    torch.save(converted, tmp_path / "model.pt")
    loaded = torch.load(tmp_path / "model.pt", weights_only=False)
    torch.testing.assert_close(loaded(x), converted(x), rtol=0, atol=0)
    converted(x).square().sum().backward()
    places = [value.grad.data_ptr() for value in converted.parameters() if value.grad is not None]
    assert len(set(places)) == len(places) > 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rule": "urfbb"}, "did you mean 'urfb'"),
        ({"rule": "interpolated"}, "needs epsilon"),
        ({"rule": "urfb", "epsilon": 0.5}, "epsilon belongs to the rule 'interpolated'"),
        ({"rule": "dfa"}, "needs an example"),
        ({"connectivity": 50}, "^connectivity is 50: .* at most 1"),
        ({"feedback_connectivity": float("nan")}, "^feedback_connectivity is nan"),
        ({"rule": "usf", "feedback_connectivity": 0.5}, "feedback has the connections of W"),
    ],
)
def test_a_wrong_argument_is_reported(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((InputError, SelectionError), match=message):
        urfb.convert(nn.Linear(3, 2), **arguments)


class Auxiliary(nn.Sequential):
    """A model that uses its last layer only in training mode."""

    def forward(self, x: Tensor) -> Tensor:
        for layer in list(self)[: None if self.training else -1]:
            x = layer(x)
        return x


def with_one_weight() -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    return model


def used_on_two_sizes() -> nn.Module:
    conv = nn.Conv2d(1, 1, 3)
    return nn.Sequential(conv, conv)


@pytest.mark.parametrize(
    ("model", "example", "message"),
    [
        (nn.ReLU(), None, r"no nn\.Linear and no nn\.Conv2d"),
        (with_one_weight(), None, "layers '0' and '1' share one weight"),
        (nn.Sequential(nn.LazyLinear(3), nn.Linear(3, 2)), None, "layer '0' has no weights yet"),
        (Auxiliary(nn.Linear(3, 3), nn.Linear(3, 3)), torch.zeros(2, 3), "'1' is not used"),
        (nn.Sequential(nn.Linear(3, 3), nn.Flatten(0, 1), nn.Linear(3, 3)), torch.zeros(2, 5, 3), "first dimension"),
        (used_on_two_sizes(), torch.zeros(2, 1, 9, 9), "the same sizes at each use"),
        (Auxiliary(nn.Linear(3, 3)), torch.zeros(2, 3), "none of its Linear and Conv2d"),
    ],
)
def test_a_model_that_cannot_be_converted_is_reported(model: nn.Module, example: Tensor | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        urfb.convert(model, "urfb" if example is None else "dfa", example=example)


def test_resnet18_under_bp_is_autograds_and_under_urfb_learns() -> None:
    torch.manual_seed(0)
    model = resnet18(num_classes=10).double()
    x, labels = torch.randn(4, 3, 32, 32, dtype=torch.float64), torch.tensor([1, 2, 3, 4])

    def loss_of(network: nn.Module) -> Tensor:
        return nn.functional.cross_entropy(network(x), labels)

    converted = urfb.convert(model, "bp")
    assert len(layers_of(converted)) == 21
    computed = torch.autograd.grad(loss_of(converted), list(converted.parameters()))
    wanted = torch.autograd.grad(loss_of(model), list(model.parameters()))
    for gradient, expected in zip(computed, wanted, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-8, atol=1e-10)

    learning = urfb.convert(model, "urfb")
    optimizer = torch.optim.SGD(learning.parameters(), lr=0.01)
    before = [(layer.weight - layer.feedback).detach() for layer in layers_of(learning)]  # type: ignore[operator]
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = loss_of(learning)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    for layer, difference in zip(layers_of(learning), before, strict=True):
        torch.testing.assert_close(layer.weight - layer.feedback, difference, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rule", ["bp", "urfb", "dfa"])
def test_autocast_trains_in_the_lower_precision(rule: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))
    x = torch.randn(8, 1, 8, 8)
    converted = urfb.convert(model, rule, example=x)
    full_precision = gradients(converted, x)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = converted(x)
        assert outputs.dtype == torch.bfloat16
    parameters = {name: value for name, value in converted.named_parameters() if value.requires_grad}
    rounded = torch.autograd.grad(outputs.float().square().sum(), list(parameters.values()))
    for name, gradient in zip(parameters, rounded, strict=True):
        assert gradient.dtype == torch.float32
        cosine = nn.functional.cosine_similarity(gradient.flatten(), full_precision[name].flatten(), dim=0)
        assert cosine > 0.99, name


@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.one_of(st.sampled_from(["same", "valid"]), st.tuples(st.integers(0, 2), st.integers(0, 2))),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    groups=st.sampled_from([1, 2]),
    mode=st.sampled_from(["zeros", "reflect", "replicate", "circular"]),
    bias=st.booleans(),
)
def test_any_convolution_is_autograds(
    kernel: tuple[int, int], stride: tuple[int, int], padding: Any, dilation: tuple[int, int], groups: int, mode: str,
    bias: bool,
) -> None:  # fmt: skip
    if padding == "same":
        stride = (1, 1)
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 1),
        nn.Conv2d(4, 6, kernel, stride, padding, dilation, groups, bias, mode),
    ).double()
    x = torch.randn(2, 2, 9, 10, dtype=torch.float64)
    converted = urfb.convert(model, "sham")
    torch.testing.assert_close(converted(x), model(x), rtol=0, atol=1e-12)
    wanted = gradients(model, x)
    for name, gradient in gradients(converted, x).items():
        torch.testing.assert_close(gradient, wanted[name], rtol=0, atol=1e-11)
