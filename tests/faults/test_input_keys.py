"""Keys that are missing, odd or come twice: faults.md, part D."""

import json

import numpy as np
import polars as pl
import pytest

from tests.faults.inputs import SESSIONS, case, outcome
from tests.helpers import write_table

CASES = {
    "D01": "a duplicate key, equal rows: the first is scored, the rest are quarantined",
    "D02": "a duplicate key, different rows: the same",
    "D03": "a missing id: quarantined",
    "D04": "the id 00123: stays text",
    "D05": "an id above 2^53: unchanged",
    "D06": "ids that differ only in case or spaces: distinct",
    "D07": "a duplicate key in another file or chunk: found",
    "D08": "scored and quarantined rows together are the input: checked by position and id",
    "D09": "the order of the input: kept",
    "D10": "ids and categories with formulas, scripts or marks: pass through; an apostrophe with --csv-for-spreadsheets",
    "D11": "email addresses as ids: never in a message, summary or metric",
    "D12": "a user twice with different data: quarantined on the same date, scored on another",
}

ODD_IDS = [
    case("A24", "a\0b"),
    case("C18", "x" * 1_000_000),
    case("C19", "\u202eעברית 🛒\t\x1b[31m"),
    case("A25", 'two\nlines, "quoted"'),
    case("D04", "00123"),
    case("D05", "9007199254740993"),
    case("D11", "someone@example.com"),
]


@pytest.mark.parametrize("odd", ODD_IDS)
@pytest.mark.parametrize("ending", [".csv", ".parquet", ".ndjson"])
def test_an_odd_id_passes_through_untouched_and_is_in_no_message(few, tmp_path, odd, ending):
    ids = few["user_id"].clone()
    ids[0] = odd
    path = write_table(few.with_columns(user_id=ids), tmp_path / f"u{ending}")
    found = outcome(path)
    assert found.scores["user_id"].to_list() == ids.to_list()
    assert odd not in json.dumps(found.summary, ensure_ascii=False)


def test_an_id_above_2_to_53_stays_itself_in_ndjson_d05(few, tmp_path):
    ids = pl.Series([2**53 + 1 + n for n in range(few.height)])
    path = write_table(few.with_columns(user_id=ids), tmp_path / "u.ndjson")
    assert outcome(path).scores["user_id"].to_list() == [str(n) for n in ids]


DUPLICATES = [
    case("D01", lambda u: u[3:5]),
    case("D02", lambda u: u[3:5].with_columns(sessions_last_7d=0, country=pl.lit("US"))),
    case("D12", lambda u: u[3:5].with_columns(age_band=pl.lit(None, pl.String))),
]


@pytest.mark.parametrize("later", DUPLICATES)
@pytest.mark.parametrize(("chunk_rows", "threads"), [(1, 1), (7, 5), (100, 2)])
@pytest.mark.parametrize("ending", [".parquet", ".csv.gz"])
def test_the_first_of_a_key_is_scored_wherever_it_comes_again_d07_c22(
    few, expected, tmp_path, later, chunk_rows, threads, ending
):
    first = write_table(pl.concat([few, later(few)]), tmp_path / f"a{ending}")
    second = write_table(later(few), tmp_path / f"b{ending}")
    found = outcome(first, second, chunk_rows=chunk_rows, threads=threads)
    assert found.scores.equals(expected)
    assert found.rejected.select("source_file", "source_row", "reasons").rows() == [
        (str(first), 31, "user_id|duplicate"),
        (str(first), 32, "user_id|duplicate"),
        (str(second), 1, "user_id|duplicate"),
        (str(second), 2, "user_id|duplicate"),
    ]


def test_a_row_set_aside_does_not_count_as_the_first_of_its_key_d02(few, expected, tmp_path):
    broken = few[:1].with_columns(sessions_last_7d=-1)
    found = outcome(write_table(pl.concat([broken, few, few[:1]]), tmp_path / "u.parquet"))
    assert found.rejected["reasons"].to_list() == [f"{SESSIONS}|below_min", "user_id|duplicate"]
    assert found.scores.equals(expected)


def test_a_user_of_two_snapshots_is_scored_twice_d12(few, tmp_path):
    later = few.with_columns(pl.col("snapshot_date").dt.offset_by("7d"))
    found = outcome(write_table(pl.concat([few, later]), tmp_path / "u.parquet"))
    assert (found.scores.height, found.rejected.height) == (60, 0)


def test_ids_that_differ_in_case_and_spaces_are_distinct_d06(few, tmp_path):
    ids = pl.Series(["Zoe", "zoe", " zoe", "ZOE", "ann", *few["user_id"][5:]])
    path = write_table(few.with_columns(user_id=ids), tmp_path / "u.csv")
    assert outcome(path).scores["user_id"].to_list() == ids.to_list()


def test_scored_and_set_aside_make_up_the_input_in_its_order_d08_d09(users, tmp_path):
    draws = np.random.default_rng(2)
    some = users[:900][draws.integers(0, 900, 1_500)].with_columns(
        sessions_last_7d=pl.Series(draws.integers(-1, 9, 1_500))
    )
    found = outcome(write_table(some, tmp_path / "u.parquet"), chunk_rows=64)
    assert found.rejected["source_row"].is_sorted()
    numbered = some["user_id"].to_frame().with_row_index("row", offset=1)
    kept = numbered.filter(~pl.col("row").is_in(found.rejected["source_row"].implode()))
    assert found.scores["user_id"].equals(kept["user_id"])
    assert found.scores["user_id"].n_unique() == found.scores.height
