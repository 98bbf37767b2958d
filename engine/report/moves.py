"""Who moved between two runs: flows between segments and bands, counted by user."""

from dataclasses import dataclass

import numpy as np

from engine.bundle.manifest import BANDS
from engine.report.night import PLACE_BITS, PLACES, Night

BLOCK_ROWS = 1 << 20


@dataclass(frozen=True, slots=True)
class Moves:
    """The users of two runs.

    Attributes:
        flows: Users of both runs, int64 [segment before, band before, segment now, band now].
        new: Users of this run alone, without those left out.
        gone: Users of the last run alone, without those left out.
        repeated: Rows of either run whose user has several there; they are left out.
    """

    flows: np.ndarray
    new: int
    gone: int
    repeated: int

    @property
    def compared(self) -> int:
        """The users of both runs."""
        return int(self.flows.sum())

    @property
    def bands(self) -> np.ndarray:
        """Users by band before and now, int64 [bands, bands]."""
        found: np.ndarray = self.flows.sum(axis=(0, 2))
        return found

    @property
    def segments(self) -> np.ndarray:
        """Users by segment before and now, int64 [segments before, segments now]."""
        found: np.ndarray = self.flows.sum(axis=(1, 3))
        return found


def moves(before: Night, now: Night) -> Moves:
    """Find the users of both runs by the first 54 bits of a hash of their ids.

    Two of 24 million ids share these bits by chance in one of about 60 pairs of runs.
    """
    earlier, earlier_left_out = _once(before.users)
    later, later_left_out = _once(now.users)
    flows = np.zeros(PLACES * PLACES, np.int64)
    for start in range(0, len(later), BLOCK_ROWS):
        block = later[start : start + BLOCK_ROWS]
        # Places are the low bits, so the first number that is not below the hash alone is the user's.
        place = np.searchsorted(earlier, block >> _BITS << _BITS)
        inside = place < len(earlier)
        block, candidates = block[inside], earlier[place[inside]]
        same = block >> _BITS == candidates >> _BITS
        pairs = (candidates[same] & _MASK) * np.uint64(PLACES) + (block[same] & _MASK)
        flows += np.bincount(pairs.astype(np.int64), minlength=len(flows))
    found = flows.reshape(PLACES, PLACES)
    shape = (len(before.segments), len(BANDS), len(now.segments), len(BANDS))
    found = found[: shape[0] * shape[1], : shape[2] * shape[3]].reshape(shape)
    compared = int(found.sum())
    return Moves(
        found,
        new=len(later) - compared - _number_in(later, earlier_left_out),
        gone=len(earlier) - compared - _number_in(earlier, later_left_out),
        repeated=len(before.users) - len(earlier) + len(now.users) - len(later),
    )


_BITS = np.uint64(PLACE_BITS)
_MASK = np.uint64(PLACES - 1)


def _once(users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of users who have one row, and the hashes of those who have several.

    The former are clean data's own array, `users` as in `Night`.
    """
    equal = users[1:] >> _BITS == users[:-1] >> _BITS
    if not equal.any():
        return users, users[:0]
    repeated = np.concatenate([[False], equal]) | np.concatenate([equal, [False]])
    return users[~repeated], np.unique(users[repeated] >> _BITS << _BITS)


def _number_in(users: np.ndarray, hashes: np.ndarray) -> int:
    """How many of the hashes are of users who have one row."""
    place = np.searchsorted(users, hashes)
    inside = place < len(users)
    return int(np.sum(users[place[inside]] >> _BITS == hashes[inside] >> _BITS))
