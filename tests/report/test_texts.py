"""Tables as texts: what their readers, Markdown's and LaTeX's, make of them."""

from __future__ import annotations

import math
import re
from itertools import pairwise

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from urfb.report.texts import latex, markdown, number, with_interval, without_provenance

HOSTILE = [
    "a|b",
    "<script>alert(1)</script>",
    "100 % of $5 & #1",
    "_under_ deepnet_s __init__",
    "*bold* `code` ~gone~",
    "[link](https://example.org)",
    "back\\slash \\input{x}",
    "two\nlines\x1b[31m",
    "&lt; {curly} ^ \"quotes\" 'q'",
    "![image](x)",
    "--> end",
]
READER = MarkdownIt("commonmark").enable("table").enable("strikethrough")


def plain(text: str) -> str:
    return re.sub(r"[\x00-\x20]+", " ", text)


def cells_of(text: str) -> list[list[str]]:
    """Return the text of each cell as a reader of Markdown sees it, and fail where it sees anything but text."""
    tokens = READER.parse(text)
    rows: list[list[str]] = []
    for before, token in pairwise(tokens):
        if before.type == "tr_open":
            rows.append([])
        if before.type in ("th_open", "td_open"):
            assert {child.type for child in token.children or []} <= {"text"}
            rows[-1].append("".join(child.content for child in token.children or []))
    return rows


def of_latex(text: str) -> str:
    """Return what a text in LaTeX is set as, for the signs that urfb writes there."""
    words = {
        "textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "textless": "<", "textgreater": ">",
        "textbar": "|", "textasciigrave": "`",
    }  # fmt: skip
    text = re.sub(r"\\(text\w+)\{\}", lambda found: f"\0{ord(words[found[1]])}\0", text)
    text = re.sub(r"\\([&%$#_{}])", lambda found: f"\0{ord(found[1])}\0", text)
    text = re.sub(r"\{([\[\]*])\}", r"\1", text)
    assert not re.search(r"[\\{}$&#%^_~]", text), text
    return re.sub(r"\0(\d+)\0", lambda found: chr(int(found[1])), text)


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [(43.416, 2, "43.42"), (-0.5, 1, "−0.5"), (-0.001, 2, "0.00"), (1234.5, 0, "1,234"), (math.nan, 2, "–")],
)
def test_numbers_are_written_as_people_write_them(value: float, decimals: int, text: str) -> None:
    assert number(value, decimals) == text


def test_an_interval_stands_behind_its_mean_if_there_is_one() -> None:
    assert with_interval({"mean": 43.416, "high": 43.785}, 2) == "43.42 ± 0.37"
    assert with_interval({"mean": 43.416, "high": math.nan}, 2) == "43.42"
    assert with_interval({"mean": math.nan, "high": math.nan}, 2) == "–"
    assert with_interval(None, 2) == "–"


def test_markdown_shows_hostile_names_as_they_are() -> None:
    shown = pd.DataFrame({"a | <b>_": HOSTILE, "error (%)": ["1.0 ± 0.1"] * len(HOSTILE)})
    text = markdown("Table *x*: <i>", shown, HOSTILE, ["run --> x", "--store a"])
    head, *rows = cells_of(text)
    assert head == ["a | <b>_", "error (%)"]
    assert [row[0] for row in rows] == [plain(name) for name in HOSTILE]
    inline = [token for token in READER.parse(without_provenance(text)) if token.type == "inline"]
    kinds = {child.type for token in inline for child in token.children or []}
    assert kinds == {"text", "strong_open", "strong_close"}  # the heading is bold
    assert not [token for token in READER.parse(without_provenance(text)) if token.type.startswith("html")]
    assert "$" not in without_provenance(text)  # GitHub reads mathematics


def test_provenance_in_markdown_is_one_comment_that_nothing_ends_early() -> None:
    text = markdown("Table", pd.DataFrame({"a": ["1"]}), [], ["run x --> y --!> z", "made by: urfb --store a"])
    assert text.endswith("\n-->\n")
    assert [token.type for token in READER.parse(text)][-1] == "html_block"
    assert text.count("-->") == 1
    assert "--!>" not in text
    assert "urfb --store a" in text  # to be copied
    assert without_provenance(text) == "**Table**\n\n|   a |\n|----:|\n|   1 |\n"


def test_markdown_has_numbers_on_the_right() -> None:
    shown = pd.DataFrame(
        {"name": ["a"], "seeds": ["3"], "epochs": ["1,000"], "error": ["43.42 ± 0.37"], "none": ["–"], "minus": ["−1"]}
    )
    rule = markdown("Table", shown, [], []).splitlines()[3]
    assert [":" if part.startswith(":") else part[-1] for part in rule.strip("|").split("|")] == [":", *[":"] * 5]
    assert [part.endswith(":") for part in rule.strip("|").split("|")] == [False, *[True] * 5]


def test_latex_shows_hostile_names_as_they_are() -> None:
    shown = pd.DataFrame({"a & b_": HOSTILE, "n": ["1"] * len(HOSTILE)})
    text = latex("Table % {", shown, HOSTILE, ["made by: \\input{x}"], "table05")
    rows = re.findall(r"(.*) & 1 \\\\", text)
    assert [of_latex(row) for row in rows] == [plain(name) for name in HOSTILE]
    assert of_latex(re.findall(r"(.*) & n \\\\", text)[0]) == "a & b_"
    [caption] = [line for line in text.splitlines() if line.startswith(r"\caption")]
    short = r"\caption[Table \% \{]{"
    assert caption.startswith(short)
    assert of_latex(caption.removeprefix(short)[:-1]) == " ".join(["Table % {.", *map(plain, HOSTILE)])
    assert all(line.startswith("%") for line in text.splitlines() if "input{x}" in line and "back" not in line)


def test_latex_never_lets_a_row_begin_with_an_option_of_the_line_above() -> None:
    text = latex("Table", pd.DataFrame({"a": ["x", "[2em]", "*"], "b": ["y", "y", "y"]}), [], [], "t")
    assert not re.search(r"\\\\\s*[\[*]", text)


def test_latex_has_numbers_on_the_right_and_intervals_at_their_signs() -> None:
    shown = pd.DataFrame({"p": ["BP", "URFB", "FRFB"], "n": ["3", "1", "0"], "error": ["9.50 ± 10.25", "12.00", "–"]})
    text = latex("Table", shown, ["A note."], ["made by: urfb"], "table05")
    assert r"\begin{tabular}{lrr@{}l}" in text
    assert r"p & n & \multicolumn{2}{c}{error} \\" in text
    assert r"BP & 3 & 9.50 & $\,\pm\,$10.25 \\" in text
    assert r"URFB & 1 & 12.00 & \\" in text
    assert r"FRFB & 0 & -- & \\" in text
    lines = text.splitlines()
    assert [line for line in lines if line.endswith("rule")] == [r"\toprule", r"\midrule", r"\bottomrule"]
    assert lines[0] == "% made by: urfb"
    assert r"\caption[Table]{Table. A note.}" in lines
    assert r"\label{tab:table05}" in lines


def test_latex_says_once_what_rows_share() -> None:
    rows = [("x", "URFB", "1", ".5"), ("x", "URFB", "2", ".5"), ("x", "FRFB", "1", ".5"), ("y", "FRFB", "1", ".5")]
    text = latex("Table", pd.DataFrame(rows, columns=["net", "rule", "layer", "r"]).assign(layer="l"), [], [], "t")
    body = text[text.index("\\midrule") : text.index("\\bottomrule")].splitlines()[1:]
    assert body == [
        r"\multicolumn{3}{l}{x} \\",
        r"URFB & l & .5 \\",
        r" & l & .5 \\",
        r"FRFB & l & .5 \\",
        r"\addlinespace",
        r"\multicolumn{3}{l}{y} \\",
        r"FRFB & l & .5 \\",
    ]


def test_latex_takes_rows_and_columns_of_one_name() -> None:
    rows = [("x", "a\u2028b", "1.0 ± 0.1", "2"), ("x", "c", "1", "3")]
    shown = pd.DataFrame(rows, index=[7, 7], columns=["net", "rule", "e", "e"])
    body = latex("Table", shown, [], [], "t").split("\\toprule\n")[1].split("\n")[:5]
    assert body == [
        r"rule & \multicolumn{2}{c}{e} & e \\",
        r"\midrule",
        r"\multicolumn{4}{l}{x} \\",
        "a\u2028b & 1.0 & $\\,\\pm\\,$0.1 & 2 \\\\",
        r"c & 1 & & 3 \\",
    ]


def test_latex_breaks_long_texts_into_lines() -> None:
    text = latex("Table", pd.DataFrame({"layers": ["Conv 32 5x5; Maxpool 3; Full 500; Output"]}), [], [], "t")
    assert r"\begin{tabular}{p{.3\linewidth}}" in text


@pytest.mark.parametrize("columns", [["a"], ["a", "b"]])
def test_a_table_without_rows_is_a_table(columns: list[str]) -> None:
    empty = pd.DataFrame(columns=columns)
    assert cells_of(markdown("Table", empty, [], [])) == [columns]
    assert f"{' & '.join(columns)} \\\\" in latex("Table", empty, [], [], "t")
