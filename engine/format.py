"""Text for people: names from outside made safe to show, numbers, and tables."""

import re
from collections.abc import Collection, Iterator, Sequence

SHOWN_NAME = 80
"""The most characters of a name that are shown."""

LARGE = 1e15
"""From here on numbers are shown in scientific notation."""

NO_UNITS = frozenset({"", "share", "ratio", "log ratio", "score"})
"""Units of the schema that are not shown after a number, as in `5.4 ratio`."""

NUMBERS = re.compile("(?:[-−+±\\d,.%–× \u202f]| to |few)*")
"""The text of a number in a column; `few` stands for a number that is not disclosed."""

_SPACES = "\u202f\u00a0"
"""Non-breaking spaces, which Python does not count as printable."""


def visible(text: str) -> str:
    """A text with invisible characters, and those that control a terminal, escaped."""
    return "".join(c if c.isprintable() or c in _SPACES else repr(c)[1:-1] for c in text)


def short(text: str, length: int) -> str:
    """A text cut to a length, ending with `…` if it was cut."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def shown_name(text: str) -> str:
    """A name on one line: invisible characters are escaped, and the rest cut to `SHOWN_NAME`."""
    # Cut first, because a name may be of any length and escapes are never shorter than the original.
    return short(visible(short(text, SHOWN_NAME + 1)), SHOWN_NAME)


def spoken_name(name: str) -> str:
    """The words that a name is made of: `TotalCharges` as `total charges`."""
    spaced = re.sub(r"[_\s]+", " ", name).strip()
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z]|\d\d)|(?<=\d)(?=[A-Z][a-z])", " ", spaced)
    if spaced.isupper() and re.search("[A-Z]{3}", spaced):
        return spaced.lower()
    return " ".join(w if w.isupper() and len(w) > 1 else w.lower() for w in spaced.split(" "))


def without_head(sentence: str, head: str) -> str:
    """`Head: rest` without its head, for use below that head: `Rest`."""
    rest = sentence.removeprefix(f"{head}: ")
    return rest[:1].upper() + rest[1:]


def plain_number(value: float) -> str:
    """A feature value with its significant digits: `1,500`, `2.25`, `1e+20`."""
    if abs(value) >= LARGE:
        return f"{value:.3g}"
    if value == int(value):
        return f"{value:,.0f}"
    if abs(value) >= 1:
        return f"{value:,.2f}".rstrip("0").rstrip(".")
    return f"{value:.3g}"


def table(
    rows: Sequence[Sequence[str]], head: Sequence[str] = (), numbers: Collection[int] | None = None
) -> Iterator[str]:
    """Rows as lines of aligned columns, numbers to the right.

    Args:
        rows: The cells of each row.
        head: The titles of the columns, if they have any.
        numbers: The columns of numbers; by default those whose cells all look like numbers.
    """
    columns = list(zip(*rows, strict=True)) or [()] * len(head)
    widths = [max(map(len, cells)) for cells in zip(*rows, *([head] if head else []), strict=True)]
    right = [
        all(map(NUMBERS.fullmatch, cells)) if numbers is None else column in numbers
        for column, cells in enumerate(columns)
    ]
    for row in (head, *rows) if head else rows:
        cells = (
            text.rjust(width) if is_right else text.ljust(width)
            for text, width, is_right in zip(row, widths, right, strict=True)
        )
        yield "  ".join(cells).rstrip()
