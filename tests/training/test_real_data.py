"""Training on the real CIFAR-10, through the command line."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from urfb import open_store
from urfb.cli import app


def test_every_rule_learns_on_cifar10(tmp_path: Path, real_data: Path) -> None:
    grid = tmp_path / "grid.yaml"
    grid.write_text(
        "networks: {coarse: 'Maxpool 4, stride 4; Conv 8 3x3; Maxpool 3; Full 50; Output'}\n"
        "experiments:\n  learns:\n    defaults: {network: coarse, dataset: cifar10, batch_size: 200, epochs: 1}\n"
        "    matrix: {rule: [bp, urfb, frfb], loss: hinge, include: [{rule: bp, loss: softmax}]}\n"
    )
    arguments = ["--store", str(tmp_path / "urfb.sqlite"), "--data-dir", str(real_data), "--jobs", "0"]
    result = CliRunner().invoke(app, ["grid", "run", str(grid), *arguments])
    assert result.exit_code == 0, result.output
    runs = open_store(str(tmp_path / "urfb.sqlite")).runs()
    assert runs["state"].tolist() == ["done"] * 4
    assert (runs["test_error"] < 0.82).all()  # chance is 0.9
    # Each error is a whole number of images out of the split's size, so all images count.
    assert ((runs["validation_error"] * 5_000) % 1).round(6).isin([0, 1]).all()
    assert ((runs["test_error"] * 10_000) % 1).round(6).isin([0, 1]).all()
    assert ((runs["training_error"] * 45_000) % 1).round(6).isin([0, 1]).all()
