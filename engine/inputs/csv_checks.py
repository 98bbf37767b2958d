"""Finds faults in the bytes of text files that Polars hides: short rows, and why reading failed.

Polars fills short CSV rows with nulls. Its message for an unreadable row quotes the row or does not
locate it. A quoted text that spans lines belongs to one row.
"""

import codecs
import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

BLOCK_BYTES = 1 << 20
QUOTE, COMMA, NEWLINE, RETURN = b'",\n\r'
_BEFORE_TEXT = (COMMA, NEWLINE, QUOTE)
_AFTER_TEXT = (COMMA, NEWLINE, RETURN, QUOTE)
_HALF = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])")


@dataclass(frozen=True, slots=True)
class _Block:
    """A block of bytes, and its separators outside quotes.

    Attributes:
        content: uint8 [bytes].
        commas: Whether a byte separates two fields: bool [bytes].
        newlines: Whether a byte ends a row: bool [bytes].
        begins_inside: Whether the block begins inside quotes.
        is_inside: Whether it ends inside quotes.
    """

    content: np.ndarray
    commas: np.ndarray
    newlines: np.ndarray
    begins_inside: bool
    is_inside: bool


def short_rows(path: Path, columns: int) -> np.ndarray:
    """The rows (from 0) with fewer fields than the header: int64 [short rows].

    Args:
        path: A CSV file without rows that have more fields.
        columns: The number of fields of the header.
    """
    separators = rows = 0
    ends_in_row = False
    for block in _blocks(path):
        separators += int(np.count_nonzero(block.commas))
        rows += int(np.count_nonzero(block.newlines))
        ends_in_row = not block.newlines[-1]
    # NOTE: no row has more fields, so if the total is right, every row is whole.
    if separators == (rows + ends_in_row) * (columns - 1):
        return np.empty(0, np.int64)
    found = [first + np.flatnonzero(n < columns - 1) for first, n in _separators_by_row(path)]
    short = np.concatenate(found) - 1
    return short[short >= 0]


def csv_fault(path: Path, columns: int) -> str | None:
    """Why a CSV cannot be read, without quoting its rows; None if unknown.

    Args:
        path: A CSV file.
        columns: The number of fields of the header.
    """
    if wrong := wrong_byte(path):
        return wrong
    for first, separators in _separators_by_row(path):
        long = np.flatnonzero(separators > columns - 1)
        if len(long):
            fields = int(separators[long[0]]) + 1
            return f"row {first + int(long[0]):,} has {fields} fields, the header {columns}"
    row = _row_of_open_quote(path)
    return None if row is None else f"a quote that opens in row {row:,} is never closed"


def ndjson_fault(path: Path) -> str | None:
    """Why NDJSON cannot be read, without quoting its rows; None if unknown."""
    if wrong := wrong_byte(path):
        return wrong
    done = 0
    with path.open("rb") as file:
        while content := file.read(BLOCK_BYTES) + file.readline():
            lines = content.splitlines(keepends=True)
            if not _is_ndjson(lines):
                sound = bisect_left(
                    range(len(lines)), 1, key=lambda n: not _is_ndjson(lines[: n + 1])
                )
                return f"line {done + sound + 1:,} is not a JSON object"
            done += len(lines)
    return None


def _is_ndjson(lines: list[bytes]) -> bool:
    try:
        pl.read_ndjson(b"".join(lines), schema={"": pl.String})
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return False
    return True


def half_character(path: Path) -> int | None:
    """The first line of NDJSON (from 1) with a lone surrogate; None if there is none.

    NOTE: Polars reads a lone surrogate as another character, and so an id as another id.
    """
    done = 0
    with path.open("rb") as file:
        while content := file.read(BLOCK_BYTES) + file.readline():
            for found in _HALF.finditer(content):
                before = content[: found.start()]
                # After an odd number of backslashes, this one is itself escaped.
                if (len(before) - len(before.rstrip(b"\\"))) % 2 == 0:
                    return done + before.count(b"\n") + 1
            done += content.count(b"\n")
    return None


def misplaced_quote(path: Path) -> int | None:
    """The first row (the header is 0) with a quote that neither delimits a text nor is doubled inside one.

    NOTE: Polars takes such a quote as a delimiter and swallows the rows up to the next one. Spark writes
    such files, as it escapes quotes with a backslash by default.
    """
    if not _has_quotes(path):
        return None
    row, before, closed = 0, NEWLINE, False
    for block in _blocks(path):
        content = block.content
        around = np.concatenate((_byte(before), content, _byte(QUOTE)))
        places = np.flatnonzero(content == QUOTE)
        closes = (np.arange(len(places)) + block.begins_inside) % 2 == 1
        # The byte after the last one of a block is seen with the next block.
        is_wrong = np.where(
            closes,
            ~np.isin(around[places + 2], _AFTER_TEXT),
            ~np.isin(around[places], _BEFORE_TEXT),
        )
        wrong = places[is_wrong]
        if closed and content[0] not in _AFTER_TEXT:
            return row
        if len(wrong):
            return row + int(np.count_nonzero(block.newlines[: wrong[0]]))
        row += int(np.count_nonzero(block.newlines))
        before, closed = content[-1], bool(content[-1] == QUOTE and not block.is_inside)
    return None


def _byte(number: int) -> np.ndarray:
    return np.array([number], np.uint8)


def _has_quotes(path: Path) -> bool:
    with path.open("rb") as file:
        while content := file.read(BLOCK_BYTES):
            if b'"' in content:
                return True
    return False


def has_lone_returns(head: bytes) -> bool:
    """Whether lines end with CR alone, as on old Macs, judged by the first bytes."""
    return b"\r" in head and b"\n" not in head


def _blocks(path: Path) -> Iterator[_Block]:
    is_inside = False
    with path.open("rb") as file:
        skipped = False
        while content := file.read(BLOCK_BYTES):
            if not skipped:
                # Polars takes the first non-blank line as the header.
                content = content.removeprefix(codecs.BOM_UTF8).lstrip(b"\r\n")
                skipped = bool(content)
            if content:
                block = _block(np.frombuffer(content, np.uint8), is_inside=is_inside)
                is_inside = block.is_inside
                yield block


def _block(content: np.ndarray, *, is_inside: bool) -> _Block:
    begins_inside = is_inside
    commas, newlines = content == COMMA, content == NEWLINE
    quotes = content == QUOTE
    if is_inside or quotes.any():
        # A doubled quote inside a text closes it and opens it again.
        inside = (np.cumsum(quotes, dtype=np.int32) + is_inside) % 2 == 1
        commas &= ~inside
        newlines &= ~inside
        is_inside = bool(inside[-1])
    return _Block(content, commas, newlines, begins_inside, is_inside)


def _separators_by_row(path: Path) -> Iterator[tuple[int, np.ndarray]]:
    """The number of a block's first row (the header is 0), and the commas of its rows."""
    row = carried = 0
    ended = True
    for block in _blocks(path):
        ends = np.flatnonzero(block.newlines)
        before = np.concatenate(([0], np.cumsum(block.commas)[ends]))
        separators = np.diff(before)
        total = int(np.count_nonzero(block.commas))
        if len(separators):
            separators[0] += carried
            carried = 0
            yield row, separators
        carried += total - int(before[-1])
        row += len(separators)
        ended = bool(block.newlines[-1])
    if not ended:
        yield row, np.array([carried])


def _row_of_open_quote(path: Path) -> int | None:
    """The row (the header is 0) with a quote that is never closed."""
    row = opened = 0
    block = None
    for block in _blocks(path):
        quotes = np.flatnonzero(block.content == QUOTE)
        if block.is_inside and len(quotes):
            opened = row + int(np.count_nonzero(block.newlines[: quotes[-1]]))
        row += int(np.count_nonzero(block.newlines))
    return opened if block is not None and block.is_inside else None


def wrong_byte(path: Path) -> str | None:
    """The position of the first byte that is not UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    done = 0
    with path.open("rb") as file:
        while True:
            content = file.read(BLOCK_BYTES)
            start = done - len(decoder.getstate()[0])
            try:
                decoder.decode(content, final=not content)
            except UnicodeDecodeError as error:
                wrong = start + error.start + 1
                return f"byte {wrong:,} is not UTF-8; save the table as UTF-8"
            if not content:
                return None
            done += len(content)
