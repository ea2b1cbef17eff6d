"""All faults of a custom model or rule are reported before a run is trained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.engines.test_runner import run
from tests.helpers import tiny_run, tiny_spec
from urfb.engines.checking import refuse_broken
from urfb.engines.planner import plan_grid
from urfb.engines.scheduler import Outcome
from urfb.errors import PluginError
from urfb.grid.spec import RunSpec
from urfb.plugins import add_import_folder

MODELS = """
import os
import sys
from torch import nn
from urfb import Rule

def flat(classes, *more):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes), *more)

class Model(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.layer, self.spare = nn.Linear(64, classes), nn.Linear(2, 3)

    def forward(self, x):
        return self.layer(x.flatten(1))

class Training(Model):
    def forward(self, x):
        outputs = super().forward(x)
        return (outputs, outputs) if self.training else outputs

def raises(shape, classes): return flat(classes + None)
def leaves(shape, classes): sys.exit('no licence')
def stops(shape, classes): os._exit(0)
def crashes(shape, classes): os.abort()
def nothing(shape, classes): flat(classes)
def wide(shape, classes): return flat(classes + 1)
def pair(shape, classes): return flat(classes, nn.LSTM(classes, classes))
def bare(shape, classes): return nn.Sequential(nn.Flatten(), nn.AdaptiveAvgPool1d(classes))
def few(shape): return flat(10)
def many(shape, classes, width): return flat(classes)
def training(shape, classes): return Training(classes)
def spare(shape, classes): return Model(classes)
number, instance = 3, flat(10)
bent = Rule('bent', carrier=lambda W, R: W.no_such_thing, epsilon=1.0)

def frozen(shape, classes):
    model = Model(classes)
    model.spare.requires_grad_(False)
    return model

def huge(shape, classes): raise MemoryError
def killed(shape, classes): os.kill(os.getpid(), 9)

def pooled(shape, classes):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(1, classes))

def spread(shape, classes):
    return nn.Sequential(nn.BatchNorm2d(1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, classes))

def value(shape, classes):
    return flat(classes) if float(nn.Linear(2, 2).weight.detach().abs().max()) > 0 else None
"""
FAULTS = {
    "raises": r"TypeError: unsupported operand type\(s\) for \+: 'int' and 'NoneType', at FILE:LINE",
    "leaves": "SystemExit: no licence, at FILE:LINE",
    "stops": r"the process that tried it crashed \(exit code 0\), at FILE:LINE",
    "crashes": r"the process that tried it crashed \(SIGABRT\), at FILE:LINE",
    "nothing": "must return a torch.nn.Module, not NoneType, at FILE:LINE",
    "wide": r"the model must return .* \(2, 10\) for 2 images of digits, .* not one of shape \(2, 11\), at FILE:LINE",
    "pair": r"the model must return .* \(2, 10\) for 2 images of digits, .* not tuple, at FILE:LINE",
    "bare": "the model has no nn.Linear and no nn.Conv2d, .*, at FILE:LINE",
    "few": r"cannot be called as build\(shape, classes\): too many positional arguments, at FILE:LINE",
    "many": r"cannot be called as build\(shape, classes\): missing a required argument: 'width', at FILE:LINE",
    "training": "training fails: AttributeError: 'tuple' object has no attribute 'to', at FILE:LINE",
    "spare": "training fails: its output does not depend on spare.weight, spare.feedback, spare.bias; .*, at FILE:LINE",
    "number": r"must be a function build\(shape, classes\), not int, at FILE",
    "instance": r"must be a function build\(shape, classes\), not Sequential, at FILE",
}


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("checked") / "checked_models.py"
    file.write_text(MODELS)
    add_import_folder(file.parent)
    return file


def spec_of(name: str, **settings: object) -> RunSpec:
    return tiny_spec(**{"network": f"checked_models:{name}", **settings})


def line_of(start: str) -> int | None:
    lines = MODELS.splitlines()
    return next((number for number, line in enumerate(lines, start=1) if line.startswith(start)), None)


def faults(*specs: RunSpec) -> list[str]:
    try:
        refuse_broken(specs)
    except PluginError as error:
        return str(error).splitlines()
    return []


def test_all_faults_are_reported_together_one_per_line(module: Path) -> None:
    found = faults(*(spec_of(name, seed=seed) for name in ["value", *FAULTS] for seed in (0, 1)))
    assert len(found) == len(FAULTS)
    for fault, (name, text) in zip(found, FAULTS.items(), strict=True):
        text = text.replace("FILE", re.escape(str(module))).replace("LINE", str(line_of(f"def {name}(")))
        pattern = f"'checked_models:{name}' on digits: {text}"
        assert re.fullmatch(pattern, fault), fault


def test_trainable_and_too_large_models_are_not_refused(module: Path) -> None:
    fine = [spec_of(name) for name in ("value", "frozen", "pooled")]
    too_large = [spec_of(name) for name in ("huge", "killed")]
    assert faults(*too_large, *fine, tiny_spec(), spec_of("value", precision="float64")) == []


@pytest.mark.parametrize(
    ("name", "batch_size", "message"),
    [
        ("pooled", 48, "the last batch of 1297 training images in batches of 48 has 1 image, which batch norm cannot"),
        ("pooled", 1, "a batch has 1 image, which batch norm cannot take; choose another batch_size, such as 5: "),
        ("pooled", 49, None),
        ("spread", 48, None),
        ("spread", 1, None),
    ],
)
def test_a_batch_of_one_image_is_refused_if_training_on_it_fails(
    module: Path, name: str, batch_size: int, message: str | None
) -> None:
    found = faults(spec_of(name), spec_of(name, batch_size=batch_size))
    assert len(found) == (message is not None)
    if message is not None:
        assert found[0].startswith(f"'checked_models:{name}' on digits: {message}")
        assert ": ValueError: Expected more than 1 value per channel" in found[0]


def test_a_custom_rule_is_tried_in_the_stage_that_uses_it(module: Path) -> None:
    bent = "checked_models:bent"
    stages = {"pretraining_epochs": 1, "pretraining_rule": bent, "rule": "bp"}
    place = f"AttributeError: 'Tensor' object has no attribute 'no_such_thing', at {module}:{line_of('bent = ')}"
    fault = f"'{bent}' on digits: training under rule '{bent}' fails: {place}"
    network = "Conv 2 3x3; Drop .5; Output"
    assert faults(tiny_spec(network=network, rule=bent)) == [fault]
    assert faults(tiny_spec(network=network, **stages)) == [fault]


def test_a_model_is_built_once_and_only_if_runs_are_missing(tmp_path: Path) -> None:
    (tmp_path / "counted_models.py").write_text(
        "from pathlib import Path\nfrom torch import nn\n\n\ndef build(shape, classes):\n"
        f"    with Path({str(tmp_path / 'built')!r}).open('a') as file:\n        file.write('x')\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))\n"
    )
    add_import_folder(tmp_path)
    runs = [
        tiny_run(network="counted_models:build", rule=rule, seed=seed, batch_size=size, epochs=1)
        for rule in ("bp", "urfb") for seed in (0, 1) for size in (50, 400)
    ]  # fmt: skip
    store = str(tmp_path / "urfb.sqlite")
    plan_grid(runs, store=store, jobs=1, device="cpu", calibrate=False)
    assert (tmp_path / "built").read_text() == "x"
    assert run(runs[:1], tmp_path) == Outcome(done=1)
    (tmp_path / "built").unlink()
    plan_grid([runs[0], tiny_run()], store=store, jobs=1, device="cpu", calibrate=False)
    assert not (tmp_path / "built").exists()


@pytest.mark.parametrize("jobs", [0, 1])
def test_a_run_of_a_broken_model_is_refused_and_nothing_is_written(module: Path, tmp_path: Path, jobs: int) -> None:
    with pytest.raises(PluginError, match="'checked_models:leaves' on digits: SystemExit: no licence"):
        run([tiny_run(), tiny_run(network="checked_models:leaves")], tmp_path, jobs=jobs)
    assert not list(tmp_path.iterdir())
