"""Columns that are neither a measure nor a category: dates, ids and free text.

What a model learns from them is not true of tomorrow's users.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from engine.bundle.schema import Feature

FEWEST_VALUES = 100
"""Fewer values say nothing of what they are."""

DATE_VALUES = 1_000
"""Values that must all be dates; those of one table have one form."""

CHANCE_REPEATS = 20
"""Whole numbers are ids if no two are equal, though by chance so many pairs would be."""

SECONDS = (1_000_000_000, 2_200_000_000)
"""Since 1970: September 2001 to 2039."""

TEXT_WORDS = 5
"""Sentences have more words on average; names of categories have fewer."""

ISO_DATE = r"^\s*\d{4}-\d{2}-\d{2}"
OTHER_DATE = r"^\s*\d{1,2}[./-]\d{1,2}[./-]\d{2,4}\b"

DATES = "dates{}; turn them into a number of days"
IDS = "a different value in every row, like an id"
FREE_TEXT = "free text"


def disguised_features(typed: pl.DataFrame, features: Sequence[Feature]) -> tuple[str, ...]:
    """The features that no model can learn from, in sentences.

    Args:
        typed: Rows from `to_typed`.
        features: Of the models.
    """
    found = ((feature.title, disguise(typed[feature.name])) for feature in features)
    return tuple(f"{title} holds {what}." for title, what in found if what)


def disguise(values: pl.Series) -> str | None:
    """What a column holds if no model can learn from it, in words; else None.

    Args:
        values: Numbers or texts of rows in any order, null or NaN where missing.
    """
    known = values.drop_nulls()
    if len(known) < FEWEST_VALUES:
        return None
    return _texts(known) if known.dtype == pl.String else _numbers(known.drop_nans())


def _numbers(known: pl.Series) -> str | None:
    first = known.head(DATE_VALUES).cast(pl.Float64)
    if first.is_empty() or not (first == first.floor()).all():
        return None
    # NOTE: in float32, where 20260301 becomes 20260300, a day is exact to one.
    days = first.is_between(19000100, 21001232) & (first % 100 <= 32)
    months = first.is_between(190001, 210012) & (first % 100).is_between(1, 12)
    if (days & (first // 100 % 100).is_between(1, 12)).all():
        return DATES.format(" as numbers (yyyymmdd)")
    if months.all():
        return DATES.format(" as numbers (yyyymm)")
    for unit, size in (("seconds", 1), ("milliseconds", 1_000)):
        if first.is_between(SECONDS[0] * size, SECONDS[1] * size).all():
            return DATES.format(f" as {unit} since 1970")
    return IDS if _are_ids(known.cast(pl.Float64)) else None


def _are_ids(known: pl.Series) -> bool:
    values = known.to_numpy()
    width = float(values.max() - values.min()) + 1
    # Pairs of equal numbers among so many, drawn evenly from such a range.
    expected = len(values) ** 2 / (2 * width)
    if len(values) > width or expected < CHANCE_REPEATS:
        return False
    return bool((values == np.floor(values)).all()) and len(np.unique(values)) == len(values)


def _texts(known: pl.Series) -> str | None:
    first = known.head(DATE_VALUES)
    if first.str.contains(ISO_DATE).all() or first.str.contains(OTHER_DATE).all():
        return DATES.format(" as text")
    if first.str.count_matches(r"\S+").mean() >= TEXT_WORDS and 2 * first.n_unique() > len(first):  # type: ignore[operator]
        return FREE_TEXT
    return IDS if known.n_unique() == len(known) else None
