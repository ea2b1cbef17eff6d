"""Figures and tables as declarations: which runs each shows, what it reads of them, and the function that makes it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from typing import Protocol as Interface

import pandas as pd

from urfb.errors import ReportError, SelectionError, nearest
from urfb.plugins import USERS_ERRORS, place_of, users_code
from urfb.report.drawn import Drawn, Tabulated, identities
from urfb.report.selection import Panel, Selection, experiment_runs, panels
from urfb.report.styles import Style

if TYPE_CHECKING:
    from urfb.store import LocatedFilters

PAPER = "Amit (2019), Deep Learning With Asymmetric Connections and Hebbian Updates"

# What the provenance says of each run.
DESCRIBED = ("network", "dataset", "protocol", "seed", "epochs_done", "state")

SCHEMATIC = Selection()  # of no runs
GRID_FILE = Path("experiments.yaml")


class Frames(Interface):
    """What a report reads: a results store, or anything with its tidy frames."""

    def runs(self) -> pd.DataFrame:
        """Return one row a run."""
        ...

    def epochs(self, *, run: list[str]) -> pd.DataFrame:
        """Return one row for each epoch of these runs."""
        ...

    def alignment(self, *, run: list[str]) -> pd.DataFrame:
        """Return one row for each measured step and layer of these runs."""
        ...

    def filters(self, run: str) -> list[LocatedFilters]:
        """Return the filters of an untied layer that are kept of one run."""
        ...

    def simulations(self, **filters: Any) -> pd.DataFrame:
        """Return one row a simulation of section 5."""
        ...

    def trajectories(self, **filters: Any) -> pd.DataFrame:
        """Return one row for each moment that is kept of a simulation."""
        ...

    def trajectory_layers(self, **filters: Any) -> pd.DataFrame:
        """Return one row for each moment and layer of a simulation."""
        ...


@dataclass(frozen=True, eq=False)
class Data:
    """What one exhibit is made of.

    Attributes:
        panels: its runs, sorted into panels of runs that can be compared.
        measured: the frames that it asked for, by name: one row for each measurement, with the run's settings.
        style: the style of a figure.
    """

    panels: list[Panel]
    measured: Mapping[str, pd.DataFrame]
    style: Style = Style.SCREEN

    @property
    def runs(self) -> pd.DataFrame:
        """The runs of all panels, each once."""
        return pd.concat([panel.runs for panel in self.panels]).drop_duplicates("run")


Reader = Callable[[Frames, list[str]], pd.DataFrame]
"""Reads one frame, of the runs with these identities."""


def _filters(frames: Frames, runs: list[str]) -> pd.DataFrame:
    """Return one row for each filter kept, with its weights as an array [height, width, channels]."""
    rows = [
        {"run": run, "epoch": at.epoch, "layer": at.layer, "row": at.row, "column": at.column, "filter": number}
        | {"weights": weights}
        for run in runs
        for at in frames.filters(run)
        for number, weights in enumerate(at.weights, start=1)
    ]
    return pd.DataFrame(rows, columns=["run", "epoch", "layer", "row", "column", "filter", "weights"])


READERS: dict[str, Reader] = {
    "epochs": lambda frames, runs: frames.epochs(run=runs),
    "alignment": lambda frames, runs: frames.alignment(run=runs),
    "filters": _filters,
    "simulations": lambda frames, _: frames.simulations(),
    "trajectories": lambda frames, _: frames.trajectories(),
    "trajectory_layers": lambda frames, _: frames.trajectory_layers(),
}
"""What an exhibit may ask to be read, by name."""


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """One figure or table.

    Attributes:
        kind: 'figure' or 'table'.
        paper_figure: the number of the paper's figure that it is, or that a table is behind; None beyond the paper.
        name: on the command line; a figure of the paper and the table behind it have the figure's number.
        subject: the networks that it is about, in words; empty if the title names none.
        shows: what it shows, in a few words that hold for whatever network.
        title_format: how `subject` and `shows` make the title.
        make: draws or tabulates it; called by `build`, inside `matplotlib.rc_context` with the report's style.
        selection: the runs that it shows; none of a schematic.
        measured: what is read of them, names of `READERS`.
        completed_by: the command, less `urfb` and the store, that makes what it may lack.
        says: what the paper says of it.
        source: the file that declares it, if a user does.
        grid: the grid file that names `source`.
    """

    kind: Literal["figure", "table"]
    paper_figure: int | None = None
    name: str = ""
    subject: str = ""
    shows: str
    title_format: str = "{subject}, {shows}"
    make: Callable[[Data], Drawn | Tabulated]
    selection: Selection = SCHEMATIC
    measured: tuple[str, ...] = ()
    completed_by: str = ""
    says: str = ""
    source: Path | None = None
    grid: Path | None = None

    def __post_init__(self) -> None:
        """Name an exhibit of the paper by its figure."""
        if self.paper_figure is not None:
            object.__setattr__(self, "name", str(self.paper_figure))

    @property
    def title(self) -> str:
        """What it shows of which networks, in a few words."""
        return self.title_format.format(subject=self.subject, shows=self.shows) if self.subject else self.shows

    @property
    def label(self) -> str:
        """How people name it: 'Figure 4'."""
        return f"{self.kind.capitalize()} {self.name}"

    @property
    def stem(self) -> str:
        """What its files' names begin with: 'figure04'."""
        return f"{self.kind}-{self.name}" if self.paper_figure is None else f"{self.kind}{self.paper_figure:02d}"

    @property
    def heading(self) -> str:
        """Its full title, for heads and metadata."""
        if self.paper_figure is None:
            return f"{self.label}: {self.caption}"
        if self.kind == "table" and self.selection.experiment is None:
            return f"{self.label}, {self.caption}"
        return f"{self.label} {self.caption}"

    @property
    def caption(self) -> str:
        """Its full title without its label."""
        if self.paper_figure is None:
            return self.title
        if self.selection.experiment is not None:
            return f"for the experiment {self.selection.experiment}: {self.title}"
        behind = f"behind Figure {self.paper_figure} " if self.kind == "table" else ""  # the paper has no tables
        return f"{behind}of {PAPER}: {self.title}"

    def of_experiment(self, name: str | None, grid: Path = GRID_FILE) -> Exhibit:
        """Return the exhibit of the runs of an experiment, which a grid file has; without a name, this one.

        Its title names no network, for the experiment may have others. What the paper says is said of the paper's
        runs, and is left out.
        """
        if name is None:
            return self
        completed_by = shlex.join(["grid", "run", str(grid), name])
        return replace(
            self, subject="", selection=self.selection.of_experiment(name), completed_by=completed_by, says=""
        )

    def waits(self, runs: pd.DataFrame) -> bool:
        """Whether a user declares it for an experiment of which nothing is stored yet, out of all runs."""
        experiment = self.selection.experiment
        return self.source is not None and experiment is not None and experiment_runs(runs, experiment).empty

    def read(self, frames: Frames, runs: pd.DataFrame, style: Style = Style.SCREEN) -> Data:
        """Read all data that it shows.

        Args:
            frames: the store, or anything with its frames.
            runs: all runs of the store.
            style: the style of a figure.
        """
        shown = panels(runs, self.selection) if self.selection.panels or self.selection.experiment else []
        return Data(shown, {name: READERS[name](frames, identities(shown)) for name in self.measured}, style)

    def build(self, data: Data) -> Drawn | Tabulated:
        """Draw or tabulate it.

        Raises:
            ReportError: a user's function fails, or what it returns cannot become files.
        """
        if self.source is None:
            return self.make(data)
        try:
            with users_code():
                made = self.make(data)
        except USERS_ERRORS as error:
            where = place_of(error) or self.source
            raise ReportError(f"{where}: {self.label}: {type(error).__name__}: {error}") from error
        wanted = Drawn if self.kind == "figure" else Tabulated
        if not isinstance(made, wanted):
            returned = type(made).__name__
            raise ReportError(
                f"{self.source}: {self.label}: returns {returned}; a {self.kind} returns {wanted.__name__}"
            )
        missing = [name for name in ("run", *DESCRIBED) if name not in made.runs]
        if missing and len(made.runs) and "simulation" not in made.runs:
            raise ReportError(
                f"{self.source}: {self.label}: its runs have no '{missing[0]}'; give it rows of data.runs, whole"
            )
        return made


def chosen(
    exhibits: Sequence[Exhibit], names: Sequence[str], experiment: str | None, grid: Path | None = None
) -> list[Exhibit]:
    """Return the exhibits of these names, each once, or all; with an experiment, those that show runs, and of it.

    The commands that complete these name the grid file; where there is none, experiments.yaml.

    Raises:
        SelectionError: a name is unknown, or such an exhibit does not show runs.
    """
    known = {exhibit.name: exhibit for exhibit in exhibits}
    kind = exhibits[0].kind if exhibits else "exhibit"
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SelectionError(f"there is no {kind} '{unknown[0]}': {nearest(unknown[0], known)}")
    wanted = [known[name] for name in dict.fromkeys(names)] or list(exhibits)
    if experiment is None:
        return wanted
    without = [exhibit.label for exhibit in wanted if not exhibit.selection.panels or exhibit.source]
    if names and without:
        raise SelectionError(f"{without[0]} cannot show the runs of just any experiment; leave out --experiment for it")
    return [exhibit.of_experiment(experiment, grid or GRID_FILE) for exhibit in wanted if exhibit.label not in without]


def fitting(exhibits: Sequence[Exhibit], runs: pd.DataFrame) -> list[Exhibit]:
    """Leave out, of exhibits of an experiment, those that its runs have nothing for, or that would show the same twice.

    Figure 8 is of untied layers, so it is left out where no run has any; Figures 4 and 7 of one experiment are one.
    """
    kept: dict[object, Exhibit] = {}
    for exhibit in exhibits:
        selection = exhibit.selection
        if selection.experiment is None or not selection.panels:
            kept[exhibit.kind, exhibit.name] = exhibit
        elif selection.concerns(runs):
            kept.setdefault((exhibit.kind, exhibit.make, exhibit.measured, selection.compares_untied), exhibit)
    return list(kept.values())
