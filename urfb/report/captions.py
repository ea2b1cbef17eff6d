"""What the caption of a figure says: its title, what is drawn, the seeds and epochs behind it, and what it lacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from urfb.report.drawn import Drawn, extents, in_sentence
from urfb.report.exhibits import Data, Exhibit
from urfb.report.texts import in_latex


@dataclass(frozen=True)
class Caption:
    """The caption of a figure, as text without markup.

    Attributes:
        title: the figure's number and title.
        untitled: what the title says, without the number of a figure that is not the paper's.
        body: whole sentences: what is drawn, seeds and epochs, and what is missing.
        command: the command that trains what is missing; empty if nothing is.
    """

    title: str
    untitled: str
    body: str
    command: str

    def as_text(self) -> str:
        """Return the caption as plain text, with the command that completes the figure as a paragraph of its own."""
        completing = f"\nTo complete the figure, run: {self.command}\n" if self.command else ""
        return f"{' '.join((self.title, self.body)).strip()}\n{completing}"

    def as_latex(self, provenance: Sequence[str]) -> str:
        r"""Return the caption for LaTeX's `\caption{…}`, with the provenance as comments.

        LaTeX numbers its figures itself, so only the number of a figure of the paper is named.
        """
        comments = "".join(f"% {line}\n" for line in provenance)
        return f"{comments}{in_latex(' '.join((self.untitled, self.body)))}\n"


def caption(exhibit: Exhibit, data: Data, drawn: Drawn, command: str) -> Caption:
    """Return the caption of a figure.

    Args:
        exhibit: the figure.
        data: the data that it was drawn from.
        drawn: the drawn figure.
        command: the command that trains what the figure lacks.
    """
    epochs = drawn.runs.get("drawn_epochs", drawn.runs.get("epochs_done"))
    reached = {} if epochs is None or "run" not in drawn.runs else dict(zip(drawn.runs["run"], epochs, strict=True))
    sentences = [drawn.explanation, extents(data.panels, reached), in_sentence(drawn.shortfalls)]
    named = exhibit.heading if exhibit.paper_figure is not None else exhibit.caption
    return Caption(
        title=_sentence(exhibit.heading),
        untitled=_sentence(named[:1].upper() + named[1:]),
        body=" ".join(filter(None, (" ".join(words.split()) for words in sentences))),
        command=command if drawn.shortfalls else "",
    )


def _sentence(text: str) -> str:
    """Return a text in one line, with a full stop."""
    return f"{' '.join(text.split()).removesuffix('.')}."
