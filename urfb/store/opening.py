"""Opens a store for reading or writing, or upgrades it to this version."""

from __future__ import annotations

import os

from urfb.errors import StoreError
from urfb.store import tables
from urfb.store.engine import Location, check_schema, connect, create_schema, has_tables, upgrade
from urfb.store.reading import Store
from urfb.store.writing import WritableStore


def open_store(location: str) -> Store:
    """Open an existing store for reading.

    Args:
        location: a path, or a URL such as sqlite:///PATH or postgresql://USER@HOST/DATABASE.

    Raises:
        StoreError: there is no store at this location, or this version cannot read it.
    """
    place = Location.of(location)
    engine = connect(place, writing=False)
    if not place.exists or (place.path is None and not has_tables(engine, place)):
        raise StoreError(
            f"there is no store at {place.in_full}; check the location, or create the store with "
            f"`urfb grid run experiments.yaml quick --store {place}`"
        )
    if check_schema(engine, place) != tables.REVISIONS[-1]:
        raise StoreError(
            f"{place}: was written by an older urfb; upgrade it with `urfb results upgrade --store {place}`"
        )
    return Store(place, engine)


def upgrade_store(location: str, *, missing_ok: bool = False) -> bool:
    """Upgrade a store from an older version to this version's schema; return whether it was older.

    Args:
        location: the store's location.
        missing_ok: whether a missing store is accepted.

    Raises:
        StoreError: there is no store, it is from a newer version, or it cannot be written. The store is unchanged.
    """
    place = Location.of(location)
    reading = connect(place, writing=False)
    if not place.exists or not has_tables(reading, place):
        if missing_ok:
            return False
        raise StoreError(f"there is no store at {place.in_full}")
    if check_schema(reading, place) == tables.REVISIONS[-1]:
        return False
    upgrade(connect(place, writing=True), place)
    return True


def open_for_writing(location: str) -> WritableStore:
    """Open a store for writing; create it if it is missing, and upgrade it if it is from an older version.

    Raises:
        StoreError: the store cannot be created or written, or is from a newer version.
    """
    place = Location.of(location)
    if place.path is not None:
        folder = place.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{folder}: the store's folder cannot be created ({error.strerror})") from error
        if not os.access(folder, os.W_OK) or (place.path.exists() and not os.access(place.path, os.W_OK)):
            raise StoreError(f"{place}: cannot be written; choose another location with --store")
        if not place.path.exists():
            place.path.touch()
    engine = connect(place, writing=True)
    create_schema(engine, place)
    return WritableStore(place, engine)


def open_existing(location: str) -> Store | None:
    """Open a store for reading; return None if it does not exist yet.

    Raises:
        StoreError: this version cannot read the store.
    """
    place = Location.of(location)
    if not place.exists or not has_tables(connect(place, writing=False), place):
        return None
    return open_store(location)


def stored_progress(location: str) -> dict[str, tuple[str, int]]:
    """Return `Store.progress` of a store, or an empty dictionary if the store does not exist yet.

    Raises:
        StoreError: this version cannot read the store.
    """
    store = open_existing(location)
    return store.progress() if store else {}
