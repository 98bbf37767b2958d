"""Names of segments where the schema has no words: readable, distinct, stable, and true."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.bundle.manifest import Segment
from tests.fitting import category, number, schema_of
from training.segments.names import LONGEST, named
from training.segments.phrases import FeatureEffect, Name
from training.segments.profiles import Profiled, alike_effects, segment_effects
from training.segments.traits import figure, spoken_label, trait

FEATURES = (
    number("age"),
    number("capital_gain"),
    number("IsActiveMember"),
    number("score", unit="share"),
    number("orders", high="frequent buyers", low="rare buyers"),
    number("orders_twice"),
    category("marital"),
    category("TechSupport"),
    category("tier", ordered=True, values=["none", "silver", "gold"]),
)
TEXTS = {
    "marital": ("Married", "Never-married", "Divorced"),
    "TechSupport": ("Yes", "No"),
    "tier": ("none", "silver", "gold"),
}


def users(seed, rows=600, segments=4):
    """Users of every kind of column, in segments that differ in some of them."""
    rng = np.random.default_rng(seed)
    segment = rng.choice(segments, rows, p=rng.dirichlet(np.full(segments, 5.0))) + 1
    apart = rng.normal(0, rng.choice([0.0, 1.0, 3.0], 9), (segments + 1, 9))[segment]
    noise = rng.normal(size=(rows, 9)) + apart
    orders = np.round(np.exp(noise[:, 4]))
    columns = [
        np.round(40 + 10 * noise[:, 0]),
        np.where(noise[:, 1] > 1, np.round(np.exp(5 + noise[:, 1])), 0),
        noise[:, 2] > 0,
        1 / (1 + np.exp(-noise[:, 3])),
        orders,
        2 * orders + rng.integers(0, 2, rows),
        np.clip(np.round(noise[:, 6]), 0, 2),
        noise[:, 7] > 0.5,
        np.clip(np.round(noise[:, 8] + 1), 0, 2),
    ]
    table = np.column_stack(columns).astype(np.float32)
    table[rng.random(table.shape) < rng.choice([0, 0.1, 0.6], 9)] = np.nan
    return table, segment


def names_of(table, segment, features=FEATURES, texts=TEXTS, kept=None):
    ids, rows = np.unique(segment, return_counts=True)
    found = tuple(Segment(int(i), "", n / len(segment)) for i, n in zip(ids, rows, strict=True))
    schema = schema_of(*features)
    who = Profiled(table, segment, np.arange(len(segment)))
    effects = segment_effects(schema.model_features, texts, who, found)
    alike = alike_effects(schema.model_features, texts, who, effects)
    return named(found, effects, kept or {}, (), alike)


@settings(max_examples=40)
@given(st.integers(0, 10**9))
def test_a_name_is_true_of_most_of_its_users(seed):
    table, segment = users(seed)
    names = names_of(table, segment)
    assert len({name.text for name in names.values()}) == len(names)
    columns = {feature["name"]: n for n, feature in enumerate(FEATURES)}
    for number_, name in names.items():
        for reason in name.reasons:
            column = table[:, columns[reason["feature"]]].astype(np.float64)
            inside, known = (x[~np.isnan(x)] for x in (column[segment == number_], column))
            assert len(inside) >= (segment == number_).sum() / 2
            if reason["feature"] in ("marital", "TechSupport"):
                code = TEXTS[reason["feature"]].index(reason["value"])
                assert (inside == code).mean() > max(0.5, (known == code).mean())
                continue
            sign = 1 if reason["side"] == "high" else -1
            typical, average = (
                sign * float(np.quantile(x, 0.5, method="lower")) for x in (inside, known)
            )
            if typical == average:
                assert (sign * inside >= average).mean() > (sign * known >= average).mean()
            else:
                assert typical > average
            if reason["value"] and reason["feature"] not in TEXTS:
                said = sign * float(reason["value"])
                assert abs(said - typical) <= abs(typical - average) / 10 + 1e-5


def test_who_they_are_comes_before_how_much_they_have():
    rng = np.random.default_rng(1)
    segment = np.repeat([1, 2, 3], [300, 200, 100])
    age = np.array([0, 45, 26, 70])[segment] + rng.normal(0, 2, 600)
    marital = np.where(rng.random(600) < 0.9, np.array([0, 0, 1, 2])[segment], 1)
    table = np.column_stack([age, marital]).astype(np.float32)
    names = names_of(table, segment, [FEATURES[0], FEATURES[6]])
    assert [names[n].text for n in (2, 3)] == [
        "Never-married, age around 26",
        "Divorced, age around 70",
    ]


def test_two_names_do_not_say_the_same_with_other_numbers():
    rng = np.random.default_rng(2)
    segment = np.repeat([1, 2, 3], [300, 200, 100])
    age = np.array([0, 30, 60, 62])[segment] + rng.normal(0, 1, 600)
    tenure = np.array([0, 5, 4, 9])[segment] + rng.normal(0, 1, 600)
    table = np.column_stack([age, tenure]).astype(np.float32)
    names = names_of(table, segment, [number("age"), number("tenure")])
    claims = [frozenset(r["feature"] for r in names[n].reasons) for n in (2, 3)]
    assert claims[0] != claims[1]


def test_columns_that_say_the_same_are_not_named_together():
    rng = np.random.default_rng(3)
    segment = np.repeat([1, 2], [300, 300])
    minutes = np.array([0, 100, 300])[segment] + rng.normal(0, 50, 600)
    table = np.column_stack([minutes, minutes / 7 + rng.normal(0, 1, 600)]).astype(np.float32)
    names = names_of(table, segment, [number("minutes"), number("charge")])
    assert [len(name.reasons) for name in names.values()] == [1, 1]


def test_a_stated_number_is_kept_until_it_moves():
    rng = np.random.default_rng(4)
    segment = np.repeat([1, 2], [400, 200])
    old = Name("Age around 26", [{"feature": "age", "value": "26", "side": "low"}])
    for age, kept in ((27, True), (35, False)):
        column = np.array([0, 45, age])[segment] + rng.normal(0, 2, 600)
        names = names_of(column[:, None].astype(np.float32), segment, FEATURES[:1], kept={2: old})
        assert (names[2] == old) is kept
        assert names[2].text != "Age around 26" or kept


def test_a_name_is_short_if_it_can_be():
    rng = np.random.default_rng(5)
    long = [number(f"a_rather_long_name_of_column_{n}") for n in "xyz"]
    segment = np.repeat([1, 2], [300, 300])
    table = (segment[:, None] + rng.normal(0, 0.3, (600, 4))).astype(np.float32)
    names = names_of(table, segment, [*long, number("age")])
    assert all(len(name.text) <= LONGEST for name in names.values())


def effect_of(feature, effect=0.3, **more):
    schema = schema_of(feature)
    found = {"mean": 1.0, "overall": 0.5, "known": 1.0, "agreeing": 0.9, "lump": 0.0, **more}
    return FeatureEffect(schema.model_features[0], effect, **found)


@pytest.mark.parametrize(
    ("feature", "figures", "words"),
    [
        (number("TotalCharges"), {"typical": 5_381.0, "average": 1_400.0}, "total charges around 5,400"),
        (number("arrival_year"), {"typical": 2018.0, "average": 2017.0, "lump": 0.7}, "arrival year 2018"),
        (number("capital_gain"), {"effect": -0.1, "lump": 0.9}, "no capital gain"),
        (number("no_of_children"), {"effect": -0.1, "lump": 0.9}, "no children"),
        (number("NumOfProducts"), {"typical": 2.0, "average": 1.0, "lump": 0.8}, "2 products"),
        (number("no_of_children"), {"typical": 1.0, "lump": 0.8}, "no of children 1"),
        (number("Recency (months)"), {"typical": 14.0, "average": 7.0}, "recency around 14 months"),
        (number("x", label="Credit limit", unit="TWD"), {"typical": 93_420.0, "average": 2e5},
         "credit limit around 93,000 TWD"),
        (number("x", label="Share of mails opened", unit="share"), {"typical": 0.5, "average": 0.1},
         "mails opened around 50 %"),
        (number("x", label="Orders in the last 90 days", unit="orders"), {"typical": 12.0},
         "around 12 orders in the last 90 days"),
        (number("x", label="Spend in the last 90 days", unit="USD"), {"typical": 120.0},
         "spend around 120 USD in the last 90 days"),
        (number("HOURS_PER_WEEK"), {"effect": -0.2, "typical": 40.0, "average": 40.0, "lump": 0.4},
         "hours per week at most 40"),
        (number("price_idx"), {"typical": float(np.float32(93.994)), "average": 93.2, "lump": 0.9},
         "price idx 93.994"),
        (number("IsActiveMember"), {"effect": -0.2, "flag": True}, "not active member"),
        (number("HasCrCard"), {"effect": 0.2, "flag": True}, "cr card"),
        (category("TechSupport"), {"value": "No", "lump": 0.7}, "mostly no tech support"),
        (category("TechSupport"), {"value": "Yes", "lump": 0.9}, "tech support"),
        (category("salary"), {"value": "low", "lump": 0.9}, "low salary"),
        (category("CREDIT_HISTORY"), {"value": "A32", "lump": 0.9}, "credit history A32"),
        (category("city"), {"value": "city_21", "lump": 0.9}, "city 21"),
        (category("device"), {"value": "ios_app", "lump": 0.9}, "ios app"),
        (category("outcome"), {"value": "failure", "lump": 0.9}, "outcome failure"),
        (category("tier", ordered=True, values=["a", "b", "c"]), {"value": "b", "lump": 0.4},
         "tier b or higher"),
    ],
)  # fmt: skip
def test_traits_read_as_people_say_them(feature, figures, words):
    assert trait(effect_of(feature, **figures)) == words


def test_a_value_of_several_columns_keeps_the_label():
    effect = effect_of(category("backup"), value="No internet", lump=0.9)
    assert trait(effect) == "No internet"
    assert trait(effect, frozenset({"no internet"})) == "backup No internet"


@pytest.mark.parametrize(
    ("feature", "figures", "words"),
    [
        (number("age"), {"typical": 26.0, "average": 37.0}, "age 26 (all users 37)"),
        (number("gain"), {"effect": -0.1, "lump": 0.98, "agreeing": 0.98}, "no gain for nearly all"),
        (number("HasCrCard"), {"effect": -0.2, "flag": True, "mean": 0.01}, "no cr card for nearly all"),
        (category("TechSupport"), {"value": "No", "mean": 0.75}, "no tech support for 3 in 4"),
        (category("city"), {"value": "rome", "mean": 0.5}, "city rome for 1 in 2"),
        (category("tier", ordered=True, values=["a", "b"]), {"value": "b"}, "tier typically b"),
    ],
)  # fmt: skip
def test_figures_stand_beside_those_of_all_users(feature, figures, words):
    assert figure(effect_of(feature, **figures)) == words


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("numberOfTimes90DaysLate", "number of times 90 days late"),
        ("StreamingTV", "streaming TV"),
        ("Total_Ct_Chng_Q4_Q1", "total ct chng Q4 Q1"),
        ("emp.var.rate", "emp.var.rate"),
        ("A10", "A10"),
        ("Call  Failure", "call failure"),
    ],
)
def test_labels_are_made_of_the_words_in_names(name, words):
    assert spoken_label(effect_of(number(name))) == words
