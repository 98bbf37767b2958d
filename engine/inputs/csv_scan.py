"""The fields and rows of a CSV, counted in its bytes, block by block.

A text in quotes that spans lines belongs to one row. Rows count from 0, which is the header.
"""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.inputs.formats import BLOCK_BYTES

QUOTE, COMMA, NEWLINE, RETURN = b'",\n\r'


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
        while content := file.read(BLOCK_BYTES):
            if not skipped:
                # The first line that is not blank is the header, as in Polars.
                content = content.removeprefix(codecs.BOM_UTF8).lstrip(b"\r\n")
                skipped = bool(content)
            if content:
                block = _block(np.frombuffer(content, np.uint8), is_inside=is_inside)
                is_inside = block.is_inside
                yield block


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
