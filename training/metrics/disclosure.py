"""Which figures may be told: none from which the outcomes of a few users could be read.

A cell of fewer than `MIN_CELL` users is withheld; so are further cells, where the totals of a table
would tell of it by subtraction (complementary suppression: Willenborg & de Waal, Elements of
Statistical Disclosure Control, 2001, chapter 6). One table is judged at a time: what follows from two
tables that cut the same users in different places is not looked for.
"""

from collections.abc import Sequence

import numpy as np

MIN_CELL = 20
"""Figures of fewer users are not given: they say little, and much about few."""


def users_in(cell: np.ndarray, users: np.ndarray, cells: int) -> np.ndarray:
    """How many different users each cell has, int64 [cells].

    Args:
        cell: The cell of each row, from 0, int64 [rows].
        users: A number from 0 for each user, int64 [rows].
        cells: How many there are.
    """
    width = int(users.max(initial=0)) + 1
    pairs = np.unique(cell.astype(np.int64) * width + users)
    return np.bincount(pairs // width, minlength=cells)


def few(users: np.ndarray) -> bool:
    """Whether rows are of some users, but of so few that nothing may be told of them.

    Args:
        users: A number for each user, int64 [rows].
    """
    return 0 < len(np.unique(users)) < MIN_CELL


def told_figures(*, told: bool, **figures: float) -> dict[str, float | None]:
    """The figures of a cell; null where they are not told."""
    return dict(figures) if told else dict.fromkeys(figures)


def withheld(cell: np.ndarray, users: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Which cells of a table may not be told where its totals are known, bool [shape].

    A cell with 1 to `MIN_CELL` - 1 users; and others, until neither a cell of so few nor all that is
    withheld of a row or a column, if that is so few, follows from the totals and the cells that are
    told. Where the totals of rows must be withheld themselves, so are all their cells. An empty cell
    tells of nobody: it is never withheld, and hides no other.

    Args:
        cell: The cell of each row of users, counted through the table row by row, int64 [rows].
        users: A number from 0 for each user, int64 [rows].
        shape: Of the table: cells, or rows and columns.
    """
    size = int(np.prod(shape))
    people = users_in(cell, users, size)
    hidden = small = (people > 0) & (people < MIN_CELL)
    grid = np.arange(size).reshape(shape)
    lines = [grid]
    if len(shape) > 1:
        whole = withheld(cell // shape[1], users, shape[:1])
        hidden = hidden | (np.repeat(whole, shape[1]) & (people > 0))
        lines = [*grid[~whole], *grid.T]
    while len(more := _more(lines, people, small, hidden, cell, users)):
        hidden = hidden | np.isin(np.arange(size), more)
    return hidden.reshape(shape)


def _more(
    lines: Sequence[np.ndarray],
    people: np.ndarray,
    small: np.ndarray,
    hidden: np.ndarray,
    cell: np.ndarray,
    users: np.ndarray,
) -> np.ndarray:
    """The cell to be withheld next: the smallest of a line that says too much, int64 [1 or none]."""
    known = _determined(lines, hidden)
    exposed = bool((small & known).any())
    inside = hidden[cell]
    cell, users = cell[inside], users[inside]
    # A line with one cell withheld gives it away; those come first.
    for line in sorted(lines, key=lambda line: int(hidden[line].sum())):
        told = line[~hidden[line] & (people[line] > 0)]
        rest = users[np.isin(cell, line)]
        if len(told) and ((exposed and known[line].any()) or few(rest)):
            return told[[np.argmin(people[told])]]
    return np.empty(0, np.int64)


def _determined(lines: Sequence[np.ndarray], hidden: np.ndarray) -> np.ndarray:
    """Which hidden cells have one value only with which all totals are right, bool [cells]."""
    at = np.flatnonzero(hidden)
    found = np.zeros(len(hidden), bool)
    if len(at):
        totals = np.array([np.isin(at, line) for line in lines], np.float64)
        # What projects on itself is a combination of the totals.
        found[at] = np.diag(np.linalg.pinv(totals) @ totals) > 1 - 1e-9
    return found
