"""The table of runs: networks, epochs, machines and times."""

from __future__ import annotations

import pandas as pd

from urfb.report.drawn import Tabulated, drawn_runs, span, stack
from urfb.report.exhibits import Data
from urfb.report.texts import number

SHOWN = ["network, data set", "protocol", "seeds", "epochs", "seconds per epoch", "hours per run", "machine"]
NUMBERS = ["panel", "protocol", "machine", "epochs", "seconds", "n", "runs"]
MACHINE = ("device", "device_name", "threads")
MEANING = "epochs and seconds: totals of the n runs"
ABOUT_TIME = (
    "A run counts as trained by the last machine that trained it. Seconds are elapsed time, with evaluation, so an "
    "epoch takes longer if other work shares the machine."
)


def tabulate(data: Data) -> Tabulated:
    """Return the number of runs, their epochs and their time for each panel, protocol and machine.

    The column of machines is left out if all runs have the same.
    """
    runs = stack([panel.runs.assign(panel=panel.title) for panel in data.panels])
    runs = runs[runs["epochs_done"] > 0].sort_values("seed", kind="stable")
    runs["machine"] = [_machine(*row) for row in zip(*(runs[name] for name in MACHINE), strict=True)]
    lacking = ["no run of this table in the store"] if runs.empty else []

    shown, numbers = [], []
    for panel in data.panels:
        for protocol in panel.protocols:
            of_protocol = runs[(runs["panel"] == panel.title) & (runs["protocol"] == protocol.name)]
            for machine, rows in of_protocol.groupby("machine"):
                epochs, seconds = int(rows["epochs_done"].sum()), float(rows["seconds"].sum())
                what = (panel.title, protocol.name)
                numbers.append((*what, machine, epochs, seconds, len(rows), " ".join(rows["run"])))
                rates = (number(seconds / epochs, 1), _hours(seconds / len(rows)))
                shown.append((*what, str(len(rows)), span(rows["epochs_done"]), *rates, str(machine)))

    notes = [_total(machine, rows) for machine, rows in runs.groupby("machine")]
    reached = dict(zip(runs["run"], runs["epochs_done"], strict=True))
    table = pd.DataFrame(shown, columns=SHOWN)
    return Tabulated(
        table if table["machine"].nunique() > 1 else table.drop(columns="machine"),
        pd.DataFrame(numbers, columns=NUMBERS),
        drawn_runs(data.panels, reached),
        lacking,
        MEANING,
        [*notes, ABOUT_TIME],
    )


def _machine(device: str, name: str | None, threads: float) -> str:
    """Return a machine's name; 'unknown' if its worker has reported no epoch yet."""
    if not isinstance(name, str):
        return "unknown"
    return f"{name}, {threads:.0f} thread{'' if threads == 1 else 's'}" if device == "cpu" else name


def _total(machine: object, runs: pd.DataFrame) -> str:
    """Return the totals of all runs on one machine as a sentence."""
    epochs, seconds = int(runs["epochs_done"].sum()), float(runs["seconds"].sum())
    counted = f"{len(runs):,} run{'s' * (len(runs) != 1)}, {epochs:,} epoch{'s' * (epochs != 1)}"
    return f"On {'an unknown machine' if machine == 'unknown' else machine}: {counted}, {_hours(seconds)} hours."


def _hours(seconds: float) -> str:
    """Return hours with two decimals, or with four if there are fewer than one."""
    hours = seconds / 3600
    return number(hours, 2 if hours >= 1 else 4)
