"""Tab completion of names from grid files, stores and urfb itself.

It must be fast and silent: it imports no large library, connects to no server, and completes nothing after an error.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path

import typer

Completer = Callable[[typer.Context, str], list[str]]

# Copies, because the declarations import the drawing libraries, which takes a second. A test compares them.
FIGURES = (
    *map(str, range(1, 13)), "7-alignment", "7-author", "8-start", "9-batch", "alignment-and-error", "epsilon",
    "gradients", "saturation", "input-offset",
)  # fmt: skip
TABLES = ("5", "6", "9", "10", "11", "12", "9-batch", "input-offset", "runs", "published")
CLAIMS = (*map(str, range(1, 7)), "comparable", "depth", "untied", "local-loss", "linear", "epsilon")
# Completions may come from untrusted files, and some shells evaluate them, so only harmless names are allowed.
EXPERIMENT = r"\w[\w.-]*"
IDENTITY = r"[0-9a-f]+"
MAX_RUNS = 50
"""The most runs to list."""


def completer(names: Callable[[typer.Context, str], Iterable[str]]) -> Completer:
    """Return a completer: the names that start with the typed text, or none after an error."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        try:
            return [name for name in names(ctx, incomplete) if name.startswith(incomplete)]
        except Exception:  # a traceback would appear in the middle of the command line
            return []

    return complete


def words(*allowed: str) -> Completer:
    """Return a completer of fixed words."""
    return completer(lambda ctx, incomplete: allowed)


@completer
def experiments(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Complete the experiments of the grid files on the command line that are not on it yet."""
    typed = ctx.params.get("arguments") or []
    names = [name for path in typed if path.lower().endswith((".yaml", ".yml")) for name in _experiments(Path(path))]
    return [name for name in names if name not in typed]


@completer
def experiments_to_show(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Complete the experiments in a store, if it is a file."""
    return _stored_names(ctx, "SELECT name FROM experiment ORDER BY name", (), EXPERIMENT)


@completer
def runs(ctx: typer.Context, incomplete: str) -> Sequence[str]:
    """Complete the identities of the runs in a store, if it is a file."""
    query = "SELECT identity FROM run WHERE substr(identity, 1, ?) = ? ORDER BY id DESC LIMIT ?"
    return _stored_names(ctx, query, (len(incomplete), incomplete, MAX_RUNS), IDENTITY)


@completer
def rules(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Complete rules."""
    from urfb.nn.rules import RULES

    return RULES


@completer
def networks(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Complete the paper's networks."""
    from urfb.nn.networks import NETWORKS

    return NETWORKS


@completer
def datasets(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Complete data sets."""
    from urfb.data.catalog import CATALOG

    return CATALOG


@completer
def conditions(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Complete conditions: the setting, then a usual value. Bash splits words at =, so there only the setting."""
    from urfb.data.catalog import CATALOG
    from urfb.nn.networks import NETWORKS
    from urfb.nn.rules import RULES

    values: dict[str, Iterable[str]] = {
        "rule": RULES, "dataset": CATALOG, "network": NETWORKS, "loss": ("hinge", "softmax"), "seed": (),
        "connectivity": (),
    }  # fmt: skip
    name, equals, _ = incomplete.partition("=")
    return [f"{name}={value}" for value in values[name]] if equals else [f"{name}=" for name in values]


def _experiments(path: Path) -> list[str]:
    from ruamel.yaml import YAML

    if not path.is_file():  # reading a named pipe would block
        return []
    names = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))["experiments"]
    return [name for name in names if isinstance(name, str) and re.fullmatch(EXPERIMENT, name)]


def _stored_names(ctx: typer.Context, query: str, values: Sequence[object], pattern: str) -> list[str]:
    location = ctx.params["store"].removeprefix("sqlite:///")
    path = Path(location).expanduser()
    if "://" in location or not path.is_file():
        return []
    # Not with urfb.store, because importing SQLAlchemy takes too long.
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=0.1)) as connection:
        return [name for (name,) in connection.execute(query, tuple(values)) if re.fullmatch(pattern, name)]
