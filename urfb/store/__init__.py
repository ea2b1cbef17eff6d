"""The results store. Only runners write to it; any process can read it.

A run is registered once, under its identity. One runner at a time claims it, and writes each epoch's rows and the run's
`epochs_done` in one transaction. So the store always has complete epochs, from the first on.
"""

from urfb.store.opening import open_existing, open_for_writing, open_store, stored_progress, upgrade_store
from urfb.store.reading import EpochTimes, LocatedFilters, Store
from urfb.store.writing import Claim, WritableStore

__all__ = [
    "Claim",
    "EpochTimes",
    "LocatedFilters",
    "Store",
    "WritableStore",
    "open_existing",
    "open_for_writing",
    "open_store",
    "stored_progress",
    "upgrade_store",
]
