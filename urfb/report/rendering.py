"""How figures and tables become files: which, with what provenance, and when they are made again."""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd

from urfb import __version__
from urfb.files import write_file
from urfb.report.canvas import STYLE
from urfb.report.captions import Caption, caption
from urfb.report.drawn import Drawn, Tabulated
from urfb.report.exhibits import Exhibit, Frames
from urfb.report.fingerprints import fingerprint
from urfb.report.texts import latex, markdown

SUFFIXES = {"figure": ("png", "pdf", "txt", "tex", "csv"), "table": ("md", "tex", "csv")}
"""The files of each kind of exhibit; the last one has all of its provenance in its head."""


@dataclass(frozen=True)
class Rendered:
    """One exhibit's files.

    Attributes:
        exhibit: what it is.
        files: its files, in the order of `SUFFIXES`.
        shortfalls: what it lacks, one line each.
        completing_command: the command that would make that; empty if there is none.
        made: whether the files were written now; if not, they were as they had to be.
    """

    exhibit: Exhibit
    files: list[Path]
    shortfalls: list[str]
    completing_command: str
    made: bool


def render(
    store: Frames, exhibits: Sequence[Exhibit], out: Path, location: str = "results/urfb.sqlite", *, force: bool = False
) -> Iterator[Rendered]:
    """Write each exhibit's files, those that its data, its code or the command have changed since, and yield it.

    Args:
        store: where the frames come from.
        exhibits: what to make.
        out: the folder to write to; made if it does not exist.
        location: how the user named the store, for the commands that the files and the terminal give.
        force: write files even if nothing has changed.

    Raises:
        SelectionError: an exhibit selects by an experiment or a field that does not exist; nothing is written then.
        InputError: the folder cannot be written to.
    """
    runs = store.runs()
    waiting = [exhibit for exhibit in exhibits if exhibit.waits(runs)]
    for exhibit in exhibits:
        if exhibit not in waiting:
            exhibit.selection.check(runs)
    for exhibit in exhibits:
        if exhibit in waiting:
            lacking = [f"no run of the experiment {exhibit.selection.experiment} in the store"]
            yield Rendered(exhibit, [], lacking, completing_command(exhibit, location), made=False)
            continue
        data = exhibit.read(store, runs)
        command = making_command(exhibit, out, location)
        stamp = fingerprint(exhibit, data, command)
        stem = exhibit.stem
        if exhibit.grid is None:
            stem = f"{file_prefix(exhibit.selection.experiment)}{stem}"
        files = [out / f"{stem}.{suffix}" for suffix in SUFFIXES[exhibit.kind]]
        completing = completing_command(exhibit, location)
        if not force and all(file.exists() for file in files):
            head = _head(files[-1])
            if f"fingerprint: {stamp}" in head:
                lacking = [line.removeprefix("incomplete: ") for line in head if line.startswith("incomplete: ")]
                yield Rendered(exhibit, files, lacking, completing, made=False)
                continue
        with matplotlib.rc_context(STYLE):
            made = exhibit.build(data)
            lines = provenance(exhibit, made, command, stamp)
            if isinstance(made, Tabulated):
                contents = _of_table(exhibit, made, lines, stem)
            else:
                contents = _of_figure(exhibit, made, lines, caption(exhibit, data, made, completing))
        for file, content in zip(files, contents, strict=True):
            write_file(file, content)
        yield Rendered(exhibit, files, made.shortfalls, completing, made=True)


def file_prefix(experiment: str | None) -> str:
    """Return what an experiment's files begin with, so that they never take the place of the paper's."""
    return "" if experiment is None else f"{re.sub(r'[^A-Za-z0-9._-]', '-', experiment)}-"


def making_command(exhibit: Exhibit, out: Path, location: str) -> str:
    """Return the command that makes an exhibit again."""
    words = ["urfb", "report", f"{exhibit.kind}s", exhibit.name, "--store", location, "--out", str(out)]
    if exhibit.grid is not None:
        words += ["--grid", str(exhibit.grid)]
    elif exhibit.selection.experiment is not None:
        words += ["--experiment", exhibit.selection.experiment]
    return shlex.join(words)


def completing_command(exhibit: Exhibit, location: str) -> str:
    """Return the command that makes what an exhibit may lack, such as its runs."""
    return f"urfb {exhibit.completed_by} --store {shlex.quote(location)}" if exhibit.completed_by else ""


def provenance(exhibit: Exhibit, made: Drawn | Tabulated, command: str, stamp: str) -> list[str]:
    """Return what a reader needs to trust the numbers and to make them again, one line each."""
    shortfalls = [_one_line(f"incomplete: {line}") for line in made.shortfalls]
    runs = [] if "simulation" in made.runs else _described(made.runs)
    return [*_meaning(exhibit, made), *shortfalls, *_making(made, command, stamp), *runs]


def origin(exhibit: Exhibit, made: Drawn | Tabulated, command: str, stamp: str) -> list[str]:
    """Return the provenance without shortfalls and runs, which the page has elsewhere."""
    return [*_meaning(exhibit, made), *_making(made, command, stamp)]


def _meaning(exhibit: Exhibit, made: Drawn | Tabulated) -> list[str]:
    """Return which runs are selected and what the numbers mean."""
    selection = exhibit.selection.describe()
    return [_one_line(line) for line in (f"selection: {selection}" if selection else "", made.meaning) if line]


def _making(made: Drawn | Tabulated, command: str, stamp: str) -> list[str]:
    """Return what made the numbers: the command, the code, commits and devices, and the simulations of section 5."""
    lines = [f"made by: {command}", f"urfb: {__version__}", f"fingerprint: {stamp}"]
    for column in ("commit", "device"):
        if column in made.runs and made.runs[column].notna().any():
            lines.append(f"{column}: {', '.join(sorted(made.runs[column].dropna().astype(str).unique()))}")
    simulations = _described(made.runs) if "simulation" in made.runs else []
    return [*(_one_line(line) for line in lines), *simulations]


def _described(runs: pd.DataFrame) -> list[str]:
    """Return what each run is, or each simulation of section 5."""
    order = [name for name in ("network", "dataset", "protocol", "seed") if name in runs]
    return [_one_line(_description(run)) for run in runs.sort_values(order, kind="stable").to_dict("records")]


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _description(run: Mapping[Any, Any]) -> str:
    """Return what one run is, or one simulation of section 5."""
    if "simulation" in run:
        return f"simulation {run['simulation']}: {run['rule']}, draw {run['draw']}, {run['method']}"
    trained = f"{run.get('drawn_epochs', run['epochs_done'])} epochs, {run['state']}"
    return f"run {run['run']}: {run['network']}, {run['dataset']}, {run['protocol']}, seed {run['seed']}, {trained}"


def _numbers(exhibit: Exhibit, made: Drawn | Tabulated, lines: list[str]) -> bytes:
    """Return an exhibit's CSV file."""
    head = "".join(f"# {line}\n" for line in [" ".join(exhibit.heading.split()), *lines])
    return (head + made.data.to_csv(index=False, float_format="%.6g", lineterminator="\n")).encode()


def _of_table(exhibit: Exhibit, made: Tabulated, lines: list[str], label: str) -> list[bytes]:
    """Return the contents of a table's files, the same for the same data."""
    notes = [*made.notes, *(f"Incomplete: {line}." for line in made.shortfalls)]
    as_markdown = markdown(exhibit.heading, made.shown, notes, lines)
    above = exhibit.caption[:1].upper() + exhibit.caption[1:]  # LaTeX numbers its tables itself
    as_latex = latex(above, made.shown, notes, lines, label)
    return [as_markdown.encode(), as_latex.encode(), _numbers(exhibit, made, lines)]


def _of_figure(exhibit: Exhibit, made: Drawn, lines: list[str], words: Caption) -> list[bytes]:
    """Return the contents of a figure's files, the same for the same data."""
    subject = ". ".join(lines)
    png, pdf = io.BytesIO(), io.BytesIO()
    title, maker = exhibit.heading, f"urfb {__version__}"
    png_metadata = {"Title": title, "Description": subject, "Software": maker}
    pdf_metadata = {"Title": title, "Subject": subject, "Creator": maker, "CreationDate": None}
    made.figure.savefig(png, format="png", dpi=200, metadata=png_metadata)
    made.figure.savefig(pdf, format="pdf", metadata=pdf_metadata)
    texts = [words.as_text().encode(), words.as_latex(lines).encode()]
    return [png.getvalue(), pdf.getvalue(), *texts, _numbers(exhibit, made, lines)]


def _head(file: Path) -> list[str]:
    """Return the lines of a CSV file's head."""
    head = []
    with file.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if not line.startswith("# "):
                break
            head.append(line[2:].rstrip("\n"))
    return head
