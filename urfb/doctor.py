"""Examine this machine, the store and the data sets, and say how to fix each problem."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import psutil

from urfb.data.catalog import CATALOG, fetch_command
from urfb.engines.processes import cores
from urfb.errors import SelectionError, StoreError, counted
from urfb.store import Store, open_store
from urfb.store.engine import Location
from urfb.store.query import query

PACKAGES = ("torch", "torchvision", "numpy", "pandas", "sqlalchemy")
NETWORK_FILE_SYSTEMS = frozenset(
    ("nfs", "nfs3", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "afs", "afpfs", "9p", "davfs", "webdav", "lustre",
     "gpfs", "beegfs", "ceph", "pvfs2", "panfs", "glusterfs", "sshfs", "rclone", "s3fs", "gcsfuse", "davfs2")
)  # fmt: skip
"""The names of network file systems, to which the system may add the prefix `fuse.` or `macfuse.`."""
FIRST_WITH_WAL_BUG, LAST_WITH_WAL_BUG = (3, 7, 0), (3, 51, 2)
LITTLE_DISK, TOO_LITTLE_DISK = 2**30, 2**26
LITTLE_MEMORY = 2**29
"""About the memory that PyTorch alone takes, in bytes."""


class Finding(NamedTuple):
    """A result of a check: its level, what the check found, and advice if something is wrong."""

    level: Literal["ok", "warning", "problem"]
    message: str
    advice: str = ""


@dataclass(frozen=True)
class Subject:
    """The location of the store and the folder of the data sets, which are examined with the machine."""

    store: str
    data: Path

    @property
    def file(self) -> Path | None:
        """The store's file; None if a database server has the store, or the location is not valid."""
        try:
            return Location.of(self.store).path
        except StoreError:
            return None


def examine(subject: Subject) -> list[Finding]:
    """Run every check. If a check raises an error, that is a finding, and the next checks still run."""
    findings: list[Finding] = []
    for check in CHECKS:
        try:
            findings += check(subject)
        except Exception as error:
            name = check.__name__.replace("_", " ")
            findings.append(Finding("problem", f"{name}: cannot be examined ({type(error).__name__}: {error})"))
    return findings


def versions(subject: Subject) -> Iterator[Finding]:
    """Report the versions of Python and the main packages."""
    installed, missing = [], []
    for name in PACKAGES:
        try:
            installed.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    yield Finding("ok", f"Python {platform.python_version()}, {', '.join(installed)}")
    if missing:
        yield Finding("problem", f"not installed: {', '.join(missing)}", "install urfb again with pip")


def sqlite_version(subject: Subject) -> Iterator[Finding]:
    """Check for the bug by which SQLite can, rarely, damage a database that several processes write at once."""
    if subject.file is None:
        return
    version = tuple(map(int, sqlite3.sqlite_version.split(".")))
    message = f"SQLite {sqlite3.sqlite_version}"
    if FIRST_WITH_WAL_BUG <= version <= LAST_WITH_WAL_BUG:
        yield Finding(
            "warning",
            f"{message} can, very rarely, damage a store that several processes write at once",
            "a single `urfb grid run` is safe, because only one of its processes writes; for several on one store, use "
            "SQLite 3.51.3 or later, or PostgreSQL",
        )
    else:
        yield Finding("ok", message)


def file_system(subject: Subject) -> Iterator[Finding]:
    """Check the kind of file system that has the store."""
    if subject.file is not None:
        mounts = psutil.disk_partitions(all=True)
        yield judge_file_system(subject.file, [(mount.mountpoint, mount.fstype) for mount in mounts])


def judge_file_system(file: Path, mounts: Iterable[tuple[str, str]]) -> Finding:
    """Return whether the file system allows SQLite to keep a store in this file.

    SQLite needs memory that all processes of the store share, which network file systems do not provide.

    Args:
        file: the store's file, which need not exist yet.
        mounts: the mount point and kind of each file system.
    """
    folder = _existing(file.parent).resolve()
    holding = [(where, kind) for where, kind in mounts if folder.is_relative_to(where)]
    if not holding:
        return Finding("warning", f"{folder}: its file system is unknown", "keep the store on a disk of this machine")
    _, kind = max(reversed(holding), key=lambda mount: len(mount[0]))  # a later mount hides an earlier one
    if kind.lower().rpartition(".")[2] in NETWORK_FILE_SYSTEMS:
        return Finding(
            "problem",
            f"{folder} is on a network file system ({kind}), on which SQLite's locks and shared memory do not work",
            "keep the store on a disk of this machine, or in PostgreSQL with --store postgresql://…",
        )
    return Finding("ok", f"{folder} is on a local file system ({kind})")


def store(subject: Subject) -> Iterator[Finding]:
    """Check that the store can be read, has this version's schema, is undamaged and can be written."""
    file = subject.file
    if file is not None and not file.exists():
        folder = _existing(file.parent)
        if os.access(folder, os.W_OK):
            yield Finding("ok", f"there is no store at {file} yet; `urfb grid run` creates it")
        else:
            yield Finding("problem", f"cannot create a store at {file}: {folder} is not writable", "choose a --store")
        return
    try:
        opened = open_store(subject.store)
        runs = len(opened.progress())
    except StoreError as error:
        yield Finding("problem", str(error))
        return
    if file is None:
        ((version,),) = query(opened, "SELECT version()").rows
        yield Finding("ok", f"the database server answers: {version}")
    else:
        yield from _integrity(opened, file)
    yield Finding("ok", f"the store has this version's schema, and {counted(runs, 'run')}")


def _integrity(opened: Store, file: Path) -> Iterator[Finding]:
    try:
        damage = [row[0] for row in query(opened, "SELECT quick_check FROM pragma_quick_check(5)").rows]
    except SelectionError as error:  # too damaged to check
        damage = [str(error.__cause__ or error)]
    if damage == ["ok"]:
        yield Finding("ok", f"{file} is undamaged (PRAGMA quick_check)")
    else:
        yield Finding(
            "problem",
            f"{file} is damaged: {'; '.join(damage)}",
            "make a copy first; then take runs from undamaged copies with `urfb results merge`, or recover what is "
            "readable with `sqlite3 FILE .recover`",
        )
    if not (os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)):
        yield Finding("warning", f"this user cannot write {file}", "you can still read it and make reports")


def disk(subject: Subject) -> Iterator[Finding]:
    """Check the free disk space for the store and its checkpoints."""
    if subject.file is None:
        return
    checkpoints = Location.of(subject.store).checkpoints
    folders = {_existing(subject.file.parent): "store", _existing(checkpoints): "checkpoints"}
    if len({folder.stat().st_dev for folder in folders}) == 1:
        folders = {_existing(subject.file.parent): "store and checkpoints"}
    for folder, use in folders.items():
        free = shutil.disk_usage(folder).free
        message = f"{_size(free)} free for {use} in {folder}"
        if free >= LITTLE_DISK:
            yield Finding("ok", message)
        else:
            advice = (
                "a run's checkpoints take up to three times its weights; free some space, or choose another --store"
            )
            yield Finding("problem" if free < TOO_LITTLE_DISK else "warning", message, advice)


def processor_and_memory(subject: Subject) -> Iterator[Finding]:
    """Check the number of CPU cores and the free memory."""
    memory = psutil.virtual_memory()
    message = f"{counted(cores(), 'CPU core')}, {_size(memory.available)} of {_size(memory.total)} memory free"
    if memory.available < LITTLE_MEMORY:
        yield Finding("problem", message, f"PyTorch alone takes about {_size(LITTLE_MEMORY)}; stop another program")
    elif memory.available < LITTLE_MEMORY * cores():
        yield Finding("warning", message, "memory may not suffice for one run per core; `urfb grid run` measures this")
    else:
        yield Finding("ok", message)


def gpu(subject: Subject) -> Iterator[Finding]:
    """Check the GPUs that PyTorch can use, their free memory and the precisions that they support."""
    import torch

    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        device = torch.cuda.get_device_properties(index)
        ability = [
            f"{name} {'yes' if (device.major, device.minor) >= (8, 0) else 'no'}" for name in ("TF32", "bfloat16")
        ]
        free, total = torch.cuda.mem_get_info(index)
        message = f"GPU cuda:{index}: {device.name}, {_size(free)} of {_size(total)} free, {', '.join(ability)}"
        if free < LITTLE_MEMORY:
            yield Finding("warning", message, "another program uses its memory; stop it, or choose --device cpu")
        else:
            yield Finding("ok", message)
    if not torch.cuda.is_available():
        if Path("/proc/driver/nvidia/version").exists():
            build = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "without CUDA"
            yield Finding(
                "warning",
                f"GPU: there is a driver, but PyTorch {torch.__version__}, built {build}, finds no GPU",
                "compare the driver's CUDA version (nvidia-smi) with PyTorch's, and install a matching PyTorch",
            )
        else:
            yield Finding("ok", "no GPU; runs train on the CPU")


def datasets(subject: Subject) -> Iterator[Finding]:
    """Check every file of the data sets."""
    from urfb.data.datasets import state

    for name in CATALOG:
        present = state(name, subject.data)
        if present == "ready":
            yield Finding("ok", f"data set {name} is ready")
        else:
            yield Finding(
                "warning" if present == "missing" else "problem",
                f"data set {name} is {present} in {subject.data}",
                f"`{fetch_command(name, subject.data)}`",
            )


def _existing(path: Path) -> Path:
    """Return the path if it exists, otherwise the nearest existing folder above it."""
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())


def _size(size: float) -> str:
    return f"{size / 2**30:,.1f} GiB"


CHECKS: tuple[Callable[[Subject], Iterable[Finding]], ...] = (
    versions, sqlite_version, file_system, store, disk, processor_and_memory, gpu, datasets,
)  # fmt: skip
