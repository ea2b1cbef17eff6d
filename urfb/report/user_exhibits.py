"""Figures and tables that users declare in a Python file, which a grid file names.

from urfb.report import Data, Drawn, figure

@figure("noisy", "Noise in the feedback", experiment="noisy", measured=["epochs"])
def noisy(data: Data) -> Drawn: ...
"""

from __future__ import annotations

import importlib.util
import shlex
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from urfb.errors import ReportError, nearest
from urfb.plugins import USERS_ERRORS, add_import_folder, described, place_of, users_code
from urfb.report.drawn import Drawn, Tabulated
from urfb.report.exhibits import READERS, Data, Exhibit
from urfb.report.selection import Selection


def figure(
    name: str,
    title: str,
    *,
    experiment: str | None = None,
    runs: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    measured: Sequence[str] = (),
) -> Callable[[Callable[[Data], Drawn]], Exhibit]:
    """Declare the decorated function a figure. The function takes `Data` and returns `Drawn`.

    Args:
        name: the name on the command line and in names of files; not a number, because numbers are the paper's.
        title: the content of the figure, in a few words.
        experiment: the experiment whose runs are shown.
        runs: instead of an experiment, the required values of the runs' fields: a value or a list of allowed values;
            one mapping for each panel.
        measured: the frames to read for these runs: 'epochs', 'alignment', 'filters' …

    Raises:
        ReportError: the name is not allowed, a frame in `measured` is unknown, or the runs are not given by either
            `experiment` or `runs`.
    """
    return _declare("figure", name, title, experiment, runs, measured)


def table(
    name: str,
    title: str,
    *,
    experiment: str | None = None,
    runs: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    measured: Sequence[str] = (),
) -> Callable[[Callable[[Data], Tabulated]], Exhibit]:
    """Declare the decorated function a table. The function returns `Tabulated`; all else is as for `figure`."""
    return _declare("table", name, title, experiment, runs, measured)


def _declare(
    kind: Literal["figure", "table"],
    name: str,
    title: str,
    experiment: str | None,
    runs: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None,
    measured: Sequence[str],
) -> Callable[[Callable[[Data], Any]], Exhibit]:
    if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii() or name.isdecimal():
        raise ReportError(f"{kind} '{name}': use letters, digits, - and _ in the name, and not only digits")
    unknown = [frame for frame in measured if frame not in READERS]
    if unknown:
        raise ReportError(f"{kind} '{name}': measured: unknown frame '{unknown[0]}': {nearest(unknown[0], READERS)}")
    if (experiment is None) == (runs is None):
        raise ReportError(f"{kind} '{name}': choose its runs with either experiment=… or runs=…")
    panels = (runs,) if isinstance(runs, Mapping) else tuple(runs or ())
    selection = Selection(panels=panels, experiment=experiment)
    return lambda make: Exhibit(
        kind=kind, name=name, shows=title, make=make, selection=selection, measured=tuple(measured)
    )


def load_exhibits(file: Path, grid: Path, experiments: Collection[str]) -> list[Exhibit]:
    """Return the exhibits that a user's file declares, in the order of the file.

    Args:
        file: the Python file.
        grid: the grid file that names it.
        experiments: the names of the grid file's experiments.

    Raises:
        ReportError: the file cannot be run, declares no exhibit, or declares two with the same name.
    """
    spec = importlib.util.spec_from_file_location(f"urfb_report_{file.stem}", file)
    if spec is None or spec.loader is None or not file.is_file():
        raise ReportError(f"{file}: not a Python file; `reports:` in a grid file names one in the same folder")
    module = importlib.util.module_from_spec(spec)
    add_import_folder(file.parent)  # so that it can import files of its folder
    sys.modules[spec.name] = module  # data classes need it here
    try:
        with users_code():
            spec.loader.exec_module(module)
    except ReportError as error:
        raise ReportError(f"{place_of(error) or file}: {error}") from error
    except USERS_ERRORS as error:
        raise ReportError(f"{file}: cannot be run: {described(error)}") from error
    declared = [exhibit for exhibit in vars(module).values() if isinstance(exhibit, Exhibit)]
    labels = [exhibit.label for exhibit in declared]
    if not declared:
        raise ReportError(f"{file}: declares no figure or table; use @figure or @table of urfb.report on a function")
    if len(set(labels)) < len(labels):
        raise ReportError(f"{file}: {next(label for label in labels if labels.count(label) > 1)} is declared twice")
    return [
        replace(exhibit, source=file, grid=grid, completed_by=_training(exhibit, grid, experiments))
        for exhibit in declared
    ]


def _training(exhibit: Exhibit, grid: Path, experiments: Collection[str]) -> str:
    """Return the command that trains the runs of a user's exhibit, without `urfb` and the store; empty for none."""
    experiment = exhibit.selection.experiment
    if experiment is None:
        return shlex.join(["grid", "run", str(grid)])
    return shlex.join(["grid", "run", str(grid), experiment]) if experiment in experiments else ""
