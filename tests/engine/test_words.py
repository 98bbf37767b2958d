import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bundle.schema import Feature, Phrases, default_schema_path, load_schema
from engine.format import SHOWN_NAME, spoken_name
from engine.words import (
    EFFECT_BOUNDS,
    EFFECTS,
    effect_codes,
    effect_words,
    phrases_of,
    spoken_numbers,
    unseen_words,
    value_words,
)
from tests.foreign import real_table

SHOPNOW = {feature.name: feature for feature in load_schema(default_schema_path()).features}
HOSTILE = "=cmd()\x1b[2J\u202e" + "y" * 1_000_000


def shop(name, value, **more):
    return value_words(SHOPNOW[name], value, **more)


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (0.03, "cuts the odds by more than nine tenths"),
        (0.1, "cuts the odds by nine tenths"),
        (0.5, "cuts the odds by half"),
        (0.74, "cuts the odds by a quarter"),
        (0.94, "cuts the odds a little"),
        (0.96, "hardly matters"),
        (1, "hardly matters"),
        (1.04, "hardly matters"),
        (1.06, "raises the odds a little"),
        (1.25, "raises the odds by a quarter"),
        (1.4, "raises the odds by half"),
        (1.7, "raises the odds by half"),
        (1.8, "doubles the odds"),
        (2.5, "triples the odds"),
        (14.0, "makes the odds ten times as high"),
        (15.0, "makes the odds more than ten times as high"),
        (1e30, "makes the odds more than ten times as high"),
    ],
)
def test_an_effect_is_the_nearest_of_a_few(factor, words):
    assert effect_words(math.log(factor)) == words


@given(st.floats(-30, 30, width=32))
def test_no_other_effect_is_nearer(impact):
    distances = [abs(math.log(factor) - impact) for factor, _ in EFFECTS]
    found = [words for _, words in EFFECTS].index(effect_words(impact))
    # The bounds are float32, so that files and explanations agree.
    assert distances[found] <= min(distances) + 1e-6


def test_effects_rise_with_the_impact_and_differ():
    assert [factor for factor, _ in EFFECTS] == sorted(factor for factor, _ in EFFECTS)
    assert len({words for _, words in EFFECTS}) == len(EFFECTS)
    assert effect_codes(EFFECT_BOUNDS).tolist() == list(range(1, len(EFFECTS)))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("checkout_starts_last_30d", 2.0, "2 checkouts started in the last 30 days"),
        ("checkout_starts_last_30d", 1.0, "1 checkout started in the last 30 days"),
        ("checkout_starts_last_30d", 0.0, "no checkouts started in the last 30 days"),
        ("pages_viewed", 1234.0, "1,234 pages viewed in the last 30 days"),
        ("days_since_last_purchase", None, "no orders in the last 365 days"),
        ("days_since_last_purchase", 0.0, "last order today"),
        ("days_since_last_session", 1.0, "last session 1 day ago"),
        ("email_open_rate", 0.29, "29 % of e-mails opened"),
        ("email_open_rate", 0.001, "less than 1 % of e-mails opened"),
        ("email_open_rate", 0.997, "over 99 % of e-mails opened"),
        ("email_open_rate", 1.0, "100 % of e-mails opened"),
        ("avg_order_value", 45.6, "orders of 46 USD on average"),
        ("avg_order_value", 0.3, "orders of 0.3 USD on average"),
        ("total_spend_last_365d", 12_345.6, "12,300 USD spent in the last 365 days"),
        ("activity_trend", -0.405, "activity trend of minus 0.405, where 0 is steady"),
        ("purchase_cadence_ratio", 2.306, "231 % of the usual gap between orders has passed"),
        ("device_type", "ios_app", "main device ios app"),
        ("country", None, "country not known"),
    ],
)
def test_a_value_of_shopnow(name, value, words):
    assert shop(name, value) == words


def test_a_category_that_the_model_does_not_know():
    assert shop("country", "Atlantis", unseen=True) == "Country (new to the model)"


@pytest.mark.parametrize("name", SHOPNOW)
def test_a_feature_of_shopnow_is_said_without_its_column_name(name):
    feature = SHOPNOW[name]
    said = [value_words(feature, value) for value in (*(feature.values or (0.0, 1.0, 0.25)), None)]
    assert len({*said}) == len(said)
    assert not [text for text in said if "_" in text or "{}" in text]
    # Neither "1 sessions" nor "1 days".
    assert not [text for text in said if re.search(r"\b1 \w+s\b", text)]


def number(label="", unit="", **more):
    return Feature("x", "numeric", label=label, unit=unit, **more)


SHARE = {"unit": "share", "min": 0, "max": 1}


@pytest.mark.parametrize(
    ("feature", "value", "words"),
    [
        (number("Visits in May", "visits"), 9.0, "9 visits in May"),
        (number("Visits in May", "visits"), 1.0, "Visits in May (1)"),
        (number("Visits in May", "visits"), 0.0, "0 visits in May"),
        (number("Visits in May", "visits"), None, "Visits in May (not known)"),
        (number("Months in arrears now", "months"), -1.0, "minus 1 months in arrears now"),
        (number("Income", "EUR"), 1234.5, "Income (1,235 EUR)"),
        (number("Paid-ad clicks", "clicks"), 3.0, "Paid-ad clicks (3)"),
        (number("Percentage of calls", "percentage"), 40.0, "Percentage of calls (40)"),
        (number("Share of calls", **SHARE), 0.1234567, "Share of calls (12 %)"),
        (number("Share of calls", unit="share"), 0.1234567, "Share of calls (0.123)"),
        (number("Activity trend", "log ratio"), 0.96, "Activity trend (0.96)"),
        (number("Visits"), 1e20, "Visits (1e+20)"),
        (number("Spread", number="percent"), -0.12, "Spread (minus 12 %)"),
        (number("{} of $&", phrases=Phrases(one="a single one")), 1.0, "a single one"),
        (number("{} of $&", "a{}"), 2.0, "{ } of $& (2 a{ })"),
        (number("Age", phrases=Phrases(value="{} years old")), 1.0, "1 years old"),
        (number("Age", phrases=Phrases(value="{} years old")), None, "Age (not known)"),
        (Feature("capital_gain", "numeric"), 0.0, "capital gain (0)"),
        (Feature("TotalCharges", "numeric"), 29.85, "total charges (29.9)"),
        (Feature("__", "numeric"), 2.0, "__ (2)"),
        (Feature("marital", "categorical"), "Never-married", "marital (Never-married)"),
        (Feature("tier", "categorical", label="Tier"), "_", "Tier (_)"),
    ],
)
def test_a_value_where_the_schema_says_little(feature, value, words):
    assert value_words(feature, value) == words


@pytest.mark.parametrize("name", ["adult", "credit"])
def test_other_tables_are_said_in_words(name):
    for feature in load_schema(Path(real_table(f"{name}.toml"))).features:
        value = 3.0 if feature.kind == "numeric" else "Some-college"
        said = value_words(feature, value)
        assert "_" not in said
        assert said.startswith((feature.label or spoken_name(feature.name), "3 months"))


def test_hostile_names_are_short_and_visible():
    feature = Feature(HOSTILE, "numeric", label=HOSTILE, unit=HOSTILE)
    category = Feature(HOSTILE, "categorical", label=HOSTILE)
    said = [
        *(value_words(feature, value) for value in (0.0, 1.0, 3.4e38, None)),
        *(value_words(category, value) for value in (HOSTILE, None)),
        unseen_words(category),
    ]
    assert all(text.isprintable() and len(text) < 2 * SHOWN_NAME + 30 for text in said)


FORMATS = st.sampled_from(["plain", "whole", "percent"])


@given(st.floats(-(2.0**100), 2.0**100, width=32), FORMATS)
def test_a_spoken_number_is_within_half_a_percent_or_half_a_unit(value, kind):
    percent, whole = np.array([kind == "percent"]), np.array([kind != "plain"])
    found = spoken_numbers(np.array([value], np.float64), percent, whole)[0]
    exact = 100 * value if kind == "percent" else value
    assert abs(found - exact) <= max(0.0051 * abs(exact), 0 if kind == "plain" else 0.5)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False), FORMATS)
def test_a_number_says_whether_it_is_negative(value, kind):
    said = value_words(number("x", number=kind), value)
    assert ("minus" in said) <= (value < 0)


def test_phrases_give_way_to_those_of_the_schema():
    given_one = number("Visits in May", "visits", phrases=Phrases(one="1 visit in May"))
    assert phrases_of(given_one).one == "1 visit in May"
    assert phrases_of(given_one).value == "{} visits in May"
