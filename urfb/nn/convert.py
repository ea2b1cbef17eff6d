"""Convert any model: replace its Linear and Conv2d layers by layers with W and R."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from urfb.errors import InputError, SelectionError, nearest
from urfb.nn.asymmetric import AsymmetricLayer, ConvMap, FullMap, LinearMap, OutputError, Pad
from urfb.nn.init import Initializer
from urfb.nn.randomness import glorot_limit, uniform
from urfb.nn.rules import RULES, Rule


def convert(
    model: nn.Module,
    rule: str | Rule = "urfb",
    *,
    seed: int = 0,
    epsilon: float | None = None,
    connectivity: float = 1.0,
    feedback_connectivity: float | None = None,
    example: Tensor | None = None,
) -> nn.Module:
    """Return a copy of a model whose Linear and Conv2d layers have separate feedback weights; see `urfb.convert`."""
    rule = _rule(rule, epsilon)
    if feedback_connectivity is None:
        feedback_connectivity = connectivity
    _check_connectivity(rule, connectivity, feedback_connectivity)
    converted = copy.deepcopy(model)
    modules = _convertible(converted)
    units_below = dict.fromkeys(modules, 0)
    output, outputs = list(modules)[-1], 0
    if example is not None:
        uses = _uses(converted, modules, example)
        output = uses[-1].name
        if rule.direct:
            units_below, outputs = _direct_sizes(uses, modules)
    elif rule.direct:
        raise InputError("direct feedback alignment needs an example: pass a batch of inputs, as in example=images[:2]")
    if rule.output_only:
        learning = set(modules[output].parameters())
        for parameter in converted.parameters():
            parameter.requires_grad_(parameter.requires_grad and parameter in learning)

    dense = Initializer(rule, seed, outputs)
    sparse = replace(dense, connectivity=connectivity, feedback_connectivity=feedback_connectivity)
    output_error = OutputError() if rule.direct else None
    for index, (name, module) in enumerate(modules.items(), start=1):
        is_output = name == output
        initializer = dense if is_output else sparse
        layer = _layer(module, name, initializer, index, units_below[name], output_error, is_output)
        _turn_into(module, layer)
    return converted


def _rule(rule: str | Rule, epsilon: float | None) -> Rule:
    """Return the rule, with ε set."""
    if isinstance(rule, str):
        if rule not in RULES:
            raise SelectionError(f"there is no rule '{rule}': {nearest(rule, RULES)}, or pass a urfb.Rule")
        if "epsilon" in RULES[rule].required and epsilon is None:
            raise InputError(f"rule '{rule}' needs epsilon: pass it with the rule, as in epsilon=0.5")
        rule = RULES[rule]
    if epsilon is None:
        return rule
    if "epsilon" not in rule.required + rule.optional:
        rules = " and ".join(f"'{name}'" for name, row in RULES.items() if "epsilon" in row.required)
        raise InputError(
            f"epsilon belongs to the rule {rules}; leave it out, because the ε of this rule is always {rule.epsilon:g}"
        )
    return replace(rule, epsilon=epsilon)


def _check_connectivity(rule: Rule, connectivity: float, feedback_connectivity: float) -> None:
    """Raise InputError if a fraction is out of range or the rule does not allow it."""
    for name, value in (("connectivity", connectivity), ("feedback_connectivity", feedback_connectivity)):
        if not 0 < value <= 1:
            raise InputError(f"{name} is {value}: the fraction of connections must be above 0 and at most 1")
    if not rule.own_connections and feedback_connectivity != connectivity:
        raise InputError(
            f"feedback_connectivity is {feedback_connectivity} and connectivity {connectivity}: under this rule "
            f"({rule.description}) feedback has the connections of W; leave feedback_connectivity out"
        )


def _convertible(model: nn.Module) -> dict[str, nn.Linear | nn.Conv2d]:
    """Return the layers to convert, by name and each once."""
    modules: dict[str, nn.Linear | nn.Conv2d] = {}
    names: dict[nn.Parameter, str] = {}
    for name, module in model.named_modules():
        if isinstance(module, (nn.LazyLinear, nn.LazyConv2d)):
            raise InputError(f"layer '{name}' has no weights yet: run the model on a batch first, then convert it")
        # A weight that is not a parameter is computed before each pass, as by torch.nn.utils.weight_norm.
        if type(module) in (nn.Linear, nn.Conv2d) and isinstance(module.weight, nn.Parameter):
            if (first := names.setdefault(module.weight, name)) != name:
                raise InputError(
                    f"layers '{first}' and '{name}' share one weight, but each would have a separate R: use one module "
                    "in both places, or separate weights"
                )
            modules[name] = cast("nn.Linear | nn.Conv2d", module)
    if not modules:
        raise InputError("the model has no nn.Linear and no nn.Conv2d, the layers that can have feedback weights")
    return modules


class _Use(NamedTuple):
    """One use of a layer on the example: the layer's name, and the shapes of its inputs and outputs."""

    name: str
    below: torch.Size
    outputs: torch.Size


def _uses(model: nn.Module, names: Iterable[str], example: Tensor) -> list[_Use]:
    """Run the example through a copy of the model, and return the uses of the layers in order."""
    trial = copy.deepcopy(model).eval()
    uses: list[_Use] = []
    for name in names:

        def record(_: nn.Module, inputs: tuple[Tensor, ...], outputs: Tensor, name: str = name) -> None:
            uses.append(_Use(name, inputs[0].shape, outputs.shape))

        trial.get_submodule(name).register_forward_hook(record)
    with torch.no_grad():
        trial(example)
    if not uses:
        raise InputError("the model uses none of its Linear and Conv2d layers on the example")
    return uses


def _direct_sizes(uses: list[_Use], names: Iterable[str]) -> tuple[dict[str, int], int]:
    """Return the number of units below each layer, and the number of the model's outputs, for one sample."""
    last, reason = uses[-1], "direct feedback alignment carries each sample's output error to each layer"
    units_below: dict[str, int] = {}
    for use in uses:
        units = use.below[1:].numel()
        if use.below[0] != last.outputs[0] or units_below.setdefault(use.name, units) != units:
            raise InputError(
                f"{reason}; but '{use.name}' has inputs {[*use.below]} on the example, and the output layer, "
                f"'{last.name}', outputs {[*last.outputs]}: both need the batch as the first dimension, and the same "
                "sizes at each use"
            )
    if unused := [name for name in names if name not in units_below]:
        raise InputError(f"{reason}; but '{unused[0]}' is not used on the example in eval mode: remove it first")
    return units_below, last.outputs[1:].numel()


def _layer(
    module: nn.Linear | nn.Conv2d,
    name: str,
    initializer: Initializer,
    index: int,
    units_below: int,
    output_error: OutputError | None,
    is_output: bool,
) -> AsymmetricLayer:
    """Return an asymmetric layer with the module's W and bias."""
    weight = module.weight.detach()
    # R has W's root mean square, whether W is drawn or trained.
    limit = float(weight.double().square().mean().sqrt()) * 3**0.5
    if limit == 0:  # with an R of zeros, no layer below would learn
        limit = glorot_limit(weight[0].numel(), weight.numel() // weight[0].numel())

    def draw(stream: torch.Generator) -> Tensor:
        return torch.empty_like(weight).copy_(uniform(weight.shape, limit, stream, weight.dtype))

    linear_map, pad = _linear_map(module)
    init = initializer.layer(index, draw, limit, units_below, weight=weight)
    bias = cast("nn.Parameter | None", module.bias)
    layer = AsymmetricLayer(
        name, linear_map, initializer.rule, init, bias=bias, pad=pad, output_error=output_error, is_output=is_output
    )
    if weight.dim() == 4 and weight.is_contiguous(memory_format=torch.channels_last):
        layer.to(memory_format=torch.channels_last)
    with torch.no_grad():
        module.weight.copy_(layer.weight)  # masked
    # The same parameter, because the model may also use it elsewhere.
    layer.weight = cast("nn.Parameter", module.weight)
    if layer.feedback is not None and not layer.weight.requires_grad:
        layer.feedback.requires_grad_(False)
    return layer


def _linear_map(module: nn.Linear | nn.Conv2d) -> tuple[LinearMap, Pad | None]:
    """Return a layer's map, and the padding of its input if it needs more than the map's symmetric zeros."""
    if isinstance(module, nn.Linear):
        return FullMap(), None
    constants = (module.stride, module.dilation, module.groups)
    if module.padding_mode == "zeros" and not isinstance(module.padding, str):
        return ConvMap(module.padding, *constants), None
    widths: list[int] = []
    for side in (1, 0):  # width first, as functional.pad expects
        if module.padding == "same":
            zeros = module.dilation[side] * (module.kernel_size[side] - 1)
            widths += [zeros // 2, zeros - zeros // 2]
        else:
            widths += [0, 0] if isinstance(module.padding, str) else [module.padding[side]] * 2
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    return ConvMap((0, 0), *constants), Pad(tuple(widths), mode)


def _turn_into(module: nn.Module, layer: AsymmetricLayer) -> None:
    """Turn a module into an asymmetric layer in place, and keep its hooks, mode and sizes.

    So every reference to the module in the model, even in a plain list, is now to the layer.
    """
    kept = vars(nn.Module()).keys() - {"_parameters", "_buffers", "_non_persistent_buffers_set"}
    vars(module).update({name: value for name, value in vars(layer).items() if name not in kept})
    module.__class__ = AsymmetricLayer
