"""Options and arguments that several commands share."""

from __future__ import annotations

import math
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from urfb.cli import completion

DEFAULT_STORE = "results/urfb.sqlite"

StoreOption = Annotated[
    str,
    typer.Option(
        "--store", metavar="PATH|URL", help="The results store: an SQLite file, or postgresql://USER@HOST/DATABASE."
    ),
]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="NAME=VALUE",
        help="Only what this holds for, such as rule=urfb or seed=0,1. Repeatable.",
        autocompletion=completion.conditions,
    ),
]
RunsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[RUN]...", help="Identities, or how they begin.", autocompletion=completion.runs),
]
DataOption = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="DIR", help="Where the data sets are; else $URFB_DATA_DIR or the user's cache."),
]


def finite(value: float) -> float:
    """Refuse inf and nan, which Click takes for numbers; the callback of every option that is a float."""
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number.")
    return value


class Format(str, Enum):
    """How a table is printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
