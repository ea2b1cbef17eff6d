"""The provenance of a run: machine, device and versions."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import urfb
from urfb.events import Provenance

if TYPE_CHECKING:
    import torch


def provenance(device: torch.device, log: Path | None = None) -> Provenance:
    """Return the provenance of training in this process on `device`."""
    import torch

    return Provenance(
        host=socket.gethostname(),
        process=os.getpid(),
        device=str(device),
        device_name=device_name(str(device)),
        threads=torch.get_num_threads(),
        log=None if log is None else str(log),
        urfb_version=urfb.__version__,
        commit=commit(),
        python_version=platform.python_version(),
        torch_version=torch.__version__,
    )


def device_name(device: str) -> str:
    """Return the name of a GPU such as 'cuda:0', or of the processor for 'cpu', without importing torch for that."""
    if device == "cpu":
        return processor_name()
    import torch

    return torch.cuda.get_device_name(device)


def processor_name() -> str:
    """Return the processor's model name if the system reports it, otherwise its architecture."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@cache
def commit() -> str | None:
    """Return the git commit of this package, with '+' if files differ from it; None outside a checkout."""
    # An installed package can be inside another project's checkout. The commit is urfb's only if git tracks its files.
    tracked = ["ls-files", "--error-unmatch", "errors.py"]
    described = ["describe", "--always", "--dirty=+", "--exclude=*"]
    for arguments in (tracked, described):
        try:
            git = subprocess.run(
                ["git", *arguments], cwd=Path(urfb.__file__).parent, capture_output=True, text=True, check=False
            )
        except OSError:
            return None
        if git.returncode != 0:
            return None
    return git.stdout.strip()
