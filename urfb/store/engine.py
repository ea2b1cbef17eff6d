"""Connections to a store: SQLite in WAL mode, one writing connection at a time, readers never in the way."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool

from urfb.errors import StoreError
from urfb.store.tables import SCHEMA_VERSION, VIEWS, metadata

BUSY_SECONDS = 60


def sqlite_path(location: str) -> Path:
    """Return the file that a path or an `sqlite:///` URL names.

    Raises:
        StoreError: it is a URL of another database, or none.
    """
    if "://" not in location:
        return Path(location).expanduser()
    try:
        url = make_url(location)
    except ArgumentError as error:
        raise StoreError(f"'{location}' is no store: give a path, or a URL such as sqlite:///results.sqlite") from error
    if url.get_backend_name() != "sqlite" or not url.database:
        raise StoreError(
            f"store '{url.render_as_string(hide_password=True)}': this version keeps stores in SQLite files only "
            "(give a path, or sqlite:///PATH)"
        )
    return Path(url.database).expanduser()


def connect(path: Path, *, writing: bool) -> Engine:
    """Return an engine for the SQLite file `path`.

    A writing engine takes the write lock when a transaction begins (BEGIN IMMEDIATE), so that it waits for another
    writer instead of failing halfway; a reading one refuses to write.
    """
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool, connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, record: Any) -> None:
        connection.isolation_level = None  # SQLAlchemy, not sqlite3, begins transactions
        connection.execute("PRAGMA foreign_keys=ON")
        if writing:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
        else:
            connection.execute("PRAGMA query_only=ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


def create_schema(engine: Engine, path: Path) -> None:
    """Make the tables and views in a new store; leave an existing one as it is.

    Raises:
        StoreError: the file is no store of ours, or of another version, or cannot be written.
    """
    try:
        with engine.begin() as connection:
            if connection.execute(text("SELECT count(*) FROM sqlite_master")).scalar() == 0:
                metadata.create_all(connection)
                for name, query in VIEWS.items():
                    connection.execute(text(f"CREATE VIEW {name} AS {query}"))
                connection.exec_driver_sql(f"PRAGMA user_version={SCHEMA_VERSION}")
    except DBAPIError as error:
        raise StoreError(f"{path}: cannot be written as a store ({error.orig})") from error
    check_schema(engine, path)


def check_schema(engine: Engine, path: Path) -> None:
    """Make sure that this version of urfb can read the store.

    Raises:
        StoreError: it cannot, and why.
    """
    try:
        with engine.connect() as connection:
            version = connection.execute(text("PRAGMA user_version")).scalar()
            tables = set(connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'")).scalars())
    except DBAPIError as error:
        raise StoreError(f"{path}: is not a urfb store ({error.orig})") from error
    if version is not None and version > SCHEMA_VERSION and "run" in tables:
        raise StoreError(
            f"{path}: was written by a newer urfb (schema {version}; this one knows {SCHEMA_VERSION}). "
            "Upgrade with: pip install --upgrade urfb"
        )
    if version != SCHEMA_VERSION or not {"run", "epoch"} <= tables:
        raise StoreError(f"{path}: is an SQLite database, but not a urfb store")
