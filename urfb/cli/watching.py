"""The progress of a store's runs: live on a terminal, a line for every change elsewhere."""

from __future__ import annotations

import time
from collections import Counter

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from urfb.cli.listing import printable
from urfb.cli.terminal import console
from urfb.grid.naming import distinguishing, in_words, settings_in
from urfb.grid.plan import STATES
from urfb.store import Store


def watch_store(store: Store, every: float) -> None:
    """Show the runs in training until there are none; Ctrl-C ends the watching, not the training."""
    screen = console()
    shown = ""
    try:
        with Live(console=screen, auto_refresh=False) as live:
            while True:
                counts = Counter(state for state, _ in store.progress().values())
                summary = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state]) or "no runs"
                if screen.is_terminal:
                    live.update(Group(Text(f"{sum(counts.values())} runs: {summary}"), _running(store)), refresh=True)
                else:
                    line = " · ".join(
                        [summary, *(f"{run} {what} {epochs}" for run, epochs, _, what, _ in _rows(store))]
                    )
                    if line != shown:
                        shown = line
                        typer.echo(line)
                if not counts["running"]:
                    return
                time.sleep(every)
    except KeyboardInterrupt:
        return


def _running(store: Store) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("run", "epochs", "validation", "what", "on"):
        table.add_column(name)
    for row in _rows(store):
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def _rows(store: Store) -> list[tuple[str, str, str, str, str]]:
    """Return the cells of each run in training; it is told from all runs of its experiments, ended or not."""
    runs = store.runs().astype(object)
    running = runs[runs["state"] == "running"]
    experiments = [set(str(names).split(",")) for names in runs["experiments"]]
    shown = [set(str(names).split(",")) for names in running["experiments"]]
    names = distinguishing(shown, zip(experiments, settings_in(runs), strict=True))
    return [
        (
            row["run"],
            f"{row['epochs_done']}/{row['epochs_target']}",
            f"{row['validation_error']:.1%}" if row["epochs_done"] else "",
            in_words({str(name): value for name, value in row.items()}, names),
            " ".join(str(row[name]) for name in ("host", "device") if row[name]),
        )
        for row in running.where(running.notna(), None).to_dict("records")
    ]
