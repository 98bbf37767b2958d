"""Simulated users: realistically hard, with labels drawn from a known probability.

Stages, one module each: `people` (seven overlapping types and hidden traits) → `history` (sessions,
carts and orders by count processes, so that sub-windows agree) and `profile` (marketing, account) →
`windows` and `columns` (the 38 features) → `truth` (the probability as a function of those columns
alone) → `label`. `climate` holds season, slow trend and drift: they change features, never `truth`.
With `weeks`, `panel` takes the place of `history`: users live on, and their orders follow the labels.
With a `campaign`, `uplift` shifts the probability of users who are contacted.

The user types are plausible guesses. Only `INTERCEPT`, `SCALE` and `INTERACTION_WEIGHT` in `truth`
were calibrated, to the targets below: 2.4 million users, seeds 0 - 9, default date, no drift.

| figure | target | measured |
|---|---|---|
| mean true probability | 0.180 ± 0.001 | 0.1800 |
| ROC-AUC of the truth | 0.855 - 0.865 | 0.8600 |
| best F1 of the truth | at least 0.58 | 0.593 |
| interactions, share of the variance of the log-odds | 0.05 - 0.10 | 0.078 |

Reproduced by `pytest tests/training/test_truth.py -m slow -k figures`.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from engine.errors import UsageError
from training.simulate.campaign import NO_LISTS, ContactLists
from training.simulate.climate import DEFAULT_DATE, climate
from training.simulate.columns import FEATURES, feature_frame
from training.simulate.history import WINDOWS, draw_events, draw_windows
from training.simulate.label import labelled
from training.simulate.panel import draw_panel
from training.simulate.people import FloatArray, IntArray, draw_kinds, draw_people
from training.simulate.profile import (
    draw_profile,
    marketing_columns,
    missing_values,
    profile_columns,
)
from training.simulate.truth import true_probability
from training.simulate.windows import window_columns

__all__ = ["BLOCK_ROWS", "SimulateOptions", "output_schema", "simulate", "true_probability"]

# Part of "same arguments, same bytes": random streams are keyed by (seed, chunk index).
BLOCK_ROWS = 60_000
YEARS = range(2000, 2101)


@dataclass(frozen=True, slots=True)
class SimulateOptions:
    """What to simulate.

    Attributes:
        rows: How many users; with `weeks`, how many at each date.
        seed: Of all draws.
        as_of: The snapshot date; with `weeks`, the last one.
        drift: 0 for none, 1 for a clearly visible shift. At one snapshot it is sudden; over weeks it
            grows in equal steps and reaches this strength at the last date.
        label: Whether to draw labels.
        truth: Whether to add the probability from which they are drawn, and with a campaign its effect.
        weeks: How many weekly snapshots of a panel; None for one snapshot of people drawn for it.
        campaign: Who is contacted. Up to its first date nothing changes but the labels of those users;
            the following weeks of a panel are drawn anew.
    """

    rows: int = 240_000
    seed: int = 7
    as_of: date = DEFAULT_DATE
    drift: float = 0.0
    label: bool = True
    truth: bool = False
    weeks: int | None = None
    campaign: ContactLists = NO_LISTS

    def __post_init__(self) -> None:
        for day in (self.as_of, self.dates[0]):
            if day.year not in YEARS:
                raise UsageError(
                    f"as_of: {day} is outside {YEARS[0]} to {YEARS[-1]}, the years that the trend covers. "
                    "Give a date in that range."
                )
        self.campaign.check_dates(self.dates)

    @property
    def dates(self) -> tuple[date, ...]:
        """The snapshot dates, rising."""
        return tuple(self.as_of - timedelta(weeks=n) for n in reversed(range(self.weeks or 1)))

    @property
    def total_rows(self) -> int:
        """The rows of all dates."""
        return self.rows * (self.weeks or 1)


def output_schema(options: SimulateOptions) -> dict[str, pl.DataType]:
    """The columns of every frame of `simulate`, in order."""
    schema: dict[str, pl.DataType] = {"user_id": pl.String(), "snapshot_date": pl.Date()}
    schema |= FEATURES
    if options.label:
        schema["purchased_next_7d"] = pl.Int8()
    if options.truth:
        schema["true_probability"] = pl.Float64()
        if options.campaign.contacts:
            schema["true_effect"] = pl.Float64()
    return schema


def simulate(options: SimulateOptions) -> Iterator[pl.DataFrame]:
    """Yield users in frames of at most `BLOCK_ROWS` rows.

    The first N users are the same for any number of rows. Without `weeks`, another date shows the same
    people, with their hidden traits, account and responses to marketing; visits, orders and labels are
    fresh. With `weeks`, users carry their history on; the frames come block of users by block, the weeks
    of each in order.

    Raises:
        InputError: After the last frame: a contact is with a user who was not simulated.
    """
    columns = output_schema(options).keys()
    found = Counter[date]()
    for frame in _frames(options):
        found[frame["snapshot_date"][0]] += int(frame["listed"].sum())
        yield frame.select(columns)
    options.campaign.check_found(found)


def _frames(options: SimulateOptions) -> Iterator[pl.DataFrame]:
    if options.weeks is None:
        for chunk, start in enumerate(range(0, options.rows, BLOCK_ROWS)):
            yield _chunk(options, chunk).head(options.rows - start)
    else:
        yield from draw_panel(
            options.rows,
            options.weeks,
            options.seed,
            options.as_of,
            options.drift,
            options.campaign,
        )


def _chunk(options: SimulateOptions, chunk: int) -> pl.DataFrame:
    # The date is part of this stream: otherwise the labels of two dates would be nearly the same.
    luck = _stream(options, chunk, 2, options.as_of.toordinal()).random(BLOCK_ROWS)
    account = 1 + chunk * BLOCK_ROWS + np.arange(BLOCK_ROWS)
    return labelled(_features(options, chunk), account, options.as_of, luck, options.campaign)


def _features(options: SimulateOptions, chunk: int) -> pl.DataFrame:
    rng = _stream(options, chunk, 0)
    people = draw_people(rng, draw_kinds(rng, BLOCK_ROWS))
    # Visits and orders use a date-dependent number of draws; the rest has streams of its own.
    rng = _stream(options, chunk, 1)
    shifts = climate(options.as_of, options.drift, WINDOWS)
    events = draw_events(rng, people, shifts)
    windows = draw_windows(rng, people, events, shifts.coupon)
    profile = draw_profile(_stream(options, chunk, 4), people)
    columns: dict[str, FloatArray | IntArray | pl.Series] = {
        **window_columns(windows),
        **marketing_columns(_stream(options, chunk, 3), people),
        **profile_columns(profile, people.account_days, windows.spend_365, shifts.app),
    }
    return feature_frame(columns, missing_values(_stream(options, chunk, 5), people))


def _stream(options: SimulateOptions, chunk: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(options.seed, spawn_key=(chunk, *key)))
