"""One run, completely specified, and its identity."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from urfb.grid.settings import CONVENTIONS, RunSettings
from urfb.nn.notation import Conv, parse
from urfb.nn.rules import Rule
from urfb.plugins import find_rule, is_import_path

SCIENCE_VERSION = 2
"""The version of the numbers. Raise it by hand when numbers change beyond rounding; older runs then count as missing.

2: dropout draws 16 bits per unit.
"""


def conv_numbers(text: str, layers: str) -> frozenset[int]:
    """Return the numbers of the conv layers in 'none', 'all' or a text such as '2 3 4', for a network's layers."""
    if text == "none":
        return frozenset()
    if text == "all":
        return frozenset(range(1, sum(isinstance(statement, Conv) for statement in parse(layers)) + 1))
    return frozenset(int(number) for number in text.split())


class RunSpec(RunSettings):
    """A run: all settings that its numbers depend on, resolved, with the network's name and the target of epochs."""

    @property
    def identity(self) -> str:
        """A hash of the settings that the numbers depend on.

        Fields at their defaults are left out, so that a new field does not change the identities of existing runs.
        """
        fields = self.model_dump(exclude_defaults=True, exclude={"network", "epochs"})
        canonical = json.dumps({"science": SCIENCE_VERSION, **fields}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @property
    def untied_layers(self) -> frozenset[int]:
        """The numbers of the untied conv layers."""
        return conv_numbers(self.untied, self.layers)

    @property
    def frozen_layers(self) -> frozenset[int]:
        """The numbers of the conv layers that keep the weights of the first stage."""
        return conv_numbers(self.frozen or "none", self.layers)

    def rule_of(self, epoch: int) -> Rule:
        """Return the rule of an epoch, with the run's ε and λ.

        Raises:
            PluginError: a custom rule cannot be imported.
        """
        if epoch <= self.pretraining_epochs:
            assert self.pretraining_rule is not None
            return find_rule(self.pretraining_rule)
        rule = find_rule(self.rule)
        return replace(
            rule,
            epsilon=rule.epsilon if self.epsilon is None else self.epsilon,
            decay=rule.decay if self.decay is None else self.decay,
        )

    def epoch_of_stage(self, epoch: int) -> int:
        """Return the number of epochs that the current stage has after `epoch`."""
        return epoch if epoch <= self.pretraining_epochs else epoch - self.pretraining_epochs

    @property
    def import_paths(self) -> tuple[str, ...]:
        """The import paths of custom models, data sets and rules."""
        names = (self.layers, self.dataset, self.rule, self.pretraining_rule)
        return tuple(name for name in names if name and is_import_path(name))

    @property
    def run(self) -> str:
        """The identity, under its name in the store's tables."""
        return self.identity

    @property
    def convention(self) -> str:
        """The name of the convention whose values this run has, or 'custom'."""
        for name, values in CONVENTIONS.items():
            if all(getattr(self, field) in (value, None) for field, value in values.items()):
                return name
        return "custom"
