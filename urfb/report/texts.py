"""Tables as Markdown and LaTeX, with their provenance as comments.

Headings, cells and notes are plain text: signs with a meaning in Markdown or LaTeX are escaped.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pandas as pd

NONE = "–"
"""The content of a cell without a number."""
PLUS_MINUS = " ± "
LONGEST = 36
"""The number of characters above which LaTeX breaks a column's texts into lines."""
MOST_COLUMNS = 5
"""The number of columns above which a LaTeX table has smaller type."""

_PROVENANCE = "\n<!--\n"
_NUMBER = re.compile(rf"[−-]?[\d.,]+({PLUS_MINUS}[\d.,]+)?|{NONE}|")


def number(value: float, decimals: int) -> str:
    """Return a number for readers, such as "1,000.0" or "−0.25"; a dash for NaN."""
    if math.isnan(value):
        return NONE
    return f"{round(value, decimals) + 0.0:,.{decimals}f}".replace("-", "−")  # + 0.0 turns −0.0 into 0.0


def with_interval(row: Mapping[Any, Any] | None, decimals: int) -> str:
    """Return a row's `mean` with the half-width of its interval, `high` less `mean`, if known: "43.42 ± 0.37"."""
    if row is None:
        return NONE
    mean = number(row["mean"], decimals)
    return mean if math.isnan(row["high"]) else f"{mean}{PLUS_MINUS}{number(row['high'] - row['mean'], decimals)}"


def markdown(heading: str, shown: pd.DataFrame, notes: Sequence[str], provenance: Sequence[str]) -> str:
    """Return a table in GitHub's Markdown with its heading and notes; numbers are aligned to the right."""
    align = ["left" if kind == "text" else "right" for kind in _kinds(shown)] if len(shown) else None
    cells = shown.rename(columns=_in_markdown).map(_in_markdown)
    table = cells.to_markdown(index=False, disable_numparse=True, colalign=align)
    below = "".join(f"\n{_in_markdown(note)}\n" for note in notes)
    comment = re.sub(r"(--!?)>", r"\1&gt;", "\n".join(provenance))  # these signs would end the comment
    return f"**{_in_markdown(heading)}**\n\n{table}\n{below}{_PROVENANCE}{comment}\n-->\n"


def without_provenance(text: str) -> str:
    """Return a text from `markdown` without the comment at its end."""
    return text.partition(_PROVENANCE)[0]


def latex(caption: str, shown: pd.DataFrame, notes: Sequence[str], provenance: Sequence[str], label: str) -> str:
    r"""Return a table for LaTeX's `\input`, which needs the package booktabs.

    Numbers are aligned to the right, and intervals at their ±. Rows with the same first cell are below a line with its
    text. In the next columns of text, a cell that repeats the one above is empty.
    """
    kinds, places = _kinds(shown), list(range(shown.shape[1]))
    heads: dict[Any, str] = {
        place: f"\\multicolumn{{2}}{{c}}{{{in_latex(name)}}}" if kinds[place] == "interval" else in_latex(name)
        for place, name in enumerate(shown.columns)
    }
    shown = shown.set_axis(places, axis=1).reset_index(drop=True)  # Styler refuses repeated names
    texts = next((place for place, kind in enumerate(kinds) if kind != "text"), len(kinds))
    repeated = (shown == shown.shift()).iloc[:, : max(texts - 1, 0)].cumprod(axis=1).astype(bool)
    groups: dict[Any, str] = {}
    if not repeated.empty and repeated.iloc[:, 0].any():
        groups = shown.loc[~repeated[0], 0].map(in_latex).to_dict()
        shown, places = shown.mask(repeated.reindex(columns=places, fill_value=False), ""), places[1:]
    styler = shown[places].style.hide(axis="index").format_index(heads.__getitem__, axis=1)
    styler.format({place: _interval_in_latex if kinds[place] == "interval" else in_latex for place in places})
    table = styler.to_latex(
        column_format="".join(_form(kinds[place], shown[place]) for place in places),
        position_float="centering",
        hrules=True,
        label=f"tab:{label}",
        caption=(" ".join([f"{in_latex(caption)}.", *map(in_latex, notes)]), in_latex(caption)),
    )
    lines = table.split("\n")
    width, first_row = len(places) + kinds.count("interval"), lines.index(r"\midrule") + 1
    for place, group in reversed(groups.items()):
        above = [r"\addlinespace"] if place else []
        lines[first_row + place : first_row + place] = [*above, f"\\multicolumn{{{width}}}{{l}}{{{group}}} \\\\"]
    size = [r"\footnotesize", r"\setlength{\tabcolsep}{4pt}"] if len(places) > MOST_COLUMNS else [r"\small"]
    lines[1:2] = [r"\centering\footnotesize", r"\setlength{\belowcaptionskip}{6pt}", *size]
    return "\n".join([*(f"% {line}" for line in provenance), r"% It needs \usepackage{booktabs}.", *lines])


def _kinds(shown: pd.DataFrame) -> list[Literal["text", "number", "interval"]]:
    """Return the kind of content of each column."""
    kinds: list[Literal["text", "number", "interval"]] = []
    for place in range(shown.shape[1]):
        cells = [str(text) for text in shown.iloc[:, place]]
        if not cells or not all(_NUMBER.fullmatch(text) for text in cells):
            kinds.append("text")
        else:
            kinds.append("interval" if any(PLUS_MINUS in text for text in cells) else "number")
    return kinds


def _form(kind: str, cells: pd.Series[str]) -> str:
    """Return LaTeX's specification of a column; a column of intervals becomes two, which meet at the ±."""
    if kind == "text":
        return r"p{.3\linewidth}" if cells.map(str).map(len).max() > LONGEST else "l"
    return "r@{}l" if kind == "interval" else "r"


def _plain(text: object) -> str:
    """Return a text in one line without control characters."""
    return re.sub(r"[\x00-\x20\x7f]+", " ", str(text)).strip()


def _in_markdown(text: object) -> str:
    """Return a text that Markdown shows unchanged; an _ within a word needs no escape."""
    escaped = re.sub(r"[\\`*\[\]<>&|~#]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", _plain(text))
    return escaped.replace("$", "&#36;")  # on GitHub, \$ also begins mathematics


_GREEK = (
    r"\alpha", r"\beta", r"\gamma", r"\delta", r"\varepsilon", r"\eta", r"\lambda", r"\mu", r"\sigma", r"\Delta",
    r"\Sigma",
)  # fmt: skip
# Signs with a meaning in LaTeX, and signs that its usual fonts lack.
_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
        "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
        "|": r"\textbar{}", "`": r"\textasciigrave{}", "[": "{[}", "]": "{]}", "*": "{*}",
        **{sign: f"${name}$" for sign, name in zip("αβγδεηλμσΔΣ", _GREEK, strict=True)},
        "±": r"$\pm$", "−": r"$-$", "–": "--", "′": r"$'$", "½": r"$\frac12$", "ᵗ": r"$^t$",
        **{sign: f"$_{digit}$" for digit, sign in enumerate("₀₁₂₃₄₅₆₇₈₉")}, "≤": r"$\le$", "≥": r"$\ge$",
        "×": r"$\times$", "≈": r"$\approx$", "\N{NO-BREAK SPACE}": "~",
    }
)  # fmt: skip


def in_latex(text: object) -> str:
    """Return a text in one line that LaTeX typesets unchanged."""
    return _plain(text).translate(_LATEX)


def _interval_in_latex(text: object) -> str:
    """Return the two cells of a mean and its interval; the second is empty without an interval."""
    mean, _, half = str(text).partition(PLUS_MINUS)
    return f"{in_latex(mean)} &" + (f" $\\,\\pm\\,${in_latex(half)}" if half else "")
