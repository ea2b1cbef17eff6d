"""The styles of figures."""

from __future__ import annotations

from enum import Enum


class Style(str, Enum):
    """Where figures are to be read."""

    SCREEN = "screen"
    """With titles, and with a line that says what is missing."""
    PAPER = "paper"
    """For a manuscript: exactly as wide as its columns, with neither, because the caption says both."""

    @property
    def folder(self) -> str:
        """The name of the folder of figures in this style."""
        return "figures" if self is Style.SCREEN else f"figures-{self.value}"
