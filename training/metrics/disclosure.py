"""The disclosure rule: nothing that is published is about fewer than 20 users.

A table cell with fewer is merged with its neighbour ("high and above"). A single figure is left out,
with a sentence that says so. Where a table of rows and columns stands beside its totals, `paired` in
`engine.pages.merging` sees to it that no small cell follows by subtraction.
"""

from collections.abc import Sequence

import numpy as np

MIN_USERS = 20
"""The fewest users that a published figure may be about."""


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


def disclosed(number: int) -> int | None:
    """A number of users or of their rows as it may be published; None for 1 to `MIN_USERS` - 1."""
    return None if 0 < number < MIN_USERS else number


def enough(users: np.ndarray) -> bool:
    """Whether rows belong to at least `MIN_USERS` users.

    Args:
        users: A number for each user, int64 [rows].
    """
    return len(np.unique(users)) >= MIN_USERS


def merged(
    cell: np.ndarray, users: np.ndarray, cells: int, *, keep_empty: bool = True
) -> list[range]:
    """Runs of neighbouring cells, so that no run has 1 to `MIN_USERS` - 1 users.

    A cell of few users joins the next one, the last the one before. An empty cell is published as
    empty, unless it lies between cells that merge.

    Args:
        cell: The cell of each row, from 0, in an order in which neighbours are alike, int64 [rows].
        users: A number from 0 for each user, int64 [rows].
        cells: How many there are.
        keep_empty: Whether empty cells may be published; if not, they merge like small ones.

    Returns:
        The cells of each run, in order; none if all cells together have too few users.
    """
    if not enough(users) and (len(users) or not keep_empty):
        return []
    runs: list[range] = []
    start = 0
    for end in range(1, cells + 1):
        inside = users[(cell >= start) & (cell < end)]
        if enough(inside) or (keep_empty and not len(inside)):
            runs.append(range(start, end))
            start = end
    if start == cells:
        return runs
    while not enough(users[cell >= start]):
        start = runs.pop().start
    return [*runs, range(start, cells)]


def run_of(runs: Sequence[range], cell: np.ndarray) -> np.ndarray:
    """The position of the run that each row's cell is in, int64 [rows]."""
    return np.searchsorted([run.start for run in runs], cell, side="right") - 1
