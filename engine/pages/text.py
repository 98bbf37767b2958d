"""Sections as lines of text for a terminal."""

from collections.abc import Iterable, Iterator

from engine.format import short, table, visible
from engine.pages.blocks import (
    Block,
    Bullets,
    Cell,
    Facts,
    Section,
    TableBlock,
    Text,
    without_pictures,
)
from engine.pages.format import LONGEST, UNKNOWN, shown

INDENT = "  "
WIDEST = 90
"""Longer cells of a table are cut, so that its columns stay side by side."""

LEGEND = f"{UNKNOWN} means: not available, or too few users or purchases to measure it."


def section_lines(sections: Iterable[Section]) -> Iterator[str]:
    """Sections line by line; a legend at the end if a table has a dash."""
    unknown = False
    for section in sections:
        blocks = without_pictures(section.blocks)
        if blocks:
            yield ""
            yield _heading(section.title)
        for block in blocks:
            for line in _lines(block):
                yield shown(line)
                unknown = unknown or (line.startswith(INDENT) and UNKNOWN in line.split())
    if unknown:
        yield ""
        yield LEGEND


def _heading(title: str) -> str:
    """In capitals, except ids, which must stay as they are to be found again."""
    return " ".join(word if "/" in word else word.upper() for word in title.split(" "))


def _lines(block: Block) -> Iterator[str]:
    match block:
        case Text():
            yield block.words
        case Bullets():
            yield from (f"- {item}" for item in block.items)
        case Facts():
            yield from (f"- {fact.number} {fact.name}. {fact.words}" for fact in block.items)
        case TableBlock():
            yield ""
            yield block.caption
            yield from _stacked(block) if block.stacks else _columns(block)


def _stacked(block: TableBlock) -> Iterator[str]:
    """One row under the other, each cell after the name of its column."""
    for first, *others in block.rows:
        yield f"{INDENT}{_words(first)}"
        for title, cell in zip(block.header[1:], others, strict=True):
            yield f"{INDENT * 2}{title}: {_words(cell)}"


def _columns(block: TableBlock) -> Iterator[str]:
    """Columns side by side, numbers to the right."""
    rows = [[_words(cell, WIDEST) for cell in row] for row in block.rows]
    for line in table(rows, block.header, block.numbers):
        yield f"{INDENT}{line}"


def _words(cell: Cell, longest: int = LONGEST) -> str:
    note = f" ({cell.note})" if cell.note else ""
    more = f": {cell.more}" if cell.more else ""
    return short(visible(f"{cell.text}{note}{more}"), longest)
