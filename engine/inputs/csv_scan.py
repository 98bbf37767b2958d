"""The fields and rows of a CSV, counted in its bytes, block by block.

A text in quotes that spans lines belongs to one row. Rows count from 0, which is the header.
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.inputs.formats import BLOCK_BYTES, SPACES

QUOTE, COMMA, NEWLINE, RETURN = b'",\n\r'
MARK = np.frombuffer(codecs.BOM_UTF8, np.uint8)
_BLANK_LINE = re.compile(rb"(?:\A|\n)(?:" + codecs.BOM_UTF8 + rb"|[ \t\r]*(?:\n|\Z))")


@dataclass(frozen=True, slots=True)
class Block:
    """Some bytes of a CSV, and its separators outside quotes.

    Attributes:
        content: uint8 [bytes].
        commas: Whether a byte separates two fields: bool [bytes].
        newlines: Whether a byte ends a row: bool [bytes].
        begins_inside: Whether the block begins within quotes.
        is_inside: Whether it ends within quotes.
    """

    content: np.ndarray
    commas: np.ndarray
    newlines: np.ndarray
    begins_inside: bool
    is_inside: bool


def read_blocks(path: Path) -> Iterator[Block]:
    """The blocks of a file, without what comes before the header."""
    is_inside = False
    with path.open("rb") as file:
        skipped = False
        while content := file.read(BLOCK_BYTES) + file.readline(BLOCK_BYTES):
            if not skipped:
                # The first line that is not blank is the header, as in Polars.
                content = content.removeprefix(codecs.BOM_UTF8).lstrip(b"\r\n")
                skipped = bool(content)
            if content:
                block = _block(np.frombuffer(content, np.uint8), is_inside=is_inside)
                is_inside = block.is_inside
                yield block


def may_have_blank_lines(path: Path) -> bool:
    """Whether a file may have what `without_blank_lines` removes: it is also found within quotes."""
    with path.open("rb") as file:
        # Polars passes over the mark that begins a file.
        file.seek(len(MARK) if file.read(len(MARK)) == codecs.BOM_UTF8 else 0)
        while content := file.read(BLOCK_BYTES) + file.readline(BLOCK_BYTES):
            if _BLANK_LINE.search(content.removesuffix(b"\n")):
                return True
    return False


def without_blank_lines(path: Path, target: Path) -> Path:
    """Copy a CSV without lines of white space, which are no rows.

    A byte order mark that begins a line is removed too: it is there where files were joined.
    """
    held = b""
    is_blank = True
    with target.open("wb") as plain:
        for block in read_blocks(path):
            content = block.content
            bounds = np.concatenate(([0], np.flatnonzero(block.newlines) + 1, [len(content)]))
            keep = ~_marks(content, bounds[:-1] if is_blank else bounds[1:-1])
            solid = np.cumsum(keep & ~np.isin(content, list(SPACES)))
            blank = np.diff(np.concatenate(([0], solid))[bounds]) == 0
            blank[0] &= is_blank
            written = content[keep & np.repeat(~blank, np.diff(bounds))].tobytes()
            plain.write(written if blank[0] else held + written)
            begun = content[bounds[-2] :].tobytes() if blank[-1] else b""
            held = held + begun if len(blank) == 1 and blank[0] else begun
            is_blank = bool(blank[-1])
    return target


def _marks(content: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The bytes of the byte order marks that begin lines: bool [bytes]."""
    found = np.zeros(len(content), np.bool_)
    starts = starts[starts + len(MARK) <= len(content)]
    for start in starts[(content[starts[:, None] + np.arange(len(MARK))] == MARK).all(axis=1)]:
        found[start : start + len(MARK)] = True
    return found


def separators_by_row(path: Path) -> Iterator[tuple[int, np.ndarray]]:
    """For each block the number of the first row that ends in it, and the commas of its rows."""
    row = carried = 0
    ended = True
    for block in read_blocks(path):
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


def _block(content: np.ndarray, *, is_inside: bool) -> Block:
    begins_inside = is_inside
    commas, newlines = content == COMMA, content == NEWLINE
    quotes = content == QUOTE
    if is_inside or quotes.any():
        # A doubled quote within a text closes it and opens it again at once.
        inside = (np.cumsum(quotes, dtype=np.int32) + is_inside) % 2 == 1
        commas &= ~inside
        newlines &= ~inside
        is_inside = bool(inside[-1])
    return Block(content, commas, newlines, begins_inside, is_inside)
