from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import pytest
from filelock import FileLock
from platformdirs import user_cache_path

from tests.postgres import Server

if TYPE_CHECKING:
    from urfb.data.datasets import Dataset


if os.environ.get("PYTEST_XDIST_WORKER"):
    # Each process of pytest-xdist has one core. PyTorch reads this when it is first imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skipped test into a failure if URFB_TESTS_MAY_NOT_SKIP is set, as in CI, unless it needs a GPU."""
    report = yield
    if report.skipped and os.environ.get("URFB_TESTS_MAY_NOT_SKIP") and item.get_closest_marker("gpu") is None:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, although URFB_TESTS_MAY_NOT_SKIP is set: {report.longrepr}"
    return report


@pytest.fixture
def one_thread() -> Generator[None]:
    """Compute with one thread, so that sums have one order and equal runs are equal bit for bit."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """The smallest data set, which comes with scikit-learn."""
    from urfb.data.datasets import load

    return load("digits", Path())


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The real CIFAR-10, CIFAR-100 and MNIST, unpacked once into the user's cache, which tests only read."""
    unpack = Path(__file__).parents[2] / "shared" / "data" / "unpack.py"
    if not unpack.exists():
        pytest.skip(f"needs the packed data sets next to {unpack}")
    pytest.importorskip("pillow_jxl")
    directory = user_cache_path("urfb") / "data"
    directory.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(directory.with_suffix(".lock")):  # several processes of pytest-xdist may get here
        subprocess.run([sys.executable, unpack, directory], check=True, stdout=subprocess.DEVNULL)
    return directory


@pytest.fixture
def coarse_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw figures with few pixels and an empty PDF and SVG, in a third of the time, for tests of numbers."""
    from matplotlib.figure import Figure

    savefig = Figure.savefig

    def save(figure: Figure, file: BinaryIO, *, format: str, **_: Any) -> None:
        if format == "png":
            savefig(figure, file, format=format, dpi=20)
        else:
            file.write(b"<svg/>")

    monkeypatch.setattr(Figure, "savefig", save)


@pytest.fixture(scope="session")
def postgres() -> Generator[Server]:
    """A PostgreSQL server, started for the first test that needs it."""
    programs = Server.find()
    if programs is None:
        pytest.skip("needs the programs of a PostgreSQL server, for example from Debian's package postgresql")
    pytest.importorskip("psycopg")
    server = Server(programs)
    yield server
    server.close()
