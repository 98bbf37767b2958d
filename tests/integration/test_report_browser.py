"""The report in a real browser: what it asks for, what a screen reader is told, what fits where."""

import re
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.integration.browser import (
    DESKTOP,
    PHONE,
    TEXT_CONTRAST,
    Opened,
    needs_chromium,
    open_page,
)
from tests.training.report.page_probes import BRIGHTNESS, COLLIDING, CONTRASTS, FOCUSED, OVERFLOWING
from tests.training.report.report_fixture import analyst_page, marketing_page
from tests.training.report.report_variants import HOSTILE, VARIANTS

# A4 less the margins of the style sheet, in CSS pixels.
PAPER = round((210 - 2 * 14) / 25.4 * 96)
MARK_CONTRAST = 3.0  # WCAG 2.2, 1.4.11, level AA
LARGEST_BYTES = 3_000_000
PAGES = {"analyst": analyst_page, "marketing": marketing_page}
CASES = (
    *((name, "analyst") for name in VARIANTS),
    *((name, "marketing") for name in ("full", "hostile names", "long names", "huge names")),
    *((name, "marketing") for name in ("8 segments", "1 segment", "few users", "nothing measured")),
)

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def report_file(tmp_path_factory):
    """A page of a variant, written once."""
    folder = tmp_path_factory.mktemp("reports")

    def written(name: str, reader: str) -> Path:
        path = folder / f"{name.replace(' ', '-')}.{reader}.html"
        if not path.exists():
            path.write_text(PAGES[reader](VARIANTS[name]()), encoding="utf-8")
        return path

    return written


@pytest.fixture(scope="module", params=CASES, ids=" ".join)
def variant(request, browser, report_file):
    """The pages of every variant in turn, opened once for all tests that only look at them."""
    found = _open(browser, report_file(*request.param))
    yield found
    found.page.context.close()


@pytest.fixture
def page(browser, report_file):
    """The analyst's page in a window of its own, for tests that touch it."""
    found = _open(browser, report_file("full", "analyst")).page
    yield found
    found.context.close()


def _open(browser: Browser, path: Path) -> Opened:
    return open_page(browser, path.resolve().as_uri(), DESKTOP)


def _window(width: int) -> dict[str, int]:
    return {"width": width, "height": 800}


def _accessible(page: Page) -> dict[str, list[dict]]:
    """The nodes of the accessibility tree by role, in order: name, description and level."""
    session = page.context.new_cdp_session(page)
    found = defaultdict(list)
    for node in session.send("Accessibility.getFullAXTree")["nodes"]:
        if not node["ignored"]:
            more = {each["name"]: each["value"].get("value") for each in node.get("properties", [])}
            words = {key: node.get(key, {}).get("value", "") for key in ("name", "description")}
            found[node["role"]["value"]].append(more | words)
    return found


def test_a_page_asks_for_nothing_and_has_no_errors(variant):
    variant.page.wait_for_load_state("networkidle")
    asked = [url for url in variant.requests if not url.startswith("data:")]
    assert asked == [variant.address]
    assert variant.words == []
    assert len(variant.page.content().encode()) < LARGEST_BYTES


@pytest.mark.parametrize(
    ("media", "width"), [("screen", DESKTOP), ("screen", PHONE), ("print", PAPER)]
)
def test_nothing_is_cut_off_and_only_wide_tables_scroll(variant, media, width):
    page = variant.page
    page.set_viewport_size(_window(width))
    page.emulate_media(media=media)
    overflowing = page.evaluate(OVERFLOWING, width)
    page_width = page.evaluate("document.documentElement.scrollWidth")
    page.set_viewport_size(_window(DESKTOP))
    page.emulate_media(media="screen")
    assert overflowing == []
    assert page_width == width


def test_labels_of_pictures_neither_overlap_nor_leave_them(variant):
    assert variant.page.evaluate(COLLIDING) == []


def test_pictures_headings_and_regions_are_told_to_a_screen_reader(variant):
    told = _accessible(variant.page)
    assert len(told["image"]) == variant.page.locator("svg").count()
    for picture in told["image"]:
        assert picture["name"]
        assert picture["description"].endswith(".")
        assert picture["description"] not in picture["name"]
    assert not {"graphics-object", "graphics-symbol", "graphics-document"} & set(told)
    levels = [heading["level"] for heading in told["heading"]]
    assert (levels[0], levels.count(1)) == (1, 1)
    assert all(below - above <= 1 for above, below in pairwise(levels))
    assert [len(told[role]) for role in ("banner", "main", "contentinfo")] == [1, 1, 1]
    for role in ("heading", "navigation", "region"):
        assert told[role]
    for role in ("heading", "navigation", "region", "table", "combobox", "slider"):
        assert all(node["name"] for node in told[role])


def test_print_takes_a_few_sheets(page):
    sheets = re.findall(rb"/Type /Page\b", page.pdf(format="A4"))
    assert 6 <= len(sheets) <= 16


def test_the_skip_link_is_first_and_leads_to_the_report(page):
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the report")
    assert skip.evaluate("link => link === document.activeElement")
    assert skip.bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "report"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")


def test_tab_reaches_every_link_and_table_and_shows_where_it_is(page):
    due = page.evaluate("document.querySelectorAll('a[href], .scroll').length")
    reached = []
    for _ in range(due):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(FOCUSED))
    assert len({place["number"] for place in reached}) == due
    assert [place for place in reached if place["outline"] < 2 or not place["visible"]] == []


def test_a_wide_table_scrolls_by_keyboard(page):
    page.set_viewport_size(_window(PHONE))
    region = page.get_by_role("region", name="What each audience size reaches")
    assert region.evaluate("e => e.scrollWidth > e.clientWidth")
    region.focus()
    scrolled = region.evaluate_handle(
        "e => ({ended: new Promise(resolve => e.addEventListener('scroll', resolve))})"
    )
    page.keyboard.press("ArrowRight")
    scrolled.evaluate("scrolled => scrolled.ended.then(() => null)")
    assert region.evaluate("e => e.scrollLeft") > 0
    words = region.locator("caption span").bounding_box()
    assert words["x"] >= 0
    assert words["x"] + words["width"] <= PHONE
    assert page.evaluate("window.scrollX") == 0


def test_on_a_phone_the_bands_of_a_segment_stand_one_under_the_other(page):
    region = page.get_by_role("region", name="Share of users who buy")
    for width, stacked in ((DESKTOP, False), (PHONE, True)):
        page.set_viewport_size(_window(width))
        assert region.evaluate("e => e.scrollWidth <= e.clientWidth")
        assert region.get_by_role("table").count() == 1
        cells = region.get_by_role("cell").all()
        # Four segments of the golden bundle have measured cells.
        assert len(cells) == 4 * 4
        boxes = [cell.bounding_box() for cell in cells[:2]]
        assert (boxes[0]["x"] == boxes[1]["x"]) == stacked
        label = cells[1].evaluate("e => getComputedStyle(e, '::before').content")
        assert label.startswith('"Medium (from') == stacked


def test_every_link_leads_to_its_section(page):
    targets = page.locator("nav a").evaluate_all(
        "links => links.map(a => [a.textContent, document.querySelector(a.hash + ' h2').textContent])"
    )
    assert len(targets) > 10
    assert all(link == heading for link, heading in targets)


@pytest.mark.parametrize("media", ["screen", "print"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_and_marks_stand_out(page, scheme, media):
    page.emulate_media(media=media, color_scheme=scheme)
    texts = page.evaluate(CONTRASTS, "text")
    assert len(texts) > 300
    assert [text for text in texts if text["contrast"] < TEXT_CONTRAST] == []
    marks = page.evaluate(CONTRASTS, "mark")
    assert len(marks) > 30
    assert [mark for mark in marks if mark["contrast"] < MARK_CONTRAST] == []


def test_dark_is_dark_and_print_is_always_on_white(page):
    papers = {}
    for scheme in ("light", "dark"):
        page.emulate_media(media="screen", color_scheme=scheme)
        papers[scheme] = page.evaluate(BRIGHTNESS)
        page.emulate_media(media="print", color_scheme=scheme)
        assert page.evaluate(BRIGHTNESS) == 1
    assert papers["light"] > 0.9
    assert papers["dark"] < 0.05


def test_hostile_names_stay_words(browser, report_file):
    found = _open(browser, report_file("hostile names", "analyst"))
    words = found.page.locator("main").inner_text()
    assert found.page.locator("script, iframe, img, object").count() == 0
    assert "<script>alert(1)</script>=cmd|' /C calc'\\u202eevil\\u200f" in words
    assert HOSTILE not in words
    found.page.context.close()
