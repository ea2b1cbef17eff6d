"""Captions of figures: the title, what is drawn, the seeds and epochs behind it, and what is missing."""

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
        numbered_by_latex: the title without the number, unless it is the number of a figure in the paper.
        body: sentences about what is drawn, about seeds and epochs, and about what is missing.
        command: the command that trains missing runs; empty for a complete figure.
    """

    title: str
    numbered_by_latex: str
    body: str
    command: str

    def as_text(self) -> str:
        """Return the caption as plain text; the command that completes the figure is a separate paragraph."""
        completing = f"\nTo complete the figure, run: {self.command}\n" if self.command else ""
        return f"{' '.join((self.title, self.body)).strip()}\n{completing}"

    def as_latex(self, provenance: Sequence[str]) -> str:
        r"""Return the caption for LaTeX's `\caption{…}`, with the provenance as comments."""
        comments = "".join(f"% {line}\n" for line in provenance)
        return f"{comments}{in_latex(' '.join((self.numbered_by_latex, self.body)))}\n"


def caption(exhibit: Exhibit, data: Data, drawn: Drawn, command: str) -> Caption:
    """Return the caption of a figure.

    Args:
        exhibit: the figure.
        data: the data that it shows.
        drawn: the drawn figure.
        command: the command that trains missing runs.
    """
    epochs = drawn.runs.get("drawn_epochs", drawn.runs.get("epochs_done"))
    reached = {} if epochs is None or "run" not in drawn.runs else dict(zip(drawn.runs["run"], epochs, strict=True))
    sentences = [_subject(exhibit, data), drawn.explanation, extents(data.panels, reached)]
    sentences.append(in_sentence(drawn.shortfalls))
    named = exhibit.heading if exhibit.paper_figure is not None else exhibit.caption
    return Caption(
        title=_sentence(exhibit.heading),
        numbered_by_latex=_sentence(named[:1].upper() + named[1:]),
        body=" ".join(filter(None, (" ".join(words.split()) for words in sentences))),
        command=command if drawn.shortfalls else "",
    )


def _subject(exhibit: Exhibit, data: Data) -> str:
    """Return the networks, data sets and settings of an experiment's figure, which its title does not have."""
    titles = [panel.title for panel in data.panels if not panel.runs.empty]
    if exhibit.selection.experiment is None or not titles or (exhibit.source is None and len(titles) > 1):
        return ""  # the picture has the titles of several panels
    return _sentence(f"Runs: {'; '.join(titles)}")


def _sentence(text: str) -> str:
    """Return a text in one line, with a full stop."""
    return f"{' '.join(text.split()).removesuffix('.')}."
