import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest

from engine.bundle.manifest import Segment
from engine.bundle.open import open_bundle
from engine.bundle.schema import default_schema_path, load_schema
from tests.fitting import category, number, schema_of
from tests.helpers import BUNDLE
from training.segments.lineage import Lineage, PreviousSegments
from training.segments.names import named
from training.segments.phrases import (
    FeatureEffect,
    Name,
    against_all,
    clean,
    fact,
)
from training.segments.profiles import Profiled, describe_segments, segment_effects
from training.segments.sentences import segment_sentence

ORDERS = number("orders", label="Orders in the last 90 days", unit="orders", group="buying",
                high="frequent shoppers", low="rare shoppers")  # fmt: skip
SPEND = number("spend", label="Spend in the last 90 days", unit="USD", group="money",
               high="big spenders", low="low spenders")  # fmt: skip
MAILS = number("mails", label="Share of e-mails opened", unit="share", group="marketing",
               high="e-mail readers", low="e-mail-shy shoppers")  # fmt: skip
ROWS = 3_000


def segments_of(*shares):
    return tuple(Segment(n, "", share) for n, share in enumerate(shares, start=1))


def described(features, columns, segment, categories=None, kept=None, taken=()):
    """Names and sentences of segments in a table; a column a feature, NaN where missing."""
    table = np.column_stack(columns).astype(np.float32)
    ids, rows = np.unique(segment, return_counts=True)
    segments = tuple(Segment(int(i), "", n / len(segment)) for i, n in zip(ids, rows, strict=True))
    features = schema_of(*features).model_features
    effects = segment_effects(
        features, categories or {}, Profiled(table, segment, np.arange(len(segment))), segments
    )
    names = named(segments, effects, kept or {}, taken)
    return names, {n: segment_sentence(names[n], effects[n]) for n in names}, effects


@pytest.fixture
def kinds():
    return np.random.default_rng(0).choice([1, 2, 3], ROWS, p=[0.5, 0.3, 0.2])


def by_kind(kinds, *values, noise=0.05):
    rng = np.random.default_rng(1)
    return np.array([np.nan, *values])[kinds] + rng.normal(0, noise, len(kinds))


def test_names_and_sentences_are_made_of_the_schemas_words(kinds):
    columns = [
        by_kind(kinds, 1, 4, 12),
        by_kind(kinds, 100, 500, 200, noise=2),
        by_kind(kinds, 0.1, 0.15, 0.5, noise=0.001),
    ]
    names, sentences, _ = described([ORDERS, SPEND, MAILS], columns, kinds)
    assert [names[n].text for n in (1, 2, 3)] == [
        "Rare e-mail-shy shoppers",
        "Big spenders",
        "Frequent e-mail readers",
    ]
    assert sentences[3] == (
        "Frequent e-mail readers: 1 in 2 e-mails opened and 12 orders in the last 90 days."
    )
    assert sentences[2].startswith("Big spenders: spend of 500 USD in the last 90 days")
    assert names[3].reasons == [
        {"feature": "mails", "value": "", "side": "high"},
        {"feature": "orders", "value": "", "side": "high"},
    ]


def test_without_words_names_state_typical_values(kinds):
    features = [number("pageViews"), number("age", label="Age in years", unit="years")]
    columns = [by_kind(kinds, 1, 5, 9), by_kind(kinds, 30, 50, 20)]
    names, sentences, _ = described(features, columns, kinds)
    assert names[2].text == "Age around 50 years"
    assert names[3].text == "Age around 20 years, page views around 9"
    assert sentences[3] == (
        "Age around 20 years, page views around 9: age 20 years (all users 30) and page views 9 "
        "(all users 1.1)."
    )


def test_categories_alone_give_names(kinds):
    cities = ("oslo", "rome", "bern")
    names, sentences, _ = described(
        [category("city", label="Home city")], [kinds - 1], kinds, {"city": cities}
    )
    assert [names[n].text for n in (1, 2, 3)] == ["Oslo", "Rome", "Bern"]
    assert sentences[1] == "Oslo: home city oslo for nearly all."


@pytest.mark.parametrize(
    "hostile",
    ["<script>alert(1)</script>", "=cmd|' /C calc'!A0", "\u202egpj.exe\x1b[2J\n", "x" * 500],
)
def test_hostile_values_are_harmless_in_names_and_sentences(kinds, hostile):
    features = [category("=c"), category("\u202e", label="\u200f@SUM(1)")]
    values = {"=c": (hostile, "b", "c"), "\u202e": ("k", hostile, "m")}
    names, sentences, _ = described(features, [kinds - 1, kinds - 1], kinds, values)
    for text in (*(name.text for name in names.values()), *sentences.values()):
        assert text.isprintable()
        assert text[0] not in "=+-@|"
        assert len(text) < 400


def test_no_two_segments_share_a_name():
    segment = np.repeat(np.arange(1, 9), 100)
    names, sentences, _ = described([ORDERS], [np.tile(np.arange(100.0), 8)], segment)
    assert len({name.text for name in names.values()}) == 8
    assert sentences[1] == "Average users: like all users."
    rising = np.repeat(np.arange(8.0), 100)
    names, _, _ = described([ORDERS, SPEND, MAILS], [rising, rising, rising], segment)
    assert len({name.text for name in names.values()}) == 8


def test_one_segment_of_users_who_are_all_alike():
    names, _, _ = described([ORDERS], [np.ones(50)], np.ones(50, np.int64))
    assert names[1].text == "Average users"


def test_a_name_is_kept_while_it_is_true(kinds):
    columns = [by_kind(kinds, 1, 4, 12), by_kind(kinds, 100, 500, 200, noise=2)]
    reason = {"feature": "orders", "value": "", "side": "high"}
    old = Name("The regulars", [reason])
    names, sentences, _ = described([ORDERS, SPEND], columns, kinds, kept={3: old})
    assert names[3].text == "The regulars"
    assert sentences[3].startswith("The regulars: 12 orders in the last 90 days")
    untrue = Name("The regulars", [{**reason, "side": "low"}])
    names, _, _ = described([ORDERS, SPEND], columns, kinds, kept={3: untrue})
    assert names[3].text == "Frequent shoppers"
    names, _, _ = described([ORDERS, SPEND], columns, kinds, taken=["Frequent shoppers"])
    assert names[3].text not in ("Frequent shoppers", names[1].text, names[2].text)


def test_effects_are_mean_ranks_of_known_values():
    table = np.array([[1.0], [2], [2], [5], [np.nan], [np.nan]] * 30, np.float32)
    segment = np.tile([1, 1, 2, 2, 2, 3], 30)
    features = schema_of(ORDERS).model_features
    effects = segment_effects(
        features, {}, Profiled(table, segment, np.arange(len(segment))), segments_of(0.3, 0.5, 0.2)
    )
    assert effects[1][0].effect == pytest.approx((0.125 + 0.5) / 2 - 0.5)
    assert effects[2][0].effect == pytest.approx((0.5 + 0.875) / 2 - 0.5)
    assert (effects[2][0].mean, effects[2][0].overall) == (3.5, 2.5)
    assert effects[2][0].known == pytest.approx(2 / 3)
    assert effects[3] == []


@pytest.mark.parametrize(
    ("effect", "mean", "expected"),
    [
        ({"unit": "share", "label": "Share of e-mails opened"}, 0.34, "1 in 3 e-mails opened"),
        ({"unit": "share", "label": "Share of e-mails opened"}, 0.99, "nearly all e-mails opened"),
        ({"unit": "share", "label": "Share of e-mails opened"}, 0.01, "hardly any e-mails opened"),
        ({"unit": "share", "label": "Bounce rate"}, 0.5, "bounce rate 50\u202f%"),
        ({"unit": "orders", "label": "Orders in the last 90 days"}, 4.24,
         "4.2 orders in the last 90 days"),
        ({"unit": "orders", "label": "Orders in the last 90 days"}, 0.01,
         "hardly any orders in the last 90 days"),
        ({"unit": "USD", "label": "Spend in the last 90 days"}, 1234.5,
         "spend of 1,234 USD in the last 90 days"),
        ({"unit": "USD", "label": "Spend in the last 90 days"}, 0.0,
         "hardly any spend in the last 90 days"),
        ({"unit": "USD", "label": "Average order value"}, 52.0, "average order value 52 USD"),
        ({"label": "RFM_score"}, -2.5, "RFM score −2.5"),
        ({"label": ""}, 0.0, "x near 0"),
        ({"label": "Visit length", "unit": "s"}, 9.0, "visit length 9 s"),
        ({"label": "Gaps between orders", "unit": "ratio"}, 5.36, "gaps between orders 5.4"),
        ({"label": "Growth in the last 30 days", "unit": "ratio"}, 1.4,
         "growth of 1.4 in the last 30 days"),
        ({"label": "Activity trend", "unit": "log ratio"}, 0.96, "activity trend 1"),
        ({"label": "Recency score", "unit": "score"}, 0.9, "recency score 0.9"),
    ],
)  # fmt: skip
def test_facts_read_as_people_say_them(effect, mean, expected):
    feature = schema_of(number("x", **effect)).model_features[0]
    assert fact(FeatureEffect(feature, 0.2, mean, 1.0, 1.0)) == expected


@pytest.mark.parametrize(
    ("unit", "label", "words"),
    [
        ("ratio", "Gaps between orders", "Gaps between orders: 5.36, all users 2.13"),
        ("USD", "Order value", "Order value: 5.36 USD, all users 2.13"),
        ("USD", "Order value (USD)", "Order value (USD): 5.36, all users 2.13"),
        ("s", "Sessions", "Sessions: 5.36 s, all users 2.13"),
    ],
)
def test_a_number_has_a_unit_where_it_counts_something(unit, label, words):
    feature = schema_of(number("x", unit=unit, label=label)).model_features[0]
    assert against_all(FeatureEffect(feature, 0.2, 5.36, 2.13, 1.0)) == words


def test_ordered_categories_are_told_by_the_middle_one():
    tier = category("tier", ordered=True, values=["none", "silver", "gold"], label="Loyalty tier")
    feature = schema_of(tier).model_features[0]
    gold = FeatureEffect(feature, 0.3, 1.9, 0.5, 1.0, "gold", "none")
    assert fact(gold) == "loyalty tier typically gold"
    assert fact(dataclasses.replace(gold, value="none")) == "typically no loyalty tier"
    assert against_all(gold) == "Loyalty tier: typically gold, all users none"


def test_texts_are_cut_and_cleaned():
    assert clean("a\u200f\tb\n c") == "a b c"
    assert clean("x" * 50) == "x" * 39 + "…"


def test_a_profile_describes_users_and_tells_nobody_apart():
    manifest = open_bundle(BUNDLE).manifest
    schema = manifest.schema
    features = schema.model_features
    segments = tuple(
        dataclasses.replace(s, name=f"Segment {s.id}", sentence="") for s in manifest.segments[:3]
    )
    rng = np.random.default_rng(0)
    segment = np.repeat([s.id for s in segments], [1_000, 800, 15])
    table = rng.integers(0, 4, (len(segment), len(features))).astype(np.float32)
    spend = [f.name for f in features].index(schema.rfm.monetary)
    table[:, spend] = 100.0 * segment
    lineage = Lineage(tuple(s.id for s in segments), (9,), (1.0, 1.0, 1.0))
    unnamed = {s.id: {"name_features": []} for s in segments}
    before = PreviousSegments("shopnow/1", segments, unnamed, (9,), {}, segment)
    fitted = SimpleNamespace(segments=segments, lineage=lineage, report={"changes": []})
    who = Profiled(table, segment, np.arange(len(segment)))
    found = describe_segments(schema, manifest.categories, fitted, who, before)
    large, middle, small = found.profiles.values()
    assert large["described_rows"] == 1_000
    assert large["spend"] == 100.0
    assert large["frequency"] is not None
    over = {entry["feature"]: entry for entry in middle["over"]}
    assert over[schema.rfm.monetary]["index"] == pytest.approx(200 * 1_815 / 264_500, abs=1e-6)
    assert "USD" in over[schema.rfm.monetary]["words"]
    assert {small[key] for key in ("described_rows", "spend")} == {None}
    assert small["over"] == small["under"] == small["categories"] == []
    assert [s.name for s in found.segments] == [s.name for s in segments]
    assert found.changes == ["no change: every segment keeps its id and its name"]
    json.dumps(found.profiles, allow_nan=False)


def test_words_of_the_shipped_schema_read_well_together():
    words = [w for f in load_schema(default_schema_path()).features for w in (f.high, f.low) if w]
    assert len(set(words)) == len(words) >= 20
    assert [clean(word) for word in words if " " in word] == words
