"""The values that functions return for figures and tables, and statements about how complete these are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import t

from urfb.errors import counted
from urfb.report.selection import Panel

FEWEST = 3
"""The fewest seeds with an interval of the mean; for two, Student's t gives one of twelve times their distance."""
ABOUT_ALONE = "Thin lines are single seeds with more epochs than others."
MEANING_ALONE = "alone: whether a row shows a single seed that has epochs which other seeds of its line lack"

Interval = Callable[[Any], tuple[Any, Any]]
"""Returns the low and the high end of a series, or of each group of a grouped series."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """A figure with its data.

    Attributes:
        figure: the picture.
        data: the numbers drawn, one row for each point or bar: `mean`, `low` and `high` over the `n` runs in `runs`.
        runs: the runs drawn, one row each, with `protocol` and `drawn_epochs`.
        shortfalls: the missing data, one line each; empty for a complete figure.
        meaning: the definitions of the columns of `data`.
        explanation: sentences for the caption about what is drawn and how; empty for none.
    """

    figure: Figure
    data: pd.DataFrame
    runs: pd.DataFrame
    shortfalls: list[str] = field(default_factory=list)
    meaning: str = ""
    explanation: str = ""


@dataclass(frozen=True, eq=False)
class Tabulated:
    """A table with its data.

    Attributes:
        shown: the table for readers; every cell is text.
        data: the numbers behind the table, with the `runs` of each row.
        runs: the runs shown, one row each, as in `Drawn`.
        shortfalls: the missing data, one line each; empty for a complete table.
        meaning: the definitions of the columns of `data`.
        notes: the notes below the table, such as sources and cautions, one line each.
    """

    shown: pd.DataFrame
    data: pd.DataFrame
    runs: pd.DataFrame
    shortfalls: list[str] = field(default_factory=list)
    meaning: str = ""
    notes: list[str] = field(default_factory=list)


def extremes(values: Any) -> tuple[Any, Any]:
    """Return the smallest and the largest value."""
    return values.min(), values.max()


def students_interval(values: Any) -> tuple[Any, Any]:
    """Return the 95 % interval of the mean by Student's t; NaN for fewer than `FEWEST` values."""
    count = values.count()
    half = t.ppf(0.975, np.where(count < FEWEST, np.nan, count - 1)) * values.sem()
    return values.mean() - half, values.mean() + half


def longest(runs: pd.DataFrame) -> pd.DataFrame:
    """Return each protocol's runs with the most `epochs`, because runs of different lengths are never averaged."""
    return runs[runs["epochs"] == runs.groupby("protocol")["epochs"].transform("max")]


def over_seeds(values: pd.DataFrame, by: Sequence[str], value: str, interval: Interval = extremes) -> pd.DataFrame:
    """Return the mean, the interval, the number and the names of the runs in each group, in the order of epochs."""
    # The first seed may start at a later epoch than the next.
    order = [name for name in ("epoch", "seed") if name in (*by, "seed")]
    groups = values.sort_values(order, kind="stable").groupby(list(by), sort=False)
    spread = groups[value]
    low, high = interval(spread)
    summary = {"mean": spread.mean(), "low": low, "high": high, "n": spread.count()}
    return pd.DataFrame({**summary, "runs": groups["run"].agg(" ".join)}).reset_index()


def by_moment(
    values: pd.DataFrame, line: Sequence[str], value: str, moments: Sequence[str] = ("epoch",)
) -> pd.DataFrame:
    """Return the mean and the range over seeds of each line and moment, always over the same seeds of a line.

    Args:
        values: one row for each run and moment.
        line: the columns that distinguish lines.
        value: the column to average.
        moments: the columns with the time of a row; moments are compared by the first.

    Returns:
        Rows over all seeds of a line, at the moments that all of them have. A seed with earlier or later moments also
        has a row for each of its own moments, in which `alone` is true.
    """
    moment = moments[0]
    of_line, when = values.groupby(list(line)), values[moment]
    sharing = values.groupby([*line, moment])["run"].transform("nunique")
    shared = sharing == of_line["run"].transform("nunique")
    seeds = values.groupby([*line, "run"])[moment]
    common = when.where(shared).groupby([values[name] for name in line])
    first, last = common.transform("min"), common.transform("max")
    longer = (seeds.transform("min") < first) | (seeds.transform("max") > last)
    alone = values[longer | first.isna()]
    together = over_seeds(values[shared], [*line, *moments], value).assign(alone=False)
    if alone.empty:
        return together
    own = over_seeds(alone, [*line, *moments, "run"], value).drop(columns="run").assign(alone=True)
    return stack([together, own])


def stack(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Concatenate tables of the same columns; empty tables do not affect the types."""
    filled = [table for table in tables if not table.empty]
    return pd.concat(filled, ignore_index=True) if filled else tables[0]


def with_runs(panels: Sequence[Panel], reached: Mapping[str, int]) -> list[Panel]:
    """Return the panels that have a run to draw.

    Args:
        panels: the panels of a figure.
        reached: the number of epochs drawn for each run; runs that are not drawn are absent.
    """
    return [panel for panel in panels if panel.runs["run"].isin(list(reached)).any()]


def drawn_runs(panels: Sequence[Panel], reached: Mapping[str, int]) -> pd.DataFrame:
    """Return the runs that are drawn, each once, with the number of epochs drawn."""
    runs = stack([panel.runs for panel in panels])
    runs = runs[runs["run"].isin(list(reached))].drop_duplicates("run")
    return runs.assign(drawn_epochs=runs["run"].map(dict(reached)))


def identities(panels: Sequence[Panel]) -> list[str]:
    """Return the identities of the panels' runs, each once."""
    return list(dict.fromkeys(run for panel in panels for run in panel.runs["run"]))


def span(numbers: Iterable[int]) -> str:
    """Return "1,000" or, for different numbers, "25 to 1,000"."""
    lowest, highest = min(values := list(numbers)), max(values)
    return f"{lowest:,}" if lowest == highest else f"{lowest:,} to {highest:,}"


def extent(epochs: Sequence[int]) -> str:
    """Return the number of seeds and epochs behind a line, from the epochs of each of its runs."""
    return f"{counted(len(epochs), 'seed')}, {span(epochs)} epoch{'s' * (max(epochs) != 1)}"


def extents(panels: Sequence[Panel], reached: Mapping[str, int]) -> str:
    """Return sentences about the seeds and epochs of each line or bar: "BP has 3 seeds and 10 epochs."

    Args:
        panels: the panels of a figure or table.
        reached: the number of epochs drawn for each run; runs that are not drawn are absent.
    """
    sentences: dict[str, list[str]] = {}
    for title, panel in zip(_titles(panels), panels, strict=True):
        names: dict[str, list[str]] = {}
        for protocol in panel.protocols:
            epochs = [reached[run] for run in panel.runs_of(protocol)["run"] if run in reached]
            if epochs:
                names.setdefault(extent(epochs).replace(", ", " and "), []).append(protocol.name)
        if len(names) == 1 and 1 < sum(map(len, names.values())) == len(panel.protocols):
            sentence = f"each protocol has {next(iter(names))}"
        else:
            having = {words: "has" if len(who) == 1 else "have" for words, who in names.items()}
            sentence = "; ".join(f"{listed(who)} {having[words]} {words}" for words, who in names.items())
        if sentence:
            sentences.setdefault(sentence, []).append(title)
    if len(sentences) == 1 and len(next(iter(sentences.values()))) == len(panels):
        [sentence] = sentences
        return f"{sentence[:1].upper()}{sentence[1:]}."
    return " ".join(f"{' and '.join(titles)}: {sentence}." for sentence, titles in sentences.items())


def listed(words: Sequence[str]) -> str:
    """Return "a, b and c"."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def explain(tables: Sequence[pd.DataFrame], words: str) -> str:
    """Return the words about several seeds if a line or bar has several, and a sentence about seeds drawn alone."""
    several = any((table["n"] > 1).any() for table in tables)
    alone = any(table["alone"].any() for table in tables if "alone" in table)
    return " ".join([words] * several + [ABOUT_ALONE] * alone)


def shortfalls(panels: Sequence[Panel], reached: Mapping[str, int], lacking: str, kind: str = "figure") -> list[str]:
    """Return what the panels lack.

    Args:
        panels: the panels of the figure or table.
        reached: the number of epochs drawn for each run; runs that are not drawn are absent.
        lacking: the reason why an existing run is not drawn, such as "no test error yet".
        kind: 'figure' or 'table'.

    Returns:
        One line for each kind of missing data, with the protocols and panels concerned.
    """
    titles = _titles(panels)
    if all(panel.runs.empty for panel in panels):
        return [f"no run of this {kind} in the store"]
    everywhere = dict(zip(titles, ([protocol.name for protocol in panel.protocols] for panel in panels), strict=True))
    places: dict[str, list[tuple[str, str]]] = {}
    for title, panel in zip(titles, panels, strict=True):
        for protocol in panel.protocols:
            for text in _protocol_shortfalls(panel, panel.runs_of(protocol), reached, lacking):
                places.setdefault(text, []).append((title, protocol.name))
    return [_placed(text, concerned, everywhere) for text, concerned in places.items()]


def _titles(panels: Sequence[Panel]) -> list[str]:
    """Return the panels' titles, without the network if all have the same."""
    one_network = len({panel.network for panel in panels}) == 1
    return [panel.description if one_network else panel.title for panel in panels]


def _protocol_shortfalls(panel: Panel, runs: pd.DataFrame, reached: Mapping[str, int], lacking: str) -> list[str]:
    if runs.empty:
        return ["no run"]
    texts = []
    pairs = zip(runs["run"], runs["expected_epochs"], strict=True)
    epochs = [(reached[run], int(expected)) for run, expected in pairs if run in reached]
    short = [(done, expected) for done, expected in epochs if done < expected]
    if not epochs:
        texts.append(lacking)
    elif short:
        expectation = "the paper's " if panel.of_paper else ""
        part = "" if len(short) == len(epochs) else f" in {len(short)} of {len(epochs)} runs"
        texts.append(
            f"{span(done for done, _ in short)} of {expectation}{span(expected for _, expected in short)} epochs{part}"
        )
    if 0 < len(epochs) < panel.seeds:
        texts.append(f"{len(epochs)} of {panel.seeds} seeds")
    seeds = sorted(runs.loc[runs["state"] == "failed", "seed"])
    if seeds:
        texts.append(f"seed{'s' * (len(seeds) > 1)} {', '.join(str(seed) for seed in seeds)} failed")
    return texts


def _placed(text: str, concerned: list[tuple[str, str]], everywhere: Mapping[str, list[str]]) -> str:
    """Prefix a text with the protocols and panels concerned, or with nothing if it concerns the whole figure."""
    protocols = {title: [name for place, name in concerned if place == title] for title, _ in concerned}
    if protocols == everywhere:
        return text
    if len(protocols) == len(everywhere) and len({tuple(names) for names in protocols.values()}) == 1:
        return f"{', '.join(next(iter(protocols.values())))}: {text}"
    parts = []
    for title, names in protocols.items():
        if len(everywhere) == 1:
            parts.append(", ".join(names))
        else:
            parts.append(title if names == everywhere[title] else f"{title} ({', '.join(names)})")
    return f"{'; '.join(parts)}: {text}"


_COUNTED = re.compile(r"([\d,]+)(?: to ([\d,]+))? of ((?:the paper's )?)([\d,]+)(?: to ([\d,]+))? (epochs|seeds)")


def in_brief(shortfalls: Sequence[str]) -> str:
    """Return what is missing in one line, such as "10 of 1,000 epochs, 1 of 3 seeds, some without runs"."""
    counts, _, others = _counted(shortfalls)
    briefly = [f"{span(done)} of {span(expected)} {unit}" for unit, (done, expected) in counts.items()]
    for place, text in others:
        some = f"some with {text}" if place and text.startswith("no") else text
        briefly.append("some without runs" if text == "no run" else some)
    return ", ".join(dict.fromkeys(briefly))


def in_sentence(shortfalls: Sequence[str]) -> str:
    """Return what is missing as a sentence, given that others say how many seeds and epochs there are."""
    counts, of_paper, others = _counted(shortfalls)
    parts = []
    for unit, (_, expected) in counts.items():
        number = f"{span(expected)} {unit}"
        parts.append(f"the paper trains {number}" if unit == "epochs" and of_paper else f"{number} are planned")
    parts += [f"{text} for {place.replace('; ', ' and ')}" if place else text for place, text in others]
    return f"Incomplete: {'; '.join(parts)}." if parts else ""


def _counted(
    shortfalls: Sequence[str],
) -> tuple[dict[str, tuple[list[int], list[int]]], bool, list[tuple[str, str]]]:
    """Return the numbers done and expected by unit, whether the paper expects them, and all other shortfalls."""
    counts: dict[str, tuple[list[int], list[int]]] = {}
    of_paper, others = False, []
    for shortfall in shortfalls:
        place, _, text = shortfall.rpartition(": ")
        if counted := _COUNTED.match(text):
            low, high, paper, least, most, unit = counted.groups()
            done, expected = counts.setdefault(unit, ([], []))
            done += [int(word.replace(",", "")) for word in (low, high) if word]
            expected += [int(word.replace(",", "")) for word in (least, most) if word]
            of_paper |= bool(paper)
        else:
            others.append((place, text))
    return counts, of_paper, others
