"""Which hashes may have come before: a Bloom filter that keeps all marks of a hash in one word.

Takes hashes that spread evenly over 40 bits, gives "never" or "perhaps" for each. Never is certain;
perhaps is wrong for at most 1 of 100, and left to whoever keeps the hashes themselves.
"""

import numpy as np

HASH_BITS = 40
HASHES_A_WORD = 4
"""Filled so far, a filter is made anew with twice the words: it has 16 to 32 bits a hash."""
MARKS = 3
_GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)
"""2^64 divided by it; the multiplier of Knuth's Fibonacci hashing, The Art of Computer Programming 6.4."""
_FIRST_MARK_BIT = 34

SLICE_HASHES = 1 << 16
"""So many are added at a time: it takes 32 bytes for each of them."""


class BloomFilter:
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
    """A word for each hash with some bits set: uint64 [hashes]."""
    marks = np.zeros(len(hashes), np.uint64)
    # NOTE: the first bits of a hash choose its word. Large filters have so many words that the marks
    # need bits of their own: those of a product that every bit of the hash goes into.
    mixed = hashes * _GOLDEN_RATIO
    for mark in range(MARKS):
        marks |= np.uint64(1) << (mixed >> np.uint64(_FIRST_MARK_BIT + 6 * mark) & np.uint64(63))
    return marks
