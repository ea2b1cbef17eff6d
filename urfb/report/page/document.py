"""The HTML page as a whole: its contents, its file, and when the file must be written again."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from urfb import __version__
from urfb.files import write_file
from urfb.grid.naming import settings_in, shared, split_names, value_text
from urfb.report.building import Builder, Built
from urfb.report.claims import ClaimResult, Verdict
from urfb.report.claims.findings import findings
from urfb.report.claims.formatting import (
    as_json,
    claimed,
    evidence,
    measured,
    missing,
    missing_runs,
    tested_by,
    undecided,
)
from urfb.report.drawn import Tabulated, listed, span
from urfb.report.exhibits import Exhibit, Frames, fitting
from urfb.report.page.runs import details, rows
from urfb.report.rendering import file_prefix
from urfb.report.selection import experiment_runs, own_fields
from urfb.report.texts import PLUS_MINUS

MAGNIFIED = 1.35
"""The size of a figure on the page relative to print, because 8-point type is small on a screen."""
HEAVIEST_SVG = 400_000
"""The size in bytes above which a figure, with many images or points, is shown as PNG."""
STATES = ("done", "running", "unfinished", "failed", "cancelled", "new")
NAMED_RUNS = 60
"""The most runs listed for an exhibit; its CSV file lists all."""
SHOWN_ROWS = 500
"""The rows of the table of runs before "Show all": a browser takes a second to lay out thousands."""
EVIDENCE_SHOWN = 3
"""The most results of a claim's components shown next to its verdict; the rest are in its tests."""
TEMPLATES = Path(__file__).parent
SOURCES = ("page.html.jinja", "page.css", "page.js")


@dataclass(frozen=True)
class Shown:
    """An exhibit on the page.

    Attributes:
        exhibit: the declaration of the figure or table.
        picture: a figure's `data:` URL; empty for a table.
        width, height: a figure's size in CSS pixels.
        caption: a figure's caption without its title, as plain sentences; empty for a table.
        columns, rows, notes: a table's contents as text.
        shortfalls: the missing data, one line each.
        command: the command that completes the exhibit; empty if there is none.
        provenance: the provenance, one line each.
        runs: the identities of the runs shown.
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
        """The text alternative of the figure."""
        lacking = f" Incomplete: {'; '.join(self.shortfalls)}." if self.shortfalls else ""
        return f"{self.exhibit.label}: {self.exhibit.title}.{lacking} Its CSV file has the numbers."


@dataclass(frozen=True)
class Written:
    """The page's file, and whether it was written or already up to date."""

    file: Path
    made: bool


def default_file(folder: Path, experiment: str | None) -> Path:
    """Return the page's file in a folder; an experiment has a separate file."""
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
    builder: Builder | None = None,
) -> Written:
    """Write the page of a store, unless the file is up to date.

    Args:
        store: the source of the frames.
        exhibits: the figures and tables, in the order of the page.
        out: the file to write.
        location: the store as the user named it, for the commands on the page.
        claims: the verdicts on the paper's claims, in all settings.
        experiment: the experiment whose runs are listed; None for all runs.
        logs: the folder of the store's logs.
        folder: the folder whose figures/ and tables/ the commands on the page write to.
        force: whether to write the page even if nothing has changed.
        builder: the builder that reads and builds the exhibits; by default, one for `store` and `location`.

    Raises:
        SelectionError: an exhibit selects an experiment or a field that does not exist.
        InputError: the file cannot be written.
    """
    builder = builder or Builder(store, location)
    built = _built(builder, exhibits, folder)
    runs = experiment_runs(builder.runs, experiment)
    stamps = [item.stamp for item in built]
    listed, unfolded = rows(runs), details(store, runs, logs)

    _, style, script = sources = [(TEMPLATES / name).read_text(encoding="utf-8") for name in SOURCES]
    stamp = _hash(__version__, *sources, *stamps, location, str(experiment), repr(listed), as_json(claims), unfolded)
    if not force and _stamp(out) == stamp:
        return Written(out, made=False)

    shown = [_shown(item) for item in built]
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


def _built(builder: Builder, exhibits: Sequence[Exhibit], folder: Path) -> list[Built]:
    """Return the exhibits with their data after checking that the runs have the fields of all selections."""
    exhibits = [exhibit for exhibit in fitting(exhibits, builder.runs) if not exhibit.waits(builder.runs)]
    for exhibit in exhibits:
        exhibit.check(builder.runs)
    return [builder.build(exhibit, folder / f"{exhibit.kind}s") for exhibit in exhibits]


def _template() -> Template:
    """Return the page's template with its functions and limits."""
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    environment.globals |= {
        function.__name__: function
        for function in (evidence, measured, claimed, tested_by, undecided, missing, missing_runs)
    }
    environment.globals |= {"named_runs": NAMED_RUNS, "shown_rows": SHOWN_ROWS, "evidence_shown": EVIDENCE_SHOWN}
    return environment.get_template("page.html.jinja")


def _summaries(runs: pd.DataFrame, claims: Sequence[ClaimResult]) -> dict[str, Any]:
    """Return the counts of runs and claims, and the claims with those that have a verdict first."""
    found = sorted(findings(claims), key=lambda finding: finding.verdict is Verdict.UNDECIDED)
    return {
        "summary": _summary(runs),
        "settings": _settings(runs),
        "experiments": [f"{name} ({count:,})" for name, count in _experiments(runs)],
        "states": _states(runs),
        "origins": _origins(runs),
        "findings": found,
        "verdicts": {verdict.value: sum(finding.verdict is verdict for finding in found) for verdict in Verdict},
    }


def _settings(runs: pd.DataFrame) -> list[str]:
    """Return a sentence with the settings that all runs share, and a sentence for each named network."""
    settings = settings_in(runs)
    common = [f"{name.replace('_', ' ')} {value_text(settings[0][name])}" for name in shared(settings)]
    networks = runs[["network", "layers"]].drop_duplicates().dropna().itertuples(index=False)
    return [
        *([f"All runs have {listed(common)}."] if common else []),
        *(f"{name}: {layers}." for name, layers in networks if name != layers),
    ]


def _experiments(runs: pd.DataFrame) -> list[tuple[str, int]]:
    """Return the experiments of the runs, with their numbers of runs."""
    return sorted(Counter(name for names in runs["experiments"] for name in split_names(names)).items())


def _shown(built: Built) -> Shown:
    made = built.made
    picture, width, height, words = "", 0, 0, ""
    columns: list[str] = []
    cells: list[list[str]] = []
    notes: list[str] = []
    if isinstance(made, Tabulated):
        columns = [str(name) for name in made.shown.columns]
        cells = [[_unbroken(str(cell)) for cell in row] for row in made.shown.itertuples(index=False)]
        notes = made.notes
    else:
        picture = _picture(built)
        width, height = (round(96 * MAGNIFIED * inches) for inches in made.figure.get_size_inches())
        words = built.caption.body
    return Shown(
        exhibit=built.exhibit,
        picture=picture,
        width=width,
        height=height,
        caption=words,
        columns=columns,
        rows=cells,
        notes=notes,
        shortfalls=made.shortfalls,
        command=built.completing_command if made.shortfalls else "",
        provenance=built.origin,
        runs=[str(run) for run in made.runs["run"]] if "run" in made.runs else [],
    )


def _unbroken(cell: str) -> str:
    """Return a cell that a browser does not break at the ± of an interval."""
    return cell.replace(PLUS_MINUS, PLUS_MINUS.replace(" ", "\N{NO-BREAK SPACE}"))


def _picture(built: Built) -> str:
    """Return a figure as a `data:` URL: SVG, which is sharp at any size, or PNG if the SVG is too large."""
    content, kind = built.svg, "svg+xml"
    if len(content) > HEAVIEST_SVG:
        content, kind = built.png, "png"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _states(runs: pd.DataFrame) -> dict[str, int]:
    """Return the number of runs in each state, in the usual order of states."""
    counts = runs["state"].value_counts()
    order = [*(state for state in STATES if state in counts), *sorted(set(counts.index) - set(STATES))]
    return {str(state): int(counts[state]) for state in order}


def _summary(runs: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Return the totals of the trained runs: by title, the total and a remark."""
    trained = runs[runs["epochs_done"] > 0]
    epochs = int(runs["epochs_done"].sum())
    summary = {"Epochs": (f"{epochs:,}", f"{span(trained['epochs_done'])} per run" if epochs else "")}
    if epochs:
        settings = [name for name in own_fields(trained) if name not in ("run", "seed")]
        seeds = trained.groupby(settings, dropna=False)["seed"].nunique()
        summary["Seeds"] = (f"{trained['seed'].nunique():,}", f"{span(seeds)} for the same settings")
    if "seconds" in runs and runs["seconds"].sum() > 0:
        hours = runs["seconds"].sum() / 3600
        time = f"{hours:,.1f} hours" if hours >= 1 else f"{60 * hours:,.1f} minutes"
        summary["Training time"] = (time, _listed(runs, "device_name", "on "))
    return summary


def _origins(runs: pd.DataFrame) -> str:
    """Return a sentence with the commits that trained the runs; empty if they are unknown."""
    return _listed(runs, "commit", "Commits of urfb that trained these runs: ", ".")


def _listed(runs: pd.DataFrame, column: str, before: str, after: str = "") -> str:
    """Return up to five distinct values of a column between two texts; empty if there are none."""
    values = sorted({str(value) for value in runs[column].dropna()}) if column in runs else []
    more = f" and {len(values) - 5} more" if len(values) > 5 else ""
    return f"{before}{', '.join(values[:5])}{more}{after}" if values else ""


def _hash(*parts: object) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update((part if isinstance(part, str) else json.dumps(part)).encode("utf-8", errors="replace") + b"\0")
    return digest.hexdigest()[:16]


def _stamp(file: Path) -> str | None:
    """Return the fingerprint in a page's head; None if there is no page."""
    try:
        with file.open(encoding="utf-8", errors="replace") as page:
            stamp = re.search(r'<meta name="urfb-fingerprint" content="(\w+)">', page.read(4096))
    except OSError:
        return None
    return stamp.group(1) if stamp else None
