"""Snapshot dates that are errors, found without a clock.

The last date of a fit begins the version and decides which users are later. A wrong one, such as
9999-12-31 for "none", would make all later weeks too early.
"""

from datetime import date, timedelta
from typing import cast

import polars as pl

from engine.errors import InputError, pluralize
from engine.rows.rules import LATEST_DAY
from training.data.dataset import Dataset

MAX_GAP_DAYS = 731
"""Two years. Tables of one season a year have gaps of eleven months, of 23 if they miss a year."""

MAX_GAP_HORIZONS = 10
"""Tables with long horizons may have longer gaps: of yearly outcomes, ten years."""


def longest_gap(horizon_days: int) -> timedelta:
    """How far apart neighbouring snapshots may be; a date further off is an error."""
    return timedelta(days=max(MAX_GAP_DAYS, MAX_GAP_HORIZONS * horizon_days))


def dates_after_gaps(snapshots: pl.Series, horizon_days: int) -> pl.Series:
    """The dates that are too far from the one before, in order."""
    dates = snapshots.unique().sort()
    return dates.filter((dates.diff() > longest_gap(horizon_days)).fill_null(value=False))


def last_sound_date(snapshots: pl.Series, horizon_days: int) -> date | None:
    """The last date that `check_horizon` does not refuse; None if there is none.

    Fits of earlier versions took any date.
    """
    sound = snapshots.filter(snapshots < LATEST_DAY)
    after = dates_after_gaps(sound, horizon_days)
    if len(after):
        sound = sound.filter(sound < after[0])
    return cast("date | None", sound.max())


def check_horizon(dataset: Dataset) -> None:
    """Check that no snapshot is far from the others; a single date is compared with nothing.

    Raises:
        InputError: One is.
    """
    snapshots = dataset.snapshots
    if snapshots is None:
        return
    days = dataset.schema.horizon_days
    after = dates_after_gaps(snapshots, days)
    if not len(after):
        return
    sides = [snapshots.filter(snapshots < after[0]), snapshots.filter(snapshots >= after[0])]
    few, many = sorted(sides, key=len)
    raise InputError(
        f"training data: {_rows(few, dataset)} dated {_period(few)}, more than {longest_gap(days).days} days from "
        f"the others, of {_period(many)}. Correct the dates, leave these rows out, or fit to one of the "
        "two periods."
    )


def _rows(some: pl.Series, dataset: Dataset) -> str:
    return f"{pluralize(len(some), 'row')} of {dataset.rows:,}"


def _period(snapshots: pl.Series) -> str:
    # As text in Polars: its dates may lie beyond those of Python.
    first, last = snapshots.sort().cast(pl.String).gather([0, -1])
    return first if first == last else f"{first} to {last}"
