"""A small mistake in urfb's code, and the tests that must fail for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mutation:
    """A mistake.

    Attributes:
        file: the path of the file from the root.
        before: the original text, which the file must have exactly once.
        after: the text with the mistake.
        tests: the test files, or tests, of which one must fail.
    """

    file: str
    before: str
    after: str
    tests: tuple[str, ...]

    def __str__(self) -> str:
        before, after = (" ".join(text.split()) for text in (self.before, self.after))
        return f"{self.file}: {before} → {after or 'nothing'}"

    def applied(self, root: Path) -> str:
        """Return the text of the file with the mistake.

        Raises:
            ValueError: the file does not have `before` exactly once.
        """
        text = (root / self.file).read_text(encoding="utf-8")
        if text.count(self.before) != 1:
            raise ValueError(f"{self.file} has {self.before!r} {text.count(self.before)} times, not once")
        return text.replace(self.before, self.after)


def of(file: str, tests: str, *changes: tuple[str, str]) -> list[Mutation]:
    """Return mutations of one file with the same tests; spaces separate the names in `tests`."""
    return [Mutation(file, before, after, tuple(tests.split())) for before, after in changes]
