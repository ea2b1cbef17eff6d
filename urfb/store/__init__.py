"""The results store: written by a runner alone, read by everyone.

A run is registered once, under its identity. It is claimed by one runner at a time, which writes each epoch's rows
and the run's `epochs_done` in one transaction, so that what is stored is always whole epochs from the first on.
"""

from urfb.store.opening import open_for_writing, open_store, stored_progress, upgrade_store
from urfb.store.reading import EpochTimes, LocatedFilters, Store
from urfb.store.writing import Claim, WritableStore

__all__ = [
    "Claim",
    "EpochTimes",
    "LocatedFilters",
    "Store",
    "WritableStore",
    "open_for_writing",
    "open_store",
    "stored_progress",
    "upgrade_store",
]
