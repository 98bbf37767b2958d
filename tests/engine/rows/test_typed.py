import numpy as np
import polars as pl
import pytest

from engine.bundle.schema import Feature, FeatureSchema
from engine.rows.typed import to_features, to_typed, unseen_counts

SCHEMA = FeatureSchema(
    "shop",
    (Feature("spend", "numeric"), Feature("tier", "categorical", values=("gold", "none"))),
    id="user",
)
CODES = {"tier": ("none", "gold")}


def tensor(**columns):
    frame = pl.DataFrame({"user": ["a"] * len(columns["spend"]), **columns})
    return to_features(to_typed(frame, SCHEMA).frame, SCHEMA.model_features, CODES)


def test_codes_follow_the_category_table():
    assert tensor(spend=[1.5, 2.5], tier=["gold", "none"]).tolist() == [[1.5, 1.0], [2.5, 0.0]]


@pytest.mark.parametrize("missing", [None, ""])
def test_missing_categories_become_nan(missing):
    assert np.isnan(tensor(spend=[1.0], tier=[missing])[0, 1])


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_missing_numbers_become_nan(missing):
    column = pl.Series([missing], dtype=pl.Float64)
    assert np.isnan(tensor(spend=column, tier=["gold"])[0, 0])


@pytest.mark.parametrize("text", ["", "nan", "NaN", None])
def test_missing_text_is_missing_and_no_mistake(text):
    frame = pl.DataFrame(
        {"user": ["a"], "spend": [text], "tier": ["gold"]}, schema_overrides={"spend": pl.String}
    )
    typed = to_typed(frame, SCHEMA)
    assert typed.frame["spend"].to_list() == [None]
    assert not typed.faults


def test_text_that_is_not_a_number_is_a_fault():
    frame = pl.DataFrame({"user": ["a", "b"], "spend": ["1,5", "1.5"], "tier": ["gold"] * 2})
    assert to_typed(frame, SCHEMA).faults["spend|not_a_number"].to_list() == [True, False]


@pytest.mark.parametrize("value", [True, "TRUE", "true", 1, 1.0, "1"])
def test_booleans_are_read_as_one(value):
    assert tensor(spend=[value], tier=["gold"])[0, 0] == 1.0


def test_whole_numbers_are_categories_by_their_decimal_text():
    schema = FeatureSchema("shop", (Feature("store", "categorical", values=("7", "10")),))
    typed = to_typed(pl.DataFrame({"store": [10, 7, 8]}), schema).frame
    codes = to_features(typed, schema.model_features, {"store": ("7", "10")})
    assert codes[:2, 0].tolist() == [1.0, 0.0]
    assert np.isnan(codes[2, 0])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((), ["1", "0", None]),
        (("0", "1"), ["1", "0", None]),
        (("true", "false"), ["true", "false", None]),
        (("FALSE", "TRUE"), ["TRUE", "FALSE", None]),
    ],
)
@pytest.mark.parametrize(
    "column",
    [
        [True, False, None],
        ["true", "false", ""],
        ["TRUE", "FALSE", None],
        ["True", "False", None],
        pl.Series(["true", "false", None], dtype=pl.Categorical),
    ],
)
def test_booleans_are_the_same_categories_in_every_format(column, values, expected):
    schema = FeatureSchema("shop", (Feature("member", "categorical", values=values),))
    typed = to_typed(pl.DataFrame({"member": column}), schema).frame
    assert typed["member"].to_list() == expected


def test_words_among_other_categories_are_compared_exactly():
    schema = FeatureSchema("shop", (Feature("tier", "categorical", values=("gold", "true")),))
    typed = to_typed(pl.DataFrame({"tier": ["gold", "true", "GOLD"]}), schema).frame
    assert typed["tier"].to_list() == ["gold", "true", "GOLD"]


def test_unseen_values_are_counted_apart_from_missing_ones():
    frame = pl.DataFrame({"user": ["a"] * 3, "spend": [1.0] * 3, "tier": ["GOLD", None, "gold"]})
    typed = to_typed(frame, SCHEMA).frame
    features = to_features(typed, SCHEMA.model_features, CODES)
    assert unseen_counts(typed, features, SCHEMA.model_features) == {"tier": 1}


def test_tensor_is_float32_and_row_by_row():
    features = tensor(spend=[2**24 + 1, 3], tier=["gold", "gold"])
    assert features.dtype == np.float32
    assert features.flags.c_contiguous
    assert features[0, 0] == np.float32(2**24)


def test_text_and_numbers_give_the_same_float32():
    numbers = [0.1, 1e-40, 16777217.0, 3.4e38]
    from_numbers = tensor(spend=numbers, tier=["gold"] * 4)
    from_text = tensor(spend=[repr(n) for n in numbers], tier=["gold"] * 4)
    assert from_numbers.tobytes() == from_text.tobytes()


def test_no_rows_give_an_empty_tensor():
    schema = {"user": pl.String, "spend": pl.Float64, "tier": pl.String}
    typed = to_typed(pl.DataFrame(schema=schema), SCHEMA).frame
    assert to_features(typed, SCHEMA.model_features, CODES).shape == (0, 2)


def typed_texts(texts, schema=SCHEMA, column="spend"):
    frame = pl.DataFrame({"user": "a", "spend": "1", "tier": "gold"}).select(
        *(pl.col(name) for name in ("user", "spend", "tier"))
    )
    frame = pl.concat([frame] * len(texts)).with_columns(pl.Series(column, texts, pl.String))
    return to_typed(frame, schema)


@pytest.mark.parametrize("blank", [" ", "   ", "\t", " \r\n"])
@pytest.mark.parametrize("column", ["spend", "tier"])
def test_white_space_alone_is_missing_and_no_mistake(blank, column):
    typed = typed_texts(["2" if column == "spend" else "gold", blank, None], column=column)
    assert typed.frame[column].null_count() == 2
    assert not typed.faults


def test_white_space_around_a_number_is_passed_over():
    typed = typed_texts([" 1.5", "2\t", " x ", "TRUE "])
    assert typed.frame["spend"].to_list() == [1.5, 2.0, None, 1.0]
    assert typed.faults["spend|not_a_number"].to_list() == [False, False, True, False]


def test_white_space_in_a_category_belongs_to_it():
    assert typed_texts([" gold", "gold "], column="tier").frame["tier"].to_list() == [
        " gold",
        "gold ",
    ]


MARKED = FeatureSchema(
    "shop",
    (
        Feature("spend", "numeric", missing_texts=("-999",)),
        Feature("tier", "categorical", values=("gold", "none")),
    ),
    id="user",
    snapshot="day",
    missing_texts=("NULL", "NA"),
)


def test_declared_texts_are_missing_in_every_column():
    frame = pl.DataFrame(
        {
            "user": ["a", "NULL", "c", "d"],
            "day": ["2026-11-22", "2026-11-22", "NA", "2026-11-22"],
            "spend": ["NULL", "1", "-999.0", "n/a"],
            "tier": ["NA", "gold", "-999", "none"],
        }
    )
    typed = to_typed(frame, MARKED)
    assert typed.frame["user"].to_list() == ["a", None, "c", "d"]
    assert typed.frame["day"].null_count() == 1
    assert typed.frame["spend"].to_list() == [None, 1.0, None, None]
    assert typed.frame["tier"].to_list() == [None, "gold", "-999", "none"]
    assert {rule: rows.to_list() for rule, rows in typed.faults.items()} == {
        "spend|not_a_number": [False, False, False, True]
    }


@pytest.mark.parametrize("dtype", [pl.Int16, pl.Float64, pl.Decimal(9, 2), pl.Float32])
def test_a_declared_number_is_missing_in_every_type(dtype):
    frame = pl.DataFrame(
        {"user": ["a", "b"], "tier": "gold", "spend": pl.Series([-999, 5]).cast(dtype)}
    )
    assert to_typed(frame, MARKED).frame["spend"].to_list() == [None, 5.0]
