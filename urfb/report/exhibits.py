"""Declarations of figures and tables: the runs that each shows, the data that it reads, and its function."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from typing import Protocol as Interface

import pandas as pd

from urfb.errors import ReportError, SelectionError, nearest
from urfb.grid.schema import outline
from urfb.plugins import USERS_ERRORS, place_of, users_code
from urfb.report.drawn import Drawn, Tabulated, identities
from urfb.report.selection import Panel, Selection, experiment_runs, panels
from urfb.report.styles import Style

if TYPE_CHECKING:
    from urfb.store import LocatedFilters

PAPER = "Amit (2019), Deep Learning With Asymmetric Connections and Hebbian Updates"

# The columns of a run in the provenance.
DESCRIBED = ("network", "dataset", "protocol", "seed", "epochs_done", "state")

SCHEMATIC = Selection()  # no runs
GRID_FILE = Path("experiments.yaml")


class Frames(Interface):
    """The source of a report: a results store, or anything with its data frames."""

    def runs(self) -> pd.DataFrame:
        """Return one row for each run."""
        ...

    def epochs(self, *, run: list[str]) -> pd.DataFrame:
        """Return one row for each epoch of these runs."""
        ...

    def alignment(self, *, run: list[str]) -> pd.DataFrame:
        """Return one row for each measured step and layer of these runs."""
        ...

    def filters(self, run: str) -> list[LocatedFilters]:
        """Return the stored filters of a run's untied layer."""
        ...

    def simulations(self, **filters: Any) -> pd.DataFrame:
        """Return one row for each simulation of section 5."""
        ...

    def trajectories(self, **filters: Any) -> pd.DataFrame:
        """Return one row for each stored moment of a simulation."""
        ...

    def trajectory_layers(self, **filters: Any) -> pd.DataFrame:
        """Return one row for each moment and layer of a simulation."""
        ...


@dataclass(frozen=True, eq=False)
class Data:
    """The data of one exhibit.

    Attributes:
        panels: the runs, sorted into panels of runs that can be compared.
        measured: the requested frames, by name: one row for each measurement, with the run's settings.
        style: the style of a figure.
    """

    panels: list[Panel]
    measured: Mapping[str, pd.DataFrame]
    style: Style = Style.SCREEN

    @cached_property
    def runs(self) -> pd.DataFrame:
        """The runs of all panels, each once."""
        return pd.concat([panel.runs for panel in self.panels]).drop_duplicates("run")


Reader = Callable[[Frames, list[str]], pd.DataFrame]
"""Reads one frame for the runs with these identities."""


def _filters(frames: Frames, runs: list[str]) -> pd.DataFrame:
    """Return one row for each stored filter, with its weights as an array [height, width, channels]."""
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
"""The frames that an exhibit can request, by name."""


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """One figure or table.

    Attributes:
        kind: 'figure' or 'table'.
        paper_figure: the number of the figure in the paper, or of the figure behind which a table is; None for others.
        name: the name on the command line. A figure of the paper and the table behind it have the figure's number.
        subject: the networks shown, in words; empty if the title names none.
        shows: the content, in a few words that are true for any network.
        title_format: the title, with fields for `subject` and `shows`.
        make: the function that draws or tabulates, called inside `matplotlib.rc_context` with the report's style.
        selection: the runs shown; `SCHEMATIC` for none.
        measured: the frames to read for these runs: names of `READERS`.
        completed_by: the command that trains missing runs, without `urfb` and the store.
        says: a summary of the paper's text about the figure; empty for none.
        source: the user's file that declares the exhibit; None for urfb's own.
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
        """Name an exhibit of the paper after its figure."""
        if self.paper_figure is not None:
            object.__setattr__(self, "name", str(self.paper_figure))

    @property
    def title(self) -> str:
        """The networks and the content, in a few words."""
        return self.title_format.format(subject=self.subject, shows=self.shows) if self.subject else self.shows

    @property
    def label(self) -> str:
        """The kind and the name: 'Figure 4'."""
        return f"{self.kind.capitalize()} {self.name}"

    @property
    def stem(self) -> str:
        """The names of its files without their endings: 'figure04'."""
        return f"{self.kind}-{self.name}" if self.paper_figure is None else f"{self.kind}{self.paper_figure:02d}"

    @property
    def heading(self) -> str:
        """The full title, for the heads and the metadata of files."""
        if self.paper_figure is None and not self._for_experiment:
            return f"{self.label}: {self.caption}"
        if self.kind == "table" and self.selection.experiment is None:
            return f"{self.label}, {self.caption}"
        return f"{self.label} {self.caption}"

    @property
    def caption(self) -> str:
        """The full title without the label."""
        if self._for_experiment:
            return f"for the experiment {self.selection.experiment}: {self.title}"
        if self.paper_figure is None:
            return self.title
        behind = f"behind Figure {self.paper_figure} " if self.kind == "table" else ""  # the paper has no tables
        return f"{behind}of {PAPER}: {self.title}"

    @property
    def _for_experiment(self) -> bool:
        """Whether it is one of urfb's exhibits for the runs of an experiment."""
        return self.source is None and self.selection.experiment is not None

    def of_experiment(self, name: str, grid: str = str(GRID_FILE)) -> Exhibit:
        """Return the exhibit for the runs of an experiment of a grid file.

        The title names no network, because the experiment may have others. The paper's text is left out, because it is
        about the paper's runs.
        """
        completed_by = shlex.join(["grid", "run", grid, name])
        return replace(
            self, subject="", selection=self.selection.of_experiment(name), completed_by=completed_by, says=""
        )

    def waits(self, runs: pd.DataFrame) -> bool:
        """Return whether a user declares it for an experiment of the grid file that has no runs yet."""
        experiment = self.selection.experiment
        if self.source is None or experiment is None or not self.completed_by:
            return False
        return experiment_runs(runs, experiment).empty

    def check(self, runs: pd.DataFrame) -> None:
        """Check that the selected experiment and fields exist.

        Raises:
            SelectionError: no run belongs to the experiment, or runs lack a field.
        """
        try:
            self.selection.check(runs)
        except SelectionError as error:
            if self.source is None:
                raise
            raise SelectionError(f"{self.source}: {self.label}: {error}") from error

    def read(self, frames: Frames, runs: pd.DataFrame, style: Style = Style.SCREEN) -> Data:
        """Return all data that it shows.

        Args:
            frames: the store, or anything with its frames.
            runs: all runs of the store.
            style: the style of a figure.
        """
        shown = panels(runs, self.selection) if self.selection.panels or self.selection.experiment else []
        return Data(shown, {name: READERS[name](frames, identities(shown)) for name in self.measured}, style)

    def build(self, data: Data) -> Drawn | Tabulated:
        """Return the drawn figure or the table.

        Raises:
            ReportError: a user's function fails, or returns something that cannot become files.
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
                f"{self.source}: {self.label}: its runs have no column '{missing[0]}'; return whole rows of data.runs"
            )
        return made


def chosen(
    exhibits: Sequence[Exhibit], names: Sequence[str], experiment: str | None, grid: Path | None = None
) -> list[Exhibit]:
    """Return the exhibits of these names, each once, or all exhibits.

    Args:
        exhibits: the exhibits to choose from.
        names: the names of exhibits, or of their files, such as 'figure05'; empty for all.
        experiment: the experiment whose runs are shown; exhibits that cannot show them are then left out.
        grid: the grid file with the experiment, for the commands that complete the exhibits; by default
            experiments.yaml, if it has the experiment.

    Raises:
        SelectionError: a name is unknown, or an exhibit cannot show the runs of an experiment.
    """
    known = {exhibit.name: exhibit for exhibit in exhibits}
    kind = exhibits[0].kind if exhibits else "exhibit"
    stems = {exhibit.stem: exhibit.name for exhibit in exhibits}
    names = [stems.get(name, name) for name in names]
    unknown = [name for name in names if name not in known]
    if unknown:
        own = "" if grid else "; --grid FILE adds those of your grid file"
        raise SelectionError(f"there is no {kind} '{unknown[0]}': {nearest(unknown[0], known)}{own}")
    wanted = [known[name] for name in dict.fromkeys(names)] or list(exhibits)
    if experiment is None:
        return wanted
    users = [exhibit.label for exhibit in wanted if exhibit.source and exhibit.selection.experiment == experiment]
    without = [
        exhibit.label
        for exhibit in wanted
        if exhibit.label not in users and (exhibit.source or not exhibit.selection.panels)
    ]
    if names and without:
        raise SelectionError(f"{without[0]} cannot show the runs of '{experiment}'; leave out --experiment")
    file = _file_with(experiment, grid)
    return [
        exhibit if exhibit.label in users else exhibit.of_experiment(experiment, file)
        for exhibit in wanted
        if exhibit.label not in without
    ]


def _file_with(experiment: str, grid: Path | None) -> str:
    """Return the grid file that trains an experiment; the placeholder GRID.yaml if it is not known."""
    if grid is not None:
        return str(grid)
    known = GRID_FILE.exists() and experiment in outline(GRID_FILE)[1]
    return str(GRID_FILE) if known else "GRID.yaml"


def fitting(exhibits: Sequence[Exhibit], runs: pd.DataFrame) -> list[Exhibit]:
    """Leave out exhibits for an experiment that its runs have no data for, or that would repeat another exhibit.

    For example, Figure 8 needs a run with untied layers, and Figures 4 and 7 show the same for one experiment.
    """
    kept: dict[object, Exhibit] = {}
    for exhibit in exhibits:
        selection = exhibit.selection
        if selection.experiment is None or not selection.panels:
            kept[exhibit.kind, exhibit.name] = exhibit
        elif selection.concerns(runs):
            kept.setdefault((exhibit.kind, exhibit.make, exhibit.measured, selection.compares_untied), exhibit)
    return list(kept.values())
