import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.metrics.disclosure import MIN_USERS, enough, merged, run_of, users_in


def rows_of(people):
    """The cell of each row and its user, so many users in each cell, no user in two."""
    return np.repeat(np.arange(len(people)), people), np.arange(sum(people))


def test_users_are_counted_once_in_a_cell():
    found = users_in(np.array([0, 0, 1, 1, 2]), np.array([3, 3, 3, 0, 1]), 4)
    assert found.tolist() == [1, 2, 1, 0]


@pytest.mark.parametrize(("people", "expected"), [(0, False), (19, False), (20, True)])
def test_twenty_users_are_enough_however_many_rows(people, expected):
    assert enough(np.repeat(np.arange(people), 3)) == expected


@pytest.mark.parametrize(
    ("people", "expected"),
    [
        ([30, 40, 50], [[0], [1], [2]]),
        ([30, 0, 50], [[0], [1], [2]]),
        ([30, 19, 50], [[0], [1, 2]]),
        ([30, 50, 19], [[0], [1, 2]]),
        ([30, 12, 12], [[0], [1, 2]]),
        ([12, 5, 30], [[0, 1, 2]]),
        ([30, 0, 5], [[0, 1, 2]]),
        ([5, 0, 30, 0], [[0, 1, 2], [3]]),
        ([7, 5], []),
        ([0, 0], [[0], [1]]),
    ],
)
def test_a_small_cell_joins_its_neighbour(people, expected):
    assert [list(run) for run in merged(*rows_of(people), len(people))] == expected


@pytest.mark.parametrize(
    ("people", "expected"),
    [
        ([30, 0, 50], [[0], [1, 2]]),
        ([0, 30, 0], [[0, 1, 2]]),
        ([30, 40, 50], [[0], [1], [2]]),
        ([0, 0], []),
        ([7, 5], []),
    ],
)
def test_an_empty_cell_may_join_its_neighbour_too(people, expected):
    runs = merged(*rows_of(people), len(people), keep_empty=False)
    assert [list(run) for run in runs] == expected


def test_the_same_few_users_in_two_cells_are_still_few():
    cell, users = np.repeat([0, 1, 2], [15, 15, 60]), np.arange(90)
    users[15:30] = users[:15]
    assert merged(cell, users, 3) == [range(3)]


@given(st.lists(st.integers(0, 60), min_size=1, max_size=10))
def test_merged_cells_hold_all_rows_and_no_run_is_of_few(people):
    cell, users = rows_of(people)
    runs = merged(cell, users, len(people))
    if 0 < sum(people) < MIN_USERS:
        assert runs == []
        return
    assert [n for run in runs for n in run] == list(range(len(people)))
    sizes = np.bincount(run_of(runs, cell), minlength=len(runs))
    assert sizes.tolist() == [sum(people[n] for n in run) for run in runs]
    assert all(size == 0 or size >= MIN_USERS for size in sizes)
