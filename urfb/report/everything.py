"""A whole report in one folder: figures, tables, verdicts and the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from urfb.files import write_file
from urfb.report.building import Builder
from urfb.report.claims import SETTINGS, ClaimResult, evaluate
from urfb.report.claims.findings import findings
from urfb.report.claims.formatting import as_json, as_summary, as_text
from urfb.report.exhibits import Exhibit, Frames, fitting
from urfb.report.page.document import default_file, write_page
from urfb.report.rendering import render
from urfb.report.styles import Style


@dataclass(frozen=True)
class Part:
    """One part of a report: its name, its files, whether they were written now, and what it lacks."""

    name: str
    files: list[Path]
    made: bool
    shortfalls: list[str]


def verdicts(store: Frames, location: str) -> list[ClaimResult]:
    """Return the verdicts on all claims in every setting."""
    return [result for setting in SETTINGS.values() for result in evaluate(store, [], setting, location)]


def everything(
    store: Frames,
    exhibits: Sequence[Exhibit],
    folder: Path,
    *,
    location: str = "results/urfb.sqlite",
    experiment: str | None = None,
    logs: Path | None = None,
    style: Style = Style.SCREEN,
    force: bool = False,
) -> Iterator[Part]:
    """Make the parts of a report that have changed, and yield each part.

    Args:
        store: the source of the frames.
        exhibits: the figures and tables.
        folder: the folder for figures/, tables/, claims.json, claims.txt and page.html.
        location: the store as the user named it, for the commands in the files.
        experiment: the experiment to show; the claims, which are about the paper's runs, are then left out.
        logs: the folder of the store's logs.
        style: the style of the figures, which also chooses their folder; the page has figures for a screen.
        force: whether to write files even if nothing has changed.

    Raises:
        SelectionError: an exhibit selects an experiment or a field that does not exist.
        InputError: the folder cannot be written to.
    """
    builder = Builder(store, location)
    exhibits = fitting(exhibits, builder.runs)
    for kind in ("figure", "table"):
        shown = [exhibit for exhibit in exhibits if exhibit.kind == kind]
        drawing = Builder(store, location, style) if kind == "figure" and style is not builder.style else builder
        out = folder / (style.folder if kind == "figure" else "tables")
        for rendered in render(store, shown, out, force=force, builder=drawing):
            yield Part(rendered.exhibit.label, rendered.files, rendered.made, rendered.shortfalls)
    claims = [] if experiment else verdicts(store, location)
    if claims:
        by_setting = [[claim for claim in claims if claim.setting is setting] for setting in SETTINGS.values()]
        details = [as_summary(findings(claims)), *(as_text(part) for part in by_setting)]
        texts = {"claims.json": as_json(claims), "claims.txt": "\n\n\n".join(details)}
        changed = [_write_if_changed(folder / name, f"{text}\n".encode(), force) for name, text in texts.items()]
        yield Part("Claims", [folder / name for name in texts], any(changed), [])
    page = write_page(
        store,
        exhibits,
        default_file(folder, experiment),
        location=location,
        claims=claims,
        experiment=experiment,
        logs=logs,
        folder=folder,
        force=force,
        builder=builder,
    )
    yield Part("Page", [page.file], page.made, [])


def _write_if_changed(file: Path, content: bytes, force: bool) -> bool:
    if not force and file.exists() and file.read_bytes() == content:
        return False
    write_file(file, content)
    return True
