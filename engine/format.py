"""Text for people: names from outside made safe to show, numbers, and tables."""

import re
from collections.abc import Iterator, Sequence

SHOWN_NAME = 80
"""So many characters of a name are shown."""

LARGE = 1e15
"""Of a number from here on nobody reads all digits."""

NO_UNITS = frozenset({"", "share", "ratio", "log ratio", "score"})
"""What a schema calls the unit of a number that counts nothing: nobody says `5.4 ratio`."""

NUMBERS = re.compile("(?:[-−+±\\d,.%–× \u202f]| to |few)*")
"""What a column of numbers holds; `few` stands for a number that is not disclosed."""

_SPACES = "\u202f\u00a0"
"""Spaces that no line breaks at; Python does not count them as printable."""


def visible(text: str) -> str:
    """A text without characters that cannot be seen or that move a terminal or other texts."""
    return "".join(c if c.isprintable() or c in _SPACES else repr(c)[1:-1] for c in text)


def short(text: str, length: int) -> str:
    """A text cut to a length, the cut marked."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def shown_name(text: str) -> str:
    """A name on one line: what cannot be seen escaped, then cut to `SHOWN_NAME`."""
    # Cut before too: a name may be of any length, and an escape is never shorter than what it stands for.
    return short(visible(short(text, SHOWN_NAME + 1)), SHOWN_NAME)


def without_head(sentence: str, head: str) -> str:
    """What `Head: rest` says where the head stands above it: `Rest`."""
    rest = sentence.removeprefix(f"{head}: ")
    return rest[:1].upper() + rest[1:]


def plain_number(value: float) -> str:
    """A value of a feature with the digits that tell something: `1,500`, `2.25`, `1e+20`."""
    if abs(value) >= LARGE:
        return f"{value:.3g}"
    if value == int(value):
        return f"{value:,.0f}"
    if abs(value) >= 1:
        return f"{value:,.2f}".rstrip("0").rstrip(".")
    return f"{value:.3g}"


def table(rows: Sequence[Sequence[str]], head: Sequence[str] = ()) -> Iterator[str]:
    """Rows as lines of aligned columns; a column that holds only numbers is aligned right."""
    columns = list(zip(*rows, strict=True))
    widths = [max(map(len, cells)) for cells in zip(*rows, *([head] if head else []), strict=True)]
    right = [all(NUMBERS.fullmatch(cell) for cell in cells) for cells in columns]
    for row in (head, *rows) if head else rows:
        cells = (
            text.rjust(width) if is_right else text.ljust(width)
            for text, width, is_right in zip(row, widths, right, strict=True)
        )
        yield "  ".join(cells).rstrip()
