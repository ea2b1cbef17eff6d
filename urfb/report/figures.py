"""The figures that exist, by their number in the paper, and how they become files."""

from __future__ import annotations

import io
import os
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

from urfb import __version__
from urfb.errors import InputError, SelectionError
from urfb.report.alignment import figure10
from urfb.report.canvas import STYLE
from urfb.report.drawn import Drawn
from urfb.report.error_bars import figure5
from urfb.report.error_curves import figure4
from urfb.report.selection import Frames, Selection

FIGURES: dict[int, Callable[[Frames, Selection], Drawn]] = {4: figure4, 5: figure5, 10: figure10}

PAPER = "Amit (2019), Deep Learning With Asymmetric Connections and Hebbian Updates"


@dataclass(frozen=True)
class Rendered:
    """One figure's files, what it lacks, and the command whose runs would complete it."""

    number: int
    files: list[Path]
    shortfalls: list[str]
    completing_command: str


def render(
    store: Frames,
    numbers: Sequence[int],
    out: Path,
    selection: Selection | None = None,
    location: str = "results/urfb.sqlite",
) -> list[Rendered]:
    """Draw figures and write each as PNG, PDF and CSV.

    Args:
        store: where the frames come from.
        numbers: the figures' numbers in the paper; all that exist if empty.
        out: the folder to write to; made if it does not exist.
        selection: which runs to draw; the paper's own if not given.
        location: how the user named the store, for the commands that the files and the terminal give.

    Raises:
        SelectionError: a figure or an experiment does not exist; nothing is written then.
        InputError: the folder cannot be written to.
    """
    selection = selection or Selection()
    unknown = [number for number in numbers if number not in FIGURES]
    if unknown:
        raise SelectionError(
            f"figure {unknown[0]} cannot be drawn yet: this version draws {_listed(list(FIGURES))}; the rest come later"
        )
    selection.check(store.runs())
    rendered = []
    for number in dict.fromkeys(numbers or FIGURES):
        drawn = FIGURES[number](store, selection)
        with matplotlib.rc_context(STYLE):
            contents = _contents(number, drawn, selection, _command(number, out, selection, location))
        stem = f"figure{number:02d}"
        if selection.experiment is not None:  # so that it never takes the place of the paper's
            stem = f"{re.sub(r'[^A-Za-z0-9._-]', '-', selection.experiment)}-{stem}"
        files = [_write(out / f"{stem}.{suffix}", content) for suffix, content in contents.items()]
        rendered.append(Rendered(number, files, drawn.shortfalls, completing_command(number, selection, location)))
    return rendered


def completing_command(number: int, selection: Selection, location: str) -> str:
    """Return the command that trains what a figure lacks."""
    experiment = selection.experiment or f"figure{number}"
    return f"urfb grid run experiments.yaml {shlex.quote(experiment)} --store {shlex.quote(location)}"


def _contents(number: int, drawn: Drawn, selection: Selection, command: str) -> dict[str, bytes]:
    """Return the bytes of a figure's files by their suffix; the same runs give the same bytes."""
    title = f"Figure {number} of {PAPER}"
    provenance = _provenance(drawn, selection, command)
    short = "; ".join(drawn.shortfalls) or "nothing"
    subject = f"{selection.describe()}. Lacks: {short}. Made by: {command}"
    png, pdf = io.BytesIO(), io.BytesIO()
    drawn.figure.savefig(
        png, format="png", dpi=200, metadata={"Title": title, "Description": subject, "Software": f"urfb {__version__}"}
    )
    drawn.figure.savefig(
        pdf,
        format="pdf",
        metadata={"Title": title, "Subject": subject, "Creator": f"urfb {__version__}", "CreationDate": None},
    )
    head = "".join(f"# {' '.join(line.split())}\n" for line in [title, *provenance])
    table = drawn.data.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    return {"png": png.getvalue(), "pdf": pdf.getvalue(), "csv": (head + table).encode()}


def _provenance(drawn: Drawn, selection: Selection, command: str) -> list[str]:
    """Return what a reader needs to trust the numbers and to make them again."""
    runs = drawn.runs.sort_values(["dataset", "protocol", "seed"], kind="stable")
    lines = [
        f"selection: {selection.describe()}",
        drawn.meaning,
        *(f"lacks: {line}" for line in drawn.shortfalls),
        f"made by: {command}",
        f"urfb: {__version__}",
    ]
    for column in ("commit", "device"):
        if column in runs and runs[column].notna().any():
            lines.append(f"{column}: {', '.join(sorted(runs[column].dropna().astype(str).unique()))}")
    for run in runs.to_dict("records"):
        trained = f"{run['drawn_epochs']} epochs, {run['state']}"
        lines.append(
            f"run {run['run']}: {run['network']}, {run['dataset']}, {run['protocol']}, seed {run['seed']}, {trained}"
        )
    return lines


def _command(number: int, out: Path, selection: Selection, location: str) -> str:
    experiment = f" --experiment {shlex.quote(selection.experiment)}" if selection.experiment else ""
    return f"urfb report figures {number} --store {shlex.quote(location)} --out {shlex.quote(str(out))}{experiment}"


def _listed(numbers: list[int]) -> str:
    return ", ".join(str(number) for number in numbers[:-1]) + f" and {numbers[-1]}"


def _write(path: Path, content: bytes) -> Path:
    """Write a file aside and move it into place, so that nobody ever reads half of it."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            aside.write_bytes(content)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror or error}; name a folder that can be written to with --out"
        ) from error
    return path
