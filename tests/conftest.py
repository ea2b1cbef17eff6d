from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from platformdirs import user_cache_path


@pytest.fixture(scope="session")
def cifar_directory() -> Path:
    """The real CIFAR-10 and CIFAR-100, unpacked once into the user's cache; tests only read them."""
    unpack = Path(__file__).parents[2] / "shared" / "data" / "unpack.py"
    if not unpack.exists():
        pytest.skip(f"needs the packed CIFAR files beside {unpack}")
    pytest.importorskip("pillow_jxl")
    directory = user_cache_path("urfb") / "data"
    subprocess.run([sys.executable, unpack, directory], check=True, stdout=subprocess.DEVNULL)
    return directory
