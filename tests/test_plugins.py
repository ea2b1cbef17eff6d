"""A grid that names the user's own model or rule: found, trained by real workers, resumed, aligned, read back."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import urfb
from urfb.errors import GridError
from urfb.grid.expand import load_grid

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

# Feedback half way between R and W.
halfway = Rule("halfway between R and W", carrier=lambda weight, feedback: (weight + feedback) / 2, epsilon=1.0)
"""


def project(folder: Path, name: str, *, epochs: int = 2, extra: str = "") -> Path:
    """Write a grid beside a module of a name of its own: Python imports a name once a process."""
    (folder / f"{name}.py").write_text(MODEL + RULE)
    grid = folder / "grid.yaml"
    grid.write_text(
        f"networks: {{mine: '{name}:build'}}\n"
        f"experiments: {{own: {{defaults: {{network: mine, dataset: digits, epochs: {epochs}, {extra}}}, "
        f"matrix: {{rule: [bp, urfb, '{name}:halfway']}}}}}}\n"
    )
    return grid


def run(grid: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a grid as a user does, from another folder than the grid's."""
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
    halfway = store.alignment(rule="own_project:halfway", step=0)
    assert (halfway["correlation"] > 0.3).all()
    assert store.alignment(rule="bp")["gradient_cosine"].to_numpy() == pytest.approx(1.0)

    resumed = run(grid, "--epochs", "3")
    assert resumed.stdout.count("goes on after epoch 2") == 3
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
    grid = re.search(r"```yaml[^\n]*\n(experiments:\n  own:.*?)```", page, re.DOTALL)[1]  # type: ignore[index]
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
        identities.append({one.spec.rule: one.spec.identity for one in load_grid(grid).runs})
    assert identities[0] == identities[1]
    assert all(identities[0][rule] != identities[2][rule] for rule in identities[0])


def test_a_source_that_changes_after_the_plan_is_not_trained_under_the_old_identity(tmp_path: Path) -> None:
    from urfb.data.catalog import CATALOG
    from urfb.errors import PluginError
    from urfb.training.networks import build_network

    spec = load_grid(project(tmp_path, "edited_project")).runs[0].spec
    (tmp_path / "edited_project.py").write_text(MODEL + RULE + "# edited\n")
    with pytest.raises(PluginError, match="its source has changed since the run was planned"):
        build_network(spec, CATALOG["digits"])


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("network: absent_module:build", r"'absent_module:build': cannot import 'absent_module' \(ModuleNotFoundError"),
        ("network: own_mistakes:built", r"has no 'built': did you mean 'build'\?"),
        ("network: own_mistakes:build, rule: 'own_mistakes:build'", "is function, where a urfb.Rule is expected"),
        ("network: own_mistakes:build, untied: all", "untied: only a network in the paper's notation has that"),
        ("network: own_mistakes:build, convention: paper", "convention: only a network in the paper's notation"),
    ],
)
def test_mistakes_are_told_before_anything_is_trained(tmp_path: Path, setting: str, said: str) -> None:
    (tmp_path / "own_mistakes.py").write_text(MODEL)
    grid = tmp_path / "grid.yaml"
    rule = "" if "rule" in setting else ", rule: bp"
    grid.write_text(f"experiments: {{own: {{defaults: {{{setting}{rule}, dataset: digits}}}}}}\n")
    with pytest.raises(GridError, match=said):
        load_grid(grid)


def test_a_model_of_the_wrong_size_fails_with_a_message(tmp_path: Path) -> None:
    grid = project(tmp_path, "wrong_size", epochs=1)
    (tmp_path / "wrong_size.py").write_text(MODEL.replace("classes),", "classes + 1),") + RULE)
    finished = run(grid, "--where", "rule=bp", "--jobs", "0")
    assert finished.returncode == 1
    assert "gives outputs of shape (2, 11) for 2 images of digits, where (2, 10) is expected" in finished.stdout


def test_trained_weights_are_given_back_with_their_masks(tmp_path: Path) -> None:
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
