"""Columns that are missing, of another type or in another form: faults.md, part B."""

import polars as pl
import pytest

from engine.errors import InputError
from tests.faults.inputs import SESSIONS, case, outcome, validated
from tests.helpers import write_table

CASES = {
    "B01": "a missing column: 65 suggesting similar names",
    "B02": "additional columns: ignored",
    "B03": "columns in another order: the same scores",
    "B04": "a column named twice: 65",
    "B05": "column names in another case or with spaces: 65 suggesting the right ones",
    "B06": "numbers as text: cast; quarantined if not a number",
    "B07": "decimal commas: quarantined; the likely cause is named",
    "B08": "128-bit integers: 65",
    "B09": "Float32 in one file, Float64 in another: the same scores",
    "B10": "Booleans of all kinds: true and false are 1 and 0, other words are quarantined",
    "B11": "a date in another format: quarantined; the likely cause is named",
    "B12": "a date with a time: 65; as text, quarantined",
    "B13": "different dictionaries: the same scores",
    "B14": "a nested column: 65",
    "B15": "a second file with other columns: 65 naming both",
    "B16": "a column of type Null: all values missing",
    "B17": "a column without any value: quarantined or missing; the likely cause is named",
    "B18": "cannot arise: tables have no version; columns and types are compared instead",
    "B19": "a partition in the path of a single file: adds no column",
}

WRONG_COLUMNS = [
    case(
        "B01", lambda u: u.drop("country", "age_band"), "2 missing columns: 'age_band', 'country'"
    ),
    case(
        "B05",
        lambda u: u.rename({"country": " Country ", "age_band": "Age Band", "user_id": "USER_ID"}),
        "Did you mean 'Age Band' for 'age_band', ' Country ' for 'country', "
        "'USER_ID' for 'user_id'",
    ),
    case(
        "B08",
        lambda u: u.with_columns(pl.col("sessions_last_7d").cast(pl.Int128)),
        "'sessions_last_7d' expected a number, found Int128",
    ),
    case(
        "B12",
        lambda u: u.with_columns(pl.col("snapshot_date").cast(pl.Datetime("us", "UTC"))),
        "'snapshot_date' expected a date without a time, as 2026-11-22, found Datetime",
    ),
    case(
        "B14-list",
        lambda u: u.with_columns(country=pl.concat_list("country")),
        "'country' expected a text or a whole number, found List",
    ),
    case(
        "B14-struct",
        lambda u: u.with_columns(sessions_last_7d=pl.struct("sessions_last_7d")),
        "'sessions_last_7d' expected a number, found Struct",
    ),
    case("D03-type", lambda u: u.with_columns(user_id=pl.lit(None)), "'user_id' .*found Null"),
]


@pytest.mark.parametrize(("change", "message"), WRONG_COLUMNS)
@pytest.mark.parametrize("position", [0, 1])
def test_wrong_columns_are_named_with_what_was_expected(few, tmp_path, change, message, position):
    files = [write_table(few, tmp_path / "good.parquet")]
    files.insert(position, write_table(change(few), tmp_path / "wrong.parquet"))
    with pytest.raises(InputError, match=f"wrong.parquet: .*{message}") as caught:
        validated(*files)
    # B15: where the first file is right, the message names both.
    assert ("good.parquet has the right columns" in str(caught.value)) == (position == 1)


def test_a_date_with_a_time_in_the_second_file_names_both_b12_b15(few, tmp_path):
    first = write_table(few, tmp_path / "first.parquet")
    timed = few.with_columns(pl.col("snapshot_date").cast(pl.Datetime))
    found = outcome(first, write_table(timed, tmp_path / "second.parquet"))
    assert found.code == 65
    assert all(name in found.message for name in ("first.parquet", "second.parquet", "Datetime"))


SAME_SCORES = [
    case("B02", lambda u: u.with_columns(more=pl.lit("x"))),
    case("B03", lambda u: u.select(sorted(u.columns))),
    case("B06", lambda u: u.with_columns(pl.col(pl.Float32, pl.Float64, pl.Int64).cast(pl.String))),
    case("B09", lambda u: u.with_columns(pl.col(pl.Float32).cast(pl.Float64))),
    case("B13-categorical", lambda u: u.with_columns(pl.col("country").cast(pl.Categorical))),
    case("C03", lambda u: u.with_columns(pl.col(pl.Float32).fill_null(float("nan")))),
    case("C10", lambda u: u.with_columns(pl.col("country", "age_band").fill_null(""))),
]


@pytest.mark.parametrize("change", SAME_SCORES)
def test_another_form_of_the_same_users_gives_the_same_scores(few, expected, tmp_path, change):
    assert outcome(write_table(change(few), tmp_path / "u.parquet")).scores.equals(expected)


def test_forms_that_differ_between_files_give_the_same_scores_b09_b13(few, expected, tmp_path):
    first = few[:10].with_columns(pl.col("country").cast(pl.Categorical))
    second = few[10:20].with_columns(
        pl.col(pl.Float32).cast(pl.Float64),
        pl.col("country").cast(pl.Enum(few["country"].drop_nulls().unique().sort(descending=True))),
    )
    files = [
        write_table(frame, tmp_path / f"{n}.parquet")
        for n, frame in enumerate((first, second, few[20:]))
    ]
    assert outcome(*files).scores.equals(expected)


def test_a_path_that_looks_like_a_partition_adds_no_column_b19(few, expected, tmp_path):
    folder = tmp_path / "country=Atlantis"
    folder.mkdir()
    assert outcome(write_table(few, folder / "u.parquet")).scores.equals(expected)


BOOLEANS = [
    case("B10-bool", pl.Series([True, False]), [1.0, 0.0]),
    case("B10-text", pl.Series(["true", "FALSE"]), [1.0, 0.0]),
    case("B10-number", pl.Series([1, 0]), [1.0, 0.0]),
]


@pytest.mark.parametrize(("column", "numbers"), BOOLEANS)
def test_booleans_are_one_and_zero(few, scorer, tmp_path, column, numbers):
    found = outcome(
        write_table(few[:2].with_columns(sessions_last_7d=column), tmp_path / "u.parquet")
    )
    assert found.scores.equals(
        scorer.score(few[:2].with_columns(sessions_last_7d=pl.Series(numbers)))
    )


@pytest.mark.parametrize("column", [case("B16", "country"), case("B16-date", "snapshot_date")])
def test_a_column_of_type_null_is_a_column_without_values(few, scorer, tmp_path, column):
    dtype = few.schema[column]
    found = outcome(
        write_table(few.with_columns(pl.lit(None).alias(column)), tmp_path / "u.parquet")
    )
    assert found.scores.equals(scorer.score(few.with_columns(pl.lit(None, dtype).alias(column))))


CAUSES = [
    case("B07", {"avg_order_value": "12,5"}, "'avg_order_value' has numbers with commas"),
    case("B11", {"snapshot_date": "22.11.2026"}, "'snapshot_date' has dates in another format"),
    case("B17", {SESSIONS: None}, f"'{SESSIONS}' has no value in any of the first 30 rows"),
    case("B10", {SESSIONS: "many"}, f"'{SESSIONS}' holds text in 100% of the rows"),
    case("B17-exchanged", {SESSIONS: "DE"}, f"'{SESSIONS}' holds values of 'country'"),
    case("D01", {"user_id": "same"}, "many 'user_id' occur more than once"),
]


@pytest.mark.parametrize(("wrong", "cause"), CAUSES)
def test_too_many_wrong_rows_name_the_probable_cause(few, tmp_path, wrong, cause):
    texts = few.with_columns(pl.all().cast(pl.String))
    changed = texts.with_columns(pl.lit(v, pl.String).alias(name) for name, v in wrong.items())
    found = outcome(write_table(changed, tmp_path / "u.csv"), max_reject_share=0.01)
    assert found.code == 65
    assert f"Probable cause in {tmp_path / 'u.csv'}: {cause}" in found.message
