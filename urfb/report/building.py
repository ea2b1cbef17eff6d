"""Reads and builds each exhibit at most once, for all files that show it."""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import matplotlib
import pandas as pd
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.backends.backend_agg import FigureCanvasAgg

from urfb import __version__
from urfb.report.canvas import STYLE
from urfb.report.captions import Caption, caption
from urfb.report.drawn import Drawn, Tabulated
from urfb.report.exhibits import Data, Exhibit, Frames
from urfb.report.fingerprints import fingerprint
from urfb.report.provenance import origin, provenance
from urfb.report.styles import Style

DOTS_PER_INCH = {Style.SCREEN: 200, Style.PAPER: 300}


@dataclass(frozen=True, eq=False)
class Built:
    """An exhibit with its data, and its contents, which are made on first use.

    Attributes:
        exhibit: the figure or table.
        data: the data that it shows.
        command: the command that makes its files.
        completing_command: the command that trains missing runs; empty if there is none.
    """

    exhibit: Exhibit
    data: Data
    command: str
    completing_command: str

    @cached_property
    def stamp(self) -> str:
        """The fingerprint of the exhibit's files."""
        return fingerprint(self.exhibit, self.data, self.command)

    @cached_property
    def made(self) -> Drawn | Tabulated:
        """The drawn figure, laid out, or the table.

        Raises:
            ReportError: a user's function fails, or returns something that cannot become files.
        """
        with matplotlib.rc_context(STYLE):
            made = self.exhibit.build(self.data)
            if isinstance(made, Drawn):
                _lay_out(made, DOTS_PER_INCH[self.data.style])
        return made

    @cached_property
    def provenance(self) -> list[str]:
        """Everything needed to check and to reproduce the numbers, one line each."""
        return provenance(self.exhibit, self.made, self.command, self.stamp)

    @property
    def figure(self) -> Drawn:
        """The drawn figure, for an exhibit that is a figure."""
        assert isinstance(self.made, Drawn)
        return self.made

    @cached_property
    def caption(self) -> Caption:
        """The caption of a figure."""
        return caption(self.exhibit, self.data, self.figure, self.completing_command)

    @cached_property
    def png(self) -> bytes:
        """A figure as PNG."""
        metadata = {"Title": self.exhibit.heading, "Description": self._subject, "Software": f"urfb {__version__}"}
        png = self._saved("png", metadata, dpi=DOTS_PER_INCH[self.data.style])
        FigureCanvasBase(self.figure.figure)  # frees the pixels of the canvas from the layout
        return png

    @property
    def pdf(self) -> bytes:
        """A figure as PDF."""
        metadata = {"Title": self.exhibit.heading, "Subject": self._subject, "Creator": f"urfb {__version__}"}
        return self._saved("pdf", {**metadata, "CreationDate": None})

    @property
    def origin(self) -> list[str]:
        """The provenance without shortfalls and runs."""
        return origin(self.exhibit, self.made, self.command, self.stamp)

    @property
    def svg(self) -> bytes:
        """A figure as SVG."""
        names: dict[bytes, bytes] = {}
        # Matplotlib's names are hashes of coordinates, whose last bits differ between two layouts, or random.
        svg = re.sub(
            rb"\b([a-z]|image)[0-9a-f]{10}\b",
            lambda name: names.setdefault(name[0], b"shape-%d" % (len(names) + 1)),
            self._saved("svg", {"Date": None}),
        )
        # Rounding to a hundredth of a point is invisible and halves the size of a line of 1,000 epochs.
        return re.sub(rb' d="[^"]*"', lambda path: _rounded(path[0]), svg)

    @property
    def _subject(self) -> str:
        return ". ".join(self.provenance)

    def _saved(self, form: str, metadata: Mapping[str, str | None], dpi: float | Literal["figure"] = "figure") -> bytes:
        """Return the figure in a format; the same data give the same bytes."""
        content = io.BytesIO()
        with matplotlib.rc_context(STYLE), _glyphs_only():
            self.figure.figure.savefig(content, format=form, metadata=metadata, dpi=dpi)
        return content.getvalue()


class Builder:
    """Reads exhibits' data from a store and builds them.

    Args:
        frames: the store, or anything with its frames.
        location: the store as the user named it, for the commands in the files.
        style: the style of figures.
    """

    def __init__(self, frames: Frames, location: str, style: Style = Style.SCREEN) -> None:
        """Keep the arguments; the store is read on first use."""
        self.frames, self.location, self.style = frames, location, style
        self._built: dict[tuple[str, str | None, Path], Built] = {}

    @cached_property
    def runs(self) -> pd.DataFrame:
        """All runs of the store."""
        return self.frames.runs()

    def build(self, exhibit: Exhibit, out: Path) -> Built:
        """Return an exhibit with its data, which are read at most once.

        Args:
            exhibit: the figure or table.
            out: the folder for its files.
        """
        key = (exhibit.label, exhibit.selection.experiment, out)
        if key not in self._built:
            command = making_command(exhibit, out, self.location, self.style)
            data = self._known(exhibit) or exhibit.read(self.frames, self.runs, self.style)
            completing = completing_command(exhibit, self.location)
            self._built[key] = Built(exhibit, data, command, completing)
        return self._built[key]

    def _known(self, exhibit: Exhibit) -> Data | None:
        """Return the data of a built exhibit that shows the same; None if there is none, or if a user declares it.

        A figure and the table behind it often show the same. A user's function may change its data.
        """
        if exhibit.source is not None:
            return None
        return next((built.data for built in self._built.values() if _shows(built.exhibit) == _shows(exhibit)), None)


def _shows(exhibit: Exhibit) -> tuple[object, ...]:
    return exhibit.selection, exhibit.measured, exhibit.source


@contextmanager
def _glyphs_only() -> Iterator[None]:
    """Embed fonts in PDF files without the tables for laying out text, which PDF readers do not use.

    Reducing these tables takes three quarters of the time of embedding a font. Matplotlib has no option to drop them,
    so this changes the default of fontTools. If fontTools no longer has that default, files only take longer.
    """
    from fontTools import subset  # only PDF files need it

    usual = getattr(subset.Options, "_drop_tables_default", None)
    if usual is None:
        yield
        return
    subset.Options._drop_tables_default = [*usual, "GDEF", "GPOS", "GSUB"]
    try:
        yield
    finally:
        subset.Options._drop_tables_default = usual


def _rounded(path: bytes) -> bytes:
    """Return a path of an SVG with at most two decimals, and no -0."""
    return re.sub(rb"-(0(?:\.0+)?)(?![.\d])", rb"\1", re.sub(rb"(\.\d\d)\d+", rb"\1", path))


def _lay_out(drawn: Drawn, dots_per_inch: int) -> None:
    """Lay out a figure once, because matplotlib would do so twice for each file, and slightly differently."""
    figure = drawn.figure
    engine = figure.get_layout_engine()
    if engine is not None and figure.axes:
        FigureCanvasAgg(figure)  # keeps the measured sizes of texts, which the PNG file needs, too
        usual = figure.dpi
        figure.dpi = dots_per_inch
        with suppress(ValueError):  # as matplotlib does when it draws
            engine.execute(figure)
        figure.dpi = usual
    figure.set_layout_engine(None)


def making_command(exhibit: Exhibit, out: Path, location: str, style: Style = Style.SCREEN) -> str:
    """Return the command that makes an exhibit's files."""
    words = ["urfb", "report", f"{exhibit.kind}s", exhibit.name, "--store", location, "--out", str(out)]
    if exhibit.grid is not None:
        words += ["--grid", str(exhibit.grid)]
    elif exhibit.selection.experiment is not None:
        words += ["--experiment", exhibit.selection.experiment]
    if exhibit.kind == "figure" and style is not Style.SCREEN:
        words += ["--style", style.value]
    return shlex.join(words)


def completing_command(exhibit: Exhibit, location: str) -> str:
    """Return the command that trains an exhibit's missing runs; empty if there is none."""
    return f"urfb {exhibit.completed_by} --store {shlex.quote(location)}" if exhibit.completed_by else ""
