"""MkDocs hooks: files outside docs/ on the site, and the links to them.

A link from a page to a file outside docs/, such as ../results/reference/page.html, works on the site and in a checkout
because the site has a copy of the file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PUBLISHED = {".png", ".pdf", ".csv", ".md", ".tex", ".html", ".json", ".txt", ".sqlite"}
PAGES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
"""Pages from outside docs/, with their names on the site."""


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the published results and the pages from outside docs/."""
    for source in (ROOT / "results" / "reference").rglob("*"):
        if source.suffix in PUBLISHED:
            name = source.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(source), inclusion=InclusionLevel.NOT_IN_NAV))
    for name, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Point links to places on the site."""
    if page.file.src_uri in PAGES.values():
        return re.sub(r"\]\((?:docs/)?(\w+\.md)", lambda match: f"]({PAGES.get(match[1], match[1])}", markdown)
    markdown = re.sub(
        r"\]\(\.\./results/reference/?\)", "](results/reference/page.html)", markdown
    )  # a site has no folders
    return markdown.replace("](../results/", "](results/")
