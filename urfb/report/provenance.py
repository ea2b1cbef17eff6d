"""The provenance of an exhibit's files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from urfb import __version__
from urfb.report.drawn import Drawn, Tabulated
from urfb.report.exhibits import DESCRIBED, Exhibit

# The columns in the lines about runs and simulations.
DESCRIBING = ("run", *DESCRIBED, "drawn_epochs", "simulation", "rule", "draw", "method")


def provenance(exhibit: Exhibit, made: Drawn | Tabulated, command: str, stamp: str) -> list[str]:
    """Return everything needed to check and to reproduce the numbers, one line each.

    Args:
        exhibit: the figure or table.
        made: the drawn figure or the table with its numbers.
        command: the command that makes its files.
        stamp: its fingerprint.
    """
    shortfalls = [_one_line(f"incomplete: {line}") for line in made.shortfalls]
    runs = [] if "simulation" in made.runs else _described(made.runs)
    return [*_meaning(exhibit, made), *shortfalls, *_making(made, command, stamp), *runs]


def origin(exhibit: Exhibit, made: Drawn | Tabulated, command: str, stamp: str) -> list[str]:
    """Return the provenance without shortfalls and runs, which the page shows elsewhere."""
    return [*_meaning(exhibit, made), *_making(made, command, stamp)]


def _meaning(exhibit: Exhibit, made: Drawn | Tabulated) -> list[str]:
    """Return the selection of runs and the definitions of the numbers."""
    selection = exhibit.selection.describe()
    return [_one_line(line) for line in (f"selection: {selection}" if selection else "", made.meaning) if line]


def _making(made: Drawn | Tabulated, command: str, stamp: str) -> list[str]:
    """Return the origin of the numbers: command, version, commits, devices, and simulations of section 5."""
    lines = [f"made by: {command}", f"urfb: {__version__}", f"fingerprint: {stamp}"]
    for column in ("commit", "device"):
        if column in made.runs and made.runs[column].notna().any():
            lines.append(f"{column}: {', '.join(sorted(made.runs[column].dropna().astype(str).unique()))}")
    simulations = _described(made.runs) if "simulation" in made.runs else []
    return [*(_one_line(line) for line in lines), *simulations]


def _described(runs: pd.DataFrame) -> list[str]:
    """Return one line for each run, or for each simulation of section 5."""
    order = [name for name in ("network", "dataset", "protocol", "seed") if name in runs]
    runs = runs[[name for name in DESCRIBING if name in runs]]
    return [_one_line(_description(run)) for run in runs.sort_values(order, kind="stable").to_dict("records")]


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _description(run: Mapping[Any, Any]) -> str:
    """Describe one run, or one simulation of section 5."""
    if "simulation" in run:
        return f"simulation {run['simulation']}: {run['rule']}, draw {run['draw']}, {run['method']}"
    trained = f"{run.get('drawn_epochs', run['epochs_done'])} epochs, {run['state']}"
    return f"run {run['run']}: {run['network']}, {run['dataset']}, {run['protocol']}, seed {run['seed']}, {trained}"
