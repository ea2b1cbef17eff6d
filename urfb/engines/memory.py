"""Memory management of a process that trains on the CPU."""

from __future__ import annotations

import ctypes
import sys

GLIBC = {"M_TRIM_THRESHOLD": (-1, 2**31 - 1), "M_TOP_PAD": (-2, 2**26), "M_MMAP_THRESHOLD": (-3, 2**31 - 1)}


def keep_freed_memory() -> None:
    """Make this process keep the memory of freed tensors for later ones, until it ends.

    By default glibc returns large blocks to the system when they are freed. Then a training step spends a fifth of its
    time on getting the same memory again, page by page. Other C libraries are not changed.
    """
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        for option, value in GLIBC.values():
            if hasattr(library, "mallopt"):
                library.mallopt(option, value)
