"""Tables as Markdown and as LaTeX, with their provenance as comments."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd


def markdown(heading: str, shown: pd.DataFrame, notes: Sequence[str], provenance: Sequence[str]) -> str:
    """Return a table in GitHub's Markdown, below its heading and above its notes."""
    cells = shown.map(lambda text: str(text).replace("|", "\\|"))
    table = cells.to_markdown(index=False, disable_numparse=True)
    below = "".join(f"\n{note}\n" for note in notes)
    comment = "\n".join(provenance).replace("--", "- -")  # what would end a comment
    return f"**{heading}**\n\n{table}\n{below}\n<!--\n{comment}\n-->\n"


def latex(heading: str, shown: pd.DataFrame, notes: Sequence[str], provenance: Sequence[str]) -> str:
    """Return a table for LaTeX with the package booktabs."""
    escaped = shown.rename(columns=_escaped).map(_escaped)
    columns = "l" * shown.shape[1]
    table = escaped.style.hide(axis="index").to_latex(hrules=True, column_format=columns)
    caption = " ".join([f"{_escaped(heading)}.", *(_escaped(note) for note in notes)])
    head = "".join(f"% {line}\n" for line in provenance)
    return f"{head}\\begin{{table}}\n\\centering\n\\caption{{{caption}}}\n{table}\\end{{table}}\n"


# What LaTeX reads as its own, and signs that its usual letters lack.
_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
        "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
        "±": r"$\pm$", "−": r"$-$", "–": "--", "ε": r"$\varepsilon$", "λ": r"$\lambda$", "μ": r"$\mu$", "ᵗ": r"$^t$",
        "≤": r"$\le$", "≥": r"$\ge$", "×": r"$\times$", "≈": r"$\approx$", "\N{NO-BREAK SPACE}": "~",
    }
)  # fmt: skip


def _escaped(text: object) -> str:
    return str(text).translate(_LATEX)
