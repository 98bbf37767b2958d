from dataclasses import replace
from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bundle.schema import Feature, FeatureSchema
from engine.errors import InputError
from engine.rows.rules import check_columns, find_violations, split_rows
from engine.rows.typed import Typed, to_typed

SCHEMA = FeatureSchema(
    "shop",
    (
        Feature("orders", "numeric", min=0, max=100, missing="never"),
        Feature("spend", "numeric"),
        Feature("tier", "categorical", missing="never"),
    ),
    id="user",
)
GOOD = {"user": "a", "orders": 1.0, "spend": 2.0, "tier": "gold"}
TYPES = {"user": pl.String, "orders": pl.Float64, "spend": pl.Float64, "tier": pl.String}


def split(rows, types=TYPES):
    raw = pl.DataFrame(rows, schema=types, orient="row")
    return split_rows(raw, SCHEMA)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"user": None}, "user|missing"),
        ({"user": ""}, "user|missing"),
        ({"orders": None}, "orders|missing"),
        ({"orders": float("nan")}, "orders|missing"),
        ({"orders": -1.0}, "orders|below_min"),
        ({"orders": 101.0}, "orders|above_max"),
        ({"orders": float("inf")}, "orders|not_finite"),
        ({"spend": float("-inf")}, "spend|not_finite"),
        ({"spend": 1e39}, "spend|not_finite"),
        ({"tier": None}, "tier|missing"),
        ({"tier": ""}, "tier|missing"),
        ({"orders": -1.0, "tier": ""}, "orders|below_min;tier|missing"),
    ],
)
def test_a_wrong_row_is_rejected_with_its_reasons(wrong, reason):
    result = split([GOOD, {**GOOD, **wrong}, GOOD])
    assert result.rejected["reasons"].to_list() == [reason]
    assert result.rejected["chunk_row"].to_list() == [1]
    assert result.valid["chunk_row"].to_list() == [0, 2]
    assert result.reasons == dict.fromkeys(reason.split(";"), 1)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("1,5", "orders|not_a_number"), ("1e400", "orders|not_finite"), ("", "orders|missing")],
)
def test_wrong_text_is_rejected_with_the_raw_text(text, reason):
    result = split([{**GOOD, "orders": text, "spend": "2"}], dict.fromkeys(TYPES, pl.String))
    assert result.rejected["reasons"].to_list() == [reason]
    assert result.rejected["orders"].to_list() == [text]


@pytest.mark.parametrize("dtype", [pl.Categorical, pl.Enum(["a", ""])])
def test_an_empty_id_is_missing_in_dictionaries_too(dtype):
    result = split([GOOD, {**GOOD, "user": ""}, {**GOOD, "user": None}], {**TYPES, "user": dtype})
    assert result.reasons == {"user|missing": 2}
    assert result.valid.schema["user"] == dtype


@pytest.mark.parametrize("text", ["22.11.2026", "2026-11-31", "2026-11-22T00:00:00", "tomorrow"])
def test_a_snapshot_that_is_no_date_is_rejected_with_the_raw_text(text):
    dated = replace(SCHEMA, snapshot="day")
    days = [text, "2026-11-22", "", None]
    raw = pl.DataFrame([{**GOOD, "day": day} for day in days], schema={**TYPES, "day": pl.String})
    result = split_rows(raw, dated)
    assert result.rejected.select("day", "reasons").rows() == [(text, "day|not_a_date")]
    assert result.valid["day"].to_list() == [date(2026, 11, 22), None, None]


@pytest.mark.parametrize("zone", [None, "UTC"])
def test_a_snapshot_with_a_time_is_refused_with_the_way_out(zone):
    found = pl.Schema({**TYPES, "day": pl.Datetime("us", zone)})
    with pytest.raises(InputError, match="'day' expected a date without a time, as 2026-11-22"):
        check_columns(replace(SCHEMA, snapshot="day"), found, "here", "b")


@pytest.mark.parametrize("value", [0.0, 100.0])
def test_both_ends_of_a_range_are_allowed(value):
    assert split([{**GOOD, "orders": value}]).rejected.height == 0


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "user": st.none() | st.text(max_size=2),
            "orders": st.none() | st.floats(allow_nan=True, allow_infinity=True),
            "spend": st.none() | st.floats(allow_nan=True, allow_infinity=True),
            "tier": st.none() | st.text(max_size=2),
        }
    ),
    max_size=20,
)


@given(ROWS)
def test_every_row_is_valid_or_rejected_and_order_is_kept(rows):
    result = split(rows)
    valid, rejected = result.valid["chunk_row"].to_list(), result.rejected["chunk_row"].to_list()
    assert sorted(valid + rejected) == list(range(len(rows)))
    assert valid == sorted(valid)
    assert rejected == sorted(rejected)
    assert all(reason for reason in result.rejected["reasons"])


@given(ROWS)
def test_a_row_breaks_the_same_rules_alone_and_among_others(rows):
    """Which rules are looked at depends on the smallest and largest value of all rows."""
    typed = to_typed(pl.DataFrame(rows, schema=TYPES, orient="row"), SCHEMA)
    together = find_violations(typed, SCHEMA)
    for number in range(len(rows)):
        alone = Typed(typed.frame[number : number + 1], {})
        broken = set(find_violations(alone, SCHEMA).columns)
        assert broken == {name for name in together.columns if together[name][number]}


def test_rows_that_break_rules_from_elsewhere_are_rejected_with_the_others():
    raw = pl.DataFrame([GOOD, {**GOOD, "orders": -1.0}, GOOD], schema=TYPES, orient="row")
    result = split_rows(raw, SCHEMA, {"row|too_short": pl.Series([False, True, True])})
    assert result.rejected.select("chunk_row", "reasons").rows() == [
        (1, "row|too_short;orders|below_min"),
        (2, "row|too_short"),
    ]


def test_missing_columns_are_all_named_with_near_names():
    found = pl.Schema({"user": pl.String, "order": pl.Int64, "spend": pl.Float64})
    with pytest.raises(
        InputError,
        match=r"here: 2 missing columns: 'orders', 'tier'; b needs 4, found 2 of them\. Did you",
    ):
        check_columns(SCHEMA, found, "here", "b")


def test_wrong_types_are_all_named():
    found = pl.Schema({**TYPES, "orders": pl.Date, "tier": pl.List(pl.String), "user": pl.Float64})
    with pytest.raises(InputError, match="3 columns of the wrong type: 'user' .*'orders' .*'tier'"):
        check_columns(SCHEMA, found, "here", "b")


def test_order_of_columns_and_further_columns_do_not_matter():
    check_columns(
        SCHEMA, pl.Schema({"more": pl.Date, **dict(reversed(TYPES.items()))}), "here", "b"
    )


@pytest.mark.parametrize(
    ("mark", "dtype"),
    [
        *(("NA", dtype) for dtype in (pl.String, pl.Categorical, pl.Enum(["NA", "u1"]))),
        *(("-1", dtype) for dtype in (pl.String, pl.Int8, pl.Int64, pl.Decimal(9, 0))),
    ],
)
def test_an_id_that_means_missing_is_rejected_in_every_type(mark, dtype):
    schema = replace(SCHEMA, missing_texts=(mark,))
    known = "u1" if mark == "NA" else "5"
    ids = pl.Series("user", [known, mark]).cast(dtype)
    others = pl.DataFrame([GOOD, GOOD]).drop("user")
    found = split_rows(others.with_columns(ids), schema)
    assert found.valid["user"].cast(pl.String).to_list() == [known]
    assert (found.valid["user"].dtype, found.reasons) == (dtype, {"user|missing": 1})
