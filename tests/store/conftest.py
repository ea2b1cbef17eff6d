from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tests.helpers import tiny_run
from urfb.grid.expand import GridRun
from urfb.store import WritableStore, open_for_writing
from urfb.store.engine import Location, connect


@pytest.fixture(params=["sqlite", "postgresql"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The location of a store that does not exist yet: a file, or a database of a real server."""
    if request.param == "sqlite":
        return str(tmp_path / "results" / "urfb.sqlite")
    url: str = request.getfixturevalue("postgres").database()
    return url


@pytest.fixture
def store(location: str) -> Iterator[WritableStore]:
    store = open_for_writing(location)
    yield store
    store.close()  # a server allows only a hundred connections


@pytest.fixture
def run(store: WritableStore) -> GridRun:
    run = tiny_run("first", "second", seed=3, connectivity=0.5)
    store.register([run])
    return run


@pytest.fixture
def sql(location: str) -> Callable[[str], list[tuple[Any, ...]]]:
    """A function that executes SQL directly in the database, for changes that urfb never makes, and returns rows."""

    def execute(statement: str) -> list[tuple[Any, ...]]:
        with connect(Location.of(location), writing=True).begin() as connection:
            result = connection.execute(text(statement))
            return [tuple(row) for row in result] if result.returns_rows else []

    return execute
