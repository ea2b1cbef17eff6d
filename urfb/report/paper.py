"""All exhibits: the paper's, those beyond it, and a user's."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from urfb.errors import ReportError
from urfb.grid.schema import reports_of
from urfb.report.exhibits import GRID_FILE, Exhibit
from urfb.report.figures import FIGURES
from urfb.report.tables import TABLES
from urfb.report.user_exhibits import load_exhibits


def exhibits(kind: Literal["figure", "table"] | None = None, grid: Path | None = None) -> list[Exhibit]:
    """Return all figures, all tables or both, with those of the file that a grid file names under `reports:`.

    Args:
        kind: 'figure', 'table', or None for both.
        grid: the grid file; where there is none, ./experiments.yaml, if it exists.

    Raises:
        GridError: the grid file cannot be read.
        ReportError: the file that it names cannot be run, or declares what there is already.
    """
    known = [exhibit for exhibit in (*FIGURES, *TABLES) if kind in (None, exhibit.kind)]
    if grid is None and not GRID_FILE.exists():
        return known
    grid = grid or GRID_FILE
    file = reports_of(grid)
    if file is None:
        return known
    declared = [exhibit for exhibit in load_exhibits(file, grid) if kind in (None, exhibit.kind)]
    taken = {exhibit.label for exhibit in known}
    for exhibit in declared:
        if exhibit.label in taken:
            raise ReportError(f"{file}: there is a {exhibit.label} already; choose another name")
    return [*known, *declared]
