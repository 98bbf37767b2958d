import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.rows.bloom_filter import HASH_BITS, HASHES_A_WORD, SLICE_HASHES, BloomFilter


def random_hashes(rows, seed):
    return np.random.default_rng(seed).integers(0, 1 << HASH_BITS, rows, dtype=np.uint64)


@given(st.lists(st.integers(0, (1 << HASH_BITS) - 1)), st.integers(0, 100))
def test_what_was_added_is_never_denied(hashes, room):
    kept = BloomFilter(room)
    kept.add(np.array(hashes, np.uint64))
    assert kept.may_have(np.array(hashes, np.uint64)).all()


@pytest.mark.parametrize("rows", [1_000, SLICE_HASHES, 5 * SLICE_HASHES])
def test_of_those_that_never_came_one_in_a_hundred_passes_a_full_filter(rows):
    kept = BloomFilter(rows)
    kept.add(random_hashes(kept.room, 1))
    assert kept.may_have(random_hashes(20_000, 2)).mean() < 0.013


def test_the_marks_of_a_large_filter_do_not_follow_from_the_word():
    """So many words need most bits of a hash; a part of them is filled, the memory of the rest untouched."""
    parts = 8
    kept = BloomFilter(1 << 28)
    kept.add(random_hashes(kept.room >> parts, 3) >> np.uint64(parts))
    assert kept.may_have(random_hashes(20_000, 4) >> np.uint64(parts)).mean() < 0.013


@pytest.mark.parametrize("room", [0, 1, HASHES_A_WORD, HASHES_A_WORD + 1, 1_000, 1 << 20])
def test_there_is_room_for_what_was_asked_and_at_most_twice_that(room):
    found = BloomFilter(room).room
    assert room <= found <= max(2 * (room - 1), HASHES_A_WORD)


def test_an_empty_filter_denies_all():
    assert not BloomFilter(10).may_have(random_hashes(1_000, 1)).any()
