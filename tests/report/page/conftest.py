"""Stores for pages, and a real browser that opens the pages."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.helpers import tiny_run
from tests.store.recorded import epoch, finish, started
from urfb.events import Failed
from urfb.report.drawn import Tabulated
from urfb.report.exhibits import Data, Exhibit
from urfb.report.figures import FIGURES
from urfb.report.page.document import write_page
from urfb.report.selection import Selection
from urfb.store import WritableStore, open_for_writing, open_store

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FIGURE = next(figure for figure in FIGURES if figure.name == "4")
HOSTILE = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(2)>&lt;"


def tabulate(data: Data) -> Tabulated:
    shown = pd.DataFrame({"network": ["simpnet", HOSTILE], "error": ["1.5 ± 0.2", "–"]})
    return Tabulated(shown, shown, data.runs, notes=[f"A note, {HOSTILE}"])


TABLE = Exhibit(
    kind="table",
    name="mine",
    shows=f"a table {HOSTILE}",
    make=tabulate,
    selection=Selection(experiment="tiny"),
    says=f"So {HOSTILE}.",
)


@pytest.fixture
def stored(tmp_path: Path) -> WritableStore:
    return open_for_writing(str(tmp_path / "urfb.sqlite"))


@pytest.fixture
def mixed(stored: WritableStore) -> WritableStore:
    """A store with three done runs, a run that failed after one epoch, and a new run."""
    runs = [tiny_run("tiny", rule=rule, seed=seed) for rule in ("urfb", "frfb") for seed in (2, 10)]
    new = tiny_run("tiny", "other", rule="bp", seed=3)
    stored.register([*runs, new])
    for run, epochs in zip(runs, (2, 2, 2), strict=False):
        finish(stored, run, epochs)
    failing = runs[3].spec
    stored.claim(failing)
    for event in (started(), epoch(1), Failed("ValueError: too hot", "Traceback:\n  line 1\nValueError: too hot")):
        stored.record(failing.identity, event)
    stored.location.logs.mkdir()
    (stored.location.logs / f"{failing.identity}.log").write_text(
        "".join(f"line {number}\n" for number in range(100)) + "the last words\n"
    )
    return stored


@pytest.fixture
def write(stored: WritableStore, tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes the store's page and returns its file."""

    def write(**options: Any) -> Path:
        options = {"exhibits": [FIGURE], "out": tmp_path / "page.html"} | options
        store = open_store(str(stored.location))
        return write_page(store, location="urfb.sqlite", logs=stored.location.logs, **options).file

    return write


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium that is installed on the machine; nothing is downloaded."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"needs a browser, such as Debian's package chromium brings ({', '.join(BROWSERS)})")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Return a function that opens a file; fail on console messages, errors, dialogs and network requests."""
    contexts: list[Any] = []
    problems: list[str] = []
    requests: list[str] = []

    def visit(file: Path, fragment: str = "", **options: Any) -> Any:
        context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(f"dialog {dialog.message}"))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(file.as_uri() + fragment)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert problems == []
    assert contexts
    assert {request.partition(":")[0] for request in requests} <= {"file", "data"}
    assert sum(request.startswith("file:") for request in requests) == len(contexts)
