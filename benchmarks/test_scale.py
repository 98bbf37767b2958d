"""Time and memory do not grow with the users, but for what finds repeated keys.

A tenth of the sizes of docs/scaling.md here; all of them under `make test-slow`.
"""

import pytest

from benchmarks.scale import measured

MOST_TIME = 1.10
"""What a user may cost among ten times as many users, as a share of before."""

KEY_BYTES = 16
MEMORY_BYTES = 2**30
NOISE_BYTES = 48 * 2**20
"""By so much the peaks of equal runs differ: allocators keep what threads once needed."""


@pytest.mark.parametrize(
    ("few", "many"),
    [
        (240_000, 2_400_000),
        pytest.param(2_400_000, 24_000_000, marks=pytest.mark.slow),
    ],
)
def test_a_user_costs_no_more_among_ten_times_as_many(folder, few, many):
    before, after = measured(few, folder, rounds=3), measured(many, folder)
    assert after.wall_microseconds <= MOST_TIME * before.wall_microseconds
    assert after.peak_bytes <= before.peak_bytes + KEY_BYTES * (many - few) + NOISE_BYTES
    assert after.peak_bytes <= MEMORY_BYTES
