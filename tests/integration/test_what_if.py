"""The what-if page from the disk in a real browser: it says what the Python engine says."""

import json
import math
import re
from dataclasses import replace

import pytest
from playwright.sync_api import expect

from engine.bundle.evaluation import read_evaluation
from engine.bundle.manifest import CHANCE
from engine.bundle.open import open_bundle
from engine.bundle.schema import default_schema_path, load_schema
from tests import fitted
from tests.helpers import BUNDLE
from tests.integration.browser import DESKTOP, PHONE, TEXT_CONTRAST, needs_chromium
from tests.integration.what_if_fixture import engine_scores, expect_engine, open_what_if
from tests.training.report.page_probes import BRIGHTNESS, CONTRASTS, FOCUSED, OVERFLOWING
from training.cli import main
from training.data.dataset import load_dataset
from training.data.scored import score_users
from training.report.subject import Subject
from training.report.what_if.page import what_if_html
from training.report.what_if.typical import usual_users
from training.simulate import SimulateOptions
from training.simulate.write import write_users

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What `training report --what-if` makes of the committed bundle."""
    made = tmp_path_factory.mktemp("committed")
    write_users(SimulateOptions(rows=3_000, seed=5), made / "users.parquet")
    return reported(BUNDLE, made / "users.parquet", made)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A bundle of a table with few bounds, and its page."""
    found = fitted.shop()
    return found.bundle, reported(found.bundle, found.users, tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def ruled(folder, tmp_path_factory):
    """The page of the committed bundle with the comparisons of the schema that ships."""
    manifest = open_bundle(BUNDLE).manifest
    least = {
        feature.name: feature.at_least for feature in load_schema(default_schema_path()).features
    }
    compared = tuple(replace(f, at_least=least[f.name]) for f in manifest.schema.features)
    changed = replace(manifest, schema=replace(manifest.schema, features=compared))
    return written(changed, folder, tmp_path_factory.mktemp("ruled"))


def written(manifest, folder, made):
    """The page of the committed bundle with another manifest."""
    bundle = open_bundle(BUNDLE)
    dataset = load_dataset([str(folder.parent / "users.parquet")], bundle.manifest.schema)
    users = score_users(bundle, dataset)
    page = what_if_html(
        replace(bundle, manifest=manifest),
        Subject(manifest, read_evaluation(bundle)),
        usual_users(manifest, users),
    )
    (made / "index.html").write_text(page)
    return made / "index.html"


def reported(bundle, users, made):
    options = ["--out", str(made / "report.html"), "--what-if", str(made / "page")]
    with pytest.raises(SystemExit) as stop:
        main(["report", str(bundle), str(users), *options])
    assert not stop.value.code
    return made / "page"


@pytest.fixture(scope="module")
def opened(browser, folder):
    """The page, opened once: compiling the runtime takes longer than all else."""
    found = open_what_if(browser, folder / "index.html")
    yield found
    found.page.context.close()


@pytest.fixture
def what_if(opened):
    """The page as wide and as bright as at first; every test chooses its own user."""
    opened.page.set_viewport_size({"width": DESKTOP, "height": 800})
    opened.page.emulate_media(color_scheme="light", reduced_motion="reduce")
    return opened


def test_a_page_from_the_disk_asks_for_nothing_and_has_no_errors(what_if):
    what_if.page.wait_for_load_state("networkidle")
    assert what_if.opened.requests == [what_if.opened.address]
    assert what_if.opened.words == []


def test_every_typical_user_is_scored_as_by_the_engine(what_if):
    titles = [start["title"] for start in what_if.facts["starts"]]
    assert titles == ["All users", *(segment["name"] for segment in what_if.facts["segments"])]
    for number in range(len(titles)):
        values = what_if.start(number)
        expect_engine(what_if, BUNDLE, values)


def test_a_slider_moved_by_a_key_changes_the_score_as_the_engine_does(what_if):
    values = what_if.start(2)
    slider = what_if.slider("orders_last_90d")
    slider.focus()
    for _ in range(3):
        what_if.page.keyboard.press("ArrowRight")
    orders = values["orders_last_90d"] + 3
    assert what_if.field("orders_last_90d").input_value() == f"{orders:.0f}"
    assert slider.get_attribute("aria-valuetext").startswith(f"{orders:.0f}")
    expect_engine(what_if, BUNDLE, {**values, "orders_last_90d": orders})


@pytest.mark.parametrize("name", ["sessions_last_7d", "total_spend_last_365d", "activity_trend"])
def test_a_slider_reaches_both_ends_of_the_range(what_if, name):
    values = what_if.start(0)
    feature = next(f for f in what_if.facts["features"] if f["name"] == name)
    for key, end in (("End", "max"), ("Home", "min")):
        what_if.slider(name).focus()
        what_if.page.keyboard.press(key)
        expect_engine(what_if, BUNDLE, {**values, name: feature[end]})


def test_a_dragged_slider_a_typed_number_a_list_and_an_unknown_are_scored_together(what_if):
    values = what_if.start(3)
    box = what_if.slider("sessions_last_30d").bounding_box()
    what_if.page.mouse.click(box["x"] + box["width"] * 0.7, box["y"] + box["height"] / 2)
    sessions = float(what_if.field("sessions_last_30d").input_value())
    assert sessions > values["sessions_last_30d"]
    what_if.field("bounce_rate").fill("12.5")
    what_if.field("loyalty_tier").select_option(label="platinum")
    what_if.field("country").select_option(label="unknown")
    what_if.unknown("days_since_last_purchase").check()
    assert what_if.field("days_since_last_purchase").input_value() == ""
    changed = {
        **values,
        "sessions_last_30d": sessions,
        "bounce_rate": 0.125,
        "loyalty_tier": "platinum",
        "country": None,
        "days_since_last_purchase": None,
    }
    expect_engine(what_if, BUNDLE, changed)


def test_a_number_that_is_set_is_no_longer_unknown(what_if):
    values = what_if.start(0)
    what_if.unknown("account_age_days").check()
    expect_engine(what_if, BUNDLE, {**values, "account_age_days": None})
    what_if.field("account_age_days").fill("30")
    assert not what_if.unknown("account_age_days").is_checked()
    expect_engine(what_if, BUNDLE, {**values, "account_age_days": 30})


def test_reset_goes_back_to_the_typical_user(what_if):
    values = what_if.start(1)
    what_if.field("orders_last_90d").fill("40")
    expect_engine(what_if, BUNDLE, {**values, "orders_last_90d": 40})
    what_if.page.get_by_role("button", name="Reset").click()
    expect_engine(what_if, BUNDLE, values)
    assert what_if.field("orders_last_90d").input_value() == f"{values['orders_last_90d']:.0f}"


@pytest.mark.parametrize("text", ["501", "-1", ""])
def test_a_number_that_the_engine_would_set_aside_is_marked_and_not_scored(what_if, text):
    values = what_if.start(0)
    field = what_if.field("sessions_last_7d")
    field.fill(text)
    assert field.get_attribute("aria-invalid") == "true"
    expect_engine(what_if, BUNDLE, values)
    field.blur()
    assert field.input_value() == f"{values['sessions_last_7d']:.0f}"
    assert field.get_attribute("aria-invalid") is None


def test_only_what_may_be_missing_can_be_unknown(what_if):
    numbers = [f for f in what_if.facts["features"] if f["kind"] == "numeric"]
    boxes = what_if.page.get_by_role("checkbox").evaluate_all(
        "boxes => boxes.map(box => box.ariaLabel)"
    )
    assert boxes == [f"{f['label']}: unknown" for f in numbers if f["may_be_missing"]]


def test_bars_lead_from_the_base_value_to_the_score(what_if):
    what_if.start(4)
    bars = what_if.page.locator("#drivers li").evaluate_all(
        "rows => rows.map(row => ({kind: row.className,"
        " left: parseFloat(row.children[1].firstElementChild.style.left),"
        " width: parseFloat(row.children[1].firstElementChild.style.width)}))"
    )
    at = bars[0]["left"]
    for bar in bars[1:-1]:
        begins, ends = bar["left"], bar["left"] + bar["width"]
        assert at == pytest.approx(ends if bar["kind"] == "lowers" else begins, abs=0.01)
        at = begins if bar["kind"] == "lowers" else ends
    assert at == pytest.approx(bars[-1]["left"], abs=0.01)


def test_a_change_is_compared_with_the_typical_user_begun_with(what_if):
    values = what_if.start(2)
    change = what_if.page.locator("#change")
    title = what_if.facts["starts"][2]["title"]
    what_if.page.locator("#change", has_text=f"Changes are compared with: {title}").wait_for()
    what_if.field("orders_last_90d").fill("40")
    changed = {**values, "orders_last_90d": 40}
    expect_engine(what_if, BUNDLE, changed)
    before, after = engine_scores(BUNDLE, [values, changed])["purchase_probability"]
    odds = after / (1 - after) / (before / (1 - before))
    said = change.inner_text().replace("\u202f", " ")
    assert said == f"from {before:.1%} ({title}) to {after:.1%}: odds ×{odds:.2g}".replace(
        "%", " %"
    )


def test_odds_multiply_from_the_base_to_the_score(what_if):
    what_if.start(1)
    shown = what_if.page.locator("#drivers li:not(.end)").evaluate_all(
        "rows => rows.map(row => row.children[2].textContent)"
    )
    assert all(re.fullmatch(r"×[\d.,]+", factor) for factor in shown)
    impact = float(
        what_if.page.locator("#drivers li[data-impact]").first.get_attribute("data-impact")
    )
    assert float(shown[0][1:]) == pytest.approx(math.exp(impact), rel=0.06)


def test_values_that_contradict_each_other_are_pointed_out(browser, ruled):
    found = open_what_if(browser, ruled)
    note = found.page.locator("#impossible")
    for number in range(len(found.facts["starts"])):
        found.start(number)
        assert not note.is_visible()
    found.field("sessions_last_30d").fill("3")
    found.field("sessions_last_7d").fill("4")
    note.wait_for()
    assert note.inner_text() == (
        "No user can be like this: 3 sessions in the last 30 days, but 4 sessions in the last 7 days."
    )
    assert found.page.locator(".control.impossible").count() == 2
    found.field("sessions_last_7d").fill("3")
    note.wait_for(state="hidden")
    assert found.page.locator(".control.impossible").count() == 0
    assert found.opened.words == []
    found.page.context.close()


def test_the_page_works_without_segments(browser, folder, tmp_path):
    chance = replace(open_bundle(BUNDLE).manifest, segments_verdict=CHANCE)
    found = open_what_if(browser, written(chance, folder, tmp_path))
    found.field("sessions_last_30d").fill("30")
    expect(found.page.locator("#told")).to_contain_text(re.compile(r"%, [a-z ]+ band\.$"))
    assert found.page.locator("#action").inner_text()
    assert found.page.locator("#segment-name, [aria-labelledby=segment-title]").count() == 0
    assert not [s.name for s in chance.segments if s.name in found.page.content()]
    assert found.opened.words == []
    found.page.context.close()


PASTED = {"sessions_last_30d": 12, "loyalty_tier": "gold", "bounce_rate": None, "country": "DE"}


@pytest.mark.parametrize("form", ["csv", "json"])
def test_a_pasted_row_is_scored_and_what_is_not_used_is_said(what_if, form):
    values = what_if.start(0)
    row = {"user_id": "U1", **PASTED, "sessions_last_7d": 501}
    texts = [
        ["" if value is None else str(value) for value in line] for line in (row, row.values())
    ]
    what_if.paste(json.dumps(row) if form == "json" else "\n".join(map(",".join, texts)))
    expect_engine(what_if, BUNDLE, {**values, **PASTED})
    said = what_if.page.locator("#row-told").inner_text()
    assert said.startswith("5 of 38 features read. Not in the row, so unchanged: ")
    assert "Not valid: Sessions in the last 7 days: out of range (allowed: from 0 to 500)." in said
    assert said.endswith("Ignored, as the model does not read them: user_id.")
    assert "Pasted user" in what_if.page.locator("#change").inner_text()
    what_if.field("orders_last_90d").fill("9")
    what_if.page.get_by_role("button", name="Reset").click()
    expect_engine(what_if, BUNDLE, {**values, **PASTED})


@pytest.mark.parametrize("text", ["", "a,b\n1", "{", '{"user_id": 1}'])
def test_a_text_that_is_no_row_changes_nothing(what_if, text):
    values = what_if.start(0)
    what_if.paste(text)
    assert what_if.page.locator("#row-told").inner_text()
    expect_engine(what_if, BUNDLE, values)


def test_a_link_opens_the_page_with_the_same_user_and_start(browser, what_if):
    values = {**what_if.start(1), "orders_last_90d": 12, "country": None}
    what_if.field("orders_last_90d").fill("12")
    what_if.field("country").select_option(label="unknown")
    expect_engine(what_if, BUNDLE, values)
    change = what_if.page.locator("#change").inner_text()
    what_if.page.get_by_role("button", name="Copy a link").click()
    what_if.page.wait_for_function("location.hash.startsWith('#from-1?')")
    again = open_what_if(browser, what_if.page.url)
    expect_engine(again, BUNDLE, values)
    assert again.page.locator("#change").inner_text() == change
    assert again.page.locator("#row-told").inner_text() == ""
    assert len(again.opened.requests) == 1
    again.page.evaluate("location.hash = '#user?country=DE&bounce_rate=7&other=1&a=%3Cscript%3E'")
    expect_engine(again, BUNDLE, {**values, "country": "DE", "bounce_rate": None})
    said = again.page.locator("#row-told").inner_text()
    assert said.startswith("The link is of another model or was changed. 2 of 38 features read.")
    assert said.endswith("Ignored, as the model does not read them: other, a.")
    assert again.opened.words == []
    again.page.context.close()


def test_a_screen_reader_is_told_the_answer_once_changes_have_ceased(what_if):
    what_if.start(2)
    what_if.page.locator("#told", has_text=" band, ").wait_for(state="attached")
    name = what_if.page.locator("#segment-name").inner_text()
    what_if.page.locator("#told", has_text=name).wait_for(state="attached")


def test_tab_reaches_every_control_in_sight(browser, folder):
    page = open_what_if(browser, folder / "index.html", PHONE).page
    due = page.locator("a[href], button:visible, input, select, summary").count()
    reached = []
    for _ in range(due):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(FOCUSED))
    page.context.close()
    assert len({place["number"] for place in reached}) == due
    assert [place for place in reached if place["outline"] < 2 or not place["visible"]] == []


@pytest.mark.parametrize("width", [320, PHONE, 800, DESKTOP])
def test_nothing_is_cut_off_at_any_width(what_if, width):
    what_if.page.set_viewport_size({"width": width, "height": 800})
    assert what_if.page.evaluate("document.documentElement.scrollWidth") == width
    outside = what_if.page.evaluate(OVERFLOWING, width)
    assert [each for each in outside if "unseen" not in each] == []


def test_the_score_stays_in_sight_over_the_controls_of_a_phone(what_if):
    what_if.page.set_viewport_size({"width": PHONE, "height": 800})
    what_if.page.locator("fieldset").last.scroll_into_view_if_needed()
    score = what_if.page.locator("#probability").bounding_box()
    assert 0 <= score["y"] < 200


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out(what_if, scheme):
    what_if.page.emulate_media(color_scheme=scheme)
    assert (what_if.page.evaluate(BRIGHTNESS) > 0.5) == (scheme == "light")
    texts = what_if.page.evaluate(CONTRASTS, "text")
    assert len(texts) > 150
    assert [text for text in texts if text["contrast"] < TEXT_CONTRAST] == []


@pytest.mark.parametrize(("motion", "moves"), [("reduce", False), ("no-preference", True)])
def test_bars_move_only_for_those_who_like_motion(what_if, motion, moves):
    what_if.page.emulate_media(reduced_motion=motion)
    seconds = what_if.page.locator("#drivers i").first.evaluate(
        "bar => parseFloat(getComputedStyle(bar).transitionDuration)"
    )
    assert (seconds > 0) == moves


def test_a_browser_that_cannot_run_the_model_is_told(browser, folder):
    page = browser.new_page()
    page.add_init_script("delete globalThis.DecompressionStream")
    page.goto((folder / "index.html").resolve().as_uri())
    page.get_by_role("alert").wait_for()
    assert "The model cannot be run in this browser" in page.get_by_role("alert").inner_text()
    page.close()


def test_a_page_of_any_table_says_what_the_engine_says(browser, shop):
    bundle, folder = shop
    found = open_what_if(browser, folder / "index.html")
    for number in range(len(found.facts["starts"])):
        values = found.start(number)
        expect_engine(found, bundle, values)
    found.slider("age").focus()
    found.page.keyboard.press("ArrowRight")
    age = float(found.field("age").input_value())
    assert age > values["age"]
    found.field("shop").select_option(label="s3")
    expect_engine(found, bundle, {**values, "age": age, "shop": "s3"})
    assert found.opened.words == []
    found.page.context.close()
