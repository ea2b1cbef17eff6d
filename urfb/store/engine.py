"""Connections to a store: SQLite in WAL mode, one writing connection at a time, readers never in the way."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool

from urfb.errors import StoreError
from urfb.store.tables import REVISIONS, VIEWS, metadata

BUSY_SECONDS = 60


def sqlite_path(location: str) -> Path:
    """Return the file that a path or an `sqlite:///` URL names.

    Raises:
        StoreError: it is a URL of another database, or none.
    """
    if "://" not in location:
        return _user_path(location)
    try:
        url = make_url(location)
    except ArgumentError as error:
        raise StoreError(f"'{location}' is no store: give a path, or a URL such as sqlite:///results.sqlite") from error
    if url.get_backend_name() != "sqlite" or not url.database:
        raise StoreError(
            f"store '{url.render_as_string(hide_password=True)}': this version keeps stores in SQLite files only "
            "(give a path, or sqlite:///PATH)"
        )
    return _user_path(url.database)


def _user_path(location: str) -> Path:
    try:
        path = Path(location).expanduser()
        if path.is_dir():
            raise StoreError(f"'{location}' is a folder; name a file for the store, such as {path / 'urfb.sqlite'}")
    except (OSError, RuntimeError, ValueError) as error:
        raise StoreError(f"'{location}' cannot be a store's path ({error})") from error
    return path


def connect(path: Path, *, writing: bool) -> Engine:
    """Return an engine for the SQLite file `path`.

    A writing engine takes the write lock when a transaction begins (BEGIN IMMEDIATE), so that it waits for another
    writer instead of failing halfway; a reading one refuses to write.
    """
    engine = create_engine(
        URL.create("sqlite", database=str(path)), poolclass=NullPool, connect_args={"timeout": BUSY_SECONDS}
    )

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, record: Any) -> None:
        connection.isolation_level = None  # SQLAlchemy, not sqlite3, begins transactions
        connection.execute("PRAGMA foreign_keys=ON")
        if writing:
            connection.execute("PRAGMA synchronous=NORMAL")
        else:
            connection.execute("PRAGMA query_only=ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


def create_schema(engine: Engine, path: Path) -> None:
    """Make the tables and views of a new store, and bring those of an older version up to this one.

    Raises:
        StoreError: the file is no store of ours, or of a newer version, or cannot be written.
    """
    try:
        with engine.begin() as connection:
            if _is_empty(connection):
                metadata.create_all(connection)
                _create_views(connection)
                _migrate(connection, "stamp", REVISIONS[-1])
        if check_schema(engine, path) != REVISIONS[-1]:
            upgrade(engine, path)
        _write_ahead(path)
    except (DBAPIError, sqlite3.Error) as error:
        raise StoreError(f"{path}: cannot be written as a store ({getattr(error, 'orig', error)})") from error


def upgrade(engine: Engine, path: Path) -> str:
    """Bring a store to this version's schema, in one transaction; return the schema that it had before.

    Raises:
        StoreError: the file is no store of ours, or of a newer version, or cannot be written.
    """
    try:
        with engine.begin() as connection:  # only now nobody else can upgrade it
            before = _revision(connection, path)
            if before != REVISIONS[-1]:
                for view in VIEWS:
                    connection.execute(text(f"DROP VIEW {view}"))
                if before == REVISIONS[0]:
                    _migrate(connection, "stamp", before)
                _migrate(connection, "upgrade", REVISIONS[-1])
                _create_views(connection)
    except DBAPIError as error:
        raise StoreError(f"{path}: cannot be upgraded ({error.orig}); it is as it was") from error
    return before


def _create_views(connection: Connection) -> None:
    for name, query in VIEWS.items():
        connection.execute(text(f"CREATE VIEW {name} AS {query}"))


def _migrate(connection: Connection, command: str, revision: str) -> None:
    """Run one of Alembic's commands on a connection, within its transaction."""
    from alembic import command as alembic
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    getattr(alembic, command)(config, revision)


def _write_ahead(path: Path) -> None:
    """Let readers read while the store is written; the file remembers it."""
    deadline = time.monotonic() + BUSY_SECONDS
    with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
        while True:
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                # SQLite does not wait for another runner that switches at the same moment.
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


def has_tables(path: Path) -> bool:
    """Whether a file holds anything yet: a runner that makes a store has the file before it has the tables.

    Raises:
        StoreError: the file is no database.
    """
    try:
        with connect(path, writing=False).connect() as connection:
            return not _is_empty(connection)
    except DBAPIError as error:
        raise StoreError(f"{path}: is not a urfb store ({error.orig})") from error


def _is_empty(connection: Connection) -> bool:
    return connection.execute(text("SELECT count(*) FROM sqlite_master")).scalar() == 0


def check_schema(engine: Engine, path: Path) -> str:
    """Make sure that a file is a store that this version of urfb knows, and return its schema's revision.

    Raises:
        StoreError: it is not, and why.
    """
    try:
        with engine.connect() as connection:
            return _revision(connection, path)
    except DBAPIError as error:
        raise StoreError(f"{path}: is not a urfb store ({error.orig})") from error


def _revision(connection: Connection, path: Path) -> str:
    names = set(connection.execute(text("SELECT name FROM sqlite_master")).scalars())
    revision = REVISIONS[0]  # which is older than the table that says so
    if {"run", "alembic_version"} <= names:
        revision = str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar())
    if revision not in REVISIONS:
        raise StoreError(
            f"{path}: was written by a newer urfb (schema {revision}; this one knows {REVISIONS[-1]}). "
            "Upgrade with: pip install --upgrade urfb"
        )
    if not {"run", "epoch", *VIEWS} <= names:
        raise StoreError(f"{path}: is an SQLite database, but not a urfb store")
    return revision
