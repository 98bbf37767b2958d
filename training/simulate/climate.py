"""Shifts of the whole population: season, slow trend and sudden drift.

A date and a strength give shifts of log rates and log-odds, which `history` and `profile` apply. At
`DEFAULT_DATE` without drift, all shifts are exactly zero.
"""

import math
from dataclasses import dataclass
from datetime import date, timedelta

DEFAULT_DATE = date(2026, 11, 22)
DAYS_PER_YEAR = 365.25
PEAK_DAY_OF_YEAR = 340  # early December


@dataclass(frozen=True, slots=True)
class Climate:
    """Shifts of one snapshot; windows are those of `history.WINDOWS`, newest first."""

    sessions: tuple[float, ...]  # per window, log rate
    cart: float  # log-odds of a cart
    coupon: float  # log-odds of a discount or coupon in the last 90 days
    app: float  # log-odds of an app being the main device


def season(day: date) -> float:
    """The height of the season: near 1 in early December, near 0 in summer."""
    angle = 2.0 * math.pi * (day.timetuple().tm_yday - PEAK_DAY_OF_YEAR) / DAYS_PER_YEAR
    return math.exp(3.0 * (math.cos(angle) - 1.0))


def climate(as_of: date, drift: float, windows: tuple[tuple[int, int], ...]) -> Climate:
    """The shifts of a snapshot at `as_of` with a sudden shift of strength `drift`."""
    years = (as_of - DEFAULT_DATE).days / DAYS_PER_YEAR
    years = min(max(years, -10.0), 10.0)
    high = season(as_of) - season(DEFAULT_DATE)
    return Climate(
        sessions=tuple(
            0.25 * _season_change(as_of, (start + end) // 2)
            + 0.04 * years
            - (0.40 * drift if end <= 30 else 0.0)
            for start, end in windows
        ),
        cart=0.20 * high,
        coupon=0.35 * high + 0.05 * years + 1.20 * drift,
        app=0.06 * years + 0.90 * drift,
    )


def _season_change(as_of: date, days_ago: int) -> float:
    back = timedelta(days=days_ago)
    return season(as_of - back) - season(DEFAULT_DATE - back)
