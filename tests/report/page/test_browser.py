"""The page in a real browser: behaviour, layout and accessibility."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.helpers import tiny_run
from tests.report.conftest import FakeStore
from tests.report.page.conftest import FIGURE, HOSTILE, TABLE
from tests.store.large import make_large_store
from tests.store.recorded import finish
from urfb.report.claims import PAPER, Verdict, evaluate
from urfb.report.everything import verdicts
from urfb.report.figures import FIGURES
from urfb.report.page.document import SHOWN_ROWS, write_page
from urfb.report.tables import TABLES
from urfb.store import open_store

pytestmark = pytest.mark.slow
REFERENCE = Path(__file__).parents[3] / "results" / "reference" / "urfb.sqlite"

CONTRAST = """
() => {
  const parse = (text) => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return [r, g, b, a]; };
  const light = ([r, g, b]) => [r, g, b].map((value) => value / 255)
    .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
    .reduce((sum, value, at) => sum + value * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const front = parse(element.namespaceURI.endsWith("svg") ? style.fill : style.color);
    const [a, b] = [light(front), light(behind(element))].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), element.className, walker.currentNode.textContent.trim().slice(0, 40)]);
  }
  return found;
}
"""
UNNAMED = """
() => [...document.querySelectorAll("a, button, summary, input, select, img, svg:not([aria-hidden]), [tabindex='0']")]
  .filter((one) => !(one.textContent.trim() && !one.matches("select, svg, [tabindex]")
    || one.getAttribute("alt") || one.getAttribute("aria-label")
    || document.getElementById(one.getAttribute("aria-labelledby") || " ")?.textContent.trim()
    || one.labels?.[0]?.textContent.trim()))
  .map((one) => one.outerHTML.slice(0, 120))
"""
WIDE = """
(elements) => elements.filter((element) => element.scrollWidth > element.clientWidth).map((element) => {
  const name = element.getAttribute("aria-label") || element.getAttribute("aria-labelledby") || element.innerText;
  return `${name}: ${element.scrollWidth} > ${element.clientWidth}`;
})
"""
FOCUSED = """
() => {
  const at = document.activeElement;
  const outlined = getComputedStyle(at).outlineStyle !== "none";
  return at === document.body ? null : [at.id || at.textContent.trim().slice(0, 20), outlined];
}
"""


def names(page: Any) -> list[str]:
    """Return the runs that the table shows, in order."""
    return [text for text in page.locator("#run-table tbody tr:visible > th button").all_inner_texts() if text]


def unfold(page: Any, run: str) -> Any:
    page.locator(f"#run-{run} button").click()
    return page.locator(f"#run-{run} + tr.details")


def of(store: Any, **settings: Any) -> str:
    return str(store.runs(**settings)["run"].iloc[0])


def test_the_page_of_an_empty_store(write, visit):
    page = visit(write(exhibits=FIGURES))
    assert "The store has no runs yet" in page.inner_text("#findings")
    assert page.locator("#run-table").count() == 0
    assert page.locator("#figures img").count() == len(FIGURES)
    assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    assert "urfb grid run experiments.yaml figure4 --store urfb.sqlite" in page.locator("#figure04").text_content()


def test_one_run_unfolds_by_keyboard(stored, write, visit):
    run = tiny_run("tiny")
    stored.register([run])
    finish(stored, run, 30)
    page = visit(write())
    assert page.inner_text("#run-count") == "1 run"
    button = page.locator(f"#run-{run.spec.identity} button")
    button.focus()
    page.keyboard.press("Enter")
    assert button.get_attribute("aria-expanded") == "true"
    details = page.locator(f"#{button.get_attribute('aria-controls')}")
    headings = details.locator("h3").all_inner_texts()
    assert headings == [
        "Error by epoch", "Correlation of W and Rᵗ by epoch, for each layer", "Settings", "Provenance"
    ]  # fmt: skip
    assert details.locator("svg[role=img] polyline").count() == 2 + 1
    assert "training from 50 to 50 %" in details.locator("svg[role=img]").first.get_attribute("aria-label")
    said = details.inner_text()
    assert "Conv 4 3x3; Maxpool 3; Drop .3; Full 20; Output" in said
    assert "a processor" in said
    page.keyboard.press("Enter")
    assert button.get_attribute("aria-expanded") == "false"
    assert not details.is_visible()


def test_a_run_of_one_epoch_is_a_point(mixed, write, visit):
    page = visit(write())
    details = unfold(page, of(mixed, state="failed"))
    assert details.locator("svg[role=img] circle").count() == 2


def test_a_failed_run_shows_the_reason_first(mixed, write, visit):
    page = visit(write())
    details = unfold(page, of(mixed, state="failed"))
    assert details.locator("h3").first.inner_text() == "Failed"
    assert "ValueError: too hot" in details.locator("p").first.inner_text()
    assert "line 1" in details.get_by_role("region", name="Traceback").inner_text()
    assert details.get_by_role("region", name="Log").inner_text().splitlines()[-1] == "the last words"
    never = unfold(page, of(mixed, state="new"))
    assert never.locator("svg").count() == 0


def test_filters_and_counts_the_matching_runs(mixed, write, visit):
    page = visit(write())
    page.get_by_role("searchbox", name="Filter").fill("FRFB  failed")
    assert names(page) == [of(mixed, state="failed", rule="frfb")]
    assert page.get_by_role("status").inner_text() == "1 of 5 runs"
    page.get_by_role("searchbox", name="Filter").fill("nothing such")
    assert names(page) == []
    assert page.get_by_role("status").inner_text() == "0 of 5 runs"
    page.get_by_role("searchbox", name="Filter").fill("")
    page.get_by_role("combobox", name="State").select_option("failed")
    assert names(page) == [of(mixed, state="failed")]
    page.get_by_role("combobox", name="State").select_option("")
    assert page.get_by_role("status").inner_text() == "5 runs"


def test_the_filter_also_hides_the_details_of_a_run(mixed, write, visit):
    page = visit(write())
    details = unfold(page, of(mixed, state="failed"))
    page.get_by_role("searchbox", name="Filter").fill("done")
    assert not details.is_visible()
    page.get_by_role("searchbox", name="Filter").fill("")
    assert details.is_visible()


@pytest.mark.parametrize(("column", "field"), [("Seed", "seed"), ("Test", "test_error"), ("Network", "network")])
def test_sorts_both_ways_with_missing_values_last(visit, tmp_path, column, field):
    store = FakeStore()
    for seed, tested, network in ((2, False, "b"), (10, True, "c"), (7, True, "a"), (100, False, "e"), (1, True, "d")):
        store.add(3, tested, seed=seed, network=network)
    runs = store.runs()
    page = visit(write_page(store, [FIGURE], tmp_path / "page.html").file)
    second = runs["run"].iloc[1]
    unfold(page, second)
    head = page.get_by_role("columnheader", name=column, exact=True)
    assert head.get_attribute("aria-sort") == "none"
    for order, ascending in (("ascending", True), ("descending", False)):
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == order
        expected = runs.sort_values(field, ascending=ascending, na_position="last", kind="stable")
        assert names(page) == list(expected["run"])
        assert page.locator(f"#run-{second} + tr.details").is_visible()
    assert page.locator("[aria-sort=ascending], [aria-sort=descending]").count() == 1


def test_tab_reaches_every_control_and_leaves_the_page(mixed, write, visit):
    page = visit(write())
    unfold(page, of(mixed, state="failed"))
    page.evaluate("document.activeElement.blur(); getSelection().removeAllRanges(); scrollTo(0, 0)")
    page.locator("h1").click()
    seen: list[str] = []
    page.keyboard.press("Shift+Tab")
    while (focused := page.evaluate(FOCUSED)) is not None and len(seen) < 100:
        seen.append(focused[0])
        assert focused[1], f"{focused[0]} shows no focus"
        page.keyboard.press("Tab")
    assert seen[0] == "Skip to the content"
    assert {"run-filter", "run-state"} <= set(seen)
    assert set(names(page)) <= set(seen)
    assert len(seen) < 100


def test_the_skip_link_skips(mixed, write, visit):
    page = visit(write())
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#content")).to_be_focused()
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")


def test_a_link_to_a_run_opens_it(mixed, write, visit):
    done = of(mixed, state="done")
    page = visit(write(exhibits=[FIGURE.of_experiment("tiny")]), f"#run-{done}")
    assert page.locator(f"#run-{done} + tr.details").is_visible()
    page.get_by_role("searchbox", name="Filter").fill("nothing such")
    page.locator("#figure04 .provenance summary").click()
    other = of(mixed, state="done", seed=10)
    page.locator("#figure04").get_by_role("link", name=other).click()
    expect(
        page.locator(f"#run-{other} + tr.details")
    ).to_be_visible()  # the browser follows a link shortly after the click
    expect(page.locator(f"#run-{other} button")).to_be_focused()


def test_hostile_names_are_text(stored, write, visit):
    run = tiny_run("tiny", HOSTILE)
    stored.register([run])
    finish(stored, run)
    stored.location.logs.mkdir()
    (stored.location.logs / f"{run.spec.identity}.log").write_text(HOSTILE)
    page = visit(write(exhibits=[FIGURE, TABLE]))
    details = unfold(page, run.spec.identity)
    assert HOSTILE in details.inner_text()
    assert details.get_by_role("region", name="Log").inner_text() == HOSTILE
    assert page.locator("img").count() == 1
    assert page.locator("script").count() == 2
    assert page.locator("#table-mine tbody th").all_inner_texts() == ["simpnet", HOSTILE]


def test_each_claim_counts_once_above_all_figures(mixed, write, visit):
    claims = verdicts(open_store(str(mixed.location)), "urfb.sqlite")
    decided = {("2", "short"): Verdict.SUPPORTED, ("2", "medium"): Verdict.CONTRADICTED}
    claims = [replace(claim, verdict=decided.get((claim.name, claim.setting.name), claim.verdict)) for claim in claims]
    page = visit(write(claims=claims))
    assert page.locator("section > h2").all_inner_texts()[:2] == ["Findings", "Figures"]
    assert "12\n0 supported, 1 contradicted, 11 not enough runs" in page.inner_text("#findings dl")
    assert page.locator(".claims > li").count() == 12
    assert page.locator(".claims > li > .verdict").all_inner_texts() == ["contradicted", *["not enough runs"] * 11]
    [second] = page.locator("#claim-2").all()
    assert "better then [sic] FRFB" in second.locator(".claim").inner_text()
    second.locator(".settings > summary").click()
    assert second.locator("h3 .verdict").all_inner_texts() == ["not enough runs", "contradicted", "supported"]


def test_what_is_missing_is_folded(mixed, write, visit):
    [undecided, *_] = verdicts(open_store(str(mixed.location)), "urfb.sqlite")
    page = visit(write(exhibits=[*FIGURES, TABLE], claims=[undecided]))
    assert page.locator("details").count() > len(FIGURES)
    assert page.locator("details[open]").count() == 0
    assert "urfb grid run" not in page.inner_text("main")
    page.locator("#figure04 .incomplete summary").click()
    assert "urfb grid run experiments.yaml figure4 --store urfb.sqlite" in page.inner_text("#figure04")
    page.locator(".claims .settings > summary").click()
    assert "has 0 of 5 seeds" in page.inner_text(".claims")
    page.locator(".claims .missing > summary").click()
    assert undecided.commands[0] in page.locator(".claims code").all_inner_texts()


def test_the_paper_is_quoted_for_its_own_figures_only(write, visit):
    page = visit(write(exhibits=FIGURES))
    quoted = [figure.stem for figure in FIGURES if figure.paper_figure is not None]
    labelled = page.locator("article:has(.label:text-is('The paper says'))")
    assert [article.get_attribute("id") for article in labelled.all()] == quoted


def test_print_shows_details_and_hides_controls(mixed, write, visit):
    page = visit(write(exhibits=[FIGURE, TABLE]), color_scheme="dark")
    unfold(page, of(mixed, state="failed"))
    page.emulate_media(media="print")
    assert not page.get_by_role("searchbox", name="Filter").is_visible()
    assert not page.locator("nav").is_visible()
    assert page.locator("#figure04 .provenance li").first.bounding_box()["height"] > 5
    assert page.get_by_role("region", name="Traceback").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    for heading in page.locator("main h2, main h3").all():  # a heading stays with its text
        assert heading.evaluate("(one) => [getComputedStyle(one).breakInside, getComputedStyle(one).breakAfter]") == [
            "avoid",
            "avoid",
        ]
    assert page.pdf(format="A4").startswith(b"%PDF")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(mixed, write, visit, scheme):
    store = open_store(str(mixed.location))
    claims = [
        replace(claim, verdict=verdict)
        for claim, verdict in zip(evaluate(store, [], PAPER, "urfb.sqlite"), Verdict, strict=False)
    ]
    page = visit(write(exhibits=[FIGURE, TABLE], claims=claims), color_scheme=scheme)
    for button in page.locator("#run-table tbody button").all():
        button.click()
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    found = page.evaluate(CONTRAST)
    assert len(found) > 100
    assert [text for text in found if text[0] < 4.5] == []


@pytest.mark.parametrize("width", [1280, 800, 390])
def test_nothing_is_wider_than_the_window(mixed, write, visit, width):
    claims = verdicts(open_store(str(mixed.location)), "urfb.sqlite")
    page = visit(write(exhibits=[*FIGURES, *TABLES, TABLE], claims=claims))
    page.set_viewport_size({"width": width, "height": 800})
    details = unfold(page, of(mixed, state="failed"))
    page.evaluate("document.querySelectorAll('details').forEach((element) => { element.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#run-table thead th").evaluate_all(WIDE) == []
    assert details.locator(".inside").bounding_box()["width"] <= width


def test_no_published_table_is_cut_off_at_1280_pixels(visit, tmp_path):
    store = open_store(str(REFERENCE))
    file = write_page(store, TABLES, tmp_path / "page.html", claims=verdicts(store, "urfb.sqlite")).file
    page = visit(file)
    page.evaluate("document.querySelectorAll('details').forEach((element) => { element.open = true; })")
    page.set_viewport_size({"width": 1280 - 15, "height": 800})  # 1,280 pixels less a scrollbar
    assert page.locator(".scroll").count() > len(TABLES)
    assert page.locator(".scroll").evaluate_all(WIDE) == []


def test_elements_have_names_levels_and_unique_identifiers(mixed, write, visit):
    page = visit(write(exhibits=[*FIGURES, TABLE]))
    unfold(page, of(mixed, state="failed"))
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.title()
    assert page.evaluate(UNNAMED) == []
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map((one) => Number(one.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(ids) == len(set(ids))
    assert page.evaluate("[...document.querySelectorAll('table')].every((one) => one.caption)")
    assert page.evaluate("[...document.querySelectorAll('th')].every((one) => one.scope)")
    assert page.locator("main").count() == page.locator("nav").count() == page.locator("footer").count() == 1


def test_reduced_motion_turns_smooth_scrolling_off(mixed, write, visit):
    page = visit(write(), reduced_motion="reduce")
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"


def test_all_runs_are_shown_without_scripts(stored, write, visit):
    runs = [tiny_run("tiny", seed=seed) for seed in range(SHOWN_ROWS + 2)]
    stored.register(runs)
    page = visit(write(), java_script_enabled=False)
    assert len(names(page)) == SHOWN_ROWS + 2


def test_five_thousand_runs(tmp_path: Path, visit: Any) -> None:
    path = tmp_path / "large.sqlite"
    make_large_store(path, runs=5000, epochs=100)
    store = open_store(str(path))
    written = write_page(store, [FIGURE, TABLE.of_experiment("large")], tmp_path / "page.html")
    assert written.file.stat().st_size < 25e6
    page = visit(written.file)
    status = page.locator("#run-count")
    assert status.inner_text() == "5,000 runs, the first 500 shown"
    assert len(names(page)) == SHOWN_ROWS
    page.get_by_role("columnheader", name="Seed").get_by_role("button").click()
    page.get_by_role("columnheader", name="Seed").get_by_role("button").click()
    latest = of(store, seed=2499)
    assert names(page)[0] == latest
    assert unfold(page, latest).locator("svg[role=img]").count() == 2
    page.get_by_role("searchbox", name="Filter").fill("frfb 2499")
    runs = store.runs(rule="frfb")
    left = (runs["run"].str.contains("2499") | runs["seed"].eq(2499)).sum()
    assert status.inner_text() == f"{left} of 5,000 runs"
    page.get_by_role("searchbox", name="Filter").fill("")
    page.get_by_role("button", name="Show all").click()
    assert status.inner_text() == "5,000 runs"
    assert page.evaluate("document.querySelectorAll('#run-table tbody tr:not(.details):not([hidden])').length") == 5000
