"""The columns of NDJSON: the keys of all rows, found in the bytes, block by block.

Polars takes the first value of a key that an object has twice; most readers take the last. It also
guesses columns from the first rows. So the keys are read here, and every value is read as text.
"""

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.errors import InputError, pluralize, quoted
from engine.inputs.errors import check_width
from engine.inputs.formats import BLOCK_BYTES, SPACES

QUOTE, COLON, NEWLINE, BACKSLASH = b'":\n\\'
OPENING, CLOSING = b"{[", b"}]"
WORD_BYTES = 8
MAX_NAME_BYTES = 1_024
"""Keys are hashed a word at a time, all keys at once; nobody names a column in so many bytes."""
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class _Keys:
    """The keys of the outermost objects in a block, in order.

    Attributes:
        start: Where each key begins, without its quote: int64 [keys].
        end: Where it ends: int64 [keys].
        line: The line of the block that it is in, from 0: int64 [keys].
        nested: The keys, by number, whose value is an object or an array: int64 [nested].
    """

    start: np.ndarray
    end: np.ndarray
    line: np.ndarray
    nested: np.ndarray


def read_keys(path: Path, name: str, scalars: Collection[str], max_columns: int) -> tuple[str, ...]:
    """Read the names of the columns, in the order in which they first appear.

    Args:
        path: An NDJSON file.
        name: What messages call it.
        scalars: Columns that may hold no objects or arrays.
        max_columns: The most columns that are read.

    Raises:
        InputError: An object has a key twice, a column of `scalars` holds an object or an array, or
            there are too many columns.
    """
    names: dict[str, None] = {}
    pattern = np.empty(0, np.uint64)
    done = 0
    with path.open("rb") as file:
        while content := file.read(BLOCK_BYTES) + file.readline():
            keys = _find_keys(content)
            _check_lengths(keys, name, done)
            hashes = _hash_bytes(content, keys.start, keys.end)
            if _has_other_rows(hashes, keys.line, pattern):
                _check_twice(content, keys, _hash_names(content, keys, hashes), name, done)
                first = np.sort(np.unique(hashes, return_index=True)[1])
                names |= dict.fromkeys(_names(content, keys, first))
                pattern = hashes[keys.line == keys.line[0]] if len(hashes) else pattern
            if len(keys.nested):
                _check_scalars(content, keys, hashes, scalars, name, done)
            check_width(len(names), name, max_columns)
            done += int(np.count_nonzero(np.frombuffer(content, np.uint8) == NEWLINE))
    return tuple(names)


def _find_keys(content: bytes) -> _Keys:
    array = np.frombuffer(content, np.uint8)
    quotes = _string_quotes(content, array)
    opens, closes = quotes[: len(quotes) // 2 * 2 : 2], quotes[1::2]
    is_key = array[_next_byte(array, closes + 1)] == COLON
    start, end = opens[is_key] + 1, closes[is_key]
    lines = np.flatnonzero(array == NEWLINE)
    line = np.searchsorted(lines, start)
    rows = np.count_nonzero(np.diff(line)) + 1
    nested_at = np.empty(0, np.int64)
    if b"[" in content or np.count_nonzero(array == OPENING[0]) > rows:
        places, depth = _depths(array, quotes)
        around = np.searchsorted(places, start) - 1
        outermost = depth[around] == 1
        start, end, line = start[outermost], end[outermost], line[outermost]
        nested_at = places[(depth == 2) & np.isin(array[places], list(OPENING))]
    nested = np.unique(np.searchsorted(start, nested_at) - 1)
    return _Keys(start, end, line, nested[nested >= 0])


def _string_quotes(content: bytes, array: np.ndarray) -> np.ndarray:
    """The quotes that begin and end strings; a backslash escapes those within."""
    quotes = np.flatnonzero(array == QUOTE)
    if b"\\" not in content:
        return quotes
    slashes = np.flatnonzero(array == BACKSLASH)
    begins = np.flatnonzero(np.diff(slashes, prepend=-2) != 1)
    lengths = np.diff(begins, append=len(slashes))
    after = slashes[begins] + lengths
    return quotes[~np.isin(quotes, after[lengths % 2 == 1])]


def _next_byte(array: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The first place at or after each that is not a space; the last byte if there is none."""
    places = np.minimum(places, len(array) - 1)
    if not np.isin(array[places], list(SPACES)).any():
        return places
    solid: np.ndarray = np.flatnonzero(~np.isin(array, list(SPACES)))
    after: np.ndarray = solid[np.minimum(np.searchsorted(solid, places), len(solid) - 1)]
    return after


def _depths(array: np.ndarray, quotes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The brackets outside strings, and the depth after each: int64 [brackets] both."""
    places = np.flatnonzero(np.isin(array, list(OPENING + CLOSING)))
    places = places[np.searchsorted(quotes, places) % 2 == 0]
    return places, np.cumsum(np.where(np.isin(array[places], list(OPENING)), 1, -1))


def _check_lengths(keys: _Keys, name: str, lines_before: int) -> None:
    long = np.flatnonzero(keys.end - keys.start > MAX_NAME_BYTES)
    if len(long):
        raise InputError(
            f"{name}: line {lines_before + int(keys.line[long[0]]) + 1:,} has a key of more than "
            f"{MAX_NAME_BYTES:,} bytes: is it a value? Fix the job that writes it."
        )


def _hash_bytes(content: bytes, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """A number for each part of some bytes, the same for the same part: uint64 [parts]."""
    # The word that begins at each byte.
    padded = content + bytes(WORD_BYTES)
    words: np.ndarray = np.ndarray(len(content) + 1, "<u8", padded, strides=(1,))
    lengths = end - start
    hashes: np.ndarray = lengths.astype(np.uint64)
    for offset in range(0, int(lengths.max(initial=0)), WORD_BYTES):
        longer = np.flatnonzero(lengths > offset)
        word = words[start[longer] + offset]
        unused = np.maximum(0, WORD_BYTES - (lengths[longer] - offset)).astype(np.uint64)
        mixed = (hashes[longer] ^ (word << (unused * np.uint64(8)))) * _MULTIPLIER
        hashes[longer] = mixed ^ (mixed >> np.uint64(29))
    return hashes


def _hash_names(content: bytes, keys: _Keys, hashes: np.ndarray) -> np.ndarray:
    """A number for each key, the same for the same name: an escape may spell it in another way."""
    slashes = np.flatnonzero(np.frombuffer(content, np.uint8) == BACKSLASH)
    is_escaped = np.searchsorted(slashes, keys.start) < np.searchsorted(slashes, keys.end)
    escaped = np.flatnonzero(is_escaped)
    _, first, spelling = np.unique(hashes[escaped], return_index=True, return_inverse=True)
    names = [name.encode("utf-8", "replace") for name in _names(content, keys, escaped[first])]
    ends = np.cumsum([0, *map(len, names)])
    found = hashes.copy()
    found[escaped] = _hash_bytes(b"".join(names), ends[:-1], ends[1:])[spelling]
    return found


def _has_other_rows(hashes: np.ndarray, line: np.ndarray, pattern: np.ndarray) -> bool:
    """Whether a row has other keys, or in another order, than the first row."""
    width = len(pattern)
    if not width or len(hashes) % width:
        return True
    rows = hashes.reshape(-1, width)
    first = line[::width]
    return not ((rows == pattern).all() and (line.reshape(-1, width) == first[:, None]).all())


def _check_twice(
    content: bytes, keys: _Keys, hashes: np.ndarray, name: str, lines_before: int
) -> None:
    order = np.lexsort((hashes, keys.line))
    same = (np.diff(hashes[order]) == 0) & (np.diff(keys.line[order]) == 0)
    # Two names may have the same number.
    for line in np.unique(keys.line[order[1:][same]]).tolist():
        in_line = np.flatnonzero(keys.line == line)
        counts = Counter(_names(content, keys, in_line))
        twice = [key for key, times in counts.items() if times > 1]
        if twice:
            raise InputError(
                f"{name}: line {lines_before + line + 1:,} has {pluralize(len(twice), 'key')} more "
                f"than once: {quoted(twice)}. Write each once."
            )


def _check_scalars(
    content: bytes,
    keys: _Keys,
    hashes: np.ndarray,
    scalars: Collection[str],
    name: str,
    lines_before: int,
) -> None:
    first = keys.nested[np.unique(hashes[keys.nested], return_index=True)[1]]
    for key, number in zip(_names(content, keys, first), first, strict=True):
        if key in scalars:
            raise InputError(
                f"{name}: line {lines_before + int(keys.line[number]) + 1:,}: {key!r} holds an object "
                "or an array, expected a text or a number. Write the value itself."
            )


def _names(content: bytes, keys: _Keys, numbers: Sequence[int] | np.ndarray) -> list[str]:
    return [_decoded(content[keys.start[n] : keys.end[n]]) for n in numbers]


def _decoded(key: bytes) -> str:
    text = key.decode("utf-8", "replace")
    try:
        return str(json.loads(f'"{text}"')) if "\\" in text else text
    except ValueError:
        return text
