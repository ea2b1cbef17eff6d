"""The page as a whole: what is on it, when it is made again, and the file."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from urfb import __version__
from urfb.files import write_file
from urfb.report.canvas import STYLE
from urfb.report.captions import caption
from urfb.report.claims import ClaimResult, Verdict
from urfb.report.claims.formatting import as_json, claimed, measured, missing, tested_by, undecided
from urfb.report.drawn import Drawn, Tabulated
from urfb.report.exhibits import Data, Exhibit, Frames, fitting
from urfb.report.fingerprints import fingerprint
from urfb.report.page.runs import details, rows
from urfb.report.rendering import completing_command, file_prefix, making_command, origin
from urfb.report.selection import experiment_runs

MAGNIFIED = 1.35
"""How much larger than in the journal a figure is shown, for type of 8 points is small on a screen."""
HEAVIEST_SVG = 400_000
"""Bytes. What has more, of many images or points, is shown as PNG."""
STATES = ("done", "running", "unfinished", "failed", "cancelled", "new")
NAMED_RUNS = 60
"""Of each exhibit; its CSV names all."""
SHOWN_ROWS = 500
"""Of the table of runs, until all are asked for: a browser takes a second to lay out thousands."""
TEMPLATES = Path(__file__).parent


@dataclass(frozen=True, eq=False)
class _Inputs:
    """What an exhibit on the page is made of: its data, the command that makes its files, and the fingerprint."""

    exhibit: Exhibit
    data: Data
    command: str
    stamp: str


@dataclass(frozen=True)
class Shown:
    """An exhibit on the page.

    Attributes:
        exhibit: what it is.
        picture: of a figure, a `data:` URL; `width` and `height` are in CSS pixels.
        caption: of a figure, what is drawn, from which runs, and what is missing, in sentences without markup.
        columns, rows, notes: of a table, all text.
        shortfalls: what it lacks, one line each.
        command: the one that completes it; empty if there is none.
        provenance: one line each; `runs` are the identities of the runs that it shows.
    """

    exhibit: Exhibit
    picture: str
    width: int
    height: int
    caption: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str]
    shortfalls: list[str]
    command: str
    provenance: list[str]
    runs: list[str]

    @property
    def alternative(self) -> str:
        """The figure in words, for those who do not see it."""
        lacking = f" Incomplete: {'; '.join(self.shortfalls)}." if self.shortfalls else ""
        return f"{self.exhibit.label}: {self.exhibit.title}.{lacking} The numbers drawn are in its CSV file."


@dataclass(frozen=True)
class Written:
    """The page's file, and whether it was written now; if not, it was as it had to be."""

    file: Path
    made: bool


def default_file(folder: Path, experiment: str | None) -> Path:
    """Return the page's file in a folder; an experiment has one of its own."""
    return folder / f"{file_prefix(experiment)}page.html"


def write_page(
    store: Frames,
    exhibits: Sequence[Exhibit],
    out: Path,
    *,
    location: str = "results/urfb.sqlite",
    claims: Sequence[ClaimResult] = (),
    experiment: str | None = None,
    logs: Path | None = None,
    folder: Path = Path("results"),
    force: bool = False,
) -> Written:
    """Write the page of a store, unless it is as it has to be.

    Args:
        store: where the frames come from.
        exhibits: the figures and tables on it, in their order.
        out: the file.
        location: how the user named the store, for the commands that the page gives.
        claims: the verdicts on the paper's claims.
        experiment: the one whose runs are listed; all runs if there is none.
        logs: the folder of the store's logs.
        folder: the one in whose figures/ and tables/ the commands on the page write.
        force: write the page even if nothing has changed.

    Raises:
        SelectionError: an exhibit selects by an experiment or a field that does not exist.
        InputError: the file cannot be written.
    """
    all_runs = store.runs()
    inputs = _read(store, exhibits, all_runs, folder, location)
    runs = experiment_runs(all_runs, experiment)
    stamps = [item.stamp for item in inputs]
    listed, unfolded = rows(runs), details(store, runs, logs)

    sources = [(TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.html.jinja", "page.css", "page.js")]
    stamp = _hash(__version__, *sources, *stamps, location, str(experiment), repr(listed), as_json(claims), unfolded)
    if not force and _stamp(out) == stamp:
        return Written(out, made=False)

    shown = [_shown(item, location) for item in inputs]
    _, style, script = sources
    text = _template().render(
        version=__version__,
        stamp=stamp,
        style=style,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        location=location,
        experiment=experiment,
        **_summaries(runs, claims),
        figures=[item for item in shown if item.exhibit.kind == "figure"],
        tables=[item for item in shown if item.exhibit.kind == "table"],
        listed_runs={row.identity for row in listed},
        rows=listed,
        details=unfolded,
    )
    write_file(out, text.encode("utf-8", errors="replace"))
    return Written(out, made=True)


def _read(store: Frames, exhibits: Sequence[Exhibit], runs: pd.DataFrame, folder: Path, location: str) -> list[_Inputs]:
    """Read the exhibits' data, once it is sure that the runs have what all of them select."""
    exhibits = [exhibit for exhibit in fitting(exhibits, runs) if not exhibit.waits(runs)]
    for exhibit in exhibits:
        exhibit.selection.check(runs)
    inputs = []
    for exhibit in exhibits:
        data = exhibit.read(store, runs)
        command = making_command(exhibit, folder / f"{exhibit.kind}s", location)
        inputs.append(_Inputs(exhibit, data, command, fingerprint(exhibit, data, command)))
    return inputs


def _template() -> Template:
    """Return the page's template with the functions and limits that it uses."""
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    environment.globals |= {
        function.__name__: function for function in (measured, claimed, tested_by, undecided, missing)
    }
    environment.globals |= {"named_runs": NAMED_RUNS, "shown_rows": SHOWN_ROWS}
    return environment.get_template("page.html.jinja")


def _summaries(runs: pd.DataFrame, claims: Sequence[ClaimResult]) -> dict[str, Any]:
    """Return what the page says of all runs and claims together."""
    return {
        "summary": _summary(runs),
        "states": _states(runs),
        "claims": claims,
        "settings": _by_setting(claims),
        "verdicts": {verdict.value: sum(claim.verdict is verdict for claim in claims) for verdict in Verdict},
    }


def _shown(inputs: _Inputs, location: str) -> Shown:
    exhibit = inputs.exhibit
    picture, width, height, words = "", 0, 0, ""
    columns: list[str] = []
    cells: list[list[str]] = []
    notes: list[str] = []
    with matplotlib.rc_context(STYLE):
        made = exhibit.build(inputs.data)
        if isinstance(made, Drawn):
            picture = _picture(made)
            width, height = (round(96 * MAGNIFIED * inches) for inches in made.figure.get_size_inches())
            words = caption(exhibit, inputs.data, made, completing_command(exhibit, location)).body
    if isinstance(made, Tabulated):
        columns = [str(name) for name in made.shown.columns]
        cells = [[str(cell) for cell in row] for row in made.shown.itertuples(index=False)]
        notes = made.notes
    return Shown(
        exhibit=exhibit,
        picture=picture,
        width=width,
        height=height,
        caption=words,
        columns=columns,
        rows=cells,
        notes=notes,
        shortfalls=made.shortfalls,
        command=completing_command(exhibit, location) if made.shortfalls else "",
        provenance=origin(exhibit, made, inputs.command, inputs.stamp),
        runs=[str(run) for run in made.runs["run"]] if "run" in made.runs else [],
    )


def _picture(drawn: Drawn) -> str:
    """Return a figure as a `data:` URL: as SVG, sharp at any size, or as PNG where that would be heavy."""
    svg = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "urfb"}):  # else every SVG has other identifiers
        drawn.figure.savefig(svg, format="svg", metadata={"Date": None})
    # A hundredth of a point is more than enough, and halves what a line of 1,000 epochs takes.
    small = re.sub(
        rb' d="[^"]*"', lambda path: re.sub(rb"(\.\d\d)\d+", rb"\1", path.group()), svg.getvalue()
    )  # fmt: skip
    kind = "svg+xml"
    if len(small) > HEAVIEST_SVG:
        png = io.BytesIO()
        drawn.figure.savefig(png, format="png", dpi=150)
        small, kind = png.getvalue(), "png"
    return f"data:image/{kind};base64,{base64.b64encode(small).decode()}"


def _states(runs: pd.DataFrame) -> dict[str, int]:
    """Return how many runs are in each state, those in the usual order first."""
    counts = runs["state"].value_counts()
    order = [*(state for state in STATES if state in counts), *sorted(set(counts.index) - set(STATES))]
    return {str(state): int(counts[state]) for state in order}


def _summary(runs: pd.DataFrame) -> dict[str, str]:
    """Return what the runs amount to, in words."""
    epochs = int(runs["epochs_done"].sum())
    summary = {"Epochs trained": f"{epochs:,}"}
    if "seconds" in runs and runs["seconds"].sum() > 0:
        hours = runs["seconds"].sum() / 3600
        summary["Time of training"] = f"{hours:,.1f} hours" if hours >= 1 else f"{60 * hours:,.1f} minutes"
    for name, title in (("device_name", "Trained on"), ("commit", "Commits")):
        values = sorted({str(value) for value in runs[name].dropna()}) if name in runs else []
        if values:
            summary[title] = ", ".join(values[:5]) + (f" and {len(values) - 5} more" if len(values) > 5 else "")
    return summary


def _by_setting(claims: Sequence[ClaimResult]) -> dict[str, list[ClaimResult]]:
    """Return the claims by what they were tested on, in words."""
    groups: dict[str, list[ClaimResult]] = {}
    for claim in claims:
        groups.setdefault(claim.setting.title, []).append(claim)
    return groups


def _hash(*parts: object) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update((part if isinstance(part, str) else json.dumps(part)).encode("utf-8", errors="replace") + b"\0")
    return digest.hexdigest()[:16]


def _stamp(file: Path) -> str | None:
    """Return the fingerprint that a page was made of; None if there is no such page."""
    try:
        with file.open(encoding="utf-8", errors="replace") as page:
            stamp = re.search(r'<meta name="urfb-fingerprint" content="(\w+)">', page.read(4096))
    except OSError:
        return None
    return stamp.group(1) if stamp else None
