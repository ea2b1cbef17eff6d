"""Tables 5, 6 and 9: the errors behind the bars of these figures."""

from __future__ import annotations

import pandas as pd

from urfb.report.drawn import Tabulated, drawn_runs, over_seeds, shortfalls, stack, students_interval
from urfb.report.error_bars import tested
from urfb.report.exhibits import Data
from urfb.report.published import BARS_SOURCE, bar_of
from urfb.report.texts import NONE, number, with_interval

SETS = ("training", "validation", "test")
MEANING = (
    "mean, low and high: the error in percent at the epoch of the test, its mean over n seeds and, with at least three "
    "seeds, the 95 % interval of that mean (t)"
)
ABOUT_INTERVALS = "Mean over seeds ± half of its 95 % interval (Student's t), from three seeds on."
DECIMALS = 2
"""Decimals of an error in percent, the resolution of a test set of 10,000 images."""


def tabulate(data: Data) -> Tabulated:
    """Return a table of training, validation and test errors, one row per panel and protocol.

    The runs are those of the bars: a protocol's runs with the most epochs at their test. All three errors are those
    after the epoch of the test.
    """
    panels = data.panels
    kept = stack([tested(panel).assign(panel=panel.title) for panel in panels]).astype({"epochs": int})
    kept = kept[["panel", "protocol", "epochs", "run", "seed", "test_error"]]
    reached = {str(run): int(epochs) for run, epochs in zip(kept["run"], kept["epochs"], strict=True)}
    lacking = shortfalls(panels, reached, "no test error yet", "table")

    epochs = data.measured["epochs"][["run", "epoch", "training_error", "validation_error"]]
    errors = kept.merge(epochs, how="left", left_on=["run", "epochs"], right_on=["run", "epoch"])
    errors = errors.rename(columns={f"{name}_error": name for name in SETS})
    errors = errors.melt(["panel", "protocol", "epochs", "run", "seed"], list(SETS), "set", "error")
    errors["error"] *= 100
    table = over_seeds(errors, ["panel", "protocol", "epochs", "set"], "error", students_interval)
    expected = pd.DataFrame(
        [(panel.title, protocol.name, name) for panel in panels for protocol in panel.protocols for name in SETS],
        columns=["panel", "protocol", "set"],
    )
    table = expected.merge(table, how="left").fillna({"n": 0, "runs": ""}).astype({"n": int, "epochs": "Int64"})

    by_place = {(row["panel"], row["protocol"], row["set"]): row for row in table.to_dict("records")}
    rows = []
    for panel in panels:
        for protocol in panel.protocols:
            by_set = {name: by_place[panel.title, protocol.name, name] for name in SETS}
            test = by_set["test"]
            row = {
                "network, data set": panel.title,
                "protocol": protocol.name,
                "seeds": str(test["n"]),
                "epochs": f"{test['epochs']:,}" if test["n"] else NONE,
            }
            row |= {f"{name} (%)": with_interval(by_set[name], DECIMALS) for name in SETS}
            published = (
                bar_of(panel.network, panel.dataset, protocol.name) if panel.has_paper_settings else float("nan")
            )
            rows.append(row | {"published (%)": number(published, 0)})
    shown = pd.DataFrame(rows)
    notes = [ABOUT_INTERVALS]
    if (shown["published (%)"] == NONE).all():
        shown = shown.drop(columns="published (%)")
    else:
        notes.append(BARS_SOURCE)
    return Tabulated(shown, table, drawn_runs(panels, reached), lacking, MEANING, notes)
