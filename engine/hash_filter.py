"""Which hashes may have come before: a Bloom filter that keeps all marks of a hash in one word.

Takes hashes that spread evenly over 40 bits, gives "never" or "perhaps" for each. Never is certain;
perhaps is wrong for at most 1 of 100, and left to whoever keeps the hashes themselves.
"""

import numpy as np

HASH_BITS = 40
HASHES_A_WORD = 4
"""Filled so far, a filter is made anew with twice the words: it has 16 to 32 bits a hash."""
MARKS = 3
SLICE_HASHES = 1 << 16
"""So many are added at a time: it takes 32 bytes for each of them."""


class HashFilter:
    """A set of hashes that forgets which they were.

    Attributes:
        room: So many hashes it is made for.
    """

    def __init__(self, room: int) -> None:
        """Empty, with room for at least so many hashes."""
        bits = (max(room - 1, 0) // HASHES_A_WORD).bit_length()
        self.room = HASHES_A_WORD << bits
        self._shift = np.uint64(HASH_BITS - bits)
        self._words = np.zeros(1 << bits, np.uint64)

    def add(self, hashes: np.ndarray) -> None:
        """Take hashes, uint64 [hashes]; quickest when they rise."""
        for start in range(0, len(hashes), SLICE_HASHES):
            some = hashes[start : start + SLICE_HASHES]
            np.bitwise_or.at(self._words, self._places(some), _marks(some))

    def may_have(self, hashes: np.ndarray) -> np.ndarray:
        """Whether each hash may have been added: bool [hashes]; quickest when they rise."""
        marks = _marks(hashes)
        found: np.ndarray = self._words[self._places(hashes)] & marks == marks
        return found

    def _places(self, hashes: np.ndarray) -> np.ndarray:
        """The word of each hash, by its first bits."""
        return (hashes >> self._shift).astype(np.intp)


def _marks(hashes: np.ndarray) -> np.ndarray:
    """A word for each hash with some bits set, by its last bits: uint64 [hashes]."""
    marks = np.zeros(len(hashes), np.uint64)
    for mark in range(MARKS):
        marks |= np.uint64(1) << (hashes >> np.uint64(6 * mark) & np.uint64(63))
    return marks
