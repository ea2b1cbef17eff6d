"""The page's table of runs: one row per run, and the details below it that open on demand."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from urfb.grid.naming import differing_by_run, in_words, settings_in, split_names
from urfb.grid.settings import SETTINGS
from urfb.report.exhibits import Frames
from urfb.report.selection import DATASET_NAMES, PROTOCOL_FIELDS, own_fields, protocol_names

POINTS = 60
"""The most points per curve, which keeps a page of thousands of runs small; a curve is 360 pixels wide."""
RUNS_AT_A_TIME = 200
"""The runs whose epochs are read at a time, which bounds the memory for thousands of runs."""
LOG_LINES, LOG_LINE, LOG_BYTES = 20, 240, 8192
TRACEBACK = 4000  # characters at its end
PROVENANCE = (
    "experiments", "commit", "urfb_version", "python_version", "torch_version", "device", "device_name", "threads",
    "host", "process", "started", "ended", "seconds", "attempts", "outcome", "science_version", "log",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """The texts of a run's row; errors are in percent.

    `protocol` is the paper's name for rule, loss and connectivity. `settings` are the other settings in which the runs
    differ and that are not the paper's.
    """

    identity: str
    state: str
    network: str
    dataset: str
    protocol: str
    settings: str
    seed: str
    epochs: str
    training: str
    validation: str
    test: str
    experiments: str


def rows(runs: pd.DataFrame) -> list[Row]:
    """Return one row per run, in the store's order."""
    protocols = protocol_names(runs)
    settings = settings_in(runs)
    return [
        Row(
            identity=str(run["run"]),
            state=str(run["state"]),
            network=str(run["network"] or run["layers"]),
            dataset=DATASET_NAMES.get(run["dataset"], str(run["dataset"])),
            protocol=protocols[run["run"]],
            settings=_unusual(of_run, names),
            seed=str(run["seed"]),
            epochs=f"{run['epochs_done']:,}"
            + (f" of {run['epochs_target']:,}" if run["epochs_done"] < run["epochs_target"] else ""),
            training=_percent(run["training_error"]),
            validation=_percent(run["validation_error"]),
            test=_percent(run["test_error"]),
            experiments=", ".join(split_names(run["experiments"])),
        )
        for run, of_run, names in zip(runs.to_dict("records"), settings, differing_by_run(settings), strict=True)
    ]


def details(frames: Frames, runs: pd.DataFrame, logs: Path | None) -> dict[str, Any]:
    """Return the details of the runs: settings, provenance, curves, and the end of the log.

    Args:
        frames: the store.
        runs: all runs of the page.
        logs: the folder of the store's logs; None if there is none. Files elsewhere are never read, even if the store
            names them.
    """
    settings = [name for name in own_fields(runs) if name != "run"]
    provenance = [name for name in PROVENANCE if name in runs]
    unfolded: list[dict[str, Any]] = []
    folder = logs.resolve() if logs is not None and logs.is_dir() else None
    records = runs.to_dict("records")
    for start in range(0, len(records), RUNS_AT_A_TIME):
        chunk = records[start : start + RUNS_AT_A_TIME]
        identities = [run["run"] for run in chunk]
        errors = dict(_errors(frames.epochs(run=identities)))
        alignments = dict(_alignments(frames.alignment(run=identities)))
        for run in chunk:
            entry: dict[str, Any] = {
                "settings": [_text(run[name]) for name in settings],
                "provenance": [_text(run[name]) for name in provenance],
                "errors": errors.get(run["run"]),
                "alignment": alignments.get(run["run"]),
                "log": _log(folder, str(run["run"])),
            }
            if run["state"] == "failed":
                reason, traceback = _text(run.get("reason")), _text(run.get("traceback"))
                entry["failure"] = [reason or "The reason is unknown.", (traceback or "")[-TRACEBACK:]]
            unfolded.append({name: value for name, value in entry.items() if value})
    return {"settings": _words(settings), "provenance": _words(provenance), "runs": unfolded}


def _errors(epochs: pd.DataFrame) -> Iterator[tuple[str, dict[str, list[list[float]]]]]:
    """Yield the training and validation error of each run, as lists of epochs and percentages."""
    points = epochs[["epoch", "training_error", "validation_error"]].to_numpy(dtype=float)
    for run, positions in epochs.groupby("run", sort=False).indices.items():
        curves = {}
        for column, name in enumerate(("training", "validation"), start=1):
            curve = points[positions][:, [0, column]]
            curve = curve[np.isfinite(curve[:, 1])]
            if len(curve):
                at, errors = curve[_thinned(len(curve))].T
                curves[name] = [at.astype(int).tolist(), (100 * errors).round(2).tolist()]
        yield str(run), curves


def _alignments(alignment: pd.DataFrame) -> Iterator[tuple[str, dict[str, list[Any]]]]:
    """Yield the correlation of W and Rᵗ by epoch for each run, one curve per measured layer."""
    layer_names = alignment.drop_duplicates(["run", "layer"])[["run", "layer", "layer_name"]]
    names = {(run, layer): name for run, layer, name in layer_names.itertuples(index=False)}
    table = alignment.pivot(index=["run", "step"], columns="layer", values="correlation")
    steps = alignment.drop_duplicates(["run", "step"]).set_index(["run", "step"])["epoch"].reindex(table.index)
    epochs, correlations = steps.to_numpy(dtype=float), table.to_numpy(dtype=float)
    for run, positions in table.groupby(level="run", sort=False).indices.items():
        chosen = positions[_thinned(len(positions))]
        curves = {
            f"{layer}: {names[run, layer]}": [_rounded(value) for value in correlations[chosen, column]]
            for column, layer in enumerate(table.columns)
            if np.isfinite(correlations[chosen, column]).any()
        }
        if curves:
            layers: dict[str, list[Any]] = {"layers": list(curves), "correlations": list(curves.values())}
            yield str(run), {"epochs": epochs[chosen].round(3).tolist(), **layers}


def _thinned(count: int) -> Any:
    """Return the positions of at most `POINTS` of `count` points, including the first and the last."""
    return np.unique(np.linspace(0, count - 1, min(count, POINTS)).round().astype(int))


def _rounded(value: float) -> float | None:
    return round(float(value), 3) if math.isfinite(value) else None


def _log(folder: Path | None, identity: str) -> str:
    """Return the end of a run's log; empty if it is not in the folder or cannot be read."""
    if folder is None:
        return ""
    try:
        file = (folder / f"{identity}.log").resolve()
        if not file.is_relative_to(folder):
            return ""
        with file.open("rb") as log:
            log.seek(max(0, file.stat().st_size - LOG_BYTES))
            end = log.read(LOG_BYTES).decode("utf-8", errors="replace")
    except (OSError, ValueError):
        return ""
    return "\n".join(
        line if len(line) <= LOG_LINE else f"{line[: LOG_LINE - 1]}…" for line in end.splitlines()[-LOG_LINES:]
    )


def _unusual(run: Mapping[str, Any], names: Iterable[str]) -> str:
    """Return the named settings that have no column and are not the paper's."""
    others = [name for name in names if name not in ("network", "dataset", "seed", *PROTOCOL_FIELDS)]
    return ", ".join(in_words(run, [name]) for name in others if run[name] != SETTINGS[name].paper)


def _percent(error: Any) -> str:
    return "" if pd.isna(error) else f"{100 * error:.1f}"


def _text(value: Any) -> str | None:
    """Return a value as text; None if it is missing."""
    if pd.isna(value):
        return None
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)


def _words(names: list[str]) -> list[str]:
    return [name.replace("_", " ") for name in names]
