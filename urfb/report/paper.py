"""All exhibits that there are: the paper's, those beyond it, and the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from urfb.errors import ReportError
from urfb.grid.schema import reports_of
from urfb.report.exhibits import GRID_FILE, Exhibit, own_exhibits
from urfb.report.figures import FIGURES
from urfb.report.tables import TABLES


def exhibits(kind: Literal["figure", "table"], grid: Path | None = None) -> list[Exhibit]:
    """Return all figures or all tables, with those of the file that a grid file names under `reports:`.

    Args:
        kind: 'figure' or 'table'.
        grid: the grid file; where there is none, ./experiments.yaml, if it exists.

    Raises:
        GridError: the grid file cannot be read.
        ReportError: the file that it names cannot be run, or declares what there is already.
    """
    known = [exhibit for exhibit in (*FIGURES, *TABLES) if exhibit.kind == kind]
    if grid is None and not GRID_FILE.exists():
        return known
    grid = grid or GRID_FILE
    file = reports_of(grid)
    if file is None:
        return known
    own = [exhibit for exhibit in own_exhibits(file, grid) if exhibit.kind == kind]
    taken = {exhibit.name for exhibit in known}
    for exhibit in own:
        if exhibit.name in taken:
            raise ReportError(f"{file}: there is a {exhibit.label} already; choose another name")
    return [*known, *own]
