"""Separate feedback for any model: its Linear and Conv2d layers become layers with W and R."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from urfb.errors import InputError, SelectionError, nearest
from urfb.nn.asymmetric import AsymmetricLayer, ConvMap, FullMap, LinearMap, OutputError, Pad
from urfb.nn.randomness import glorot_limit, uniform
from urfb.nn.rules import RULES, Rule
from urfb.nn.starts import Starts


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
    """Return a copy of a model whose Linear and Conv2d layers have feedback weights of their own.

    W and bias stay what they are, under their names ('conv1.weight', 'fc.bias'); R is beside them ('conv1.feedback'),
    drawn uniformly with W's root mean square. Everything else is as it was. Subclasses of Linear and Conv2d are left
    alone, for they compute something of their own; hooks of the layers that are replaced are not taken over. An
    optimizer that steps along gradients follows the rule. A rule's decay is the optimizer's: plain SGD with a
    weight_decay of λ / learning rate takes λ from W and R alike.

    Args:
        model: any model; it is left as it is.
        rule: a name in `urfb.RULES`, or a rule.
        seed: of R and masks, each layer having streams of its own.
        epsilon: ε, for the rule 'interpolated'.
        connectivity, feedback_connectivity: the fractions of W's and of R's connections that exist, except in the
            output layer, which keeps all; R has as many as W where nothing is said.
        example: a batch of inputs, which direct feedback alignment needs to find the sizes of the layers. With it, the
            output layer is the one that is used last, without it the last one of the model.

    Raises:
        SelectionError: there is no such rule.
        InputError: the model has no layer to convert, or the rule needs something that is not given.
    """
    rule = _rule(rule, epsilon)
    converted = copy.deepcopy(model)
    found = {name: module for name, module in converted.named_modules() if type(module) in (nn.Linear, nn.Conv2d)}
    if not found:
        raise InputError("the model has no nn.Linear and no nn.Conv2d, so there is nothing to give feedback weights to")
    units_below = dict.fromkeys(found.values(), 0)
    output, outputs = list(found.values())[-1], 0
    if example is not None:
        output, outputs = _look_at_layers(converted, units_below, example)
    elif rule.direct:
        raise InputError("direct feedback alignment needs an example: pass a batch of inputs, as in example=images[:2]")
    if rule.output_only:
        converted.requires_grad_(False)
        output.requires_grad_(True)

    starts = Starts(rule, seed, outputs)
    sparse = replace(
        starts,
        connectivity=connectivity,
        feedback_connectivity=connectivity if feedback_connectivity is None else feedback_connectivity,
    )
    output_error = OutputError() if rule.direct else None
    layers: dict[nn.Module, nn.Module] = {}
    for index, (name, module) in enumerate(found.items(), start=1):
        is_output = module is output
        layers[module] = _layer(
            module, name, rule, (starts if is_output else sparse), index, units_below[module], output_error, is_output
        )
    return _replaced(converted, layers)


def _rule(rule: str | Rule, epsilon: float | None) -> Rule:
    """Return the rule with its ε."""
    if isinstance(rule, str):
        if rule not in RULES:
            raise SelectionError(f"there is no rule '{rule}': {nearest(rule, RULES)}")
        rule = RULES[rule]
    if "epsilon" in rule.required and epsilon is None:
        raise InputError("this rule needs epsilon, as in convert(model, 'interpolated', epsilon=0.5)")
    if epsilon is None:
        return rule
    if "epsilon" not in rule.required + rule.optional:
        raise InputError(f"epsilon belongs to the rule 'interpolated'; this one says itself what R learns: {rule}")
    return replace(rule, epsilon=epsilon)


def _look_at_layers(model: nn.Module, units_below: dict[nn.Module, int], example: Tensor) -> tuple[nn.Module, int]:
    """Run the example; note how many units each layer has below, return the layer used last and how many it has."""
    used: list[tuple[nn.Module, int]] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        used.append((module, output[0].numel()))
        units_below[module] = inputs[0][0].numel()

    handles = [layer.register_forward_hook(note) for layer in units_below]
    modes = {module: module.training for module in model.modules()}
    try:
        with torch.no_grad():
            model.eval()(example)
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes.items():
            module.training = training
    if not used:
        raise InputError("the model uses none of its Linear and Conv2d layers on the example")
    return used[-1]


def _layer(
    module: nn.Module,
    name: str,
    rule: Rule,
    starts: Starts,
    index: int,
    units_below: int,
    output_error: OutputError | None,
    is_output: bool,
) -> nn.Module:
    """Return what takes a layer's place."""
    assert isinstance(module, (nn.Linear, nn.Conv2d))
    weight = module.weight.detach()
    # As wide as W, whatever W was drawn from, or trained to.
    limit = float(weight.double().square().mean().sqrt()) * 3**0.5
    if limit == 0:  # an R of zeros would keep all layers below from learning for ever
        limit = glorot_limit(weight[0].numel(), weight.numel() // weight[0].numel())

    def draw(stream: torch.Generator) -> Tensor:
        return torch.empty_like(weight).copy_(uniform(weight.shape, limit, stream, weight.dtype))

    linear_map, pad = _linear_map(module)
    start = starts.layer(index, draw, limit, units_below, weight=weight)
    bias = cast("nn.Parameter | None", module.bias)
    layer = AsymmetricLayer(
        name, linear_map, rule, start, bias=bias, pad=pad, output_error=output_error, is_output=is_output
    )
    if not module.weight.requires_grad:
        layer.weight.requires_grad_(False)
        if layer.feedback is not None:
            layer.feedback.requires_grad_(False)
    return layer.train(module.training)


def _linear_map(module: nn.Linear | nn.Conv2d) -> tuple[LinearMap, Pad | None]:
    """Return a layer's map, and how its input is padded before it, where zeros alike on both sides do not do."""
    if isinstance(module, nn.Linear):
        return FullMap(), None
    constants = (module.stride, module.dilation, module.groups)
    if module.padding_mode == "zeros" and not isinstance(module.padding, str):
        return ConvMap(module.padding, *constants), None
    around: list[int] = []
    for side in (1, 0):  # width first, as functional.pad has it
        if module.padding == "same":
            zeros = module.dilation[side] * (module.kernel_size[side] - 1)
            around += [zeros // 2, zeros - zeros // 2]
        else:
            around += [0, 0] if isinstance(module.padding, str) else [module.padding[side]] * 2
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    return ConvMap((0, 0), *constants), Pad(tuple(around), mode)


def _replaced(module: nn.Module, layers: dict[nn.Module, nn.Module]) -> nn.Module:
    """Return the model with its layers replaced; one that stands in several places is replaced in all by the same."""
    if module in layers:
        return layers[module]
    for parent in list(module.modules()):
        for name, child in parent._modules.items():  # named_children() tells of each child once
            if child is not None and child in layers:
                setattr(parent, name, layers[child])
    return module
