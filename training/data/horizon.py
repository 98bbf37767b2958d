"""Snapshot dates that are errors, found without a clock.

The last date of a fit begins the version and decides which users are later. A wrong one, such as
9999-12-31 for "none", would make all later weeks too early.
"""

from datetime import date, timedelta

import polars as pl

from engine.errors import InputError, pluralize
from training.data.dataset import Dataset

LATEST_DAY = date(2100, 1, 1)
"""Later dates stand for "none": 9999-12-31, 2999-12-31, or 2262-04-11, the last of pandas. The
counterpart of `engine.rows.rules.EARLIEST_DAY`."""

MAX_GAP_DAYS = 731
"""Two years. Tables of one season a year have gaps of eleven months, of 23 if they miss a year."""

MAX_GAP_HORIZONS = 10
"""Tables with long horizons may have longer gaps: of yearly outcomes, ten years."""


def longest_gap(horizon_days: int) -> timedelta:
    """How far apart neighbouring snapshots may be; a date further off is an error."""
    return timedelta(days=max(MAX_GAP_DAYS, MAX_GAP_HORIZONS * horizon_days))


def check_horizon(dataset: Dataset) -> None:
    """Check that no snapshot is far from the others.

    A single date is compared with nothing but `LATEST_DAY`.

    Raises:
        InputError: One is.
    """
    snapshots = dataset.snapshots
    if snapshots is None:
        return
    late = snapshots.filter(snapshots >= LATEST_DAY)
    if len(late):
        raise InputError(
            f"training data: {_rows(late, dataset)} dated {_period(late)}, beyond {LATEST_DAY}: such "
            "dates stand for a missing one. Correct them in the job that makes the table, or leave "
            "these rows out."
        )
    dates = snapshots.unique().sort()
    limit = longest_gap(dataset.schema.horizon_days)
    after_gap = dates.filter((dates.diff() > limit).fill_null(value=False))
    if not len(after_gap):
        return
    sides = [
        snapshots.filter(snapshots < after_gap[0]),
        snapshots.filter(snapshots >= after_gap[0]),
    ]
    few, many = sorted(sides, key=len)
    raise InputError(
        f"training data: {_rows(few, dataset)} dated {_period(few)}, more than {limit.days} days from "
        f"the others, of {_period(many)}. Correct the dates, leave these rows out, or fit to one of the "
        "two periods."
    )


def _rows(some: pl.Series, dataset: Dataset) -> str:
    return f"{pluralize(len(some), 'row')} of {dataset.rows:,}"


def _period(snapshots: pl.Series) -> str:
    # As text in Polars: its dates may lie beyond those of Python.
    first, last = snapshots.sort().cast(pl.String).gather([0, -1])
    return first if first == last else f"{first} to {last}"
