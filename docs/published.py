"""Print the numbers on the pages from results/reference.

`cog -r -P -I docs README.md docs/*.md docs/*/*.md` updates the pages, and a test checks that they are current.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

import urfb
from urfb.grid.expand import load_grid
from urfb.report.claims.findings import findings
from urfb.report.claims.formatting import evidence
from urfb.report.drawn import span
from urfb.report.everything import verdicts
from urfb.report.figures import SIMPNET10
from urfb.report.protocols import BP, BP_H, FRFB, URFB
from urfb.report.selection import DATASET_NAMES, Selection, panels
from urfb.report.texts import number, without_provenance

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "results" / "reference"
FIGURE4 = Selection((SIMPNET10,), (BP, BP_H, URFB, FRFB))


def show(text: str) -> None:
    """Print a part of a page with the empty lines that Markdown needs around a table."""
    print(f"\n{text}\n")


def show_table(name: str) -> None:
    """Print a published table without its heading, its provenance and the rows that have no runs."""
    _, table, *notes = without_provenance((REFERENCE / "tables" / f"{name}.md").read_text()).split("\n\n")
    head, *rows = table.split("\n")
    names = [name.strip() for name in head.split("|")]
    if "seeds" in names:
        rows = [row for row in rows if row.split("|")[names.index("seeds")].strip() != "0"]
    show("\n\n".join(["\n".join([head, *rows]), *notes]).rstrip())


def show_verdicts() -> None:
    """Print each claim's verdict in the longest setting that decides it, with its evidence."""
    lines = []
    for finding in findings(verdicts(urfb.open_store(str(REFERENCE / "urfb.sqlite")), "results/reference/urfb.sqlite")):
        claim = finding.deciding
        lines.append(f"- **{claim.verdict.value.capitalize()}** ({claim.source}): “{claim.sentence}”")
        if not finding.shortfall:
            title = claim.title[:1].upper() + claim.title[1:]
            lines[-1] += f"  \n  {title}: {'; '.join(evidence(claim))}."
    show("\n".join(lines))


def show_backlog(*experiments: str) -> None:
    """Print how much of each experiment is published, and the time that the rest takes on one core.

    The time of an epoch is the mean over published epochs with the same network, data, batch size and untied layers.
    Without such epochs, a dash stands for the time.
    """
    stored = urfb.open_store(str(REFERENCE / "urfb.sqlite")).runs().set_index("run")
    workload = ["layers", "dataset", "batch_size", "untied"]
    seconds = stored.groupby(workload)["seconds"].sum() / stored.groupby(workload)["epochs_done"].sum()
    rows = []
    for name in experiments:
        runs = [run.spec for run in load_grid(ROOT / "experiments.yaml", [name]).runs]
        done = pd.Series({run.identity: int(stored["epochs_done"].get(run.identity, 0)) for run in runs})
        times = [seconds.get(tuple(getattr(run, field) for field in workload)) for run in runs]
        left = [
            None if time is None else time * max(0, run.epochs - done[run.identity])
            for run, time in zip(runs, times, strict=True)
        ]
        started = done[done > 0]
        rows.append(
            {
                "experiment": f"`{name}`",
                "runs": str(len(runs)),
                "epochs": span([run.epochs for run in runs]),
                "runs started": str(len(started)),
                "epochs published": span(list(started)) if len(started) else "–",
                "core-hours left": "–" if None in left else number(sum(left) / 3600, 0),
            }
        )
    show(_markdown(rows))


def show_figure4() -> None:
    """Print the mean errors of the runs of Figure 4."""
    [panel] = panels(urfb.open_store(str(REFERENCE / "urfb.sqlite")).runs(state="done"), FIGURE4)
    rows = []
    for protocol in FIGURE4.protocols:
        runs = panel.runs[panel.runs["protocol"] == protocol.name]
        errors = {kind: number(100 * runs[f"{kind}_error"].mean(), 1) for kind in ("training", "validation", "test")}
        rows.append(
            {"protocol": protocol.name, "epochs": span(list(runs["epochs_done"])), "seeds": str(len(runs))} | errors
        )
    show(_markdown(rows))


def show_costs() -> None:
    """Print the time of one epoch of each network, and of the paper's 1,000 epochs at that speed."""
    runs = urfb.open_store(str(REFERENCE / "urfb.sqlite")).runs(convention="paper", precision="float32")
    runs = runs[(runs["epochs_done"] > 0) & (runs["threads"] == 1)]
    rows = []
    for (network, dataset, untied), group in runs.groupby(["network", "dataset", "untied"], sort=False):
        group = group[group["batch_size"] == group["batch_size"].max()]
        seconds = group["seconds"] / group["epochs_done"]
        name = f"{network}, {DATASET_NAMES[dataset]}{'' if untied == 'none' else ', untied'}"
        rows.append(
            {
                "network, data set": name,
                "runs": str(len(group)),
                "seconds per epoch": span([round(value) for value in seconds]),
                "core-hours for 1,000 epochs": span([round(1000 * value / 3600) for value in seconds]),
            }
        )
    show(_markdown(rows))


def _markdown(rows: list[dict[str, str]]) -> str:
    return str(pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True))
