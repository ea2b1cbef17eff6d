"""`urfb report`: the paper's figures, tables and claims, the user's own, and a page with all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from urfb.cli import completion
from urfb.cli.drawing import import_matplotlib
from urfb.cli.options import DEFAULT_STORE, StoreOption

if TYPE_CHECKING:
    from urfb.report.rendering import Rendered

app = typer.Typer(no_args_is_help=True)

NAMES = "Their numbers in the paper, or names; all where none is given."

FiguresArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME", help=NAMES, autocompletion=completion.words(*completion.FIGURES)),
]
TablesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME", help=NAMES, autocompletion=completion.words(*completion.TABLES)),
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Where to write; else figures/ or tables/ beside the store."),
]
ExperimentOption = Annotated[
    str | None,
    typer.Option(
        "--experiment",
        metavar="NAME",
        help="Show this experiment's runs, in files of their own.",
        autocompletion=completion.experiments_to_show,
    ),
]
GridOption = Annotated[
    Path | None,
    typer.Option(
        "--grid", metavar="FILE", help="The grid file that names your own (reports:); else ./experiments.yaml, if any."
    ),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Make again what has not changed, too.")]


def show_new_name(context: typer.Context, requested: bool) -> bool:
    """Say that --anew is now called --force."""
    if requested and not context.resilient_parsing:
        typer.echo("urfb: --anew is now called --force", err=True)
    return requested


ForceAliasOption = Annotated[bool, typer.Option("--anew", hidden=True, callback=show_new_name)]


class SettingName(str, Enum):
    """How long the runs are that claims are tested on."""

    PAPER = "paper"
    MEDIUM = "medium"
    SHORT = "short"


class ClaimsFormat(str, Enum):
    """How verdicts are printed."""

    TEXT = "text"
    JSON = "json"


@app.callback()
def report() -> None:
    """Make the paper's figures and tables, and your own, and test its claims. Nothing is trained or stored."""


@app.command()
def figures(
    names: FiguresArgument = None,
    store: StoreOption = DEFAULT_STORE,
    out: OutOption = None,
    experiment: ExperimentOption = None,
    grid: GridOption = None,
    force: ForceOption = False,
    force_alias: ForceAliasOption = False,
) -> None:
    """Draw figures as PNG, PDF and CSV, and say what each lacks.

    Those whose data have not changed are left alone.

    Example: urfb report figures 4 10 --experiment quick
    """
    for rendered in make("figure", names, store, out, experiment, grid, force or force_alias):
        print_rendered(rendered)


@app.command()
def tables(
    names: TablesArgument = None,
    store: StoreOption = DEFAULT_STORE,
    out: OutOption = None,
    experiment: ExperimentOption = None,
    grid: GridOption = None,
    force: ForceOption = False,
    force_alias: ForceAliasOption = False,
    printed: Annotated[
        bool, typer.Option("--print", help="Print each table, in Markdown, in place of its files' names.")
    ] = False,
) -> None:
    """Write tables as Markdown, LaTeX and CSV, and say what each lacks.

    Those whose data have not changed are left alone.

    Example: urfb report tables 5 --print
    """
    import_matplotlib()
    from urfb.cli.listing import printable
    from urfb.report.texts import without_provenance

    for index, rendered in enumerate(make("table", names, store, out, experiment, grid, force or force_alias)):
        if printed:
            text = without_provenance(rendered.files[0].read_text(encoding="utf-8"))
            typer.echo("\n" * (index > 0) + printable(text, keep="\n"), nl=False)
        else:
            print_rendered(rendered)


def make(
    kind: Literal["figure", "table"],
    names: list[str] | None,
    store: str,
    out: Path | None,
    experiment: str | None,
    grid: Path | None,
    force: bool,
) -> Iterator[Rendered]:
    """Write the files of some figures or tables, by default into a folder next to the store."""
    import_matplotlib()
    from urfb.report.exhibits import chosen, fitting
    from urfb.report.paper import exhibits
    from urfb.report.rendering import render
    from urfb.store import open_store

    opened = open_store(store)
    wanted = chosen(exhibits(kind, grid), names or [], experiment, grid)
    if not names:
        wanted = fitting(wanted, opened.runs())
    yield from render(opened, wanted, out or opened.location.folder / f"{kind}s", str(opened.location), force=force)


@app.command()
def claims(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CLAIM",
            help="1 to 6, or a name such as depth; all where none is given.",
            autocompletion=completion.words(*completion.CLAIMS),
        ),
    ] = None,
    setting: Annotated[
        SettingName,
        typer.Option(
            "--setting", help="The paper's length, the first 200 epochs, or the first 10 of simpnet; never mixed."
        ),
    ] = SettingName.PAPER,
    store: StoreOption = DEFAULT_STORE,
    form: Annotated[ClaimsFormat, typer.Option("--format", help="For people, or with every number.")] = (
        ClaimsFormat.TEXT
    ),
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where to write; else to the terminal.")
    ] = None,
) -> None:
    """Test what the paper claims on the stored runs.

    docs/claims.md says how, and why so. A verdict is supported, contradicted or not enough runs; then it is said which
    are missing, and what trains them.

    Exit code 0: all claims supported; 1: some claim contradicted; 3: neither; 2: bad input.

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
        typer.Option("--out", metavar="FILE", help="The file to write; else page.html beside the store."),
    ] = None,
    experiment: ExperimentOption = None,
    grid: GridOption = None,
    force: ForceOption = False,
    force_alias: ForceAliasOption = False,
) -> None:
    """Write one HTML file with verdicts, figures, tables and runs.

    It needs no network, and nothing beside it.

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
        force=force or force_alias,
    )
    typer.echo(f"{written.file}{'' if written.made else ' (unchanged)'}")


@app.command("all")
def everything(
    store: StoreOption = DEFAULT_STORE,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="The folder to write to; else the store's own."),
    ] = None,
    experiment: ExperimentOption = None,
    grid: GridOption = None,
    force: ForceOption = False,
    force_alias: ForceAliasOption = False,
) -> None:
    """Make all figures, all tables, the verdicts and the page.

    What has not changed is left alone.

    Example: urfb report all --store results/urfb.sqlite
    """
    import_matplotlib()
    from urfb.report.everything import everything
    from urfb.report.exhibits import chosen
    from urfb.report.paper import exhibits
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
        force=force or force_alias,
    ):
        lacking = ", incomplete" if part.shortfalls else ""
        if not part.files:
            typer.echo(f"{part.name}: {'; '.join(part.shortfalls)}")
            continue
        unaltered = "" if part.made else " (unchanged)"
        typer.echo(f"{part.name}: {part.files[0]}{unaltered}{lacking}")
        made, unchanged = made + part.made, unchanged + (not part.made)
    typer.echo(f"{made} made, {unchanged} unchanged; what is missing is told on the figures and tables and on the page")
    runs = Counter(name for name, _ in opened.memberships())
    if experiment is None and runs:
        listed = ", ".join(f"{name} ({count})" for name, count in sorted(runs.items()))
        typer.echo(f"These show the paper's runs. One experiment's, with --experiment NAME: {listed}")


def print_rendered(rendered: Rendered) -> None:
    """Print the files of an exhibit, and what it lacks."""
    unchanged = " (unchanged)" if rendered.files and not rendered.made else ""
    typer.echo(f"{rendered.exhibit.label}{unchanged}")
    for file in rendered.files:
        typer.echo(f"  {file}")
    for shortfall in rendered.shortfalls:
        typer.echo(f"  incomplete: {shortfall}")
    if rendered.shortfalls and rendered.completing_command:
        typer.echo(f"  complete it with: {rendered.completing_command}")
