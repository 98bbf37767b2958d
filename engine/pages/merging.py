"""Tables that tell nothing about few users, even together with the totals of their rows and columns.

A cell of few users is shown together with its neighbour. That alone would not hide it: where the totals
of the columns are known too, its share follows from the other rows. So columns that one row shows
together for this reason, a second row does as well: users could have changed places among these four
cells, in one way in one row and back in the other, and no number that is shown would differ.
"""

from collections.abc import Sequence

import numpy as np

from engine.bundle.reference import TELLING_USERS

Runs = list[range]
"""Neighbouring cells, shown together, in order."""

Block = tuple[range, range]
"""Neighbouring rows and columns, shown together."""


def tells_enough(users: np.ndarray) -> bool:
    """Whether a cell may be shown: nobody is in it, or at least `TELLING_USERS` are.

    Args:
        users: How many, in each of the groups that the table compares, int64 [groups].
    """
    return bool(((users == 0) | (users >= TELLING_USERS)).all())


def neighbours(users: np.ndarray) -> Runs:
    """Runs of cells that may be shown; none if all together have too few users.

    A cell of few users joins the next one, the last one that before.

    Args:
        users: By group and cell, int64 [groups, cells].
    """
    found: Runs = []
    start = 0
    for end in range(1, users.shape[1] + 1):
        if tells_enough(users[:, start:end].sum(axis=1)):
            found.append(range(start, end))
            start = end
    if start == users.shape[1]:
        return found
    while found and not tells_enough(users[:, start:].sum(axis=1)):
        start = found.pop().start
    is_shown = tells_enough(users[:, start:].sum(axis=1))
    return [*found, range(start, users.shape[1])] if is_shown else []


def table_runs(users: np.ndarray) -> list[Runs]:
    """The runs of each row of a table whose rows and columns have totals.

    Args:
        users: By group, row and column, int64 [groups, rows, columns]; every row may be shown as a whole.
    """
    return paired([neighbours(users[:, row]) for row in range(users.shape[1])], users)


def table_blocks(users: np.ndarray) -> list[Block]:
    """The cells of a table, where rows of few users are shown together first; none with too few in all.

    Args:
        users: By group, row and column, int64 [groups, rows, columns].
    """
    rows = neighbours(users.sum(axis=2))
    grouped = [users[:, each.start : each.stop].sum(axis=1) for each in rows]
    runs = table_runs(np.stack(grouped, axis=1)) if grouped else []
    return [(each, run) for each, found in zip(rows, runs, strict=True) for run in found]


def own_cells(users: np.ndarray) -> np.ndarray:
    """Which cells are shown alone, bool [rows, columns]; `users` as in `table_blocks`."""
    found = np.zeros(users.shape[1:], np.bool_)
    for rows, columns in table_blocks(users):
        found[rows.start, columns.start] = len(rows) == len(columns) == 1
    return found


def paired(rows: Sequence[Runs], users: np.ndarray) -> list[Runs]:
    """Runs of rows, joined until a second row shows together what hides a cell of few users.

    Args:
        rows: The runs of each row.
        users: As in `table_runs`.
    """
    found = list(rows)
    while (lacking := _lacking(found, users)) is not None:
        pair, others = lacking
        partner = _partner(users[:, :, pair.start : pair.stop], others)
        found[partner] = _joined(found[partner], pair)
    return found


def _lacking(rows: Sequence[Runs], users: np.ndarray) -> tuple[range, list[int]] | None:
    """The first two columns that another row must show together, and the rows that do not yet."""
    totals = neighbours(users.sum(axis=1))
    for row, runs in enumerate(rows):
        for run in runs:
            if all(tells_enough(users[:, row, column]) for column in run):
                continue
            for pair in (range(column, column + 2) for column in run[:-1]):
                together = [n for n, each in enumerate(rows) if _shows_together(each, pair)]
                others = [n for n in range(len(rows)) if n not in together]
                # The numbers of these rows together do follow, for each column.
                sums = users[:, together, pair.start : pair.stop].sum(axis=1).T
                is_hidden = len(together) > 1 and all(map(tells_enough, sums))
                if others and not (is_hidden or _shows_together(totals, pair)):
                    return pair, others
    return None


def _shows_together(runs: Runs, pair: range) -> bool:
    return any(pair.start in run and pair[-1] in run for run in runs)


def _partner(users: np.ndarray, rows: Sequence[int]) -> int:
    """The row of the fewest users among those with enough in all cells of a run, else of the most.

    Args:
        users: By group and row in the cells of the run, int64 [groups, rows, cells].
        rows: Those to choose from.
    """
    total = users.sum(axis=(0, 2))
    large = [n for n in rows if (users[:, n] >= TELLING_USERS).all()]
    return min(large, key=lambda n: total[n]) if large else max(rows, key=lambda n: total[n])


def _joined(runs: Runs, span: range) -> Runs:
    """Runs, with those that a span touches as one."""
    touched = [run for run in runs if run.start < span.stop and span.start < run.stop]
    whole = range(min(run.start for run in touched), max(run.stop for run in touched))
    return [
        *(run for run in runs if run.stop <= whole.start),
        whole,
        *(run for run in runs if run.start >= whole.stop),
    ]
