"""The report and the model card as texts."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from engine.bundle import MODEL_CARD, REPORT, open_bundle
from tests.helpers import BUNDLE
from tests.training.report_fixture import full_subject
from tests.training.report_variants import HOSTILE, VARIANTS
from training.report.card import model_card
from training.report.contents import report_contents
from training.report.page import report_html
from training.report.subject import subject_of


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
    return report_html(subject)


@pytest.fixture(scope="module")
def card(subject):
    return model_card(subject)


def test_the_same_figures_give_the_same_bytes(subject, page, card):
    assert report_contents(subject) == {REPORT: page.encode(), MODEL_CARD: card.encode()}


def test_the_page_is_small_and_asks_for_nothing(page):
    assert len(page.encode()) < 600_000
    assert not Outline(page).named("script", "img", "iframe", "object")
    links = [a["href"] for _, a in Outline(page).named("a")]
    assert all(link.startswith("#") for link in links)
    assert "url(" not in page


def test_it_opens_with_whether_the_bundle_may_be_used(page):
    assert page.index("May be used") < page.index("Key figures")
    assert "The model ranks users well" in page


def test_figures_are_said_in_words(page):
    text = page.replace("\u202f", " ")
    assert "The top 10 % of users hold 30 % of the buyers" in text
    assert "the buyer has the higher score 83 times in 100. 95 % interval: 0.825 to 0.836." in text


def test_every_section_is_there_in_order(page):
    titles = re.findall(r'<h2 id="(\w+)-title">', page)
    assert titles == [
        *("figures", "drivers", "gains", "reliability", "audience", "segments", "actions"),
        *("comparison", "trials", "slices", "leakage", "drift", "limits", "verify"),
    ]


def test_pictures_state_their_finding(page):
    outline = Outline(page)
    pictures = outline.named("svg")
    ids = {a.get("id") for _, a in outline.tags}
    assert len(pictures) == 6
    for _, attributes in pictures:
        assert attributes["role"] == "img"
        assert {attributes["aria-labelledby"], attributes["aria-describedby"]} <= ids
    assert re.search("<desc[^>]*>[^<]* hold 30\u202f% of the buyers", page)


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
    page, card = report_html(hostile), model_card(hostile)
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
    manifest = replace(subject.manifest, quality=verdict, unusable=("no better than chance",))
    found = subject_of(manifest)
    for text in (report_html(found), model_card(found)):
        assert "Must not be used" in text
        assert "unusable" in text
        assert "May be used" not in text
        assert "ROC-AUC 0.50" in text


def test_a_manifest_without_a_verdict_and_a_reason_is_unusable(subject):
    manifest = replace(subject.manifest, quality={}, unusable=("a constant model",))
    assert "a constant model" in report_html(subject_of(manifest))


def test_a_bundle_with_few_figures_still_has_a_report():
    manifest = open_bundle(BUNDLE).manifest
    bare = replace(
        manifest,
        schema=replace(manifest.schema, features=manifest.schema.features[:2], horizon_days=0),
        segments=manifest.segments[:1],
        clustering={},
        metrics={},
        quality={},
        comparison={},
        drivers={},
        parity={},
        training={},
    )
    page, card = report_html(subject_of(bare)), model_card(subject_of(bare))
    assert "has not been measured" in page
    assert "1 segment" in page
    assert "Not judged" in card


def test_what_is_withheld_is_not_told_in_words():
    found = VARIANTS["few users"]()
    texts = report_html(found), model_card(found)
    for text in texts:
        assert "– of the buyers" not in text
        assert "None" not in text
    assert "gains-chart" not in texts[0]
    assert "reliability-chart" not in texts[0]
    assert "spread-chart" not in texts[0]


def test_a_decile_of_few_users_leaves_the_others_in_the_picture(subject):
    first, *others = subject.metrics["deciles"]
    withheld = {**first, "purchase_rate": None, "cumulative_share_of_buyers": None}
    metrics = {**subject.metrics, "deciles": [withheld, *others]}
    page = report_html(replace(subject, evaluation={**subject.evaluation, "metrics": metrics}))
    assert "In decile 9 34\u202f% buy" in page
    assert "The likeliest 10\u202f% of users hold 30\u202f% of the buyers." in page


@pytest.mark.parametrize("name", ["hostile names", "huge names", "500 features", "few users"])
def test_a_card_of_odd_figures_is_whole_and_short(name):
    card = model_card(VARIANTS[name]())
    _check_tables(card)
    assert "<script" not in card
    assert len(card) < 100_000


def test_the_card_says_what_a_model_card_must(card):
    for title in (
        *("What it is", "Use", "Misuse", "Metrics", "Metrics by slice", "Calibration", "Segments"),
        *("Limits", "How to verify", "Ethics and privacy"),
    ):
        assert f"\n## {title}\n" in card
    assert "| Country: DE | 2,000 |" in card
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
