"""Columns of types that cannot be opened, or that other writers use: part of B."""

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import polars as pl
import pytest

from tests.faults.inputs import SESSIONS, case, outcome, write_arrow
from tests.helpers import write_table

CASES = {
    "B20": "a column that is not needed, of a type that cannot be opened: left out with a warning",
    "B21": "a needed column of a type that cannot be opened: 65 naming the column and its type",
    "B22": "Float16, whole decimals as ids, dates and numbers in dictionaries, text as plain bytes: cast",
}

pa = pytest.importorskip("pyarrow")


HALF_HOUR = pa.timestamp("us", "+05:30")
UNKNOWN = {
    "zone": pa.array([datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=5)))] * 30, HALF_HOUR),
    "no-zone": pa.array([1] * 30, pa.timestamp("ns", "Mars/Base")),
    "interval": pa.array([(1, 2, 3)] * 30, pa.month_day_nano_interval()),
    "decimal": pa.array([Decimal(7)] * 30, pa.decimal256(60, 2)),
    "list-view": pa.array([[1, 2]] * 30, pa.list_view(pa.int32())),
    "run-ends": pa.RunEndEncodedArray.from_arrays(
        pa.array([9, 30], pa.int32()), pa.array(["a", "b"])
    ),
    "union": pa.UnionArray.from_dense(
        pa.array([0] * 30, pa.int8()), pa.array(range(30), pa.int32()), [pa.array(range(30))]
    ),
    "nested": pa.array([{"a": 1}] * 30, pa.struct({"a": HALF_HOUR})),
    "views": pa.array(["of a text that is longer than a view"] * 30, pa.string_view()),
    "dictionary": pa.array(["a", "b"] * 15).dictionary_encode(),
}


@pytest.mark.parametrize("kind", [case(f"B20-{kind}", kind) for kind in UNKNOWN])
@pytest.mark.parametrize("ending", [".parquet", ".arrow", ".arrows"])
def test_a_column_that_nobody_needs_may_be_of_any_type(few, expected, tmp_path, kind, ending):
    column, table = UNKNOWN[kind], few.to_arrow()
    table = table.append_column("last", column).add_column(0, "first", column)
    table = table.append_column("text", pa.array(["x"] * 30).dictionary_encode())
    try:
        path = write_arrow(table.add_column(9, "more", column), tmp_path / f"u{ending}")
    except pa.ArrowNotImplementedError:
        pytest.skip("Arrow cannot write it")
    assert outcome(path).scores.equals(expected)


def test_an_interval_of_parquet_is_left_out_b20(few, tmp_path, caplog):
    duckdb = pytest.importorskip("duckdb")
    few.write_parquet(tmp_path / "sound.parquet")
    path = tmp_path / "u.parquet"
    duckdb.sql(
        f"COPY (SELECT INTERVAL 3 DAY AS iv, * FROM '{tmp_path / 'sound.parquet'}') TO '{path}'"
    )
    found = outcome(path)
    assert (found.code, found.scores.height) == (0, few.height)
    assert "'iv' (INTERVAL)" in caplog.text


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        case("B21-run-ends", "run-ends", "country", "'country' .* found run-end encoded"),
        case("B21-interval", "interval", SESSIONS, f"'{SESSIONS}' .* found an interval"),
        case("B21-decimal", "decimal", SESSIONS, f"'{SESSIONS}' .* found "),
        case("B21-zone", "zone", "snapshot_date", "'snapshot_date' .* found time zone \\+05:30"),
    ],
)
def test_a_needed_column_of_an_unknown_type_is_named(few, tmp_path, kind, name, words):
    table = few.to_arrow()
    place = table.schema.get_field_index(name)
    path = write_arrow(table.set_column(place, name, UNKNOWN[kind]), tmp_path / "u.arrow")
    found = outcome(path)
    assert (found.code, "damaged" in found.message) == (65, False)
    assert pl.Series([found.message]).str.contains(words).item(), found.message


SAME = [
    case(
        "B22-dates",
        lambda u: u.with_columns(pl.col("snapshot_date").cast(pl.String).cast(pl.Categorical)),
    ),
    case(
        "B22-enum",
        lambda u: u.with_columns(
            pl.col("snapshot_date").cast(pl.String).cast(pl.Enum(["2026-11-22"]))
        ),
    ),
    case(
        "B22-numbers",
        lambda u: u.with_columns(pl.col(SESSIONS).cast(pl.String).cast(pl.Categorical)),
    ),
    case(
        "B22-bytes",
        lambda u: u.with_columns(pl.col("user_id", "country", "age_band").cast(pl.Binary)),
    ),
    case("B22-decimal", lambda u: u.with_columns(pl.col(SESSIONS).cast(pl.Decimal(38, 4)))),
]


@pytest.mark.parametrize("change", SAME)
@pytest.mark.parametrize("ending", [".parquet", ".arrow"])
def test_types_of_other_writers_are_cast(few, expected, tmp_path, change, ending):
    assert outcome(write_table(change(few), tmp_path / f"u{ending}")).scores.equals(expected)


@pytest.mark.parametrize("ending", [".parquet", ".arrow", ".csv", ".ndjson"])
def test_whole_decimals_are_ids_b22(few, tmp_path, ending):
    ids = pl.Series("user_id", [*range(28), 28, 28]).cast(pl.Decimal(38, 0))
    found = outcome(write_table(few.with_columns(ids), tmp_path / f"u{ending}"))
    assert found.scores["user_id"].cast(pl.String).to_list() == [str(n) for n in range(29)]
    assert found.rejected["reasons"].to_list() == ["user_id|duplicate"]


def test_half_floats_are_numbers_b22(few, scorer, tmp_path):
    half = few.with_columns(pl.col("bounce_rate").cast(pl.Float16))
    found = outcome(write_table(half, tmp_path / "u.parquet"))
    assert found.scores.equals(
        scorer.score(half.with_columns(pl.col("bounce_rate").cast(pl.Float32)))
    )


@pytest.mark.parametrize(
    ("column", "words"),
    [
        case(
            "B22-fraction",
            pl.Series("user_id", [1.5] * 30).cast(pl.Decimal(9, 1)),
            "a whole number",
        ),
        case("B22-not-text", pl.Series("user_id", [b"\xff\xfe"] * 30), "not UTF-8 text"),
        case(
            "B22-midnight",
            pl.Series("snapshot_date", [date(2026, 11, 22)] * 30).cast(pl.Datetime),
            "without a time",
        ),
        case("B22-time", pl.Series(SESSIONS, [timedelta(1)] * 30), "expected a number"),
    ],
)
def test_types_that_would_lose_something_are_refused_in_words(few, tmp_path, column, words):
    found = outcome(write_table(few.with_columns(column), tmp_path / "u.parquet"))
    assert found.code == 65
    assert words in found.message


@pytest.mark.parametrize("ending", [".arrow", ".arrows"])
@pytest.mark.parametrize("kind", [pa.string_view(), pa.binary_view()])
@pytest.mark.parametrize("order", [1, -1])
def test_views_of_long_texts_stand_beside_what_is_left_out_b20(
    few, expected, tmp_path, ending, kind, order
):
    long = pa.array([f"a text of more than twelve bytes {n}" for n in range(few.height)], kind)
    views = pa.StructArray.from_arrays([long, long], ["first", "second"])
    intervals = pa.array([pa.MonthDayNano([1, 2, 3])] * few.height)
    columns = {"long": long, "unread": intervals, "views": views, "short": pa.nulls(30, kind)}
    table = few.to_arrow()
    for name, column in [*columns.items()][::order]:
        table = table.add_column(1, name, column)
    assert outcome(write_arrow(table, tmp_path / f"u{ending}")).scores.equals(expected)
