"""Numbers and names as people read them."""

import math
import re
from collections.abc import Sequence
from typing import Any

from engine.bundle.manifest import BANDS
from engine.format import LARGE, NO_UNITS, short, visible

UNKNOWN = "–"
EVERYBODY = "All users"
"""In place of the name of a segment."""
THIN = "\u202f"
"""A narrow no-break space, between a number and its unit."""

LONGEST = 600
"""Twice the longest sentence of a report; only foreign names can be longer."""


def shown(text: str) -> str:
    """A text, cut, without invisible or direction-changing characters."""
    return visible(short(text, LONGEST))


def percent(share: Any, decimals: int = 1) -> str:  # noqa: ANN401 - a JSON value
    """A share as `18.0 %`."""
    return UNKNOWN if share is None else f"{100 * share:.{decimals}f}{THIN}%"


def whole_percent(share: Any) -> str:  # noqa: ANN401
    """A share as `18 %`."""
    return percent(share, 0)


def points(share: Any) -> str:  # noqa: ANN401
    """A difference of shares in percentage points, signed."""
    return UNKNOWN if share is None else signed(100 * share, 1)


def signed(number: float, decimals: int) -> str:
    """A difference with its sign, with a true minus."""
    # Adding 0 makes -0 and 0 the same.
    return f"{round(number, decimals) + 0.0:+.{decimals}f}".replace("-", "−")


def count(number: Any) -> str:  # noqa: ANN401
    """A number of things as `12,345`."""
    return UNKNOWN if number is None else f"{number:,.0f}"


def people(users: Any, rows: Any) -> str:  # noqa: ANN401
    """The number of users, and of rows where users have several; rows alone if users are unknown."""
    if users is None:
        return f"{count(rows)} rows"
    return f"{count(users)} users" + ("" if rows in (users, None) else f", {count(rows)} rows")


def decimal(number: Any, decimals: int = 3) -> str:  # noqa: ANN401
    """A number with fixed decimals and a true minus sign."""
    # Adding 0 makes -0 and 0 the same.
    return (
        UNKNOWN
        if number is None
        else f"{round(number, decimals) + 0.0:,.{decimals}f}".replace("-", "−")
    )


def times(number: Any) -> str:  # noqa: ANN401
    """A factor as `2.1 ×`."""
    return UNKNOWN if number is None else f"{number:,.1f}{THIN}×"


def odds(impact: float) -> str:
    """An impact in log-odds as a factor on the odds: `× 2.1`."""
    factor = math.exp(min(impact, 20.0))
    return f"×{THIN}{factor:,.2f}" if factor < 9.95 else f"×{THIN}{factor:,.0f}"


def interval(bounds: Sequence[float] | None, decimals: int = 3, scale: float = 1) -> str:
    """An interval as `0.826 to 0.840`; empty if there is none."""
    if not bounds or None in bounds:
        return ""
    low, high = (decimal(scale * bound, decimals) for bound in bounds)
    return f"{low} to {high}"


def percent_interval(bounds: Sequence[float] | None) -> str:
    """An interval of a share as `12.3 to 14.1 %`; empty if there is none."""
    words = interval(bounds, 1, 100)
    return f"{words}{THIN}%" if words else ""


def plain(number: Any) -> str:  # noqa: ANN401
    """A value of a feature, with the digits that matter."""
    if number is None:
        return UNKNOWN
    size = abs(number)
    if size >= LARGE:
        return f"{number:.3g}".replace("-", "−")
    if number == int(number):
        return f"{number:,.0f}".replace("-", "−")
    decimals = 0 if size >= 100 else 1 if size >= 10 else 2
    return f"{number:,.{decimals}f}".replace("-", "−") if size >= 0.01 else f"{number:.1g}"


def says(label: str, unit: str) -> bool:
    """Whether a label names a unit, as a word of its own."""
    return re.search(rf"(?<!\w){re.escape(unit)}(?!\w)", label, re.IGNORECASE) is not None


def unit_beside(label: str, unit: str) -> str:
    """The unit to show beside a labelled number; "" if there is none or the label names it."""
    return "" if unit in NO_UNITS or says(label, unit) else unit


def listed(names: Sequence[str]) -> str:
    """Names as `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def sentence(text: str) -> str:
    """A text that begins with a capital and ends with a full stop."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text[-1:] in (".", "!", "?", "") else ".")


BAND_WORDS = {"low": "Low", "medium": "Medium", "high": "High", "very_high": "Very high"}


def bands_words(bands: Sequence[str]) -> str:
    """Neighbouring bands that were measured together, as `High and above`."""
    first, last = BAND_WORDS[bands[0]], BAND_WORDS[bands[-1]]
    ends = (bands[0] == BANDS[0], bands[-1] == BANDS[-1])
    if len(bands) == 1:
        return first
    if all(ends):
        return "All bands"
    if any(ends):
        return f"{last} and below" if ends[0] else f"{first} and above"
    return f"{first} to {last.lower()}"


def span(numbers: Sequence[int]) -> str:
    """Consecutive numbers as `9–10`."""
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}–{numbers[-1]}"
