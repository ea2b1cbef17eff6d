"""The file of an SQLite store while a runner has it open: whether it is still there, and whole."""

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
    """The file that a writing engine has open. It may be moved, replaced or deleted, and SQLite writes on."""

    def __init__(self, location: Location, engine: Engine) -> None:
        """Take the file that is at the store's path now."""
        self._location = location
        self._engine = engine
        self._path = path = Path(str(location.url.database))
        self._identity = identity = _identity_at(path)
        self._displaced: StoreError | None = None

        def refuse_another_file(connection: object, record: object) -> None:
            if _identity_at(path) != identity:
                raise sqlite3.OperationalError("the file at the store's path is another one")

        listen(engine, "connect", refuse_another_file)

    def check(self) -> None:
        """Make sure that the open database is the file at the store's path.

        Raises:
            StoreError: it is not; what it holds is saved in a copy.
        """
        if _identity_at(self._path) != self._identity:
            self._displaced = self._displaced or StoreError(
                f"{self._location}: is no longer the file that this process writes to: it was moved, replaced or "
                f"deleted. {self._saved_copy()}"
            )
            raise self._displaced

    def _saved_copy(self) -> str:
        """Save what the open database holds, and return where it is, in words."""
        name = f"{self._path.name}.saved-{datetime.now():%Y%m%d-%H%M%S}.sqlite"
        try:
            copy = (self._path.parent if self._path.parent.is_dir() else Path.cwd()) / name
            with closing(self._engine.raw_connection()) as connection:
                connection.cursor().execute("VACUUM INTO ?", (str(copy),))
                # Empties the log, which is still at the path, where SQLite would take it for that of the new file.
                connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except (DBAPIError, sqlite3.Error, OSError) as error:
            return f"What it holds could not be saved ({cause(error)}): look for the file where it was moved"
        return f"All that was stored is saved in {copy}: move that file to {self._location}, and go on"

    def verify(self) -> None:
        """Make sure that what was written is at the store's path, and whole.

        Raises:
            StoreError: it is not.
        """
        self.check()
        engine = connect(self._location, writing=False)  # reads the file itself, which may have been written over
        check_schema(engine, self._location)
        try:
            with engine.connect() as connection:
                problem = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar_one()
        except DBAPIError as error:
            raise unreadable(self._location, error) from error
        if problem != "ok":
            raise StoreError(f"{self._location}: is damaged; another program has written over it ({problem})")


def _identity_at(path: Path) -> tuple[int, int] | None:
    """Return what distinguishes the file at a path from others; None if there is none."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_dev, state.st_ino
