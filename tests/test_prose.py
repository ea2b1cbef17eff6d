"""Words that CONTRIBUTING.md's prose style rules out, in every text of the project."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOT_OURS = ("LICENSE", "docs/iframe-worker.js", "tests/test_prose.py")
TEXTS = {".css", ".jinja", ".js", ".md", ".py", ".sh", ".toml", ".yaml", ".yml"}
INSTEAD = {
    r"anew": "again",
    r"besides?": "next to, with, in addition to",
    r"farther": "later, longer, larger",
    r"for want of": "without",
    r"likewise": "also",
    r"mend(s|ed|ing)?": "repair",
    r"(one|user|reader)['’]s own": "your own, custom, the user's",
    r"of (yours|theirs|ours)": "your, their, our",
    r"tells?|told|telling": "say, show, report, distinguish",
    r"there(by|of|upon)|where(by|of|upon)|hitherto|henceforth": "by it, of it, so",
    r"to be had": "available",
    r"whomever": "anyone",
}
# A dash before a word makes it an option's name, such as one that the changelog calls removed.
RULED_OUT = re.compile(rf"(?<!-)\b({'|'.join(INSTEAD)})\b", re.IGNORECASE)


def texts() -> list[str]:
    """Return the project's own texts, as paths from its root."""
    if not (ROOT / ".git").exists():
        pytest.skip("needs a checkout")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [
        name
        for name in listed.splitlines()
        if Path(name).suffix in TEXTS and not name.startswith(("results/", *NOT_OURS)) and (ROOT / name).exists()
    ]


def without_table_of_words(text: str) -> str:
    """Return a text with empty lines for the table of words to avoid that CONTRIBUTING.md has."""
    return re.sub(
        r"^\| instead of \|.*\n(\|.*\n)+", lambda match: "\n" * match[0].count("\n"), text, flags=re.MULTILINE
    )


def test_no_text_has_a_word_that_the_prose_style_rules_out() -> None:
    found = [
        f"{name}:{number}: “{match[0]}”: write {word}"
        for name in texts()
        for number, line in enumerate(without_table_of_words((ROOT / name).read_text("utf-8")).splitlines(), start=1)
        for match in RULED_OUT.finditer(line)
        for pattern, word in INSTEAD.items()
        if re.fullmatch(pattern, match[0], re.IGNORECASE)
    ]
    assert found == []
