"""Store locations, and connections to stores.

An SQLite file in WAL mode allows one writing connection at a time, and readers do not block it. A PostgreSQL server
locks only the rows that are written, so runners on many hosts can share a store.
"""

from __future__ import annotations

import logging
import math
import os
import re
import sqlite3
import time
import weakref
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, inspect, make_url, select, text
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.pool import NullPool, QueuePool

from urfb.errors import StoreError
from urfb.store.tables import MIGRATIONS, REVISIONS, VIEWS, metadata, view

log = logging.getLogger(__name__)

BUSY_SECONDS = 60
POLL_SECONDS = 1.0
QUIET_SECONDS = 10.0
"""How long a runner waits for another program's lock before it logs a warning."""
POSTGRESQL_PORT = 5432
MIGRATION_LOCK = 0x75726662
"""The number of the PostgreSQL lock that a runner takes to create tables or add runs: 'urfb' in ASCII."""


@dataclass(frozen=True)
class Location:
    """The location of a store: an SQLite file or a PostgreSQL database. Its text never contains a password.

    Attributes:
        url: the database's URL; a file's path in it is absolute.
        path: the path of the SQLite file as given, with a symbolic link resolved; None for a PostgreSQL database.
    """

    url: URL
    path: Path | None = None

    @classmethod
    def of(cls, location: str) -> Location:
        """Read a path or a URL.

        Raises:
            StoreError: it is not a URL, or the URL of an unsupported database.
        """
        if "://" not in location:
            return cls._of_file(location)
        scheme = location.partition("://")[0]  # the rest of a URL that cannot be parsed may have a password
        try:
            url = make_url(location)
        except (ArgumentError, ValueError) as error:
            raise StoreError(
                f"'{scheme}://…' is not a store's location: give a path, or a URL such as sqlite:///results.sqlite or "
                "postgresql://USER@HOST/DATABASE"
            ) from error
        kind = url.get_backend_name()
        if kind == "sqlite" and url.database and not url.query:
            return cls._of_file(url.database)
        if kind in ("postgresql", "postgres") and url.database:
            return cls(url.set(drivername="postgresql+psycopg"))
        raise StoreError(
            f"store '{url.set(query={}).render_as_string(hide_password=True)}': a store is an SQLite file (give a "
            "path, or sqlite:///PATH) or a PostgreSQL database (give postgresql://USER@HOST/DATABASE)"
        )

    @classmethod
    def _of_file(cls, name: str) -> Location:
        if name == ":memory:":
            raise StoreError(f"store '{name}': a store in memory is lost when the command ends; give a path")
        try:
            path = Path(name).expanduser()
            if path.is_symlink():  # checkpoints, logs and SQLite's own files are next to the real file
                path = path.resolve()
            if path.is_dir():
                raise StoreError(f"'{name}' is a folder; give a file for the store, such as {path / 'urfb.sqlite'}")
            if path.exists() and not path.is_file():
                raise StoreError(f"'{name}' is a device or a pipe; give a file for the store")
            return cls(URL.create("sqlite", database=str(path.absolute())), path)
        except (OSError, RuntimeError, ValueError) as error:
            raise StoreError(f"'{name}' cannot be a store's path ({error})") from error

    @property
    def exists(self) -> bool:
        """Whether the file exists; True for a server, whose database is not checked before it is opened."""
        return self.path is None or self.path.exists()

    def is_same(self, location: Location) -> bool:
        """Return whether two locations are the same store, even if they are written differently."""
        if self.path is None or location.path is None:
            return self.url.set(password=None, query={}) == location.url.set(password=None, query={})
        return self.path.exists() and location.path.exists() and self.path.samefile(location.path)

    @property
    def folder(self) -> Path:
        """The folder for the store's files on this machine: the SQLite file's folder, or results/ for a server."""
        return self.path.parent if self.path is not None else Path("results")

    @property
    def checkpoints(self) -> Path:
        """The folder of the runs' checkpoints; each store has its own."""
        return self.folder / f"{self._stem}.checkpoints"

    @property
    def logs(self) -> Path:
        """The folder of the runs' logs."""
        return self.folder / f"{self._stem}.logs"

    @property
    def _stem(self) -> str:
        """The start of the folders' names; it differs between the stores in a folder."""
        if self.path is not None:
            return self.path.stem if self.path.suffix == ".sqlite" else self.path.name
        server = (self.url.host or "localhost", self.url.port or POSTGRESQL_PORT, self.url.database)
        return re.sub(r"[^\w.-]", "_", "-".join(map(str, server)))

    @property
    def in_full(self) -> str:
        """The location as text, with the absolute path of a file."""
        return str(self.path.absolute() if self.path else self)

    def __str__(self) -> str:
        return str(self.path or self.url.set(drivername="postgresql", query={}).render_as_string(hide_password=True))


def connect(location: Location, *, writing: bool) -> Engine:
    """Return an SQLAlchemy engine for a store; its connections close when it is garbage-collected.

    On SQLite a writing engine takes the write lock when a transaction begins (BEGIN IMMEDIATE). So it waits for another
    writer at the start instead of failing halfway.

    Args:
        location: the store's location.
        writing: whether the engine may write; otherwise its connections refuse to.

    Raises:
        StoreError: the library for PostgreSQL is not installed.
    """
    if location.path is None:
        return _connect_to_server(location, writing=writing)
    # A runner keeps its connection open, because SQLite removes its log when the last connection closes, which takes
    # longer than a transaction.
    engine = create_engine(
        location.url,
        creator=partial(_open_file, location, writing=writing),
        poolclass=QueuePool if writing else NullPool,
    )
    weakref.finalize(engine, engine.pool.dispose)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if writing:
            _begin_writing(connection, location)
        else:
            connection.exec_driver_sql("BEGIN")

    return engine


def _open_file(location: Location, *, writing: bool) -> sqlite3.Connection:
    """Open a connection to an existing SQLite file."""
    path = Path(str(location.url.database))
    # SQLite needs to create files next to the store. In a read-only folder, it can read a store that no process has
    # open as `immutable`.
    is_writable = os.access(path.parent, os.W_OK) and os.access(path, os.W_OK)
    mode = "mode=rw" if writing or is_writable or rows_in_log(path) else "immutable=1"
    connection = sqlite3.connect(
        f"{path.as_uri()}?{mode}",
        uri=True,
        timeout=POLL_SECONDS if writing else BUSY_SECONDS,
        check_same_thread=False,
        isolation_level=None,  # SQLAlchemy, not sqlite3, begins transactions
    )
    connection.execute("PRAGMA foreign_keys=ON")
    if writing:
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA wal_autocheckpoint=1")  # so that a copy of the file alone is almost complete
    else:
        connection.execute("PRAGMA query_only=ON")
    return connection


def rows_in_log(path: Path) -> bool:
    """Return whether SQLite's log may have rows that the file lacks: a process has it open, or was killed."""
    log = path.with_name(f"{path.name}-wal")
    return log.exists() and log.stat().st_size > 0


def _begin_writing(connection: Connection, location: Location) -> None:
    """Take the write lock, and warn if another program holds it for longer than `QUIET_SECONDS`.

    The connection's option `patience` is the longest wait in seconds; without it, the wait has no limit.
    """
    began, warned = time.monotonic(), False
    while True:  # SQLite's own wait blocks Ctrl-C, so it is short
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            return
        except OperationalError as error:
            waited = time.monotonic() - began
            if "locked" not in str(error) or waited > connection.get_execution_options().get("patience", math.inf):
                raise
            if waited > QUIET_SECONDS and not warned:
                warned = True
                log.warning("%s: locked by another program, such as a database browser; waiting for it", location)


def _connect_to_server(location: Location, *, writing: bool) -> Engine:
    try:
        engine = create_engine(
            location.url,
            # A runner writes several times per second, so it keeps its connections; a reader closes them.
            poolclass=QueuePool if writing else NullPool,
            isolation_level="READ COMMITTED" if writing else "REPEATABLE READ",  # a reader sees one snapshot
            pool_pre_ping=True,  # the server may have restarted
            connect_args={
                "connect_timeout": 10,
                "application_name": "urfb",
                "options": " ".join(
                    [
                        *([str(location.url.query["options"])] if "options" in location.url.query else []),
                        "-c timezone=UTC",
                        *([] if writing else ["-c default_transaction_read_only=on"]),
                    ]
                ),
            },
        )
    except ModuleNotFoundError as error:
        raise StoreError(
            f"{location}: the library for PostgreSQL is missing; install it with: pip install 'urfb[postgres]'"
        ) from error
    weakref.finalize(engine, engine.pool.dispose)
    return engine


def create_schema(engine: Engine, location: Location) -> None:
    """Create the tables and views of a new store, or upgrade those of an older version.

    Raises:
        StoreError: the database is not a urfb store, is from a newer version, or cannot be written.
    """
    try:
        with engine.begin() as connection:
            take_migration_lock(connection)
            if _is_empty(connection):
                metadata.create_all(connection)
                _create_views(connection)
                _migrate(connection, "stamp", REVISIONS[-1])
        if check_schema(engine, location) != REVISIONS[-1]:
            upgrade(engine, location)
        if location.path is not None:
            _write_ahead(location.path)
    except (DBAPIError, sqlite3.Error) as error:
        raise StoreError(f"{location}: the store's tables cannot be written ({cause(error)})") from error


def upgrade(engine: Engine, location: Location) -> None:
    """Upgrade a store to this version's schema, in one transaction.

    Raises:
        StoreError: the database is not a urfb store, is from a newer version, or cannot be written.
    """
    try:
        with engine.begin() as connection:
            take_migration_lock(connection)
            before = _revision(connection, location)
            if before != REVISIONS[-1]:
                for name in VIEWS:
                    connection.execute(text(f"DROP VIEW IF EXISTS {name}"))
                if before == REVISIONS[0]:
                    _migrate(connection, "stamp", before)
                _migrate(connection, "upgrade", REVISIONS[-1])
                _create_views(connection)
    except DBAPIError as error:
        raise StoreError(f"{location}: cannot be upgraded ({cause(error)}); the store is unchanged") from error


def take_migration_lock(connection: Connection) -> None:
    """Keep other processes from creating tables or adding runs until this transaction ends.

    On SQLite the transaction has a lock since it began.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(MIGRATION_LOCK)))


def _create_views(connection: Connection) -> None:
    for name in VIEWS:
        connection.execute(text(f"CREATE VIEW {name} AS {view(name, connection.dialect.name)}"))


def _migrate(connection: Connection, command: str, revision: str) -> None:
    """Run an Alembic command on a connection, within its transaction."""
    from alembic import command as alembic
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    getattr(alembic, command)(config, revision)


def _write_ahead(path: Path) -> None:
    """Switch the file to WAL mode for good, so that readers can read while a runner writes."""
    deadline = time.monotonic() + BUSY_SECONDS
    with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
        while True:
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                # SQLite does not wait if another runner switches the mode at the same moment.
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


def has_tables(engine: Engine, location: Location) -> bool:
    """Return whether a store has any tables; a runner creates the file before the tables.

    Raises:
        StoreError: the file is not a database, or the server cannot be reached.
    """
    try:
        with engine.connect() as connection:
            return not _is_empty(connection)
    except DBAPIError as error:
        raise unreadable(location, error) from error


def _is_empty(connection: Connection) -> bool:
    return not inspect(connection).get_table_names()


def check_schema(engine: Engine, location: Location) -> str:
    """Check that this version of urfb knows a store's schema, and return the schema's revision.

    Raises:
        StoreError: the store cannot be read, is not a urfb store, or is from a newer version.
    """
    try:
        with engine.connect() as connection:
            return _revision(connection, location)
    except DBAPIError as error:
        raise unreadable(location, error) from error


def unreadable(location: Location, error: DBAPIError) -> StoreError:
    """Return the error for a store that cannot be read."""
    if location.path is None:
        return StoreError(f"{location}: the server cannot be reached or refuses the request ({cause(error)})")
    problem = "is not a urfb store" if "not a database" in str(error.orig) else "cannot be read"
    advice = ""
    if rows_in_log(location.path) and not os.access(location.path.parent, os.W_OK):
        advice = (
            f"; its last rows are in {location.path.name}-wal, because a runner has it open or was killed: copy both "
            "files to a writable folder"
        )
    return StoreError(f"{location}: {problem} ({cause(error)}){advice}")


def cause(error: Exception) -> str:
    """Return the database's error message, on one line."""
    return " ".join(str(getattr(error, "orig", error)).split())


def _revision(connection: Connection, location: Location) -> str:
    inspector = inspect(connection)
    names = {*inspector.get_table_names(), *inspector.get_view_names()}
    revision = REVISIONS[0]  # the first schema has no table of revisions
    if {"run", "alembic_version"} <= names:
        revision = str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar())
    if revision not in REVISIONS:
        raise StoreError(
            f"{location}: was written by a newer urfb (its schema is {revision}; this version reads {REVISIONS[-1]}). "
            "Upgrade with: pip install --upgrade urfb"
        )
    if not {"run", "epoch", "runs", "epochs", "alignment"} <= names:  # tables and views of every version
        kind = "an SQLite" if location.path is not None else "a PostgreSQL"
        raise StoreError(f"{location}: is {kind} database, but not a urfb store")
    return revision
