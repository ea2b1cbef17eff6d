"""urfb: the laboratory for learning with asymmetric feedback."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from urfb.store import Store

__version__ = "0.1.0"
__all__ = ["__version__", "open_store"]


def open_store(location: str) -> Store:
    """Open a results store for reading.

    Args:
        location: path of an SQLite file, or an SQLAlchemy URL.

    Returns:
        A store whose `runs()`, `epochs()` and `alignment()` are tidy pandas DataFrames.

    Raises:
        urfb.errors.StoreError: there is no store there, or this version cannot read it.
    """
    from urfb.store import open_store as open_existing

    return open_existing(location)
