"""Figures and tables as declarations: the runs that each shows, what it reads of them, and the function that makes it.

A user's own stand in a file that the grid file names:

    from urfb.report import Data, Drawn, figure

    @figure("noisy", "Noise in the feedback", experiment="noisy", measured=["epochs"])
    def noisy(data: Data) -> Drawn: ...
"""

from __future__ import annotations

import hashlib
import importlib.util
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING, Any, Literal
from typing import Protocol as Interface

import pandas as pd
from pandas.api.types import is_numeric_dtype

from urfb import __version__
from urfb.errors import ReportError, SelectionError, nearest
from urfb.nn.networks import NETWORKS
from urfb.report.drawn import Drawn, Tabulated, identities
from urfb.report.selection import PAPER as PAPER_FIELDS
from urfb.report.selection import Panel, Selection, matching, own_fields, panels, split_names

if TYPE_CHECKING:
    from urfb.store import LocatedFilters

PAPER = "Amit (2019), Deep Learning With Asymmetric Connections and Hebbian Updates"

# What becomes of a run, as far as an exhibit can show it.
OUTCOME = ("state", "epochs_done", "epochs_target", "test_error", "test_epoch", "commit", "device")

# What the provenance says of each run.
TOLD = ("network", "dataset", "protocol", "seed", "epochs_done", "state")

NOTHING = Selection()
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
        panels: its runs, sorted into what may be compared in one set of axes.
        measured: the frames that it asked for, by name: a row a measurement, with the run's settings beside it.
    """

    panels: list[Panel]
    measured: Mapping[str, pd.DataFrame]

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


@dataclass(frozen=True)
class Exhibit:
    """One figure or table.

    Attributes:
        kind: 'figure' or 'table'.
        name: its number in the paper, or a name of its own.
        title: what it shows, in a few words.
        make: draws or tabulates it; called by `build`, inside `matplotlib.rc_context` with the report's style.
        selection: the runs that it shows; none of a schematic.
        measured: what is read of them, names of `READERS`.
        completed_by: the command, less `urfb` and the store, that makes what it may lack.
        says: what the paper says of it.
        source: of a user's own, the file that declares it.
        grid: of a user's own, the grid file that names it.
    """

    kind: Literal["figure", "table"]
    name: str
    title: str
    make: Callable[[Data], Drawn | Tabulated]
    selection: Selection = NOTHING
    measured: tuple[str, ...] = ()
    completed_by: str = ""
    says: str = ""
    source: Path | None = None
    grid: Path | None = None

    @property
    def label(self) -> str:
        """How people name it: 'Figure 4'."""
        return f"{self.kind.capitalize()} {self.name}"

    @property
    def stem(self) -> str:
        """What its files' names begin with: 'figure04'."""
        return f"{self.kind}{int(self.name):02d}" if self.name.isdecimal() else f"{self.kind}-{self.name}"

    @property
    def heading(self) -> str:
        """Its full title, for heads and metadata."""
        if not self.name.isdecimal():
            return f"{self.label}: {self.title}"
        if self.selection.experiment is not None:
            return f"{self.label} for the experiment {self.selection.experiment}: {self.title}"
        figure = self.label if self.kind == "figure" else f"{self.label}, behind Figure {self.name}"  # it has no tables
        return f"{figure} of {PAPER}: {self.title}"

    def of_experiment(self, name: str | None, grid: Path = GRID_FILE) -> Exhibit:
        """Return the exhibit of the runs of an experiment, which a grid file has; without a name, this one.

        What the paper says is said of its own runs, and is left out.
        """
        if name is None:
            return self
        completed_by = shlex.join(["grid", "run", str(grid), name])
        subject, _, shown = self.title.partition(", ")
        title = shown if set(subject.split()) & set(NETWORKS) else self.title  # it may be of another network
        selection = self.selection.of_experiment(name)
        return replace(self, title=title, selection=selection, completed_by=completed_by, says="")

    def waits(self, runs: pd.DataFrame) -> bool:
        """Whether it is a user's own, of an experiment of which nothing is stored yet, out of all runs."""
        names = {name for joined in runs["experiments"] for name in split_names(joined)}
        experiment = self.selection.experiment
        return self.source is not None and experiment is not None and experiment not in names

    def read(self, frames: Frames, runs: pd.DataFrame) -> Data:
        """Read all that it is made of, given all runs of the store."""
        found = panels(runs, self.selection) if self.selection.panels or self.selection.experiment else []
        return Data(found, {name: READERS[name](frames, identities(found)) for name in self.measured})

    def build(self, data: Data) -> Drawn | Tabulated:
        """Draw or tabulate it.

        Raises:
            ReportError: a user's own function fails, or what it returns cannot become files.
        """
        if self.source is None:
            return self.make(data)
        try:
            made = self.make(data)
        except Exception as error:
            lines = [at.lineno for at in extract_tb(error.__traceback__) if Path(at.filename) == self.source.absolute()]
            where = f"{self.source}:{lines[-1]}" if lines else str(self.source)
            raise ReportError(f"{where}: {self.label}: {type(error).__name__}: {error}") from error
        wanted = Drawn if self.kind == "figure" else Tabulated
        if not isinstance(made, wanted):
            returned = type(made).__name__
            raise ReportError(
                f"{self.source}: {self.label}: returns {returned}; a {self.kind} returns {wanted.__name__}"
            )
        missing = [name for name in ("run", *TOLD) if name not in made.runs]
        if missing and len(made.runs) and "simulation" not in made.runs:
            raise ReportError(
                f"{self.source}: {self.label}: its runs have no '{missing[0]}'; give it rows of data.runs, whole"
            )
        return made


def figure(
    name: str,
    title: str,
    *,
    experiment: str | None = None,
    runs: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    measured: Sequence[str] = (),
) -> Callable[[Callable[[Data], Drawn]], Exhibit]:
    """Declare the decorated function a figure: it gets `Data` and returns `Drawn`.

    Args:
        name: what it is called on the command line and in files' names; not a number, for those are the paper's.
        title: what it shows, in a few words.
        experiment: the name of the experiment whose runs it shows.
        runs: or else what the runs' fields must be: a value or a list of those allowed; one mapping for each panel.
        measured: what to read of these runs: 'epochs', 'alignment', 'filters' …

    Raises:
        ReportError: a name is not allowed, or there is nothing of the name in `measured`.
    """
    return _declare("figure", name, title, experiment, runs, measured)


def table(
    name: str,
    title: str,
    *,
    experiment: str | None = None,
    runs: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    measured: Sequence[str] = (),
) -> Callable[[Callable[[Data], Tabulated]], Exhibit]:
    """Declare the decorated function a table, which returns `Tabulated`; all else is as for `figure`."""
    return _declare("table", name, title, experiment, runs, measured)


def _declare(
    kind: Literal["figure", "table"],
    name: str,
    title: str,
    experiment: str | None,
    runs: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None,
    measured: Sequence[str],
) -> Callable[[Callable[[Data], Any]], Exhibit]:
    if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii() or name.isdecimal():
        raise ReportError(f"{kind} '{name}': a name of your own has letters, digits, - and _, and is no number")
    unknown = [what for what in measured if what not in READERS]
    if unknown:
        raise ReportError(f"{kind} '{name}': nothing is measured as '{unknown[0]}': {nearest(unknown[0], READERS)}")
    if (experiment is None) == (runs is None):
        raise ReportError(f"{kind} '{name}': say which runs it shows, with either experiment=… or runs=…")
    wanted = (runs,) if isinstance(runs, Mapping) else tuple(runs or ())
    selection = Selection(panels=wanted, experiment=experiment)
    return lambda make: Exhibit(kind, name, title, make, selection, tuple(measured))


def own_exhibits(file: Path, grid: Path) -> list[Exhibit]:
    """Return the exhibits that a user's file declares, in its order.

    Args:
        file: the Python file.
        grid: the grid file that names it.

    Raises:
        ReportError: the file cannot be run, declares none, or two of one name.
    """
    spec = importlib.util.spec_from_file_location(f"urfb_report_{file.stem}", file)
    if spec is None or spec.loader is None or not file.is_file():
        raise ReportError(f"{file}: is no Python file; `reports:` in a grid file names one, beside it")
    module = importlib.util.module_from_spec(spec)
    if str(file.parent) not in sys.path:  # so that it may import its neighbours, after all other places
        sys.path.append(str(file.parent))
    sys.modules[spec.name] = module  # where data classes look for it
    try:
        spec.loader.exec_module(module)
    except ReportError as error:
        raise ReportError(f"{file}: {error}") from error
    except Exception as error:
        raise ReportError(f"{file}: cannot be run: {type(error).__name__}: {error}") from error
    found = [
        replace(one, source=file, grid=grid, completed_by=shlex.join(["grid", "run", str(grid), *_experiment(one)]))
        for one in vars(module).values()
        if isinstance(one, Exhibit)
    ]
    labels = [one.label for one in found]
    if not found:
        raise ReportError(f"{file}: declares no figure or table; put @figure or @table of urfb.report on one")
    if len(set(labels)) < len(labels):
        raise ReportError(f"{file}: {next(one for one in labels if labels.count(one) > 1)} is declared twice")
    return found


def _experiment(exhibit: Exhibit) -> list[str]:
    return [] if exhibit.selection.experiment is None else [exhibit.selection.experiment]


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
    found: dict[object, Exhibit] = {}
    for one in exhibits:
        name = one.selection.experiment
        if name is None or not one.selection.panels:
            found[one.kind, one.name] = one
            continue
        own = runs[[name in split_names(names) for names in runs["experiments"]]]
        if any(all((~matching(own, {at: usual})).any() for at, usual in fields.items()) for fields in _unusual(one)):
            found.setdefault((one.kind, one.make, one.measured, one.selection.compares_untied), one)
    return list(found.values())


def _unusual(exhibit: Exhibit) -> Iterator[dict[str, Any]]:
    """Yield, for each panel, the fields in which it is about something else than most are, with what most have."""
    own_epsilon = any(protocol.epsilon is not None for protocol in exhibit.selection.protocols or ())
    for panel in exhibit.selection.panels:
        unusual = {field: usual for field, usual in PAPER_FIELDS.items() if panel.get(field, usual) != usual}
        yield unusual | ({"epsilon": None} if own_epsilon else {})


def fingerprint(exhibit: Exhibit, data: Data, command: str) -> str:
    """Return what changes whenever the exhibit's files would: a hash of its data, the code and the command."""
    digest = hashlib.sha256(
        f"{_code()} {exhibit.heading} {exhibit.selection.describe()} {command} {exhibit.completed_by}".encode()
    )
    if exhibit.source is not None:
        # It may import any file beside it, when it likes. An editor's lock is a link to nothing.
        for file in sorted(filter(Path.is_file, exhibit.source.parent.glob("*.py"))):
            digest.update(file.read_bytes())
    for panel in data.panels:
        columns = [*own_fields(panel.runs), *(name for name in OUTCOME if name in panel.runs)]
        digest.update(f"{panel.title} {panel.protocols} {panel.runs[columns].to_csv(index=False)}".encode())
    for name, frame in data.measured.items():
        digest.update(f"{name} {list(frame.columns)}".encode())
        digest.update(_rows(frame))
    return digest.hexdigest()[:16]


def _rows(frame: pd.DataFrame) -> bytes:
    """Return what frames of different rows differ in; an array in a cell counts by its bytes."""
    plain = {
        name: values
        if is_numeric_dtype(values)
        else [getattr(value, "tobytes", str(value).encode)() for value in values]
        for name, values in frame.items()
    }
    hashes: bytes = pd.util.hash_pandas_object(pd.DataFrame(plain), index=False).to_numpy().tobytes()
    return hashes


@cache
def _code() -> str:
    """Return a hash of the code and images that make exhibits, and of the versions of what it draws with."""
    import matplotlib
    import seaborn

    files = Path(__file__).parent.rglob("*")
    sources = sorted(file for file in files if file.suffix in (".py", ".png", ".csv"))
    versions = (__version__, matplotlib.__version__, seaborn.__version__, pd.__version__)
    return hashlib.sha256(b"".join([str(versions).encode(), *(path.read_bytes() for path in sources)])).hexdigest()
