"""Which cells of a table follow from what is shown of it."""

import numpy as np

from engine.bundle.reference import TELLING_USERS
from engine.pages.merging import Block, neighbours


def followed(users: np.ndarray, blocks: list[Block]) -> set[tuple]:
    """The cells that follow from blocks of a table, int64 [rows, columns], and its totals."""
    rows, columns = (range(length) for length in users.shape)
    shown = [
        *blocks,
        *((range(n, n + 1), columns) for n in rows),
        *((rows, run) for run in neighbours(users.sum(axis=0)[np.newaxis])),
    ]
    masks = [_mask(users.shape, block) for block in shown]
    # Where nobody is, each cell is known.
    empty = [mask for mask in masks if not users[mask].any()]
    masks += [_mask(users.shape, _cell(*place)) for mask in empty for place in np.argwhere(mask)]
    known = np.array([mask.ravel() for mask in masks], float)
    rank = np.linalg.matrix_rank(known)
    return {
        place
        for place in np.ndindex(users.shape)
        if np.linalg.matrix_rank(np.vstack([known, _mask(users.shape, _cell(*place)).ravel()]))
        == rank
    }


def few(users: np.ndarray) -> set[tuple]:
    """The cells that must not be known."""
    return {tuple(place) for place in np.argwhere((users > 0) & (users < TELLING_USERS)).tolist()}


def _cell(row: int, column: int) -> Block:
    return range(row, row + 1), range(column, column + 1)


def _mask(shape: tuple[int, ...], block: Block) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[block[0].start : block[0].stop, block[1].start : block[1].stop] = True
    return mask
