from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import CannotCreateError, StorageError
from engine.rows import duplicates
from engine.rows.duplicates import SeenKeys, repeated_within, row_keys
from tests.fitting import number, schema_of

DAY = schema_of(number("x"), id="user", snapshot="day")


def keys_of(*pairs):
    return pl.DataFrame(pairs, schema={"id": pl.String, "day": pl.Int32}, orient="row")


def marks(chunks, folder=None):
    """Which rows of all chunks repeat a key."""
    with SeenKeys(folder) as seen:
        return [mark for chunk in chunks for mark in seen.repeated(chunk).to_list()]


def few_hashes(keys):
    return keys.hash_rows().to_numpy() % np.uint64(3) << duplicates.NUMBER_BITS


PAIRS = st.lists(st.tuples(st.text(min_size=1, max_size=2), st.integers(-1, 1)), max_size=30)


@pytest.mark.parametrize("hashes", [duplicates.key_hashes, few_hashes])
@pytest.mark.parametrize(
    ("merged_rows", "block_rows"), [(1, 4), (1, 1 << 24), (8, 8), (1 << 19, 1 << 24)]
)
@given(PAIRS, st.integers(1, 9))
def test_every_later_row_of_a_key_is_marked_and_no_other(
    hashes, merged_rows, block_rows, pairs, rows
):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "key_hashes", hashes)
        patch.setattr(duplicates, "MERGED_ROWS", merged_rows)
        patch.setattr(duplicates, "BLOCK_ROWS", block_rows)
        keys = keys_of(*pairs)
        found = marks(keys[start : start + rows] for start in range(0, len(keys), rows))
    assert found == [pair in pairs[:n] for n, pair in enumerate(pairs)]
    assert found == repeated_within(keys).to_list()


def test_different_keys_of_one_hash_are_both_kept(monkeypatch):
    monkeypatch.setattr(duplicates, "key_hashes", lambda keys: np.zeros(len(keys), np.uint64))
    chunks = [keys_of(("a", 1), ("bb", 1)), keys_of(("ab", 1), ("b", 1)), keys_of(("bb", 1))]
    assert marks(chunks) == [False, False, False, False, True]


def test_of_no_keys_none_is_marked():
    assert marks([keys_of(), keys_of(("a", 1)), keys_of()]) == [False]


def test_blocks_are_few_and_hold_eight_bytes_a_key_and_the_filter_four_at_most():
    with SeenKeys() as seen:
        for start in range(0, 3_000_000, 100_000):
            ids = pl.int_range(start, start + 100_000, eager=True).cast(pl.String)
            seen.repeated(
                pl.DataFrame({"id": ids, "day": pl.Series([1] * 100_000, dtype=pl.Int32)})
            )
        assert len(seen._blocks) < 10
        assert sum(block.nbytes for block in seen._blocks) == 8 * 3_000_000
        assert seen._filter.room * 16 / 8 <= 4 * 3_000_000


def test_chunks_have_their_turns_in_the_order_of_the_input():
    chunks = [keys_of(("a", n % 7), ("b", n)) for n in range(50)]

    def check(number):
        with seen.turn(2 * number, 2) as repeated:
            return repeated(chunks[number]).to_list()

    with SeenKeys() as seen, ThreadPoolExecutor(4) as pool:
        found = list(pool.map(check, range(50)))
    assert found == [[n >= 7, False] for n in range(50)]


def test_a_chunk_that_fails_keeps_no_other_waiting():
    def check(number):
        with seen.turn(number, 1) as repeated:
            if number == 1:
                raise ZeroDivisionError
            return repeated(keys_of(("a", 1))).to_list()

    with SeenKeys() as seen, ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(check, number) for number in range(4)]
        assert [future.exception() is None for future in futures] == [True, False, True, True]
        assert [futures[n].result() for n in (0, 2, 3)] == [[False], [True], [True]]


def test_nothing_of_the_keys_is_left_in_the_folder(tmp_path):
    with SeenKeys(tmp_path) as seen:
        seen.repeated(keys_of(("someone", 1)))
        assert not list(tmp_path.iterdir())


def test_a_folder_that_takes_no_file_is_named(tmp_path):
    with pytest.raises(CannotCreateError, match="absent"), SeenKeys(tmp_path / "absent"):
        pass


def test_a_full_disk_is_told(tmp_path):
    with SeenKeys(tmp_path) as seen, Path("/dev/full").open("wb", buffering=0) as full:
        seen._ids = full
        with pytest.raises(StorageError, match="No space left"):
            seen.repeated(keys_of(("a", 1)))


@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical])
def test_a_key_is_the_id_as_text_and_the_day(dtype):
    typed = pl.DataFrame(
        {"user": pl.Series(["a", "a", "a"], dtype=dtype), "day": [date(1970, 1, 2), None, None]}
    )
    keys = row_keys(typed, DAY)
    assert keys.rows() == [("a", 1), ("a", duplicates.NO_DAY), ("a", duplicates.NO_DAY)]
    assert repeated_within(keys).to_list() == [False, False, True]


def test_a_key_without_snapshot_is_the_id_alone():
    keys = row_keys(pl.DataFrame({"user": [7, 8, 7]}), DAY)
    assert repeated_within(keys).to_list() == [False, False, True]
