"""No number of few users follows from a table and the totals of its rows and columns."""

import numpy as np
import pytest

from engine.bundle.reference import TELLING_USERS
from engine.pages.merging import Block, Runs, neighbours, table_blocks, table_runs
from tests.engine.pages.following import few, followed


def test_a_cell_of_few_users_joins_its_neighbour():
    assert neighbours(np.array([[5, 30, 40, 3]])) == [range(2), range(2, 4)]
    assert neighbours(np.array([[0, 30, 0, 40]])) == [range(n, n + 1) for n in range(4)]
    assert neighbours(np.array([[5, 6, 7]])) == []
    # In each group that is compared.
    assert neighbours(np.array([[50, 30, 40], [50, 0, 4]])) == [range(3)]


def test_merging_one_row_alone_would_tell_its_cells():
    users = np.array([[100, 50, 5], [100, 60, 40], [300, 80, 90]])
    alone = [neighbours(row[np.newaxis]) for row in users]
    assert few(users) & followed(users, _blocks(alone))
    rows = table_runs(users[np.newaxis])
    assert rows[0] == rows[1] == [range(1), range(1, 3)]
    assert rows[2] == [range(n, n + 1) for n in range(3)]
    assert not few(users) & followed(users, _blocks(rows))


def _blocks(rows: list[Runs]) -> list[Block]:
    return [(range(n, n + 1), run) for n, runs in enumerate(rows) for run in runs]


@pytest.mark.parametrize("seed", range(40))
def test_no_cell_of_few_users_follows_from_what_is_shown(seed):
    rng = np.random.default_rng(seed)
    shape = rng.integers(2, 7, 2)
    users = rng.negative_binomial(0.5, 0.005, tuple(shape)) // rng.choice([1, 4, 20])
    users[0, 0] += TELLING_USERS
    blocks = table_blocks(users[np.newaxis])
    shown = np.zeros(users.shape, int)
    for rows, columns in blocks:
        place = np.ix_(rows, columns)
        shown[place] += 1
        assert (total := users[place].sum()) == 0 or total >= TELLING_USERS
    assert (shown == 1).all()
    # The totals of rows that are shown together are not.
    groups = list(dict.fromkeys(rows for rows, _ in blocks))
    grouped = np.array([users[group.start : group.stop].sum(axis=0) for group in groups])
    runs = [(range(groups.index(rows), groups.index(rows) + 1), run) for rows, run in blocks]
    assert not few(grouped) & followed(grouped, runs)
