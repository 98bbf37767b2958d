"""Marketing's page: whom, how many, what to do, why, and how far to trust it."""

import base64
import hashlib
import json
import re
import shlex
from dataclasses import replace
from html import unescape

import pytest

from engine.bundle.manifest import BANDS
from engine.cli.main import main
from tests.training.report.report_fixture import (
    LINKS,
    full_subject,
    marketing_page,
    measured_as,
)
from tests.training.report.report_variants import HOSTILE, VARIANTS
from training.metrics.money import priced_bins
from training.report.marketing.audience import audience, bars, reached
from training.report.marketing.plan import NOT_MEASURED, driver_sentences, plan_rows
from training.report.page import analyst_name, report_pages

ECONOMICS = {
    "currency": "EUR",
    "margin": 0.5,
    "order_value": None,
    "order_value_feature": "spend",
    "cost_per_contact": {"e-mail": 0.01},
}


@pytest.fixture(scope="module")
def subject():
    return full_subject()


@pytest.fixture(scope="module")
def page(subject):
    return marketing_page(subject)


def with_money(subject, order_value=40.0):
    rows = [
        {**row, "order_value": order_value, "cost_per_contact": 0.1, "channel": "e-mail"}
        for row in subject.playbook["rows"]
    ]
    return replace(subject, playbook={**subject.playbook, "economics": ECONOMICS, "rows": rows})


def test_the_questions_come_in_their_order(page):
    titles = re.findall(r'<h2 id="([\w-]+)-title">', page)
    assert titles == ["audience", "segments", "plan", "why", "trust", "limits"]


def test_the_page_loads_nothing_and_runs_only_its_own_code(page):
    assert len(page.encode()) < 100_000
    assert not re.findall(r"<(?:img|iframe|link rel=.stylesheet)", page)
    policy = unescape(re.search('Content-Security-Policy" content="([^"]*)"', page)[1])
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    code = re.search(r'<script type="module">(.*?)</script>', page, re.DOTALL)[1]
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    for text in (code, style):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert " style=" not in page.split("</style>")[1]


def test_links_lead_to_the_other_pages(subject, page):
    assert {LINKS.analyst, LINKS.what_if} < set(re.findall('href="([^"]*)"', page))
    assert "What if?" not in marketing_page_without_what_if(subject)


def marketing_page_without_what_if(subject):
    pages = report_pages(subject, "plan a.html")
    assert list(pages) == ["plan a.html", "plan a.analyst.html"]
    assert b'href="plan%20a.html"' in pages["plan a.analyst.html"]
    return pages["plan a.html"].decode()


def test_the_analysts_page_lies_beside():
    assert analyst_name("a.b.HTML") == "a.b.analyst.HTML"


def test_a_stop_of_the_slider_adds_up_the_bins_above_it(subject):
    found = audience(measured_as(subject, metrics={**subject.metrics, "rows": 24_000}))
    first = subject.manifest.segments[0].name
    assert [choice.name for choice in found.choices][:2] == ["All users", first]
    population = subject.playbook["population"]
    # The rows of a segment are 2000, 1000, 500 …; the stop is three fifths into the second bin.
    there = reached(found, 1, 8)
    users = 0.4 * 1_000 + 500 + 250 + 125 + 62 + 31
    assert there.probability == pytest.approx(0.04)
    assert there.users == float(f"{users * population / 24_000:.3g}")
    assert there.share_of_users == pytest.approx(users / (users + 0.6 * 1_000 + 2_000))
    everything = reached(found, 0, 0)
    assert (everything.share_of_users, everything.share_of_buyers) == (1, 1)
    segments = range(1, len(found.choices))
    assert sum(reached(found, n, 8).share_of_buyers for n in segments) == pytest.approx(
        reached(found, 0, 8).share_of_buyers
    )


def test_the_page_opens_with_the_likeliest_tenth(subject, page):
    found = audience(subject)
    start, next_stop = (reached(found, 0, found.start + n) for n in (0, 1))
    assert start.share_of_users >= 0.1 > next_stop.share_of_users
    assert f'<b id="users">{start.users:,.0f}</b>' in page
    assert f"--min-probability {start.probability:.6g} --out list.csv</code>" in page
    assert "less the control group" in page


def test_the_command_is_one_that_the_engine_has(page):
    command = unescape(re.search(r'<code id="command"[^>]*>(.*?)</code>', page)[1])
    program, name, *words = shlex.split(command)
    known = {option for each in main.commands[name].params for option in each.opts}
    assert program == "engine"
    assert {word for word in words if word.startswith("--")} | {"--segment"} <= known


def test_users_are_those_of_a_night_or_the_measured_ones(subject):
    unscaled = replace(subject, playbook={"rows": subject.playbook["rows"]})
    assert audience(unscaled).scale == 1
    assert "of the measured users" in marketing_page(unscaled)
    assert "of the users scored in a night" in marketing_page(subject)


def test_money_is_shown_where_the_playbook_has_economics(subject, page):
    assert "Money" not in page
    rich = with_money(subject)
    there = reached(audience(rich), 0, audience(rich).start)
    night = marketing_page(rich)
    # 40 an order at a margin of one half; the users and buyers shown are rounded.
    assert there.margin == pytest.approx(20 * there.buyers, rel=0.01)
    assert there.cost == pytest.approx(0.1 * there.users, rel=0.01)
    assert there.profit == pytest.approx(there.margin - there.cost, rel=0.01)
    assert f'<span id="profit">{there.profit:,.0f}</span> <small>EUR</small>' in night
    assert "incremental" not in night
    rows = [{**row, "channel": "none"} for row in rich.playbook["rows"]]
    nobody = audience(replace(rich, playbook={**rich.playbook, "rows": rows}))
    assert reached(nobody, 0, nobody.start).profit == 0
    assert "Money" not in marketing_page(with_money(subject, order_value=None))


def test_the_slider_and_the_table_of_sizes_agree_on_money(subject):
    rich = with_money(subject)
    rows = [
        {
            **row,
            "channel": "none" if row["band"] == "low" else "e-mail",
            "order_value": {"medium": 20.0, "high": 40.0}.get(row["band"], 80.0),
        }
        for row in rich.playbook["rows"]
    ]
    playbook = {**rich.playbook, "rows": rows}
    found = audience(replace(rich, playbook=playbook))
    bins = priced_bins(subject.metrics["histogram"], playbook, subject.manifest.band_cuts, 1.0)
    for choice in found.choices:
        number = {s.name: s.id for s in subject.manifest.segments}.get(choice.name)
        part = bins if number is None else bins.of_segment(number)
        assert sum(choice.margin) - sum(choice.cost) == pytest.approx(part.figures[:, 4].sum())


def test_scores_that_must_not_be_used_propose_nobody(subject):
    manifest = replace(subject.manifest, unusable=("a constant model",))
    found = marketing_page(measured_as(replace(subject, manifest=manifest), quality={}))
    assert found.index("Must not be used") < found.index("<main")
    assert "a constant model" in found
    assert "engine audience" not in found
    assert "do not base decisions on its scores" in found


def test_segments_that_are_no_groups_are_no_choice(subject):
    chance = replace(subject.manifest, segments_verdict="chance", segments_unusable=("chance",))
    found = replace(subject, manifest=chance)
    assert len(audience(found).choices) == 1
    page = marketing_page(found)
    assert "<select" not in page
    assert 'id="segments"' not in page


def test_every_row_of_the_plan_spans_all_bands_and_has_no_dash(subject, page):
    cells = [
        {"segment_id": 1, "bands": ["medium"], "rows": 500, "purchase_rate": 0.1, "mean_probability": 0.1},
        {"segment_id": 1, "bands": ["high", "very_high"], "rows": 90, "purchase_rate": 0.8, "mean_probability": 0.8},
    ]  # fmt: skip
    found = measured_as(subject, metrics={**subject.metrics, "cells": cells})
    (_, first), *others = plan_rows(found)
    actions = {r["band"]: r["action"] for r in found.playbook["rows"] if r["segment_id"] == 1}
    assert [(cell.bands, cell.words) for cell in first] == [
        (1, "Low"),
        (1, "Medium"),
        (2, "High and above"),
    ]
    assert [cell.action for cell in first] == [
        *(NOT_MEASURED, actions["medium"], actions["very_high"])
    ]
    for _, cells in others:
        assert [(cell.bands, cell.action) for cell in cells] == [(len(BANDS), NOT_MEASURED)]
    for _, row in plan_rows(subject):
        assert sum(cell.bands for cell in row) == len(BANDS)
    table = re.search(r'<table class="plan".*?</table>', page, re.DOTALL)[0]
    assert not re.search(r">\s*[–-]?\s*</span>", table)


def test_drivers_are_sentences(subject):
    assert driver_sentences(subject)[0].endswith("the higher, the likelier a purchase.")
    features = [
        {"name": "loyalty_tier", "mean_absolute_impact": 0.2, "direction": "by value",
         "raises_most": "gold", "lowers_most": "none"},
        {"name": "nameless", "mean_absolute_impact": 0.1, "direction": "mixed"},
        {"name": "idle", "mean_absolute_impact": 0.0, "direction": "raises"},
    ]  # fmt: skip
    found = driver_sentences(measured_as(subject, drivers={"features": features}))
    assert found == [
        "Loyalty tier: “gold” makes a purchase likeliest, “none” least likely.",
        "nameless: some values make a purchase likelier, others less likely.",
    ]


def test_hostile_names_are_words_and_one_argument_of_the_command(subject):
    quoted = 'O\'Neil $(rm -rf) "x"'
    first, *others = subject.manifest.segments
    manifest = replace(subject.manifest, segments=(replace(first, name=quoted), *others))
    found = audience(replace(subject, manifest=manifest))
    assert found.choices[1].option == "--segment 'O'\"'\"'Neil $(rm -rf) \"x\"' "
    page = marketing_page(VARIANTS["hostile names"]())
    assert page.count("<script") == 2
    assert "\u202e" not in page
    facts = re.search(r'id="audience-facts">(.*?)</script>', page, re.DOTALL)[1]
    assert "<" not in facts
    assert HOSTILE not in facts
    assert json.loads(facts)["choices"][1]["option"] == "--segment 1 "


@pytest.mark.parametrize("name", VARIANTS)
def test_every_report_has_a_plan_that_is_short(name):
    page = marketing_page(VARIANTS[name]())
    assert "None" not in page
    assert len(page) < 150_000


def test_bars_reach_as_high_as_the_picture():
    assert bars([1, 0, 4], 30, 10) == "M0.0 10.0h9.0v-2.5h-9.0zM20.0 10.0h9.0v-10.0h-9.0z"
