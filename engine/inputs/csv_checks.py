"""Finds CSV faults that Polars reads past, and the row where it stopped.

Polars fills a row that is too short with nulls. When it cannot read a row, its message either shows
the values or does not say where the row is.
"""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from engine.errors import InputError, pluralize, quoted
from engine.inputs.csv_scan import COMMA, NEWLINE, QUOTE, RETURN, read_blocks, separators_by_row
from engine.inputs.errors import check_width
from engine.inputs.formats import BLOCK_BYTES, wrong_byte

TAIL_BYTES = 65_536
_BEFORE_TEXT = (COMMA, NEWLINE, QUOTE)
_AFTER_TEXT = (COMMA, NEWLINE, RETURN, QUOTE)


def check_csv(path: Path, head: bytes, name: str, wanted: Sequence[str], max_columns: int) -> None:
    """Refuse a file that Polars would read without an error, but not as it was meant.

    Args:
        path: The file.
        head: Its first bytes.
        name: What messages call it.
        wanted: Column names that messages may show. If the header is missing, other names are
            values of a user.
        max_columns: The most columns that are read.

    Raises:
        InputError: The file has too many or repeated columns, other separators or line ends, misplaced quotes,
            or ends in the middle of a row.
    """
    if has_lone_returns(head):
        raise InputError(
            f"{name}: its lines end with CR alone. Write them with LF, or with CR and LF."
        )
    header = csv_header(path)
    check_width(len(header), name, max_columns)
    if repeated := [column for column, times in Counter(header).items() if column and times > 1]:
        raise InputError(f"{name}: {_name_repeated(header, repeated, wanted)}")
    separators = {"';'": ";", "a tab": "\t", "'|'": "|"}
    meant = [words for words, separator in separators.items() if separator in "".join(header)]
    if len(header) == 1 and meant:
        raise InputError(
            f"{name}: found 1 column, did you mean {meant[0]}? Columns are separated by commas: "
            "write the file again with them."
        )
    if (row := misplaced_quote(path)) is not None:
        # In bytes that are not text, quotes mean nothing.
        fault = wrong_byte(path) or (
            f"row {row:,} (the header is 0) has a quote in the middle of a text. Write such a text in "
            'quotes, and quotes within it twice: "a ""b"" c"; a backslash escapes nothing'
        )
        raise InputError(f"{name}: {fault}.")
    if _ends_within_row(path, len(header)):
        raise InputError(
            f"{name}: ends in the middle of a row. The file is incomplete: write it again."
        )


def csv_header(path: Path) -> list[str]:
    """The column names of a CSV."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as text:
        return next((row for row in csv.reader(text) if row), [])


def short_rows(path: Path, columns: int) -> np.ndarray:
    """The rows, from 0 after the header, that have fewer fields than the header: int64 [short rows].

    Args:
        path: A CSV file without rows that have more fields.
        columns: The number of fields of the header.
    """
    separators = rows = 0
    ends_in_row = False
    for block in read_blocks(path):
        separators += int(np.count_nonzero(block.commas))
        rows += int(np.count_nonzero(block.newlines))
        ends_in_row = not block.newlines[-1]
    # NOTE: no row has more fields, so if the total is right, every row is.
    if separators == (rows + ends_in_row) * (columns - 1):
        return np.empty(0, np.int64)
    found = [first + np.flatnonzero(n < columns - 1) for first, n in separators_by_row(path)]
    short = np.concatenate(found) - 1
    return short[short >= 0]


def csv_fault(path: Path, columns: int) -> str | None:
    """Why a CSV cannot be read, without a value of its rows; None if no fault is found.

    Args:
        path: A CSV file.
        columns: The number of fields of the header.
    """
    if wrong := wrong_byte(path):
        return wrong
    for first, separators in separators_by_row(path):
        long = np.flatnonzero(separators > columns - 1)
        if len(long):
            fields = int(separators[long[0]]) + 1
            return f"row {first + int(long[0]):,} has {fields} fields, the header {columns}"
    row = _row_of_open_quote(path)
    return None if row is None else f"a quote that opens in row {row:,} is never closed"


def misplaced_quote(path: Path) -> int | None:
    """The first row, the header being 0, with a quote inside a text that is not doubled.

    NOTE: for Polars such a quote opens or closes a text, and the rows up to the next quote become
    part of it. Spark writes such files: by default it escapes quotes with a backslash.
    """
    if not _has_quotes(path):
        return None
    row, before, closed = 0, NEWLINE, False
    for block in read_blocks(path):
        content = block.content
        around = np.concatenate((_byte(before), content, _byte(QUOTE)))
        places = np.flatnonzero(content == QUOTE)
        closes = (np.arange(len(places)) + block.begins_inside) % 2 == 1
        # What follows the last byte of a block is checked with the next block.
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


def has_lone_returns(head: bytes) -> bool:
    """Whether the lines of a text end with CR alone, as on old Macs; judged by its first bytes."""
    return b"\r" in head and b"\n" not in head


def _row_of_open_quote(path: Path) -> int | None:
    """The row, the header being 0, in which a text opens that never closes."""
    row = opened = 0
    block = None
    for block in read_blocks(path):
        quotes = np.flatnonzero(block.content == QUOTE)
        if block.is_inside and len(quotes):
            opened = row + int(np.count_nonzero(block.newlines[: quotes[-1]]))
        row += int(np.count_nonzero(block.newlines))
    return opened if block is not None and block.is_inside else None


def _name_repeated(header: Sequence[str], repeated: Sequence[str], wanted: Sequence[str]) -> str:
    known = sorted(set(repeated).intersection(wanted))
    places = f"the first of them in column {header.index(repeated[0]) + 1:,}"
    return (
        f"{pluralize(len(repeated), 'column')} named more than once: "
        f"{quoted(known) if known else places}. Rename or remove the others, or give the file its header."
    )


def _ends_within_row(path: Path, columns: int) -> bool:
    """Whether the last line is truncated, judged by the last bytes."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        tail = file.read()
    before, newline, last = tail.rpartition(b"\n")
    # NOTE: a line with a quote may be the end of a text that spans lines, so it proves nothing.
    is_telling = before and newline and last and b'"' not in last
    return bool(is_telling) and last.count(b",") < columns - 1


def _has_quotes(path: Path) -> bool:
    with path.open("rb") as file:
        while content := file.read(BLOCK_BYTES):
            if b'"' in content:
                return True
    return False


def _byte(number: int) -> np.ndarray:
    return np.array([number], np.uint8)
