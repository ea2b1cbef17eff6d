"""The checks of `urfb doctor` on stores, data and disks that the tests prepare."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.helpers import tiny_run
from tests.store.large import make_large_store
from urfb.doctor import CHECKS, Finding, Subject, examine, judge_file_system
from urfb.store import open_for_writing


def findings(tmp_path: Path, about: str, *, store: str | None = None) -> list[Finding]:
    subject = Subject(store or str(tmp_path / "urfb.sqlite"), tmp_path / "data")
    return [finding for finding in examine(subject) if about in finding.message]


def test_a_new_machine_has_no_problem_and_every_check_reports(tmp_path: Path) -> None:
    subject = Subject(str(tmp_path / "results" / "urfb.sqlite"), tmp_path / "data")
    results = examine(subject)
    assert {finding.level for finding in results} <= {"ok", "warning"}
    assert len(results) >= len(CHECKS)
    assert any("there is no store at" in finding.message for finding in results)
    assert list(tmp_path.iterdir()) == []


def test_an_undamaged_store_is_reported_with_its_runs(tmp_path: Path) -> None:
    open_for_writing(str(tmp_path / "urfb.sqlite")).register([tiny_run(), tiny_run(seed=1)])
    assert [finding.level for finding in findings(tmp_path, "urfb.sqlite is undamaged")] == ["ok"]
    (schema,) = findings(tmp_path, "the store has this version's schema, and 2 runs")
    assert schema.level == "ok"


def test_an_older_store_is_a_problem_with_the_command_that_upgrades_it(tmp_path: Path) -> None:
    shutil.copy(Path(__file__).parent / "store" / "schema1.sqlite", tmp_path / "urfb.sqlite")
    (finding,) = findings(tmp_path, "older urfb")
    assert finding.level == "problem"
    assert "`urfb results upgrade --store" in finding.message


def test_damage_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "urfb.sqlite"
    make_large_store(path, runs=10, epochs=200)
    content = bytearray(path.read_bytes())
    half = len(content) // 2
    content[half:] = b"\xff" * (len(content) - half)
    path.write_bytes(content)
    (finding,) = findings(tmp_path, "is damaged:")
    assert finding.level == "problem"
    assert "`urfb results merge`" in finding.advice


@pytest.mark.parametrize(
    ("store", "message"),
    [
        ("{folder}", "is a folder"),
        ("{folder}/notes.txt", "not a urfb store"),
        ("postgresql://somebody:secret@127.0.0.1:1/urfb", "somebody"),
    ],
)
def test_an_invalid_store_is_a_problem_and_hides_the_password(tmp_path: Path, store: str, message: str) -> None:
    (tmp_path / "notes.txt").write_text("no database, but as long as one would be " * 50)
    results = examine(Subject(store.format(folder=tmp_path), tmp_path / "data"))
    assert [finding.level for finding in results if message in finding.message] == ["problem"]
    assert "secret" not in str(results)


@pytest.mark.parametrize(
    ("kind", "level"),
    [
        ("nfs4", "problem"), ("cifs", "problem"), ("fuse.sshfs", "problem"), ("lustre", "problem"), ("GPFS", "problem"),
        ("ext4", "ok"), ("overlay", "ok"), ("fuse.zfs", "ok"), ("apfs", "ok"),
    ],
)  # fmt: skip
def test_a_network_file_system_is_a_problem_for_a_store(tmp_path: Path, kind: str, level: str) -> None:
    mounts = [("/", "ext4"), (str(tmp_path.resolve()), "hidden"), (str(tmp_path.resolve()), kind)]
    finding = judge_file_system(tmp_path / "not" / "yet" / "urfb.sqlite", mounts)
    assert finding.level == level
    assert kind in finding.message
    assert ("PostgreSQL" in finding.advice) == (level == "problem")


def test_data_sets_are_ready_missing_or_damaged(tmp_path: Path) -> None:
    damaged = tmp_path / "data" / "cifar-10-batches-py" / "data_batch_1"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"not what it should be")
    levels = {finding.message.split()[2]: finding for finding in findings(tmp_path, "data set ")}
    assert {name: finding.level for name, finding in levels.items()} == {
        "cifar10": "problem",
        "cifar100": "warning",
        "mnist": "warning",
        "digits": "ok",
    }
    assert levels["cifar100"].advice == f"`urfb data fetch cifar100 --data-dir {tmp_path / 'data'}`"


@pytest.mark.gpu
def test_every_gpu_is_reported_with_its_precisions(tmp_path: Path) -> None:
    import torch

    results = findings(tmp_path, "GPU cuda:")
    assert len(results) == torch.cuda.device_count()
    assert all("TF32" in finding.message and "bfloat16" in finding.message for finding in results)


@pytest.mark.parametrize(("version", "level"), [("3.40.1", "warning"), ("3.51.2", "warning"), ("3.51.3", "ok")])
def test_an_sqlite_that_can_damage_stores_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, level: str
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version", version)
    (finding,) = findings(tmp_path, f"SQLite {version}")
    assert finding.level == level
    assert ("a single `urfb grid run` is safe" in finding.advice) == (level == "warning")
