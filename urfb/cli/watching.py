"""The progress of a store's runs: live on a terminal, one line per change elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence, Set

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from urfb.cli.listing import counted_runs, printable
from urfb.cli.terminal import console
from urfb.grid.naming import distinguishing, in_words, settings_in, split_names
from urfb.grid.plan import STATES
from urfb.store import Store


def watch_store(store: Store, every: float) -> None:
    """Show the runs in training until there are none. Ctrl-C ends the display, not the training."""
    screen = console()
    shown, names = "", dict[str, str]()
    try:
        with Live(console=screen, auto_refresh=False) as live:
            while True:
                counts = Counter(state for state, _ in store.progress().values())
                summary = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state]) or "no runs"
                rows = _rows(store, names)
                if screen.is_terminal:
                    heading = Text(f"{counted_runs(sum(counts.values()))}: {summary}")
                    live.update(Group(heading, _table(rows)) if rows else heading, refresh=True)
                else:
                    running = (f"{run} {settings} {epochs}" for run, epochs, _, settings, _ in rows)
                    line = " · ".join([summary, *running])
                    if line != shown:
                        shown = line
                        typer.echo(line)
                if not counts["running"]:
                    return
                time.sleep(every)
    except KeyboardInterrupt:
        return


def _table(rows: Iterable[Sequence[str]]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("run", "epochs", "validation error", "settings", "machine"):
        table.add_column(name)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def _rows(store: Store, names: dict[str, str]) -> list[tuple[str, str, str, str, str]]:
    """Return the cells of each run in training. `names` caches the runs' names, because they depend on all runs."""
    running = store.runs(state="running").astype(object)
    if not set(running["run"]) <= names.keys():
        names |= _names(store, set(running["run"]))
    return [
        (
            row["run"],
            f"{row['epochs_done']}/{row['epochs_target']}",
            f"{row['validation_error']:.1%}" if row["epochs_done"] else "",
            names.get(row["run"], ""),  # missing if the run was removed meanwhile
            " ".join(str(row[name]) for name in ("host", "device") if row[name]),
        )
        for row in running.where(running.notna(), None).to_dict("records")
    ]


def _names(store: Store, running: Set[str]) -> dict[str, str]:
    """Return a name for each run in training, by identity.

    A name has the settings in which the run differs from the other runs of its experiments.
    """
    frame = store.runs()
    runs = {
        run: (set(split_names(names)), settings)
        for run, names, settings in zip(frame["run"], frame["experiments"], settings_in(frame), strict=True)
    }
    shown = running & runs.keys()
    names = distinguishing({name for run in shown for name in runs[run][0]}, runs.values())
    return {run: in_words(runs[run][1], names) for run in shown}
