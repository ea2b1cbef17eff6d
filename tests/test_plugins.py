"""Grids with custom models, rules and data sets: import, training, resuming, alignment and reading back."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import urfb
from urfb.data.datasets import verify
from urfb.errors import DataError, GridError
from urfb.grid.expand import load_grid
from urfb.plugins import add_import_folder

MODEL = """
import torch
from torch import nn

def build(shape, classes):
    channels, height, width = shape
    return nn.Sequential(
        nn.Conv2d(channels, 6, 3, padding=1, stride=2), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(),
        nn.Linear(6 * (height // 2) * (width // 2), 20), nn.ReLU(), nn.Linear(20, classes),
    )
"""
RULE = """
from urfb import Rule


halfway = Rule("halfway between R and W", carrier=lambda weight, feedback: (weight + feedback) / 2, epsilon=1.0)
"""
DATASET = """
import numpy as np
from urfb import DatasetInfo

def read(directory):
    labels = np.arange(600) % 3
    images = np.random.default_rng(0).integers(0, 8, (600, 4, 6, 2))
    images[np.arange(600), labels] += 8  # the bright row shows the class
    return images, labels

rows = DatasetInfo("rows", classes=3, shape=(2, 4, 6), training=400, validation=100, test=100,
                   batch_size=20, scale=15, source="drawn here", read=read)
"""


def project(folder: Path, name: str, *, epochs: int = 2, extra: str = "") -> Path:
    """Write a grid and a module next to it, with a new name because Python imports a name once per process."""
    (folder / f"{name}.py").write_text(MODEL + RULE)
    grid = folder / "grid.yaml"
    grid.write_text(
        f"networks: {{mine: '{name}:build'}}\n"
        f"experiments: {{own: {{defaults: {{network: mine, dataset: digits, epochs: {epochs}, {extra}}}, "
        f"matrix: {{rule: [bp, urfb, '{name}:halfway']}}}}}}\n"
    )
    return grid


def run(grid: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a grid as a user does, from a folder other than the grid's."""
    command = [sys.executable, "-c", "from urfb.cli import app; app()", "grid", "run", str(grid)]
    store = ["--store", str(grid.parent / "s.sqlite")]
    return subprocess.run([*command, *store, *arguments], cwd="/", capture_output=True, text=True, check=False)


def test_a_users_model_and_rule_are_trained_stored_resumed_and_aligned(tmp_path: Path) -> None:
    grid = project(tmp_path, "own_project", extra="gradient_batch: 50, connectivity: 0.5")
    finished = run(grid)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    store = urfb.open_store(str(tmp_path / "s.sqlite"))
    runs = store.runs()
    assert set(runs["rule"]) == {"bp", "urfb", "own_project:halfway"}
    assert set(runs["network"]) == {"mine"}
    assert runs["source"].notna().all()
    assert (runs["test_error"] < 0.7).all()  # 0.9 is chance
    alignment = store.alignment(rule="urfb", layer=2)
    assert alignment["correlation"].iloc[-1] > alignment["correlation"].iloc[0] + 0.02
    assert runs["source"].nunique() == 1  # one module, so only the rule differs
    halfway = store.alignment(rule="own_project:halfway", step=0)
    assert (halfway["correlation"] > 0.3).all()
    assert store.alignment(rule="bp")["gradient_cosine"].to_numpy() == pytest.approx(1.0)

    resumed = run(grid, "--epochs", "3", "--jobs", "0")
    assert resumed.stdout.count("continues after epoch 2") == 3
    at_once = run(grid, "--epochs", "3", "--store", str(tmp_path / "whole.sqlite"))
    assert at_once.returncode == 0
    whole = urfb.open_store(str(tmp_path / "whole.sqlite")).epochs()
    parts = store.epochs()
    assert len(whole) == 9
    for column in ("run", "epoch", "running_loss", "training_loss", "validation_error"):
        np.testing.assert_array_equal(whole[column], parts[column])


def test_the_documented_model_and_rule_and_conversion_work_as_printed(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "how-to" / "own.md").read_text()
    (tmp_path / "my_models.py").write_text(re.search(r"```python\n(# my_models\.py.*?)```", page, re.DOTALL)[1])  # type: ignore[index]
    grid = re.search(r'```yaml title="own.yaml"\n(.*?)```', page, re.DOTALL)[1]  # type: ignore[index]
    (tmp_path / "grid.yaml").write_text(grid)
    finished = run(tmp_path / "grid.yaml", "--epochs", "1", "--where", "seed=0")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    runs = urfb.open_store(str(tmp_path / "s.sqlite")).runs()
    assert set(runs["rule"]) == {"bp", "urfb", "my_models:halfway"}
    conversion = re.search(r"```python\n(import torch, torchvision, urfb.*?)```", page, re.DOTALL)[1]  # type: ignore[index]
    subprocess.run([sys.executable, "-c", conversion], check=True)


def test_the_source_is_part_of_the_identity(tmp_path: Path) -> None:
    identities = []
    for text in (MODEL + RULE, MODEL + RULE, MODEL.replace("20", "30") + RULE):
        grid = project(tmp_path, "changing_project")
        (tmp_path / "changing_project.py").write_text(text)
        identities.append({run.spec.rule: run.spec.identity for run in load_grid(grid).runs})
    assert identities[0] == identities[1]
    assert all(identities[0][rule] != identities[2][rule] for rule in identities[0])


def test_source_changed_after_planning_is_refused_in_training(tmp_path: Path) -> None:
    from urfb.data.catalog import CATALOG
    from urfb.errors import PluginError
    from urfb.training.networks import build_network

    spec = load_grid(project(tmp_path, "edited_project")).runs[0].spec
    (tmp_path / "edited_project.py").write_text(MODEL + RULE + "# edited\n")
    with pytest.raises(PluginError, match="the source has changed since the run was planned"):
        build_network(spec, CATALOG["digits"])


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("network: absent_module:build", r"'absent_module:build': cannot import 'absent_module' \(ModuleNotFoundError"),
        ("network: own_mistakes:built", r"has no 'built': did you mean 'build'\?"),
        ("network: own_mistakes:build, rule: 'own_mistakes:build'", "must be a urfb.Rule, not function"),
        ("network: own_mistakes:build, untied: all", "untied: only a network in the paper's notation has this"),
        (
            "dataset: own_mistakes:build, network: simpnet",
            "must be a urfb.DatasetInfo with `read`, not function",
        ),
        (
            "dataset: own_numbers:odd, network: simpnet",
            r"data set 'odd': classes .* from 2 .*, not 1; scale .* to 255, not 256; test .*, not 0; shape .* \(8, 8\)",
        ),
        ("dataset: own_mistakes:bare, network: simpnet", "must be a urfb.DatasetInfo with `read`, not one without it"),
        ("network: own_mistakes:build, convention: paper", "convention: only a network in the paper's notation"),
    ],
)
def test_mistakes_are_reported_before_training(tmp_path: Path, setting: str, said: str) -> None:
    bare = "from urfb import DatasetInfo\nbare = DatasetInfo('bare', 2, (1, 8, 8), 10, 10, 10, 10, 255, 'nowhere')\n"
    (tmp_path / "own_mistakes.py").write_text(MODEL + bare)
    odd = "from urfb import DatasetInfo\nodd = DatasetInfo('odd', 1, (8, 8), 10, 10, 0, 10, 256, 'nowhere', print)\n"
    (tmp_path / "own_numbers.py").write_text(odd)
    grid = tmp_path / "grid.yaml"
    rule = "" if "rule" in setting else ", rule: bp"
    dataset = "" if "dataset" in setting else ", dataset: digits"
    grid.write_text(f"experiments: {{own: {{defaults: {{{setting}{rule}{dataset}}}}}}}\n")
    with pytest.raises(GridError, match=said):
        load_grid(grid)


def problems(grid: Path) -> list[str]:
    with pytest.raises(GridError) as refused:
        load_grid(grid)
    return refused.value.problems


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import sys\n\nsys.exit(0)", r"\(SystemExit: 0, at FILE:3\); move code .* below `if __name__ == '__main__':`"),
        (
            "import argparse\n\nparser = argparse.ArgumentParser()\nparser.add_argument('--rate', required=True)\n"
            "print(parser.parse_args([]))",
            r"\(SystemExit: 2, at FILE:5\); move code .* below `if __name__ == '__main__':`",
        ),
        ("import torch\n\n\ndef build(:\n    pass\n", r"\(SyntaxError: invalid syntax, at FILE:4\)"),
        (
            "import math\nimport absent_library.nn\n",
            r"\(ModuleNotFoundError: .*'absent_library', at FILE:2\); install .*",
        ),
        ("from .layers import Layer", r"\(ImportError: attempted relative import .*, at FILE:1\)"),
        ("import json\n\nsize = json.loads('{')", r"\(JSONDecodeError: .*, at FILE:3\)"),
        ("raise ValueError('two\\nlines')", r"\(ValueError: two lines, at FILE:1\)"),
    ],
)
def test_a_failing_import_is_reported_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    name = f"failing_{len(text)}"
    grid = project(tmp_path, name)
    (tmp_path / f"{name}.py").write_text(text)
    model, _rule = problems(grid)
    file = re.escape(str(tmp_path / f"{name}.py"))
    assert re.fullmatch(rf".*'{name}:build': cannot import '{name}' {said.replace('FILE', file)}", model), model


def test_the_place_is_the_innermost_line_of_a_users_file(tmp_path: Path) -> None:
    grid = project(tmp_path, "outer_module")
    (tmp_path / "outer_module.py").write_text("import inner_module\n" + MODEL)
    (tmp_path / "inner_module.py").write_text("import torch\n\n\ntorch.nn.Linear(2, 3)(torch.zeros(3))\n")
    assert f"at {tmp_path / 'inner_module.py'}:4)" in problems(grid)[0]
    (tmp_path / "inner_module.py").write_text("from outer_module import build\n")
    assert (
        f"circular import) ({tmp_path / 'outer_module.py'}), at {tmp_path / 'inner_module.py'}:1)" in problems(grid)[0]
    )


def test_all_faults_are_reported_and_each_module_is_imported_once(tmp_path: Path) -> None:
    count = (
        f"from pathlib import Path\nwith Path({str(tmp_path / 'tried')!r}).open('a') as file:\n    file.write('x')\n"
    )
    (tmp_path / "two_faults.py").write_text(f"{count}exit()\n")
    (tmp_path / "grid.yaml").write_text(
        "experiments: {own: {defaults: {network: 'two_faults:build', dataset: digits, rule: 'two_absent:rule'}, "
        "matrix: {seed: [0, 1, 2]}}}\n"
    )
    model, rule = problems(tmp_path / "grid.yaml")
    assert "'two_faults:build': cannot import 'two_faults'" in model
    assert "'two_absent:rule': cannot import 'two_absent' (ModuleNotFoundError" in rule
    assert (tmp_path / "tried").read_text() == "x"


def test_ctrl_c_during_an_import_is_not_reported_as_a_fault(tmp_path: Path) -> None:
    grid = project(tmp_path, "interrupted_project")
    (tmp_path / "interrupted_project.py").write_text("raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        load_grid(grid)


def test_the_process_state_is_restored_after_an_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    meddling = "import os, signal\n\nprint('imported')\nos.chdir('/')\nsignal.signal(signal.SIGINT, signal.SIG_DFL)\n"
    grid = project(tmp_path, "meddling_project")
    (tmp_path / "meddling_project.py").write_text(meddling + MODEL + RULE)
    monkeypatch.chdir(tmp_path)
    handler = signal.getsignal(signal.SIGINT)
    load_grid(grid)
    assert Path.cwd() == tmp_path
    assert signal.getsignal(signal.SIGINT) is handler
    output = capsys.readouterr()
    assert (output.out, output.err) == ("", "imported\n")


def test_a_models_output_goes_to_stderr_in_a_plan(tmp_path: Path) -> None:
    grid = project(tmp_path, "printing_project")
    talking = MODEL.replace("    channels,", "    print('built'); os.system('echo shouted')\n    channels,")
    (tmp_path / "printing_project.py").write_text(f"import os\n{talking}{RULE}")
    command = [sys.executable, "-m", "urfb", "grid", "plan", str(grid), "--store", str(tmp_path / "s.sqlite")]
    planned = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "built" in planned.stderr
    assert "shouted" in planned.stderr
    assert planned.stdout.startswith("all runs: network mine, dataset digits\nrun ")
    assert "built" not in planned.stdout
    assert "shouted" not in planned.stdout


@pytest.mark.parametrize(
    ("module", "found"), [("json", re.escape(str(Path(json.__file__).parent))), ("time", "Python itself")]
)
def test_a_module_hidden_by_a_library_is_reported(tmp_path: Path, module: str, found: str) -> None:
    (tmp_path / f"{module}.py").write_text(MODEL)
    (tmp_path / "grid.yaml").write_text(
        f"experiments: {{own: {{defaults: {{network: '{module}:build', dataset: digits, rule: bp}}}}}}\n"
    )
    (problem,) = problems(tmp_path / "grid.yaml")
    file = re.escape(str(tmp_path / f"{module}.py"))
    assert re.search(f"'{module}:build' is found in {found}, not in {file} .*: give that module another name", problem)


def test_the_source_of_a_package_without_init_is_all_its_files(tmp_path: Path) -> None:
    def hash_of(package: str) -> str:
        (grid := tmp_path / "grid.yaml").write_text(
            f"experiments: {{own: {{defaults: {{network: '{package}.net:build', dataset: digits, rule: bp}}}}}}\n"
        )
        return str(load_grid(grid).runs[0].spec.source)

    for package in ("bare_lab", "whole_lab"):
        (tmp_path / package / "deep").mkdir(parents=True)
        (tmp_path / package / "net.py").write_text(MODEL)
        (tmp_path / package / "deep" / "layers.py").write_text("WIDTH = 3\n")
    (tmp_path / "whole_lab" / "__init__.py").touch()
    first = hash_of("bare_lab")
    assert first != hash_of("whole_lab")
    (tmp_path / "bare_lab" / "__init__.py").touch()
    assert hash_of("bare_lab") == hash_of("whole_lab")
    (tmp_path / "bare_lab" / "__init__.py").unlink()
    assert hash_of("bare_lab") == first
    (tmp_path / "elsewhere" / "bare_lab").mkdir(parents=True)
    (tmp_path / "elsewhere" / "bare_lab" / "other.py").touch()
    add_import_folder(tmp_path / "elsewhere")
    assert hash_of("bare_lab") == first
    (tmp_path / "bare_lab" / "deep" / "layers.py").write_text("WIDTH = 4\n")
    assert hash_of("bare_lab") != first


def test_naming_a_folder_without_init_lists_its_modules(tmp_path: Path) -> None:
    (tmp_path / "open_lab").mkdir()
    (tmp_path / "open_lab" / "net.py").write_text(MODEL)
    (tmp_path / "grid.yaml").write_text(
        "experiments: {own: {defaults: {network: 'open_lab:build', dataset: digits, rule: bp}}}\n"
    )
    (problem,) = problems(tmp_path / "grid.yaml")
    assert (
        "'open_lab' is a folder without __init__.py, so it has no 'build'; name a module in it: open_lab.net" in problem
    )


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("untied", "1"),
        ("untied_start", "tied-copy"),
        ("pretraining_epochs", "1"),
        ("pretraining_rule", "bp"),
        ("frozen", "1"),
        ("dense_output", "false"),
        ("activation_slope", "0.5"),
        ("pool_padding", "end"),
    ],
)
def test_notation_settings_are_refused_for_a_custom_model(tmp_path: Path, setting: str, value: str) -> None:
    grid = project(tmp_path, "own_layers", extra=f"{setting}: {value}")
    with pytest.raises(GridError, match=f"{setting}: only a network in the paper's notation has this"):
        load_grid(grid)


def data_project(folder: Path, name: str, text: str = DATASET) -> Path:
    (folder / f"{name}.py").write_text(text)
    grid = folder / "grid.yaml"
    grid.write_text(
        f"experiments: {{own: {{defaults: {{network: Conv 4 3x3; Full 20; Output, dataset: '{name}:rows', epochs: 5}}, "
        "matrix: {rule: [bp, urfb]}}}\n"
    )
    return grid


def test_a_users_data_set_is_trained_on_and_resumed(tmp_path: Path) -> None:
    grid = data_project(tmp_path, "own_data")
    finished = run(grid)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    store = urfb.open_store(str(tmp_path / "s.sqlite"))
    runs = store.runs()
    assert set(runs["dataset"]) == {"own_data:rows"}
    assert set(runs["batch_size"]) == {20}
    assert runs["off_class_weight"].to_numpy() == pytest.approx(1 / 2)
    assert runs["source"].notna().all()
    assert (runs["test_error"] < 0.1).all()  # 0.67 is chance
    assert store.alignment(step=20 * 5, rule="urfb")["layer"].nunique() == 3  # 400 images in batches of 20
    assert run(grid, "--epochs", "6", "--jobs", "0").stdout.count("continues after epoch 5") == 2
    add_import_folder(tmp_path)
    first, *_ = urfb.load_weights(runs["run"][0], store=str(tmp_path / "s.sqlite"))
    assert tuple(first.W.shape) == (4, 2, 3, 3)


@pytest.mark.parametrize(
    ("text", "changed", "said"),
    [
        ("(600, 4, 6, 2)", "(600, 4, 7, 2)", "images must have the shape (600, 4, 6, 2), [N, height,"),
        ("np.arange(600) % 3", "np.arange(600) % 4", "labels must be from 0 to 2, but they are from 0 to 3"),
        (
            "return images, labels",
            "return images / 15, labels",
            "pixels must be whole numbers from 0 to 15, not float64",
        ),
        (
            "return images, labels",
            "return images, labels[:9]",
            "labels must have the shape (600,), one label per image",
        ),
        ("return images, labels", "return open(directory / 'absent')", "FileNotFoundError"),
        ("return images, labels", "raise MemoryError", "MemoryError, at "),
        ("return images, labels", "exit('no disk')", "SystemExit: no disk, at "),
    ],
)
def test_a_data_set_unlike_its_declaration_is_reported(tmp_path: Path, text: str, changed: str, said: str) -> None:
    assert text in DATASET
    name = f"odd_data_{re.sub(r'[^0-9a-z]', '', said)}"  # a new name, because Python imports a name once per process
    data_project(tmp_path, name, DATASET.replace(text, changed))
    add_import_folder(tmp_path)
    with pytest.raises(DataError, match=f"'{name}:rows'.*{re.escape(said)}"):
        verify(f"{name}:rows", tmp_path)


def test_a_custom_data_set_is_checked_before_training(tmp_path: Path) -> None:
    refused = run(data_project(tmp_path, "late_data", DATASET.replace("images, labels\n", "images, labels + 1\n")))
    assert refused.returncode == 2
    assert (
        "'late_data:rows': `read` does not return what the data set declares: labels must be from 0 to 2, but they are "
        "from 1 to 3" in refused.stderr
    )
    assert not (tmp_path / "s.sqlite").exists()


def test_an_edit_of_a_users_data_set_makes_new_runs(tmp_path: Path) -> None:
    before = load_grid(data_project(tmp_path, "edited_data")).runs[0].spec
    (tmp_path / "edited_data.py").write_text(DATASET.replace("default_rng(0)", "default_rng(1)"))
    after = load_grid(tmp_path / "grid.yaml").runs[0].spec
    assert before.source != after.source
    assert before.identity != after.identity


def test_an_edit_of_a_first_stages_rule_makes_new_runs(tmp_path: Path) -> None:
    (tmp_path / "own_stage.py").write_text(RULE)
    (tmp_path / "grid.yaml").write_text(
        "experiments: {own: {defaults: {network: Conv 4 3x3; Output, dataset: digits, rule: bp, "
        "pretraining_epochs: 1, pretraining_rule: 'own_stage:halfway'}}}\n"
    )
    before = load_grid(tmp_path / "grid.yaml").runs[0].spec
    (tmp_path / "own_stage.py").write_text(RULE.replace("/ 2", "/ 3"))
    after = load_grid(tmp_path / "grid.yaml").runs[0].spec
    assert before.import_paths == ("own_stage:halfway",)
    assert before.identity != after.identity


def test_data_set_batch_size_overrides_a_larger_untied_default(tmp_path: Path) -> None:
    grid = data_project(tmp_path, "few_images")
    grid.write_text(grid.read_text().replace("epochs: 5", "epochs: 5, untied: all, convention: author-code"))
    assert {run.spec.batch_size for run in load_grid(grid).runs} == {20}


def test_load_weights_returns_trained_weights_and_masks(tmp_path: Path) -> None:
    (tmp_path / "grid.yaml").write_text(
        "experiments: {own: {defaults: {network: 'Conv 4 3x3; Maxpool 3; Full 10; Output', dataset: digits, "
        "rule: urfb, connectivity: 0.5, epochs: 2}}}\n"
    )
    assert run(tmp_path / "grid.yaml").returncode == 0
    location = str(tmp_path / "s.sqlite")
    identity = urfb.open_store(location).runs()["run"].item()
    layers = urfb.load_weights(identity[:6], store=location)
    assert [layer.name for layer in layers] == ["Conv 4 3x3", "Full 10", "Output"]
    for layer in layers[:2]:
        assert layer.R is not None
        assert layer.R_mask is not None
        assert torch.equal(layer.W_mask == 0, layer.W == 0)
        assert torch.equal(layer.R_mask == 0, layer.R == 0)
    final = urfb.open_store(location).alignment(epoch=2)["correlation"]
    correlation = np.corrcoef(layers[2].W.numpy().ravel(), layers[2].R.numpy().ravel())[0, 1]
    assert correlation == pytest.approx(final.iloc[2], abs=1e-6)
