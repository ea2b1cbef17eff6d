"""The table of runs: what was trained, on what, and how long it took."""

from __future__ import annotations

import pandas as pd

from urfb.report.drawn import Tabulated, drawn_runs, span, stack
from urfb.report.exhibits import Data
from urfb.report.texts import number

SHOWN = ["network, data set", "protocol", "seeds", "epochs", "seconds an epoch", "hours a run", "last trained on"]
NUMBERS = ["panel", "protocol", "machine", "epochs", "seconds", "n", "runs"]
MACHINE = ("device", "device_name", "threads")
MEANING = "epochs and seconds: of the n runs together"
ABOUT_TIME = (
    "A run counts for the machine that trained it last. Seconds are those of whole epochs, evaluation included, as "
    "they passed: an epoch takes longer where other work shares the machine."
)


def tabulate(data: Data) -> Tabulated:
    """Say of each panel, protocol and kind of machine how many runs there are, how long they are and what they took."""
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
                rates = (number(seconds / epochs, 1), number(seconds / len(rows) / 3600, 2))
                shown.append((*what, str(len(rows)), span(rows["epochs_done"]), *rates, str(machine)))

    notes = [_total(machine, rows) for machine, rows in runs.groupby("machine")]
    reached = dict(zip(runs["run"], runs["epochs_done"], strict=True))
    return Tabulated(
        pd.DataFrame(shown, columns=SHOWN),
        pd.DataFrame(numbers, columns=NUMBERS),
        drawn_runs(data.panels, reached),
        lacking,
        MEANING,
        [*notes, ABOUT_TIME],
    )


def _machine(device: str, name: str | None, threads: float) -> str:
    """Name a machine; one on which a worker has only begun has not said yet what it is."""
    if not isinstance(name, str):
        return "unknown"
    return f"{name}, {threads:.0f} thread{'' if threads == 1 else 's'}" if device == "cpu" else name


def _total(machine: object, runs: pd.DataFrame) -> str:
    """Return what all runs on one kind of machine are together."""
    epochs, hours = int(runs["epochs_done"].sum()), number(runs["seconds"].sum() / 3600, 1)
    counted = f"{len(runs):,} run{'s' * (len(runs) != 1)}, {epochs:,} epoch{'s' * (epochs != 1)}"
    return f"On {machine}: {counted}, {hours} hours."
