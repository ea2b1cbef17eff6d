"""Checks that the SQLite file that a runner has open is still at the store's path, and intact."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.event import listen
from sqlalchemy.exc import DBAPIError

from urfb.errors import StoreError
from urfb.store.engine import Location, cause, check_schema, connect, unreadable


class OpenFile:
    """The file that a writing engine has open. SQLite keeps writing to it even if it is moved, replaced or deleted."""

    def __init__(self, location: Location, engine: Engine) -> None:
        """Remember the file that is at the store's path now."""
        self._location = location
        self._engine = engine
        self._path = path = Path(str(location.url.database))
        self._identity = identity = _identity_at(path)
        self._displaced: StoreError | None = None

        def refuse_another_file(connection: object, record: object) -> None:
            if _identity_at(path) != identity:
                raise sqlite3.OperationalError("another file is at the store's path")

        listen(engine, "connect", refuse_another_file)

    def check(self) -> None:
        """Check that the open database is the file at the store's path.

        Raises:
            StoreError: another file or none is there; the content of the open database is saved in a copy.
        """
        if _identity_at(self._path) != self._identity:
            self._displaced = self._displaced or StoreError(
                f"{self._location}: is no longer the file that this process writes to: it was moved, replaced or "
                f"deleted. {self._saved_copy()}"
            )
            raise self._displaced

    def _saved_copy(self) -> str:
        """Save a copy of the open database, and return a sentence that says where it is."""
        name = f"{self._path.name}.saved-{datetime.now():%Y%m%d-%H%M%S}.sqlite"
        try:
            copy = (self._path.parent if self._path.parent.is_dir() else Path.cwd()) / name
            with closing(self._engine.raw_connection()) as connection:
                connection.cursor().execute("VACUUM INTO ?", (str(copy),))
                # Empty the log, which is still at the path: SQLite would use it as the new file's log.
                connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except (DBAPIError, sqlite3.Error, OSError) as error:
            return f"Its content could not be saved ({cause(error)}): look for the file where it was moved"
        return f"All results are saved in {copy}: move that file to {self._location} and run the command again"

    def verify(self) -> None:
        """Check that everything that was written is at the store's path, and intact.

        Raises:
            StoreError: another file or none is there, or the file is damaged.
        """
        self.check()
        engine = connect(self._location, writing=False)  # a new connection notices if the file was overwritten
        check_schema(engine, self._location)
        try:
            with engine.connect() as connection:
                problem = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar_one()
        except DBAPIError as error:
            raise unreadable(self._location, error) from error
        if problem != "ok":
            raise StoreError(f"{self._location}: is damaged; another program has overwritten it ({problem})")


def _identity_at(path: Path) -> tuple[int, int] | None:
    """Return the device and inode numbers of the file at a path; None if there is none."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_dev, state.st_ino
