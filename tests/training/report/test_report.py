"""The report and the model card as texts."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import altair as alt
import pytest
import vl_convert

from engine.bundle.evaluation import read_evaluation
from engine.bundle.manifest import BANDS
from engine.bundle.open import open_bundle
from engine.bundle.playbook import playbook_rows
from engine.explain.inspect import full_lines
from tests.golden.make import BUNDLE as FORMAT_1
from tests.helpers import BUNDLE
from tests.training.report.report_fixture import LINKS, analyst_page, full_subject, measured_as
from tests.training.report.report_variants import HOSTILE, VARIANTS
from training.report.card import model_card
from training.report.charts.dependence import dependence_chart
from training.report.subject import Subject, measured_subject


class Outline(HTMLParser):
    """The headings, images, table parts and ids of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def named(self, *names: str) -> list[tuple[str, dict[str, str | None]]]:
        return [(tag, attributes) for tag, attributes in self.tags if tag in names]


@pytest.fixture(scope="module")
def subject():
    return full_subject()


@pytest.fixture(scope="module")
def page(subject):
    return analyst_page(subject)


@pytest.fixture(scope="module")
def card(subject):
    return model_card(subject)


def test_the_same_figures_give_the_same_bytes(subject, page, card):
    assert (analyst_page(subject), model_card(subject)) == (page, card)


def test_a_card_draws_no_picture(subject, card, monkeypatch):
    def drawn(*_):
        raise AssertionError("a picture was drawn")

    for place in (
        *("audience.gains_chart", "audience.deciles_chart", "reliability.reliability_chart"),
        *("comparison.spread_chart", "drivers.dependence_chart"),
    ):
        monkeypatch.setattr(f"training.report.sections.{place}", drawn)
    assert model_card(subject) == card
    with pytest.raises(AssertionError, match="a picture was drawn"):
        analyst_page(subject)


def test_the_page_is_small_and_asks_for_nothing(page):
    assert len(page.encode()) < 600_000
    assert not Outline(page).named("script", "img", "iframe", "object")
    links = [a["href"] for _, a in Outline(page).named("a")]
    others = {link for link in links if not link.startswith("#")}
    assert others == {LINKS.report, LINKS.what_if}
    assert "url(" not in page


def test_it_opens_with_whether_the_bundle_may_be_used(page):
    assert page.index("May be used") < page.index("Key figures")
    assert "with the highest scores buy 3.9 times as often as the average user" in page


def test_figures_are_said_in_words(page):
    text = page.replace("\u202f", " ")
    assert "The top 10 % of users hold 39 % of the buyers" in text
    assert "the buyer has the higher score 86 times in 100. 95 % interval: 0.851 to 0.862." in text


def test_every_section_is_there_in_order(page):
    titles = re.findall(r'<h2 id="(\w+)-title">', page)
    assert titles == [
        *("figures", "drivers", "gains", "reliability", "audience", "segments", "actions"),
        *("comparison", "trials", "slices", "metrics", "leakage", "drift", "limits", "verify"),
    ]


def test_pictures_state_their_finding(page):
    outline = Outline(page)
    pictures = outline.named("svg")
    ids = {a.get("id") for _, a in outline.tags}
    assert len(pictures) == 4 + 12
    for _, attributes in pictures:
        assert attributes["role"] == "img"
        assert {attributes["aria-labelledby"], attributes["aria-describedby"]} <= ids
    assert re.search("<desc[^>]*>[^<]* hold 39\u202f% of the buyers", page)


def test_pictures_are_charts_of_vega_lite(subject, page, monkeypatch):
    given, draw = [], vl_convert.vegalite_to_svg
    monkeypatch.setattr(
        vl_convert, "vegalite_to_svg", lambda chart: given.append(chart) or draw(chart)
    )
    assert analyst_page(subject) == page
    assert len(given) == 4 + 12
    for chart in given:
        alt.TopLevelLayerSpec.validate(chart)


def test_pictures_of_drivers_come_in_the_order_of_their_importance(subject, page):
    drawn = re.findall('<title id="dependence-[0-9]+-title">(.*?): odds along its values<', page)
    found = subject.drivers["features"][:12]
    assert drawn == [subject.titles[f["name"]] for f in found]
    assert "row by row" in page


def test_pictures_take_their_colours_from_the_style_sheet(page):
    drawn = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    found = set(re.findall(r'(?:fill|stroke)="([^"]*)"', drawn))
    assert found <= {
        *("none", "transparent"),
        *(f"var(--{name})" for name in ("ink", "muted", "line", "cool", "warm")),
    }


def test_tables_have_captions_and_scopes(page):
    outline = Outline(page)
    assert len(outline.named("table")) == len(outline.named("caption")) > 8
    assert all(a.get("scope") in ("col", "row") for _, a in outline.named("th"))


def test_ids_occur_once(page):
    ids = [a["id"] for _, a in Outline(page).tags if "id" in a]
    assert len(ids) == len(set(ids))


def test_hostile_names_are_shown_as_text(subject):
    manifest = subject.manifest
    features = tuple(replace(f, label=HOSTILE) for f in manifest.schema.features)
    segments = tuple(replace(s, name=HOSTILE, sentence=HOSTILE) for s in manifest.segments)
    named = replace(manifest, schema=replace(manifest.schema, features=features), segments=segments)
    hostile = replace(subject, manifest=named)
    page, card = analyst_page(hostile), model_card(hostile)
    for text in (page, card):
        assert "<script" not in text
        assert "\u202e" not in text
    assert "&lt;script&gt;" in re.search(r"<svg.*?</svg>", page, re.DOTALL).group()
    _check_tables(card)


def test_a_useless_model_is_called_unusable(subject):
    verdict = {
        "band": "unusable",
        "may_be_used": False,
        "sentence": "It ranks no better than chance.",
        "reasons": ["ROC-AUC 0.50"],
    }
    manifest = replace(subject.manifest, unusable=("no better than chance",))
    found = measured_as(replace(subject, manifest=manifest), quality=verdict)
    for text in (analyst_page(found), model_card(found)):
        assert "Must not be used" in text
        assert "unusable" in text
        assert "May be used" not in text
        assert "ROC-AUC 0.50" in text


def test_a_manifest_without_a_verdict_and_a_reason_is_unusable(subject):
    manifest = replace(subject.manifest, unusable=("a constant model",))
    found = measured_as(replace(subject, manifest=manifest), quality={})
    assert "a constant model" in analyst_page(found)


def test_a_bundle_with_few_figures_still_has_a_report():
    subject = VARIANTS["nothing measured"]()
    schema = subject.manifest.schema
    schema = replace(schema, features=schema.features[:2], horizon_days=0)
    bare = replace(subject, manifest=replace(subject.manifest, schema=schema))
    page, card = analyst_page(bare), model_card(bare)
    assert "has not been measured" in page
    assert "1 segment" in page
    assert "Not judged" in card


def test_a_bundle_of_format_1_still_shows_its_figures():
    bundle = open_bundle(FORMAT_1)
    evaluation = read_evaluation(bundle)
    subject = Subject(bundle.manifest, evaluation, {"rows": playbook_rows(bundle)})
    page = analyst_page(subject).replace("\u202f", " ")
    cells = re.search('<section id="actions".*?</section>', page, re.DOTALL).group()
    assert '<span class="note">4,098 users</span>' in cells
    shown = re.findall('<span class="value">([^<]*)</span>', cells)
    assert sum(text.endswith(" %") for text in shown) == 9
    assert shown.count("fewer than 20 users") == 7
    # Segments of which no band was measured are left out.
    assert "measured users: Long-absent low spenders and Quiet lapsed shoppers." in page
    assert "In decile 10 69 % buy" in page
    assert len(set(re.findall('id="dependence-[0-9]+-title"', page))) == 12
    inspected = "\n".join(full_lines(bundle.manifest, evaluation))
    assert "deciles 2 to 10 start at" in inspected
    bands = inspected.split("top drivers by band\n")[1].split("\n\n")[0].splitlines()
    assert len(bands) == 4


def test_what_is_left_out_leaves_no_dash_and_no_picture():
    found = VARIANTS["few users"]()
    texts = analyst_page(found), model_card(found)
    for text in texts:
        assert "– of the buyers" not in text
        assert "None" not in text
    assert "gains-chart" not in texts[0]
    assert "reliability-chart" not in texts[0]
    assert "spread-chart" not in texts[0]


def test_cells_say_which_bands_are_measured_together_and_segments_of_few_users_are_left_out(
    subject,
):
    cells = [cell for cell in subject.metrics["cells"] if cell["segment_id"] != 2]
    metrics = {**subject.metrics, "cells": cells}
    page = analyst_page(measured_as(subject, metrics=metrics))
    table = re.search('<section id="actions".*?</table>', page, re.DOTALL).group()
    values = re.findall('<span class="value">(.*?)</span>', table)
    assert subject.manifest.segments[1].name not in table
    (left_out,) = re.findall(r"measured users: ([^<]*)\.", page)
    assert subject.manifest.segments[1].name in left_out
    assert values[-2:] == ["41.0\u202f%"] * 2
    assert table.count('<span class="note">high and above: 912 users</span>') == 2


def test_money_is_shown_as_an_upper_bound_by_audience_size(page):
    subject = VARIANTS["money"]()
    text = analyst_page(subject).replace("\u202f", " ")
    section = re.search('<section id="audience".*?</section>', text, re.DOTALL).group()
    # 0.3 x 80 x 0.2 = 4.8 pays for a contact of 2, 0.3 x 80 x 0.05 = 1.2 does not.
    scale = 240_000 / subject.metrics["rows"]
    users = round(3_000 * len(subject.manifest.segments) * scale)
    assert f"The best audience is {users:,} of 240,000 users" in section
    assert "upper bound of what contacting can win" in section
    assert "Orders are expected whether users are contacted or not" in section
    assert "An order counts with 80 USD, of which 30.0 % is margin" in section
    rows = re.findall('<tr class="marked">.*?</tr>', section, re.DOTALL)
    values = re.findall('<span class="value">(.*?)</span>', rows[-1])
    orders = 1_600 * len(subject.manifest.segments) * scale
    profit = 0.3 * 80 * orders - 2 * 3_000 * len(subject.manifest.segments) * scale
    found = [float(value.replace(",", "")) for value in values[1:]]
    assert found == pytest.approx([users, orders, 80 * orders, 2 * users, profit], rel=1e-3)
    assert all(segment.name in section for segment in subject.manifest.segments)
    assert "incremental" not in text.lower()
    assert "Profit at most" in model_card(subject)
    # Without economics, nothing is said about money.
    assert not re.search("profit|revenue|margin of", page.lower())


def test_no_contact_pays_where_it_costs_more_than_an_order(subject):
    rich = VARIANTS["money"]()
    rows = [{**row, "cost_per_contact": 1_000.0} for row in rich.playbook["rows"]]
    text = analyst_page(replace(rich, playbook={**rich.playbook, "rows": rows}))
    assert "No contact pays" in text
    assert "largest profit</span>" not in text


def test_the_plan_of_a_test_is_said_once_for_the_bands_that_share_it():
    subject = VARIANTS["money"]()
    text = analyst_page(subject)
    section = re.search('<section id="actions".*?</section>', text, re.DOTALL).group()
    plan = subject.playbook["rows"][0]["test"]
    assert section.count(plan) == len(subject.manifest.segments)
    assert section.count("All bands") >= len(subject.manifest.segments)


def test_segments_of_chance_are_one_group_in_the_table_of_actions_and_of_money():
    subject = VARIANTS["chance"]()
    text = analyst_page(subject)
    for name in ("actions", "audience"):
        section = re.search(f'<section id="{name}".*?</section>', text, re.DOTALL).group()
        assert not any(segment.name in section for segment in subject.manifest.segments)
    table = re.search('<section id="actions".*?</section>', text, re.DOTALL).group()
    assert [table.count(f"Act on {band}<") for band in BANDS] == [1, 1, 1, 1]
    assert table.count(subject.playbook["rows"][0]["test"]) == 1
    assert table.count("high and above: 9,000 users") == 2


def test_merged_deciles_stay_in_the_picture_and_the_table(subject):
    _, second, *others = subject.metrics["deciles"]
    both = {**second, "deciles": [9, 10], "purchase_rate": 0.44}
    metrics = {**subject.metrics, "deciles": [both, *others]}
    merged = measured_as(subject, metrics=metrics)
    page = analyst_page(merged)
    assert "In decile 9–10 44\u202f% buy" in page
    assert "The likeliest 10\u202f% of users hold 39\u202f% of the buyers." in page
    assert "| 9–10 | 3,731 |" in model_card(merged)


@pytest.mark.parametrize("name", ["hostile names", "huge names", "500 features", "few users"])
def test_a_card_of_odd_figures_is_whole_and_short(name):
    card = model_card(VARIANTS[name]())
    _check_tables(card)
    assert "<script" not in card
    assert len(card) < 100_000


def test_the_card_says_what_a_model_card_must(card):
    for title in (
        *(
            "What it is",
            "Use",
            "Misuse",
            "Metrics",
            "Metrics by group of users",
            "Calibration",
            "Segments",
        ),
        *("Limits", "How to verify", "Ethics and privacy"),
    ):
        assert f"\n## {title}\n" in card
    assert "| Country: DE | 3,877 |" in card
    assert "purchased_next_7d" in card
    assert "<svg" not in card


def test_tables_of_the_card_are_whole(card):
    _check_tables(card)


def _check_tables(card):
    tables = re.findall(r"(?:^\|.*\n)+", card, re.MULTILINE)
    assert len(tables) > 8
    for found in tables:
        assert len({line.count("|") for line in found.splitlines()}) == 1
        assert set(found.splitlines()[1]) <= set("| -:")


def test_users_and_their_rows_are_told_apart(subject):
    training = {**subject.fit.training, "users": 60_000, "rows": 240_000}
    data = {**subject.evaluation.data, "users": 9_000}
    weekly = measured_as(subject, fit={"training": training}, data=data)
    for text in (analyst_page(weekly), model_card(weekly)):
        assert "60,000 users, 240,000 rows" in text
        assert "9,000 users, 36,154 rows" in text
        assert "Of 9,000 users, 36,154 rows measured." in text
        assert "4,358 rows" in text
        assert "4,358 users" not in text


def test_segments_are_those_of_the_users_that_were_measured(subject):
    bundle = replace(open_bundle(BUNDLE), manifest=subject.manifest)
    numbers = [segment.id for segment in subject.manifest.segments]
    figures = [
        {**found, "purchase_rate": 0.77, "mean_probability": 0.66}
        for found in subject.comparison["segments"]
    ]
    figures[-1] |= {"purchase_rate": None, "mean_probability": None}
    evaluation = replace(
        subject.evaluation,
        data={"rows": 500, "users": 500, "snapshots": [], "what": "later.csv"},
        segments={"silhouette": 0.2, "shares": {str(n): 0.123 for n in numbers}},
        comparison={**subject.comparison, "segments": figures},
    )
    page = analyst_page(measured_subject(bundle, evaluation)).replace("\u202f", " ")
    cards = re.findall(r'<article class="card">.*?</article>', page, re.DOTALL)
    assert "come from the fit" in page
    for card in cards[:-1]:
        assert {"12.3 %", "77.0 %", "66.0 %"} <= set(re.findall("<dd>(.*?)</dd>", card))
    assert "–" not in cards[-1]
    assert f"fewer than 20 measured users: {subject.manifest.segments[-1].name}." in page
    assert "come from the fit" not in analyst_page(subject)


def test_the_chosen_model_and_number_of_segments_are_marked(page, card):
    marked = re.findall(r'<tr class="marked">\n<th scope="row">(.*?)</th>', page, re.DOTALL)
    assert sum('<span class="note">chosen' in row for row in marked) == 2
    assert "| draw 3 (chosen, depth 3, " in card
    assert "| 6 (chosen) |" in card


def test_what_the_number_of_segments_is_chosen_by_is_shown(subject, card):
    chosen = next(t for t in subject.fit.clustering["counts_tried"] if t["chosen"])
    worth = chosen["actionability"] - 0.025 * chosen["segments"]
    assert "| Less 0.025 for each segment |" in card
    assert f"| {worth:.3f} |" in card


def test_settings_of_a_trial_stand_in_one_order(subject):
    record = subject.fit.search
    parameters = {"depth": 3, "lambda_l2": 20.0, "learning_rate": 0.1, "sets": None}
    trials = [
        {**record["trials"][0], "parameters": dict(order), "chosen": False}
        for order in (parameters.items(), reversed(parameters.items()))
    ]
    card = model_card(measured_as(subject, fit={"search": {**record, "trials": trials}}))
    assert card.count("(depth 3, learning rate 0.1, lambda l2 20.0)") == 2


def test_a_draw_that_was_given_up_has_no_figures_and_comes_last(subject):
    record = subject.fit.search
    first = record["trials"][0]
    lost = {**first, "name": "lost", "chosen": False, "log_loss": None, "roc_auc": None}
    search = {**record, "trials": [lost, *record["trials"]]}
    card = model_card(measured_as(subject, fit={"search": search}))
    rows = re.findall(r"^\| (depth \d|free|stumps|lost) .*$", card, re.MULTILINE)
    assert rows == ["free", "depth 2", "stumps", "lost"]
    (line,) = re.findall(r"^\| lost .*$", card, re.MULTILINE)
    assert line.endswith("stopped) | 233 | – | – | ")


def test_the_part_that_is_ranked_worst_is_named(page):
    words = (
        "for Orders on record: none: ROC-AUC 0.576 (0.541 to 0.611), against 0.856 over all users"
    )
    assert f"The model ranks worst {words}" in page


def test_the_quality_band_is_said_once(subject):
    quality = {**subject.quality, "band": "good", "sentence": "Good: it ranks well."}
    found = measured_as(subject, quality=quality)
    assert "**May be used.** Quality: good. It ranks well.\n" in model_card(found)
    assert '<p class="sentence">It ranks well.</p>' in analyst_page(found)


def test_intervals_have_the_unit_of_their_figure(card):
    text = card.replace("\u202f", " ")
    assert "Part of it is chance: 95 % interval 0.3 to 0.8 points." in text
    assert "| 2.0 % | 1,807 | 1.8 % | 1.3 to 2.6 % |" in text


def test_the_picture_of_gains_points_at_the_lists_that_the_table_tells(subject):
    gains = [{**g, "share_of_buyers": 0.345} for g in subject.metrics["gains"] if g["share"] == 0.1]
    metrics = {**subject.metrics, "gains": gains}
    page = analyst_page(measured_as(subject, metrics=metrics))
    chart = re.search(r'aria-labelledby="gains-chart-title".*?</svg>', page, re.DOTALL).group()
    assert chart.count(">34\u202f%<") == 1
    assert "The likeliest 10\u202f% of users hold 34\u202f% of the buyers." in chart


def test_figures_of_too_few_users_are_told_as_such(subject):
    reason = "F1 is left out: fewer than 20 users lie above the threshold"
    suppressed = {**dict.fromkeys(("f1", "precision", "recall")), "suppressed": [reason]}
    drivers = subject.drivers["features"]
    shape = [{**drivers[0]["dependence"][0], "mean_impact": None}, *drivers[0]["dependence"][1:]]
    found = measured_as(
        subject,
        metrics={**subject.metrics, **suppressed},
        drivers={
            **subject.drivers,
            "features": [{**drivers[0], "dependence": shape}, *drivers[1:]],
        },
    )
    for text in (analyst_page(found), model_card(found)):
        assert f"{reason}." in text
        assert "None" not in text


def test_users_without_a_value_come_after_the_categories_and_their_labels():
    impacts = {"ios": 0.1, None: -0.3, "web": -0.1, "tablet": 0.0, "android": 0.2}
    parts = [{"value": v, "mean_impact": i, "rows": 100} for v, i in impacts.items()]
    svg = dependence_chart({"name": "device", "dependence": parts}, {}, "dependence")
    bars = re.findall(r'<path d="M([\d.]+),[^"]*" fill="var\(--(cool|warm|muted)\)"', svg)
    assert [color for _, color in sorted(bars, key=lambda bar: float(bar[0]))] == (
        ["warm", "cool", "cool", "cool", "muted"]
    )
    labels = dict(re.findall(r"translate\(([\d.]+),[^>]*>(web|android)<", svg))
    last = max(float(x) for x, _ in bars)
    assert set(labels.values()) == {"web", "android"}
    assert all(float(x) < last for x in labels)
