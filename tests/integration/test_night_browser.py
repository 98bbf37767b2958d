"""The report of a night in a real browser."""

import pytest

from engine.report.night import read_night
from engine.report.page import night_html
from tests.engine.report.test_report import scores_of, shifted
from tests.helpers import write_table
from tests.integration.browser import DESKTOP, PHONE, TEXT_CONTRAST, needs_chromium, open_page
from tests.training.report.page_probes import COLLIDING, CONTRASTS, OVERFLOWING

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def opened(browser, tmp_path_factory):
    folder = tmp_path_factory.mktemp("night")
    earlier = scores_of(20_000)
    now = read_night(str(write_table(shifted(earlier), folder / "now.parquet")))
    before = read_night(str(write_table(earlier, folder / "before.parquet")))
    page = folder / "tonight.html"
    page.write_text(night_html(now, before), encoding="utf-8")
    found = open_page(browser, page.as_uri(), DESKTOP)
    yield found
    found.page.context.close()


def test_it_asks_for_nothing_and_its_policy_allows_its_style(opened):
    assert opened.requests == [opened.address]
    assert opened.words == []
    assert opened.page.locator("script, [style]").count() == 0


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_nothing_is_cut_off(opened, width):
    opened.page.set_viewport_size({"width": width, "height": 800})
    assert opened.page.evaluate(OVERFLOWING, width) == []
    assert opened.page.evaluate("document.documentElement.scrollWidth") == width
    assert opened.page.evaluate(COLLIDING) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out(opened, scheme):
    opened.page.emulate_media(color_scheme=scheme)
    texts = opened.page.evaluate(CONTRASTS, "text")
    assert len(texts) > 80
    assert [text for text in texts if text["contrast"] < TEXT_CONTRAST] == []


def test_headings_and_tables_have_names(opened):
    page = opened.page
    assert page.get_by_role("heading", level=1).inner_text() == "Tonight’s scores"
    for name in ("Users by segment and band", "Users by band", "Users by segment:"):
        assert page.get_by_role("table", name=name).first.is_visible()
    assert page.get_by_role("img", name="Users by purchase probability").is_visible()
