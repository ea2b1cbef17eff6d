"""Print the rows of a store, the results of queries, merges and removals, and findings."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections import Counter
from collections.abc import Sequence
from io import StringIO
from typing import TYPE_CHECKING

import typer

from urfb.cli.listing import counted_runs, print_shared, printable, size_text, table
from urfb.cli.options import Format
from urfb.errors import SelectionError, counted
from urfb.grid.naming import differing, settings_in, value_text

if TYPE_CHECKING:
    import pandas as pd

    from urfb.doctor import Finding
    from urfb.store.engine import Location
    from urfb.store.merge import Merged
    from urfb.store.removal import Removal, RunFiles

KEYS = {"runs": (), "epochs": ("epoch",), "alignment": ("step", "layer")}
"""Columns that identify a row of a run."""
MEASURED = {
    "runs": "state epochs_done epochs_target training_error validation_error test_error",
    "epochs": "epoch running_loss training_loss training_error validation_loss validation_error seconds",
    "alignment": "step epoch layer layer_name correlation correlation_shared gradient_cosine",
}
"""Columns of the table format, after the settings in which runs differ. csv and json have all columns."""
OPTIONAL = ("correlation", "correlation_shared", "gradient_cosine")
"""Columns that the table format leaves out if they are empty in all rows."""


def print_frame(frame: pd.DataFrame, view: str, output: Format) -> None:
    """Print a frame of one of the store's views."""
    match output:
        case Format.CSV if sys.stdout.isatty():
            _print_raw(frame.to_csv(index=False))
        case Format.CSV:
            frame.to_csv(sys.stdout, index=False)
        case Format.JSON:
            _print_raw(frame.to_json(orient="records", indent=1, force_ascii=False, double_precision=15))
        case Format.TABLE:
            runs = settings_in(frame)
            names = differing(runs)
            measured = [name for name in MEASURED[view].split() if name not in OPTIONAL or frame[name].notna().any()]
            columns = ["run", *names, *measured]
            shown = frame[columns].astype(object)
            cells = [
                [
                    "" if value is None else (value_text if name in names else _cell)(value)
                    for name, value in zip(columns, row, strict=True)
                ]
                for row in shown.where(shown.notna(), None).itertuples(index=False)
            ]
            print_shared(runs)
            table(columns, cells, keys=[*KEYS[view], *names])
            typer.echo(
                f"{counted(len(frame), 'row')}, {len(columns)} of {len(frame.columns)} columns "
                "(all columns: --format csv)"
                if len(frame)
                else "0 rows"
            )


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[object]], output: Format) -> None:
    """Print rows with values of any type.

    Raises:
        SelectionError: two columns have the same name, which JSON cannot hold.
    """
    match output:
        case Format.CSV:
            written = StringIO()
            csv.writer(written, lineterminator="\n").writerows([columns, *(map(_plain, row) for row in rows)])
            _print_raw(written.getvalue().removesuffix("\n"))
        case Format.JSON:
            repeated = [name for name, times in Counter(columns).items() if times > 1]
            if repeated:
                raise SelectionError(
                    f"two columns are called '{repeated[0]}', which JSON cannot hold: rename one with AS"
                )
            records = [dict(zip(columns, map(_finite, map(_plain, row)), strict=True)) for row in rows]
            _print_raw(json.dumps(records, indent=1, ensure_ascii=False))
        case Format.TABLE:
            table(columns, [[_cell(value) for value in row] for row in rows])


def print_merged(merged: Sequence[Merged]) -> None:
    """Print how many runs and simulations came from each source, and each run that was replaced, kept or busy."""
    sentences = {
        "replaced": "{run}: had {ours}, now has {theirs}",
        "kept": "{run}: has {ours}, the other store only {theirs}",
        "busy": "{run}: is in training, so it was not merged; merge again when it has ended",
    }
    for source in dict.fromkeys(result.source for result in merged):
        kinds = []
        for kind in ("run", "simulation"):
            counts = Counter(result.outcome for result in merged if (result.source, result.kind) == (source, kind))
            if counts:
                outcomes = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
                kinds.append(f"{counted(counts.total(), kind)}: {outcomes}")
        typer.echo(f"{source}: {'; '.join(kinds)}")
        for result in merged:
            if (result.source, result.kind) == (source, "run") and result.outcome in sentences:
                sentence = sentences[result.outcome].format(
                    run=result.run, theirs=result.source_version, ours=result.target_version
                )
                typer.echo(f"  {result.outcome}: {sentence}")


def print_removal(removal: Removal, location: Location) -> None:
    """Print the runs to remove from a store, and how many epochs and files belong to them."""
    if len(removal.runs):
        print_frame(removal.runs, "runs", Format.TABLE)
        epochs = int(removal.runs["epochs_done"].sum())
        files = counted_files(removal.files)
        stored = f"{counted_runs(len(removal.runs))}, {epochs:,} epoch{'s' * (epochs != 1)}"
        typer.echo(f"to remove from {location}: {stored}, {files}")
    if removal.shared:
        typer.echo(
            f"to remove from experiment '{removal.experiment}' only: {counted_runs(len(removal.shared))}, "
            "which other experiments share"
        )


def counted_files(files: RunFiles) -> str:
    """Return '2 checkpoints (95.1 KiB) and 1 log'."""
    checkpoints, logs = len(files.checkpoints), len(files.logs)
    return f"{counted(checkpoints, 'checkpoint')} ({size_text(files.bytes)}) and {counted(logs, 'log')}"


def print_findings(findings: Sequence[Finding], output: Format) -> None:
    """Print the findings. A table has the finding and the advice in one column."""
    columns, rows = ["level", "what", "advice"], [tuple(finding) for finding in findings]
    if output == Format.TABLE:
        columns, rows = columns[:2], [(level, f"{what}: {advice}" if advice else what) for level, what, advice in rows]
    print_rows(columns, rows, output)


def _print_raw(text: str) -> None:
    """Print a text: unchanged to a file or pipe, with control characters escaped to a terminal."""
    # typer.echo would remove colour codes from values, except on a terminal.
    sys.stdout.write((printable(text, keep="\n") if sys.stdout.isatty() else text) + "\n")


def _plain(value: object) -> object:
    """Return a value that CSV and JSON can hold: bytes in hexadecimal, other types as text."""
    if isinstance(value, bytes):
        return value.hex()
    return value if value is None or isinstance(value, (str, int, float)) else str(value)


def _finite(value: object) -> object:
    """Return None for infinity and NaN, which JSON cannot hold."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
