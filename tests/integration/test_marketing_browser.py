"""Marketing's page in a real browser: the slider, its keyboard, its words, and paper."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from engine.bundle.evaluation import read_evaluation
from engine.bundle.open import open_bundle
from engine.bundle.playbook import read_playbook
from tests.helpers import BUNDLE
from tests.integration.browser import DESKTOP, TEXT_CONTRAST, needs_chromium, open_page
from tests.training.report.page_probes import CONTRASTS, FOCUSED
from tests.training.report.report_fixture import full_subject, marketing_page
from tests.training.report.test_marketing import with_money
from training.report.marketing.audience import audience, reached
from training.report.subject import Subject

LAPTOP = {"width": 1440, "height": 900}

pytestmark = needs_chromium


def shipped_subject() -> Subject:
    bundle = open_bundle(BUNDLE)
    return Subject(bundle.manifest, read_evaluation(bundle), read_playbook(bundle))


@pytest.fixture(scope="module")
def subject():
    return with_money(full_subject())


@pytest.fixture(scope="module")
def plan_file(subject, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("plan") / "report.html"
    path.write_text(marketing_page(subject), encoding="utf-8")
    return path


@pytest.fixture
def page(browser, plan_file):
    found = open_page(browser, plan_file.as_uri(), DESKTOP)
    yield found.page
    assert found.words == []
    found.page.context.close()


def shown(page) -> dict[str, str]:
    names = ("probability", "users", "buyers", "share-of-buyers", "profit", "command")
    return {name: page.locator(f"#{name}").inner_text() for name in names}


def due(subject, choice: int, stop: int) -> dict[str, str]:
    found = audience(subject)
    there = reached(found, choice, stop)
    option = found.choices[choice].option
    return {
        "probability": f"{100 * there.probability:.1f}\u202f%",
        "users": f"{there.users:,.0f}",
        "buyers": f"{there.buyers:,.0f}",
        "share-of-buyers": f"{100 * there.share_of_buyers:.0f}\u202f%",
        "profit": f"{there.profit:,.0f}".replace("-", "−"),
        "command": f"engine audience scores.parquet {option}--min-probability {there.probability:.6g} "
        "--out list.csv",
    }


@pytest.mark.parametrize(("choice", "stop"), [(0, None), (0, 3), (2, 3), (3, 0)])
def test_the_script_shows_what_the_figures_say(page, subject, choice, stop):
    page.get_by_label("Choose from").select_option(str(choice))
    if stop is None:
        stop = audience(subject).start
    page.get_by_role("slider").fill(str(stop))
    assert shown(page) == due(subject, choice, stop)


def test_without_scripts_the_likeliest_tenth_is_there(browser, plan_file, subject):
    found = open_page(browser, plan_file.as_uri(), DESKTOP, java_script_enabled=False)
    words = found.page.locator("#audience").inner_text()
    start = reached(audience(subject), 0, audience(subject).start)
    assert f"{start.users:,.0f}" in words
    assert f"--min-probability {start.probability:.6g} --out list.csv" in words
    assert "The slider needs scripts" in words
    assert found.page.get_by_role("slider").is_disabled()
    found.page.context.close()


def test_the_slider_moves_by_keyboard_and_says_what_it_reaches(page, subject):
    slider = page.get_by_role("slider", name="Contact everybody whose chance is at least")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    stop = audience(subject).start - 1
    assert slider.input_value() == str(stop)
    words = due(subject, 0, stop)
    told = f"{words['users']} users, "
    assert told in slider.get_attribute("aria-valuetext")
    expect(page.get_by_role("status")).to_contain_text(told)
    page.keyboard.press("End")
    assert page.locator("#few").is_visible()
    assert not page.locator("#command").is_visible()


def test_tab_reaches_every_link_and_control(page):
    due = page.evaluate("document.querySelectorAll('a[href], select, input').length")
    reached = []
    for _ in range(due):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(FOCUSED))
    assert len({place["number"] for place in reached}) == due
    assert [place for place in reached if place["outline"] < 2 or not place["visible"]] == []


def test_the_chosen_bars_begin_at_the_thumb(page):
    for stop in ("0", "20", "100"):
        page.get_by_role("slider").fill(stop)
        chosen = page.locator("#chosen-area").get_attribute("x")
        picture = page.locator("#histogram svg").bounding_box()
        cut = picture["x"] + float(chosen) / 800 * picture["width"]
        slider = page.get_by_role("slider").bounding_box()
        # A thumb of 20 pixels stays inside its track.
        thumb = slider["x"] + 10 + (slider["width"] - 20) * int(stop) / 199
        assert cut == pytest.approx(thumb, abs=4)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out(page, scheme):
    page.emulate_media(color_scheme=scheme)
    texts = page.evaluate(CONTRASTS, "text")
    assert len(texts) > 100
    assert [text for text in texts if text["contrast"] < TEXT_CONTRAST] == []


def test_the_answers_to_whom_and_how_many_are_on_the_first_screen(page):
    page.set_viewport_size(LAPTOP)
    for place in ("#picker", "#segments"):
        box = page.locator(place).bounding_box()
        assert box["y"] + box["height"] <= 1.1 * LAPTOP["height"]


@pytest.mark.parametrize("with_economics", [False, True])
@pytest.mark.parametrize("made", [full_subject, shipped_subject])
def test_it_takes_two_screens_and_two_sheets(browser, tmp_path, made, with_economics):
    subject = with_money(made()) if with_economics else made()
    path = tmp_path / "report.html"
    path.write_text(marketing_page(subject), encoding="utf-8")
    page = open_page(browser, path.as_uri(), LAPTOP["width"]).page
    page.set_viewport_size(LAPTOP)
    assert page.evaluate("document.documentElement.scrollHeight") <= 2 * LAPTOP["height"]
    assert page.evaluate("document.documentElement.scrollWidth") <= LAPTOP["width"]
    assert len(re.findall(rb"/Type /Page\b", page.pdf(format="A4"))) == 2
    page.context.close()


def test_the_facts_hold_aggregates_of_enough_users(page):
    facts = json.loads(page.locator("#audience-facts").text_content())
    for choice in facts["choices"]:
        assert all(users == 0 or users >= facts["fewest"] for users in choice["users"])
