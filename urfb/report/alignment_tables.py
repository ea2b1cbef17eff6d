"""Tables 10 and 11: the correlation of W and Rᵗ in each layer at the end."""

from __future__ import annotations

import pandas as pd

from urfb.report.alignment import last_stage, with_feedback
from urfb.report.drawn import Tabulated, drawn_runs, longest, over_seeds, shortfalls, stack, students_interval
from urfb.report.error_tables import ABOUT_INTERVALS
from urfb.report.exhibits import Data
from urfb.report.selection import Panel
from urfb.report.texts import NONE, with_interval

MEANING = (
    "mean, low and high: the correlation of W and Rᵗ at the last epoch, its mean over n seeds and, with at least three "
    "seeds, the 95 % interval of that mean (t); entries: the entries of W and R that the correlation includes"
)
COLUMNS = {"all": "corr(W, Rᵗ)", "shared": "corr(W, Rᵗ), shared"}
ABOUT_SHARED = "The column 'shared' is over the connections that both W and R have, the other over all entries."
DECIMALS = 3


def tabulate(data: Data) -> Tabulated:
    """Return a table of final correlations, one row per panel, protocol and layer.

    The runs of a protocol are those measured after the most epochs. For runs with two stages, the table shows the
    second stage without its frozen layers, which do not learn.
    """
    panels = with_feedback(data.panels)
    alignment = last_stage(data.measured["alignment"].dropna(subset=["correlation"]), data.runs)
    final = alignment[alignment["step"] == alignment.groupby("run")["step"].transform("max")]
    final = final.assign(epochs=final["epoch"])
    final = final[["run", "layer", "layer_name", "epochs", "correlation", "correlation_shared"]]
    values = stack([_panel_values(panel, final) for panel in panels])
    table = over_seeds(
        values, ["panel", "protocol", "layer", "layer_name", "epochs", "entries"], "correlation", students_interval
    )
    table = table.sort_values(["layer", "entries"], kind="stable")

    rows = []
    for panel in panels:
        for protocol in panel.protocols:
            part = table[(table["panel"] == panel.title) & (table["protocol"] == protocol.name)]
            row = {"network, data set": panel.title, "protocol": protocol.name}
            if part.empty:
                unmeasured = {"layer": "nothing measured", "seeds": "0", "epochs": NONE}
                rows.append(row | unmeasured | dict.fromkeys(COLUMNS.values(), NONE))
            for layer, entries in part.groupby("layer"):
                by_kind = {entry["entries"]: entry for entry in entries.to_dict("records")}
                what = {"layer": f"{layer}: {by_kind['all']['layer_name']}", "seeds": str(by_kind["all"]["n"])}
                what |= {"epochs": f"{by_kind['all']['epochs']:,}"}
                rows.append(
                    row | what | {name: with_interval(by_kind.get(kind), DECIMALS) for kind, name in COLUMNS.items()}
                )
    shown = pd.DataFrame(rows)
    notes = [ABOUT_INTERVALS, *([] if final.empty else [f"No error passes through R of layer {final['layer'].min()}."])]
    if (shown[COLUMNS["shared"]] == NONE).all():
        shown = shown.drop(columns=COLUMNS["shared"])
    else:
        notes.append(ABOUT_SHARED)
    first_stage = dict(zip(data.runs["run"], data.runs["pretraining_epochs"], strict=True))
    reached = {run: epochs + int(first_stage[run]) for run, epochs in zip(values["run"], values["epochs"], strict=True)}
    lacking = shortfalls(panels, reached, "no alignment measured yet", "table")
    return Tabulated(shown, table, drawn_runs(panels, reached), lacking, MEANING, notes)


def _panel_values(panel: Panel, final: pd.DataFrame) -> pd.DataFrame:
    """Return the panel's correlations, one row per run, layer and kind of entries."""
    values = longest(
        panel.runs[["run", "seed", "protocol", "connectivity", "feedback_connectivity"]].merge(final, on="run")
    )
    values = values.astype({"epochs": int})
    sparse = values[["connectivity", "feedback_connectivity"]].min(axis=1) < 1
    values = values.assign(
        panel=panel.title, all=values["correlation"], shared=values["correlation_shared"].where(sparse)
    )
    by = ["panel", "run", "seed", "protocol", "layer", "layer_name", "epochs"]
    values = values[[*by, *COLUMNS]].melt(by, list(COLUMNS), "entries", "correlation")
    return values.dropna(subset=["correlation"])
