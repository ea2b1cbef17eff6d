"""All exhibits: the paper's, urfb's own and the user's."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from urfb.errors import ReportError
from urfb.grid.schema import outline
from urfb.report.exhibits import GRID_FILE, Exhibit
from urfb.report.figures import FIGURES
from urfb.report.tables import TABLES
from urfb.report.user_exhibits import load_exhibits


def exhibits(kind: Literal["figure", "table"] | None = None, grid: Path | None = None) -> list[Exhibit]:
    """Return all figures, all tables or both, including those of the file under `reports:` in a grid file.

    Args:
        kind: 'figure', 'table', or None for both.
        grid: the grid file; None for ./experiments.yaml, if it exists.

    Raises:
        GridError: the grid file cannot be read.
        ReportError: the file under `reports:` cannot be run, or declares an exhibit that exists already.
    """
    known = [exhibit for exhibit in (*FIGURES, *TABLES) if kind in (None, exhibit.kind)]
    if grid is None and not GRID_FILE.exists():
        return known
    grid = grid or GRID_FILE
    file, experiments = outline(grid)
    if file is None:
        return known
    declared = [exhibit for exhibit in load_exhibits(file, grid, experiments) if kind in (None, exhibit.kind)]
    taken = {exhibit.label for exhibit in known}
    for exhibit in declared:
        if exhibit.label in taken:
            raise ReportError(f"{file}: {exhibit.label} exists already; choose another name")
    return [*known, *declared]
