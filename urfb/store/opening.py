"""Opening a store: for reading, for writing, or to bring it up to this version."""

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
        StoreError: there is no store there, or this version cannot read it.
    """
    place = Location.of(location)
    engine = connect(place, writing=False)
    if not place.exists or (place.path is None and not has_tables(engine, place)):
        raise StoreError(
            f"there is no store at {place}; if that is the place, a run makes one: "
            f"`urfb grid run experiments.yaml quick --store {place}`"
        )
    if check_schema(engine, place) != tables.REVISIONS[-1]:
        raise StoreError(
            f"{place}: was written by an older urfb; bring it to this version with "
            f"`urfb results upgrade --store {place}`"
        )
    return Store(place, engine)


def upgrade_store(location: str, *, missing_ok: bool = False) -> bool:
    """Bring a store that an older version has written to this version's schema; return whether there was need to.

    Args:
        location: of the store.
        missing_ok: whether there may be none yet.

    Raises:
        StoreError: there is no store, it is of a newer version, or it cannot be written; then it is as it was.
    """
    place = Location.of(location)
    reading = connect(place, writing=False)
    if not place.exists or not has_tables(reading, place):
        if missing_ok:
            return False
        raise StoreError(f"there is no store at {place}")
    if check_schema(reading, place) == tables.REVISIONS[-1]:
        return False
    upgrade(connect(place, writing=True), place)
    return True


def open_for_writing(location: str) -> WritableStore:
    """Open a store for a runner, and make it where there is none yet.

    Raises:
        StoreError: it cannot be made or written, or is of a newer version; an older one is upgraded.
    """
    place = Location.of(location)
    if place.path is not None:
        folder = place.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{folder}: the store's folder cannot be made ({error.strerror})") from error
        if not os.access(folder, os.W_OK) or (place.path.exists() and not os.access(place.path, os.W_OK)):
            raise StoreError(f"{place}: cannot be written; choose another place with --store")
        if not place.path.exists():
            place.path.touch()
    engine = connect(place, writing=True)
    create_schema(engine, place)
    return WritableStore(place, engine)


def stored_progress(location: str) -> dict[str, tuple[str, int]]:
    """Return `Store.progress` of a store that may not be there yet: nothing, then.

    Raises:
        StoreError: there is something, but this version cannot read it.
    """
    place = Location.of(location)
    if not place.exists or not has_tables(connect(place, writing=False), place):
        return {}
    return open_store(location).progress()
