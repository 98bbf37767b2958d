from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.rows import duplicates
from engine.rows.chunk import TOO_SHORT, Chunk
from engine.rows.duplicates import (
    find_repeated_keys,
    key_hashes,
    mark_duplicates,
    mark_own_duplicates,
    row_keys,
)
from tests.fitting import number, schema_of

SCHEMA = schema_of(number("x", min=0), id="user", snapshot="day")
TYPES = {"user": pl.String, "day": pl.String, "x": pl.Float64}
DAYS = [None, "2026-01-04", "2026-01-11"]


def frame_of(rows):
    return pl.DataFrame(rows, schema=TYPES, orient="row")


def chunks_of(frame, rows):
    return [Chunk(part, "f", n * rows, n * rows) for n, part in enumerate(frame.iter_slices(rows))]


def repeated_in(chunks):
    rows = sum(chunk.frame.height for chunk in chunks)
    return find_repeated_keys(
        lambda: (chunk.frame.select("user", "day") for chunk in chunks), SCHEMA, rows
    )


def marks(chunks):
    """Which rows of all chunks are duplicates."""
    found = []
    for chunk in mark_duplicates(chunks, repeated_in(chunks), SCHEMA):
        none = pl.Series([False] * chunk.frame.height, dtype=pl.Boolean)
        found += chunk.faults.get("user|duplicate", none).to_list()
    return found


def later_valid_rows(rows):
    """The same by a loop over the rows."""
    seen, found = set(), []
    for user, day, x in rows:
        valid = bool(user) and x >= 0
        found.append(valid and (user, day) in seen)
        if valid:
            seen.add((user, day))
    return found


def colliding_hashes(keys, seed):
    """All keys have one of three hashes, until the third seed."""
    return key_hashes(keys, seed) % np.uint64(3 if seed < 2 else 2**64 - 1)


ROWS = st.lists(
    st.tuples(
        st.none() | st.text(max_size=1), st.sampled_from(DAYS), st.sampled_from([1.0, 1.0, -1.0])
    ),
    max_size=30,
)


@pytest.mark.parametrize("hashes", [key_hashes, colliding_hashes])
@pytest.mark.parametrize("compared", [2, 1_000_000])
@given(ROWS, st.integers(1, 9))
def test_valid_rows_after_the_first_of_their_key_are_marked_and_no_others(
    hashes, compared, rows, chunk_rows
):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "key_hashes", hashes)
        patch.setattr(duplicates, "COMPARED_HASHES", compared)
        found = marks(chunks_of(frame_of(rows), chunk_rows))
    assert found == later_valid_rows(rows)


@given(ROWS)
def test_a_chunk_that_is_the_whole_input_is_marked_alike(rows):
    chunk = mark_own_duplicates(Chunk(frame_of(rows), "f", 0, 0), SCHEMA)
    expected = later_valid_rows(rows)
    assert chunk.faults.keys() == ({"user|duplicate"} if any(expected) else set())
    if any(expected):
        assert chunk.faults["user|duplicate"].to_list() == expected


def test_a_hash_that_different_keys_share_is_not_used(monkeypatch):
    monkeypatch.setattr(duplicates, "key_hashes", colliding_hashes)
    rows = [(user, DAYS[1], 1.0) for user in ("a", "bb", "ab", "b", "c", "bb")]
    chunks = chunks_of(frame_of(rows), 2)
    repeated = repeated_in(chunks)
    assert (len(repeated.hashes), repeated.seed) == (1, 2)
    assert marks(chunks) == [False, False, False, False, False, True]


def test_a_row_that_is_too_short_is_not_the_first_of_its_key():
    first, second = chunks_of(frame_of([("a", None, 1.0), ("b", None, 1.0)] * 2), 2)
    first = Chunk(first.frame, "f", 0, 0, faults={TOO_SHORT: pl.Series([True, False])})
    first, second = mark_duplicates([first, second], repeated_in([first, second]), SCHEMA)
    assert first.faults.keys() == {TOO_SHORT}
    assert second.faults["user|duplicate"].to_list() == [False, True]


def test_chunks_without_duplicates_pass_through_unchanged():
    chunks = chunks_of(frame_of([("a", None, 1.0), ("b", None, 1.0), ("a", DAYS[1], 1.0)]), 1)
    assert list(mark_duplicates(chunks, repeated_in(chunks), SCHEMA)) == chunks


def test_missing_ids_are_not_compared():
    chunks = chunks_of(frame_of([("", None, 1.0), (None, None, 1.0)] * 2), 3)
    assert repeated_in(chunks).hashes.tolist() == []


def test_text_and_dates_give_the_same_key():
    text = frame_of([("a", "2026-01-04", 1.0)])
    dated = text.with_columns(pl.col("day").str.to_date())
    assert marks([*chunks_of(text, 1), *chunks_of(dated, 1)]) == [False, True]


@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical])
def test_a_key_is_the_id_as_text_and_the_day(dtype):
    frame = pl.DataFrame(
        {"user": pl.Series(["a", None, "a"], dtype=dtype), "day": [date(1970, 1, 2), None, None]}
    )
    assert row_keys(frame, SCHEMA).rows() == [
        ("a", 1),
        (None, duplicates.NO_DAY),
        ("a", duplicates.NO_DAY),
    ]


def test_a_key_without_snapshot_is_the_id_alone():
    frame = pl.DataFrame({"user": [7, 8, 7], "x": [1.0, 1.0, 1.0]})
    chunk = mark_own_duplicates(Chunk(frame, "f", 0, 0), SCHEMA)
    assert chunk.faults["user|duplicate"].to_list() == [False, False, True]


def test_a_schema_without_an_id_has_no_duplicates():
    schema = schema_of(number("x"))
    chunk = Chunk(pl.DataFrame({"x": [1.0, 1.0]}), "f", 0, 0)
    assert mark_own_duplicates(chunk, schema) is chunk
