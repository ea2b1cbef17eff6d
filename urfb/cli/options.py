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
        "--store", metavar="PATH|URL", help="Results store: an SQLite file, or postgresql://USER@HOST/DATABASE."
    ),
]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="NAME=VALUE",
        help="Select by value, such as rule=urfb, seed=0,1 or seed=0-4. Repeatable: all conditions must hold.",
        autocompletion=completion.conditions,
    ),
]
RunsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RUN", help="Identities of runs, or their first characters.", autocompletion=completion.runs
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="Folder of the data sets.",
        show_default="$URFB_DATA_DIR, or urfb/data in the user's cache",
    ),
]


def finite(value: float) -> float:
    """Refuse inf and nan, which Click accepts as numbers. The callback of every option that is a float."""
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number.")
    return value


class Format(str, Enum):
    """Output formats of a table."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
