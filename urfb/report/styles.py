"""The styles of figures."""

from __future__ import annotations

from enum import Enum


class Style(str, Enum):
    """The style of a figure."""

    SCREEN = "screen"
    """With titles, and with a line about missing runs."""
    PAPER = "paper"
    """For a manuscript: exactly one or two columns wide, with text of 6 to 8 points, and without the words that the
    caption has: title, seeds, epochs and missing runs."""

    @property
    def folder(self) -> str:
        """The name of the folder for figures in this style."""
        return "figures" if self is Style.SCREEN else f"figures-{self.value}"
