"""`urfb report`: figures, tables, claims, and a page with all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from urfb.cli import completion
from urfb.cli.drawing import import_matplotlib
from urfb.cli.options import DEFAULT_STORE, StoreOption
from urfb.errors import GridError

if TYPE_CHECKING:
    from urfb.report.rendering import Rendered
    from urfb.store import Store

app = typer.Typer(no_args_is_help=True)

NAMES = "Numbers of the paper, or names. Without names: all."

FiguresArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME", help=NAMES, autocompletion=completion.words(*completion.FIGURES)),
]
TablesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME", help=NAMES, autocompletion=completion.words(*completion.TABLES)),
]
FIGURES_FOLDER = "figures/ next to the store, or figures-paper/ with --style paper"
ExperimentOption = Annotated[
    str | None,
    typer.Option(
        "--experiment",
        metavar="NAME",
        help="Show only the runs of this experiment, in separate files.",
        autocompletion=completion.experiments_to_show,
    ),
]
GridOption = Annotated[
    Path | None,
    typer.Option(
        "--grid",
        metavar="FILE",
        help="Grid file of the experiment. It also names your own figures and tables (reports:).",
        show_default="./experiments.yaml, if it exists",
    ),
]


class StyleName(str, Enum):
    """The style of figures."""

    SCREEN = "screen"
    PAPER = "paper"


StyleOption = Annotated[
    StyleName,
    typer.Option(
        "--style",
        help="Style of figures. screen: with titles and a note about missing runs. paper: for a manuscript, 85 or "
        "180 mm wide, with neither.",
    ),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Make everything again, even if nothing has changed.")]


class SettingName(str, Enum):
    """The length of the runs that claims are tested on."""

    PAPER = "paper"
    MEDIUM = "medium"
    SHORT = "short"


class ClaimsFormat(str, Enum):
    """The format of verdicts."""

    TEXT = "text"
    JSON = "json"


@app.callback()
def report() -> None:
    """Make figures and tables, and test the paper's claims. Trains and stores nothing."""


@app.command()
def figures(
    names: FiguresArgument = None,
    store: StoreOption = DEFAULT_STORE,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder to write to.", show_default=FIGURES_FOLDER),
    ] = None,
    experiment: ExperimentOption = None,
    grid: GridOption = None,
    style: StyleOption = StyleName.SCREEN,
    force: ForceOption = False,
) -> None:
    """Draw figures as PNG and PDF, with captions and numbers.

    Each figure has a caption as text and LaTeX, and its numbers as CSV. A figure that is up to date is not drawn again.
    If runs are missing or short, the command that trains them is printed.

    Example: urfb report figures 4 10 --experiment quick --style paper
    """
    import_matplotlib()
    from urfb.store import open_store

    opened = open_store(store)
    for rendered in make("figure", names, opened, out, experiment, grid, style, force):
        print_rendered(rendered)
    print_hints(opened, experiment, grid, everything=not names)


@app.command()
def tables(
    names: TablesArgument = None,
    store: StoreOption = DEFAULT_STORE,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder to write to.", show_default="tables/ next to the store"),
    ] = None,
    experiment: ExperimentOption = None,
    grid: GridOption = None,
    force: ForceOption = False,
    printed: Annotated[
        bool, typer.Option("--print", help="Print the tables in Markdown, instead of the names of their files.")
    ] = False,
) -> None:
    """Write tables as Markdown, LaTeX and CSV.

    A table that is up to date is not written again. If runs are missing or short, the command that trains them is
    printed.

    Example: urfb report tables 5 --print
    """
    import_matplotlib()
    from urfb.cli.listing import printable
    from urfb.report.texts import without_provenance
    from urfb.store import open_store

    opened = open_store(store)
    made = make("table", names, opened, out, experiment, grid, StyleName.SCREEN, force)
    for index, rendered in enumerate(made):
        if printed:
            text = without_provenance(rendered.files[0].read_text(encoding="utf-8"))
            typer.echo("\n" * (index > 0) + printable(text, keep="\n"), nl=False)
        else:
            print_rendered(rendered)
    if not printed:
        print_hints(opened, experiment, grid, everything=not names)


def make(
    kind: Literal["figure", "table"],
    names: list[str] | None,
    store: Store,
    out: Path | None,
    experiment: str | None,
    grid: Path | None,
    style: StyleName,
    force: bool,
) -> Iterator[Rendered]:
    """Write the files of figures or tables, by default into a folder next to the store."""
    from urfb.report.exhibits import chosen, fitting
    from urfb.report.paper import exhibits
    from urfb.report.rendering import render
    from urfb.report.styles import Style

    wanted = chosen(exhibits(kind, grid), names or [], experiment, grid)
    if not names:
        wanted = fitting(wanted, store.runs())
    chosen_style = Style(style.value)
    folder = out or store.location.folder / (chosen_style.folder if kind == "figure" else "tables")
    yield from render(store, wanted, folder, str(store.location), style=chosen_style, force=force)


@app.command()
def claims(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CLAIM",
            help="1 to 6, or a name such as depth. Without names: all.",
            autocompletion=completion.words(*completion.CLAIMS),
        ),
    ] = None,
    setting: Annotated[
        SettingName,
        typer.Option(
            "--setting",
            help="Length of the runs: the paper's, 200 epochs, or the first 10 epochs of simpnet.",
        ),
    ] = SettingName.PAPER,
    store: StoreOption = DEFAULT_STORE,
    form: Annotated[ClaimsFormat, typer.Option("--format", help="Output format. JSON has all numbers.")] = (
        ClaimsFormat.TEXT
    ),
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="File to write, instead of the terminal.")
    ] = None,
) -> None:
    """Test the paper's claims on the stored runs.

    docs/claims.md describes the tests. A claim is supported, contradicted, or has not enough runs; then the missing
    runs and the command that trains them are printed.

    Exit code 0: all claims are supported; 1: a claim is contradicted; 2: bad input; 3: otherwise.

    Example: urfb report claims 1 2 --setting short
    """
    import_matplotlib()
    from urfb.cli.listing import printable
    from urfb.files import write_file
    from urfb.report.claims import SETTINGS, evaluate, exit_code
    from urfb.report.claims.formatting import as_json, as_text
    from urfb.store import open_store

    opened = open_store(store)
    results = evaluate(opened, names or [], SETTINGS[setting.value], str(opened.location))
    text = as_json(results) if form is ClaimsFormat.JSON else printable(as_text(results), keep="\n")
    if out is None:
        typer.echo(text)
    else:
        write_file(out, f"{text}\n".encode())
    raise typer.Exit(exit_code(results))


@app.command()
def page(
    store: StoreOption = DEFAULT_STORE,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="File to write.", show_default="page.html, next to the store"),
    ] = None,
    experiment: ExperimentOption = None,
    grid: GridOption = None,
    force: ForceOption = False,
) -> None:
    """Write one HTML file with verdicts, figures, tables and runs.

    The file needs no network and no other file.

    Example: urfb report page --out results/page.html
    """
    import_matplotlib()
    from urfb.report.everything import verdicts
    from urfb.report.exhibits import chosen
    from urfb.report.page.document import default_file, write_page
    from urfb.report.paper import exhibits
    from urfb.store import open_store

    opened = open_store(store)
    location = opened.location
    wanted = chosen(exhibits(grid=grid), [], experiment, grid)
    written = write_page(
        opened,
        wanted,
        out or default_file(location.folder, experiment),
        location=str(location),
        claims=[] if experiment else verdicts(opened, str(location)),
        experiment=experiment,
        logs=location.logs,
        folder=location.folder,
        force=force,
    )
    typer.echo(f"{written.file}{'' if written.made else ' (unchanged)'}")
    print_hints(opened, experiment, grid)


@app.command("all")
def everything(
    store: StoreOption = DEFAULT_STORE,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder to write to.", show_default="the store's folder"),
    ] = None,
    experiment: ExperimentOption = None,
    grid: GridOption = None,
    style: StyleOption = StyleName.SCREEN,
    force: ForceOption = False,
) -> None:
    """Make all figures and tables, the verdicts and the page.

    Files that are up to date are not written again.

    Example: urfb report all --store results/urfb.sqlite
    """
    import_matplotlib()
    from urfb.report.everything import everything
    from urfb.report.exhibits import chosen
    from urfb.report.paper import exhibits
    from urfb.report.styles import Style
    from urfb.store import open_store

    opened = open_store(store)
    location = opened.location
    wanted = chosen(exhibits(grid=grid), [], experiment, grid)
    made = unchanged = 0
    for part in everything(
        opened,
        wanted,
        out or location.folder,
        location=str(location),
        experiment=experiment,
        logs=location.logs,
        style=Style(style.value),
        force=force,
    ):
        lacking = ", incomplete" if part.shortfalls else ""
        if not part.files:
            typer.echo(f"{part.name}: {'; '.join(part.shortfalls)}")
            continue
        unaltered = "" if part.made else " (unchanged)"
        typer.echo(f"{part.name}: {part.files[0]}{unaltered}{lacking}")
        made, unchanged = made + part.made, unchanged + (not part.made)
    typer.echo(f"{made} made, {unchanged} unchanged; captions, tables and the page list missing runs")
    print_hints(opened, experiment, grid)


def print_hints(store: Store, experiment: str | None, grid: Path | None, everything: bool = True) -> None:
    """Print which experiments can be shown, and which of their runs a grid file does not ask for.

    Args:
        store: the store.
        experiment: the chosen experiment; None for the paper's runs.
        grid: the grid file that the user named; None for none.
        everything: whether all exhibits were made, and not only those that the user named.
    """
    from urfb.cli.listing import unasked_text
    from urfb.grid.expand import load_grids

    if everything and experiment is None:
        runs = Counter(name for name, _ in store.memberships())
        listed = ", ".join(f"{name} ({count})" for name, count in sorted(runs.items()))
        if listed:
            typer.echo(f"These show the paper's runs. To show one experiment, use --experiment NAME: {listed}")
    if grid is not None:
        with suppress(GridError):  # mistakes in a grid file do not concern runs that are trained
            if notice := unasked_text(load_grids([grid]), str(store.location)):
                typer.echo(notice)


def print_rendered(rendered: Rendered) -> None:
    """Print the files of an exhibit, and its missing data."""
    unchanged = " (unchanged)" if rendered.files and not rendered.made else ""
    typer.echo(f"{rendered.exhibit.label}{unchanged}")
    for file in rendered.files:
        typer.echo(f"  {file}")
    for shortfall in rendered.shortfalls:
        typer.echo(f"  incomplete: {shortfall}")
    if rendered.shortfalls and rendered.completing_command:
        typer.echo(f"  to complete it: {rendered.completing_command}")
