"""A small mistake in urfb's code, and the tests that have to fail for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mutation:
    """A mistake.

    Attributes:
        file: below the root.
        before: what stands there, once.
        after: the mistake that takes its place.
        tests: test files, or tests, that should fail.
    """

    file: str
    before: str
    after: str
    tests: tuple[str, ...]

    def __str__(self) -> str:
        before, after = (" ".join(text.split()) for text in (self.before, self.after))
        return f"{self.file}: {before} → {after or 'nothing'}"

    def applied(self, root: Path) -> str:
        """Return the text of the file with the mistake in it.

        Raises:
            ValueError: `before` does not stand in the file, or not once.
        """
        text = (root / self.file).read_text(encoding="utf-8")
        if text.count(self.before) != 1:
            raise ValueError(f"{self.file} has {self.before!r} {text.count(self.before)} times, not once")
        return text.replace(self.before, self.after)


def of(file: str, tests: str, *changes: tuple[str, str]) -> list[Mutation]:
    """Return the mutations of one file that the same tests should notice; `tests` are separated by spaces."""
    return [Mutation(file, before, after, tuple(tests.split())) for before, after in changes]
