"""Commands on a store that cannot be written."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import grid_file, tiny_run
from tests.store.recorded import epoch, finish, started
from urfb.store import open_for_writing

READ_ONLY = ["unshare", "--map-root-user", "--mount", "bash", "-ec"]
"""In a new name space, Linux lets any user mount."""
READING = [
    "grid status",
    "grid plan grid.yaml",
    "grid watch",
    "grid run grid.yaml",
    "results runs",
    "results epochs",
    "results alignment",
    "results query 'SELECT count(*) FROM epoch'",
    "results export out/export --format csv",
    "report tables 5 --experiment tiny --out out",
    "report figures 4 --experiment tiny --out out",
    "report page --out out/page.html",
    "doctor",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a grid file, a store of its runs in `made`, and an empty folder `store` to mount a copy in."""
    if shutil.which("unshare") is None or subprocess.run([*READ_ONLY, "true"], check=False).returncode:
        pytest.skip("needs the right to mount in a new name space")
    grid_file(tmp_path)
    store = open_for_writing(str(tmp_path / "made" / "urfb.sqlite"))
    for rule in ("bp", "urfb"):
        for seed in (0, 1):
            run = tiny_run(rule=rule, seed=seed)
            store.register([run])
            finish(store, run)
    store.close()
    for name in ("store", "out"):
        (tmp_path / name).mkdir()
    return tmp_path


def on_read_only_mount(folder: Path, commands: str) -> subprocess.CompletedProcess[str]:
    """Run commands with a read-only copy of `made` mounted at `store`."""
    mount = "mount -t tmpfs tmpfs store; cp made/urfb.sqlite* store; rm -f store/*-shm; mount -o remount,ro store; "
    return subprocess.run([*READ_ONLY, mount + commands], cwd=folder, capture_output=True, text=True, check=False)


def urfb(command: str) -> str:
    return f"{sys.executable} -m urfb {command} --store store/urfb.sqlite"


def test_a_store_on_a_read_only_mount_is_read(folder: Path) -> None:
    done = on_read_only_mount(folder, urfb("grid status"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "4     4     8/8" in done.stdout


@pytest.mark.slow
def test_every_command_that_reads_works_on_a_read_only_mount(folder: Path) -> None:
    commands = [f'{urfb(command)} >/dev/null || echo "failed: {command}" >&2' for command in READING]
    assert on_read_only_mount(folder, "; ".join(commands)).stderr == ""


@pytest.mark.slow
def test_commands_that_write_suggest_another_place(folder: Path) -> None:
    grid_file(folder, epochs=3)
    for command, advice in (
        ("grid run grid.yaml", "cannot be written; choose another location with --store"),
        ("results remove --where seed=0 --yes", "cannot be written; choose another location with --store"),
        ("report figures 4 --experiment tiny", "choose another path with --out"),
    ):
        done = on_read_only_mount(folder, urfb(command))
        assert done.returncode == 2
        assert advice in done.stderr


def test_a_write_ahead_log_that_cannot_be_read_is_named(folder: Path) -> None:
    run = tiny_run(seed=9)
    store = open_for_writing(str(folder / "made" / "urfb.sqlite"))
    store.register([run])
    store.claim(run.spec)
    store.record(run.spec.identity, started())
    store.record(run.spec.identity, epoch(1))
    done = on_read_only_mount(folder, urfb("grid status"))
    assert done.returncode == 2
    assert "its last rows are in urfb.sqlite-wal, because a runner has it open or was killed" in done.stderr
