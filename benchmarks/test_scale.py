"""That neither the time nor the memory of a user grows with their number, with its gates.

A tenth of the sizes runs with `make bench`, all of them with `make test-slow`; both hold with room for a
noisy machine. Time is that of the processor, which other programs disturb least. The tenth is for memory:
what looking up keys costs only shows at the full size.
"""

import pytest

from benchmarks.scale import ROUNDS, SIZES, Size, measured

TENTH, FULL = SIZES[:2], SIZES[1:]
ROW_GATE_BYTES = 16
PEAK_GATE_BYTES = 2**30
FILLING_BYTES = 200_000_000
"""240,000 users are over before reader, threads and writer hold as much as they ever do; at 2.4 million
they hold up to 165 MB more than 16 bytes a user account for."""
NOISE_BYTES = 64_000_000
"""What allocators keep differs so much from run to run."""
TENTH_TIME_GATE = 0.8
"""2.4 million users share one start, 240,000 too: a user should cost 0.55 of one of those."""
TIME_GATE = 1.1


def test_memory_and_time_of_a_user_do_not_grow_at_a_tenth(folder):
    small, large = (measured(users, folder, ROUNDS[users]) for users in TENTH)
    assert growth_bytes(small, large) <= FILLING_BYTES
    assert large.cpu_microseconds <= TENTH_TIME_GATE * small.cpu_microseconds


@pytest.mark.slow
def test_memory_and_time_of_a_user_do_not_grow(folder):
    small, large = (measured(users, folder, ROUNDS.get(users, 1)) for users in FULL)
    assert large.peak_bytes < PEAK_GATE_BYTES
    assert growth_bytes(small, large) <= NOISE_BYTES
    assert large.cpu_microseconds <= TIME_GATE * small.cpu_microseconds


def growth_bytes(small: Size, large: Size) -> int:
    """By how much more the peak grows than each user more may add."""
    allowed = ROW_GATE_BYTES * (large.users - small.users)
    return large.peak_bytes - small.peak_bytes - allowed
