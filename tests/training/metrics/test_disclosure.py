import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from training.metrics.disclosure import MIN_CELL, few, users_in, withheld


def pluralize(people):
    """The cell of each row and its user, so many users in each cell, no user in two."""
    flat = np.ravel(people)
    return np.repeat(np.arange(len(flat)), flat), np.arange(flat.sum())


def test_users_are_counted_once_in_a_cell():
    found = users_in(np.array([0, 0, 1, 1, 2]), np.array([3, 3, 3, 0, 1]), 4)
    assert found.tolist() == [1, 2, 1, 0]


@pytest.mark.parametrize(("people", "expected"), [(0, False), (1, True), (19, True), (20, False)])
def test_few_are_at_least_one_user(people, expected):
    assert few(np.repeat(np.arange(people), 3)) == expected


@pytest.mark.parametrize(
    ("people", "expected"),
    [
        ([30, 40, 50], []),
        ([30, 0, 50], []),
        ([30, 19, 50], [0, 1]),
        ([30, 12, 12], [1, 2]),
        ([30, 7, 50, 7], [0, 1, 3]),
        ([7, 5], [0, 1]),
    ],
    ids=["none", "empty", "smallest other", "two few", "two that are too few", "no other"],
)
def test_a_small_cell_takes_the_smallest_other_with_it(people, expected):
    hidden = withheld(*pluralize(people), (len(people),))
    assert np.flatnonzero(hidden).tolist() == expected


def test_several_rows_of_few_users_are_few():
    cell, users = np.repeat([0, 1, 2], [50, 40, 60]), np.arange(150)
    users[:50] = np.arange(50) % 19
    assert withheld(cell, users, (3,)).tolist() == [True, True, False]


def test_the_same_few_users_in_two_cells_are_still_few():
    cell, users = np.repeat([0, 1, 2], [15, 15, 60]), np.arange(90)
    users[15:30] = users[:15]
    assert withheld(cell, users, (3,)).all()


def test_a_cell_of_a_table_is_safe_by_row_and_by_column():
    people = np.array([[5, 30, 60], [70, 80, 90], [40, 99, 99]])
    hidden = withheld(*pluralize(people), (3, 3))
    assert hidden[0].tolist() == [True, True, False]
    assert hidden[:, 0].sum() >= 2
    assert hidden[:, 1].sum() >= 2


def test_a_row_of_few_users_takes_another_whole_row_with_it():
    people = np.array([[5, 4], [70, 80], [40, 60]])
    assert withheld(*pluralize(people), (3, 2)).tolist() == [[True] * 2, [False] * 2, [True] * 2]


@given(st.lists(st.integers(0, 90), min_size=12, max_size=12))
def test_no_small_cell_follows_from_the_totals(people):
    table = np.reshape(people, (4, 3))
    small = (table > 0) & (table < MIN_CELL)
    # A line in which nobody else stands cannot hide a cell.
    assume((table >= MIN_CELL).sum(axis=0).min() >= 2)
    assume((table >= MIN_CELL).sum(axis=1).min() >= 2)
    hidden = withheld(*pluralize(table), table.shape)
    assert hidden[small].all()
    assert not hidden[table == 0].any()
    lines = [np.ravel(hidden & (np.indices(table.shape)[axis] == n)) for axis in (0, 1)
             for n in range(table.shape[axis])]  # fmt: skip
    totals = np.array(lines, float)
    for at in np.flatnonzero(small):
        one = np.eye(table.size)[at]
        assert np.linalg.matrix_rank([*totals, one]) > np.linalg.matrix_rank(totals)
    in_line = totals @ np.ravel(table)
    assert ((in_line == 0) | (in_line >= MIN_CELL)).all()
    assert hidden.any() == small.any()
