"""Which figures may be told: none from which the outcome of a few users could be read."""

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
