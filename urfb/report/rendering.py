"""Figures and tables as files, which are written again when something has changed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from urfb.files import write_file
from urfb.report.building import Builder, Built, completing_command
from urfb.report.drawn import Drawn, Tabulated
from urfb.report.exhibits import Exhibit, Frames
from urfb.report.styles import Style
from urfb.report.texts import latex, markdown

SUFFIXES = {"figure": ("png", "pdf", "txt", "tex", "csv"), "table": ("md", "tex", "csv")}
"""The files of each kind of exhibit. The last one has the provenance in its head."""


@dataclass(frozen=True)
class Rendered:
    """An exhibit and its files.

    Attributes:
        exhibit: the figure or table.
        files: its files, in the order of `SUFFIXES`; empty if it waits for the runs of an experiment.
        shortfalls: the missing data, one line each.
        completing_command: the command that trains the missing runs; empty if there is none.
        made: whether the files were written now; otherwise they were up to date.
    """

    exhibit: Exhibit
    files: list[Path]
    shortfalls: list[str]
    completing_command: str
    made: bool


def render(
    store: Frames,
    exhibits: Sequence[Exhibit],
    out: Path,
    location: str = "results/urfb.sqlite",
    *,
    style: Style = Style.SCREEN,
    force: bool = False,
    builder: Builder | None = None,
) -> Iterator[Rendered]:
    """Write the files of each exhibit whose data, code or command have changed, and yield each exhibit.

    Args:
        store: the source of the frames.
        exhibits: the figures and tables to make.
        out: the folder to write to; created if it does not exist.
        location: the store as the user named it, for the commands in the files and in the terminal.
        style: the style of figures.
        force: whether to write files even if nothing has changed.
        builder: the builder that reads and builds the exhibits; by default, one for `store`, `location` and `style`.

    Raises:
        SelectionError: an exhibit selects an experiment or a field that does not exist; nothing is written then.
        InputError: the folder cannot be written to.
    """
    builder = builder or Builder(store, location, style)
    waiting = [exhibit for exhibit in exhibits if exhibit.waits(builder.runs)]
    for exhibit in exhibits:
        if exhibit not in waiting:
            exhibit.check(builder.runs)
    for exhibit in exhibits:
        if exhibit in waiting:
            lacking = [f"no run of the experiment {exhibit.selection.experiment} in the store"]
            yield Rendered(exhibit, [], lacking, completing_command(exhibit, builder.location), made=False)
            continue
        built = builder.build(exhibit, out)
        stem = exhibit.stem
        if exhibit.grid is None:
            stem = f"{file_prefix(exhibit.selection.experiment)}{stem}"
        files = [out / f"{stem}.{suffix}" for suffix in SUFFIXES[exhibit.kind]]
        if not force and all(file.exists() for file in files):
            head = _head(files[-1])
            if f"fingerprint: {built.stamp}" in head:
                lacking = [line.removeprefix("incomplete: ") for line in head if line.startswith("incomplete: ")]
                yield Rendered(exhibit, files, lacking, built.completing_command, made=False)
                continue
        for file, content in zip(files, _contents(built, stem), strict=True):
            write_file(file, content)
        yield Rendered(exhibit, files, built.made.shortfalls, built.completing_command, made=True)


def file_prefix(experiment: str | None) -> str:
    """Return the prefix of the names of an experiment's files, so that they never replace the paper's."""
    return "" if experiment is None else f"{re.sub(r'[^A-Za-z0-9._-]', '-', experiment)}-"


def _numbers(exhibit: Exhibit, made: Drawn | Tabulated, lines: list[str]) -> bytes:
    """Return an exhibit's CSV file."""
    head = "".join(f"# {line}\n" for line in [" ".join(exhibit.heading.split()), *lines])
    return (head + made.data.to_csv(index=False, float_format="%.6g", lineterminator="\n")).encode()


def _contents(built: Built, label: str) -> list[bytes]:
    """Return the contents of an exhibit's files, in the order of `SUFFIXES`; the same for the same data."""
    exhibit, made, lines = built.exhibit, built.made, built.provenance
    numbers = _numbers(exhibit, made, lines)
    if not isinstance(made, Tabulated):
        texts = [built.caption.as_text().encode(), built.caption.as_latex(lines).encode()]
        return [built.png, built.pdf, *texts, numbers]
    notes = [*made.notes, *(f"Incomplete: {line}." for line in made.shortfalls)]
    as_markdown = markdown(exhibit.heading, made.shown, notes, lines)
    above = exhibit.caption[:1].upper() + exhibit.caption[1:]  # LaTeX numbers its tables itself
    return [as_markdown.encode(), latex(above, made.shown, notes, lines, label).encode(), numbers]


def _head(file: Path) -> list[str]:
    """Return the lines of a CSV file's head."""
    head = []
    with file.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if not line.startswith("# "):
                break
            head.append(line[2:].rstrip("\n"))
    return head
