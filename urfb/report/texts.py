"""Tables as Markdown and as LaTeX, with their provenance as comments.

Every heading, cell and note is plain text and stays what it is: none of it is read as markup.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import pandas as pd

NONE = "–"
"""What stands in a cell without a number."""
PLUS_MINUS = " ± "
LONGEST = 36
"""A LaTeX column of longer texts is broken into lines."""
MOST_COLUMNS = 5
"""A LaTeX table of more columns is set in a smaller type."""

_PROVENANCE = "\n<!--\n"
_NUMBER = re.compile(rf"[−-]?[\d.,]+({PLUS_MINUS}[\d.,]+)?|{NONE}|")


def number(value: float, decimals: int) -> str:
    """Return a number as people write it, "1,000.0" or "−0.25"; a dash for NaN."""
    if math.isnan(value):
        return NONE
    return f"{round(value, decimals) + 0.0:,.{decimals}f}".replace("-", "−")  # + 0.0 takes the sign off −0.0


def with_interval(row: Mapping[Any, Any] | None, decimals: int) -> str:
    """Return a row's `mean` and the half-width of the interval that ends at its `high`, if any: "43.42 ± 0.37"."""
    if row is None:
        return NONE
    mean = number(row["mean"], decimals)
    return mean if math.isnan(row["high"]) else f"{mean}{PLUS_MINUS}{number(row['high'] - row['mean'], decimals)}"


def markdown(heading: str, shown: pd.DataFrame, notes: Sequence[str], provenance: Sequence[str]) -> str:
    """Return a table in GitHub's Markdown, below its heading and above its notes; numbers stand on the right."""
    align = ["left" if kind == "text" else "right" for kind in _kinds(shown)] if len(shown) else None
    cells = shown.rename(columns=_in_markdown).map(_in_markdown)
    table = cells.to_markdown(index=False, disable_numparse=True, colalign=align)
    below = "".join(f"\n{_in_markdown(note)}\n" for note in notes)
    comment = re.sub(r"(--!?)>", r"\1&gt;", "\n".join(provenance))  # what would end a comment
    return f"**{_in_markdown(heading)}**\n\n{table}\n{below}{_PROVENANCE}{comment}\n-->\n"


def without_provenance(text: str) -> str:
    """Return what `markdown` wrote, less the comment at its end."""
    return text.partition(_PROVENANCE)[0]


def latex(caption: str, shown: pd.DataFrame, notes: Sequence[str], provenance: Sequence[str], label: str) -> str:
    r"""Return a table for LaTeX with the package booktabs, for `\input`.

    Numbers stand on the right, those with an interval with one ± below the other. Rows that begin alike stand below a
    line with what they share, and of the next cells of text only the first of several alike is said.
    """
    kinds = _kinds(shown)
    texts = next((place for place, kind in enumerate(kinds) if kind != "text"), len(kinds))
    repeated = (shown == shown.shift()).iloc[:, : max(texts - 1, 0)].cumprod(axis=1).astype(bool)
    groups = None
    if not repeated.empty and repeated.iloc[:, 0].any():
        groups = shown.iloc[:, 0].mask(repeated.iloc[:, 0], "")
        alike = shown.copy()
        alike.iloc[:, : repeated.shape[1]] = shown.iloc[:, : repeated.shape[1]].mask(repeated, "")
        shown, kinds = alike.iloc[:, 1:], kinds[1:]
    forms = [_form(kind, [str(text) for text in shown.iloc[:, place]]) for place, kind in enumerate(kinds)]
    names = zip(map(_in_latex, shown.columns), kinds, strict=True)
    head = _row(f"\\multicolumn{{2}}{{c}}{{{name}}}" if kind == "interval" else name for name, kind in names)
    body = []
    for place, cells in enumerate(shown.itertuples(index=False, name=None)):
        if groups is not None and groups.iloc[place]:
            width = len(kinds) + kinds.count("interval")
            above = [r"\addlinespace"] if place else []
            body += [*above, f"\\multicolumn{{{width}}}{{l}}{{{_in_latex(groups.iloc[place])}}} \\\\"]
        body.append(_row(_cell(str(text), kind) for text, kind in zip(cells, kinds, strict=True)))
    lines = [
        *(f"% {line}" for line in provenance),
        r"% It needs \usepackage{booktabs}.",
        r"\begin{table}",
        r"\centering\footnotesize",
        r"\setlength{\belowcaptionskip}{6pt}",
        *([r"\footnotesize", r"\setlength{\tabcolsep}{4pt}"] if len(kinds) > MOST_COLUMNS else [r"\small"]),
        f"\\caption[{_in_latex(caption)}]{{{' '.join([f'{_in_latex(caption)}.', *map(_in_latex, notes)])}}}",
        f"\\label{{tab:{label}}}",
        f"\\begin{{tabular}}{{{''.join(forms)}}}",
        *(r"\toprule", head, r"\midrule", *body, r"\bottomrule"),
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _kinds(shown: pd.DataFrame) -> list[Literal["text", "number", "interval"]]:
    """Return what each column has."""
    kinds: list[Literal["text", "number", "interval"]] = []
    for place in range(shown.shape[1]):
        cells = [str(text) for text in shown.iloc[:, place]]
        if not cells or not all(_NUMBER.fullmatch(text) for text in cells):
            kinds.append("text")
        else:
            kinds.append("interval" if any(PLUS_MINUS in text for text in cells) else "number")
    return kinds


def _form(kind: str, cells: Sequence[str]) -> str:
    """Return how LaTeX sets a column; the one of intervals is two, which meet at the ±."""
    if kind == "text":
        return r"p{.3\linewidth}" if max(map(len, cells), default=0) > LONGEST else "l"
    return "r@{}l" if kind == "interval" else "r"


def _cell(text: str, kind: str) -> str:
    if kind != "interval":
        return _in_latex(text)
    mean, _, half = text.partition(PLUS_MINUS)
    return f"{_in_latex(mean)} & " + (f"$\\,\\pm\\,${_in_latex(half)}" if half else "")


def _row(cells: Iterable[str]) -> str:
    return " & ".join(cells).rstrip() + r" \\"


def _plain(text: object) -> str:
    """Return a text in one line and without control characters."""
    return re.sub(r"[\x00-\x20\x7f]+", " ", str(text)).strip()


def _in_markdown(text: object) -> str:
    """Return a text that Markdown shows as it is; an _ within a word needs nothing."""
    escaped = re.sub(r"[\\`*\[\]<>&|~#]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", _plain(text))
    return escaped.replace("$", "&#36;")  # on GitHub, \$ begins mathematics, too


# What LaTeX reads as its own, and signs that its usual letters lack.
_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
        "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
        "|": r"\textbar{}", "`": r"\textasciigrave{}", "[": "{[}", "]": "{]}", "*": "{*}",
        "±": r"$\pm$", "−": r"$-$", "–": "--", "ε": r"$\varepsilon$", "λ": r"$\lambda$", "μ": r"$\mu$", "ᵗ": r"$^t$",
        **{sign: f"$_{digit}$" for digit, sign in enumerate("₀₁₂₃₄₅₆₇₈₉")}, "≤": r"$\le$", "≥": r"$\ge$",
        "×": r"$\times$", "≈": r"$\approx$", "\N{NO-BREAK SPACE}": "~",
    }
)  # fmt: skip


def _in_latex(text: object) -> str:
    return _plain(text).translate(_LATEX)
