"""How a process that trains on the CPU holds its memory."""

from __future__ import annotations

import ctypes
import sys

GLIBC = {"M_TRIM_THRESHOLD": (-1, 2**31 - 1), "M_TOP_PAD": (-2, 2**26), "M_MMAP_THRESHOLD": (-3, 2**31 - 1)}


def keep_freed_memory() -> None:
    """Keep what tensors free, for the next ones; it stays so for as long as this process lives.

    glibc gives large blocks back to the system when they are freed; a training step then spends a fifth of its time on
    getting the same memory again, page by page. Other C libraries are left as they are.
    """
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        for option, value in GLIBC.values():
            if hasattr(library, "mallopt"):
                library.mallopt(option, value)
