"""One column to a feature: its kind, range, marks of missing values and order, and what is doubtful."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from engine.bundle.schema import Feature, Kind
from engine.errors import pluralize
from engine.pages.format import sentence
from engine.rows.rules import READABLE_TYPES, is_readable
from engine.rows.typed import SPACES
from training.metrics.disclosure import MIN_USERS
from training.schema.disguise import disguise
from training.schema.survey import MISSING_MARKS, NUMBER_MARKS, Column
from training.schema.words import (
    CODE_WORDS,
    SHARE_WORDS,
    guessed_group,
    guessed_label,
    guessed_unit,
    name_words,
)

NUMBER_SHARE = 0.99
"""A column is one of numbers if so many of its values are; the other rows are set aside."""

NEVER_MISSING_ROWS = 1_000
"""In fewer rows, a value that is never missing may be one that is rarely missing."""

ROOM = 2
"""How many times as far from 0 as any value the range ends, before it is rounded up."""

FEW_CODES = 20
MANY_VALUES = 1_000
RARE_SHARE = 0.5
MOSTLY_MISSING = 0.95
FAR = 10
"""A mark such as 999 is so many times the largest other number."""

MARKS_NOTE = "missing_texts are taken as missing. Delete those that are values."

_COUNT_WORDS = frozenset(("num", "number", "count"))
_NINES = re.compile(r"-?9{3,}")
_OTHER_NUMBER = r"^[-+€$£\s]*\d[\d.,'’\s]*[\s%€$£]*$"
_LEADING_NUMBER = r"\W*(\d{1,15})(?:\W|$)"
_SCALES = (
    ("none", "bronze", "silver", "gold", "platinum", "diamond"),
    ("none", "very low", "low", "medium", "mid", "middle", "high", "very high"),
    ("xxs", "xs", "s", "m", "l", "xl", "xxl"),
    ("tiny", "small", "medium", "large", "huge"),
    ("never", "rarely", "sometimes", "often", "always"),
)

Users = Callable[[pl.Series], int]
"""The number of users among some rows of the sample: Boolean [rows]."""


@dataclass(frozen=True, slots=True)
class Guess:
    """A feature as far as its values show it.

    Attributes:
        feature: As it goes into the schema.
        notes: Questions to its owner, in sentences.
        faults: What looks wrong, in sentences.
        left_out: Whether it is no feature at all: the schema only mentions it.
    """

    feature: Feature
    notes: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    left_out: bool = False

    def wrong(self, fault: str) -> "Guess":
        """The same feature, kept out of the models."""
        feature = replace(self.feature, use=False)
        return replace(self, feature=feature, faults=(*self.faults, fault))


def guess_feature(column: Column, raw: pl.Series, users: Users) -> Guess:
    """Guess what one column is.

    Args:
        column: What all rows say of it.
        raw: Its values in the sample, as read.
        users: Counts the users among rows of the sample.
    """
    filled = column.rows - column.missing(NUMBER_MARKS)
    is_number = column.not_numbers <= (1 - NUMBER_SHARE) * filled
    guess = _number(column, raw, users) if is_number else _category(column, raw, users)
    share = column.missing(guess.feature.missing_texts) / column.rows
    if share >= MOSTLY_MISSING and filled:
        return replace(guess, faults=(*guess.faults, f"{share:.0%} of the values are missing."))
    return guess


def left_out(name: str, reason: str) -> Guess:
    """A column that is no feature."""
    return Guess(Feature(name, "categorical"), faults=(reason,), left_out=True)


def _as_numbers(raw: pl.Series) -> pl.Series:
    """Values as Float64, null where they are none."""
    texts = raw.dtype in (pl.String, pl.Categorical, pl.Enum)
    plain = raw.cast(pl.String).str.strip_chars(SPACES) if texts else raw
    return plain.cast(pl.Float64, strict=False).fill_nan(None)


def _number(column: Column, raw: pl.Series, users: Users) -> Guess:
    values = _as_numbers(raw)
    different = np.unique(values.drop_nulls().to_numpy())
    if what := disguise(values):
        return left_out(column.name, sentence(f"holds {what}"))
    marks = [mark for mark in NUMBER_MARKS if mark in column.marks]
    notes = [MARKS_NOTE] if marks else []
    lowest = column.low or 0.0
    below, above = _marks_of_nines(values, different, users)
    if below:
        marks.append(below)
        notes.append(
            f"{below} is taken as missing: no other number is below 0, and it is frequent."
        )
        lowest = 0.0
    if above:
        notes.append(f"If {above} means missing, add it to missing_texts and lower max.")
    faults = [
        f"{pluralize(rows, 'row')} with {what}: scoring sets such rows aside."
        for rows, what in (
            (column.not_numbers, "a text that is no number"),
            (column.infinite, "an infinite number, or one beyond float32"),
        )
        if rows
    ]
    kind, question = _code_or_measure(column, len(different))
    feature = replace(_named(column.name, kind), missing_texts=tuple(marks))
    if kind == "numeric":
        low, high = _room(column, lowest)
        is_share = (low, high) == (0, 1) and not column.whole
        unit = "share" if is_share else "" if (low, high) == (0, 1) else guessed_unit(column.name)
        feature = replace(feature, min=low, max=high, unit=unit)
    return Guess(_with_missing(feature, column), (*notes, *question), tuple(faults))


def _code_or_measure(column: Column, different: int) -> tuple[Kind, tuple[str, ...]]:
    """The kind of a column of numbers, and the question that its owner may be asked."""
    low, high = column.low or 0.0, column.high or 0.0
    if not column.whole or low < 0 or different < 2 or (low, high) == (0, 1):
        return "numeric", ()
    words = name_words(column.name)
    is_code = CODE_WORDS.intersection(words) and not _COUNT_WORDS.intersection(words)
    if is_code and is_readable(column.dtype, READABLE_TYPES["categorical"]):
        return "categorical", (
            'Taken as codes of categories because of its name. If larger means more, make it "numeric".',
        )
    if is_code or (low >= 1 and different <= FEW_CODES):
        return "numeric", (
            f"{different} different whole numbers. If they are codes of categories, make it "
            '"categorical" and drop min and max'
            + (", and write whole numbers or texts in the table." if is_code else "."),
        )
    return "numeric", ()


def _room(column: Column, lowest: float) -> tuple[float | None, float | None]:
    """A range with room for other users; none if no number is finite."""
    if column.low is None or column.high is None:
        return None, None
    is_share = SHARE_WORDS.intersection(name_words(column.name)) or column.high > 0.5
    if lowest >= 0 and column.high <= 1 and (is_share or column.whole):
        return 0, 1
    low = 0 if lowest >= 0 else -_rounded_up(-ROOM * lowest)
    return low, 0 if column.high <= 0 else _rounded_up(ROOM * column.high)


def _rounded_up(number: float) -> float:
    """The next of 1, 2 and 5 times a power of ten; so a range ends at no user's value."""
    power = math.floor(math.log10(number))
    steps = (float(f"{digit}e{power + more}") for more in (0, 1) for digit in (1, 2, 5))
    found = next(step for step in steps if step >= number)
    return int(found) if found.is_integer() and found < 1e15 else found


def _marks_of_nines(
    values: pl.Series, different: np.ndarray, users: Users
) -> tuple[str | None, str | None]:
    """Marks such as -999 below numbers that are never negative, and 9999 far above all others."""

    def mark(end: float) -> str | None:
        rows = (values == end).fill_null(value=False)
        text = f"{end:.15g}"
        return text if _NINES.fullmatch(text) and users(rows) >= MIN_USERS else None

    if len(different) < 2:
        return None, None
    lowest, second = different[:2]
    is_far = different[-1] >= FAR * max(different[-2], 1)
    return (
        mark(lowest) if lowest < 0 <= second else None,
        mark(different[-1]) if is_far else None,
    )


def _category(column: Column, raw: pl.Series, users: Users) -> Guess:
    marks = tuple(mark for mark in MISSING_MARKS if mark in column.marks)
    texts = raw.cast(pl.String)
    known = texts.filter(~texts.is_in(marks) & (texts.str.strip_chars(SPACES) != ""))
    if what := disguise(known):
        return left_out(column.name, sentence(f"holds {what}"))
    different = known.n_unique()
    if different > MIN_USERS and known.str.contains(_OTHER_NUMBER).all():
        return left_out(
            column.name,
            "Looks like numbers with units or other marks, such as 1,234 or 5 %. Write plain numbers.",
        )
    common = _common_share(known, MIN_USERS * len(raw) / column.rows)
    many = f"{different:,} or more values"
    if different > MANY_VALUES and common < RARE_SHARE:
        return left_out(
            column.name,
            f"{many}, most of them rare: a model learns only values of at least {MIN_USERS} users. Group "
            "them.",
        )
    faults = [f"{many}. Those of fewer than {MIN_USERS} users in training count as missing."]
    feature, question = _with_order(
        replace(_named(column.name, "categorical"), missing_texts=marks),
        known.unique(),
        texts,
        users,
    )
    return Guess(
        _with_missing(feature, column),
        (*([MARKS_NOTE] if marks else []), *question),
        tuple(faults if different > MANY_VALUES else []),
    )


def _common_share(known: pl.Series, least: float) -> float:
    """The share of the rows whose value at least so many rows have."""
    rows = known.value_counts()["count"]
    return float(rows.filter(rows >= least).sum() / max(len(known), 1))


def _with_order(
    feature: Feature, different: pl.Series, texts: pl.Series, users: Users
) -> tuple[Feature, tuple[str, ...]]:
    """The feature with those of its values that enough users have, if they are steps of a scale."""
    order = _ordered(different.sort().to_list()) if len(different) <= FEW_CODES else ()
    shown = tuple(
        text for text in order if users((texts == text).fill_null(value=False)) >= MIN_USERS
    )
    if len(shown) < 2:
        return feature, ()
    rare = len(order) - len(shown)
    left = f" {pluralize(rare, 'rare value')} not listed: missing to the model." if rare else ""
    return replace(feature, ordered=True, values=shown), (f"Is this the order?{left}",)


def _ordered(values: list[str]) -> tuple[str, ...]:
    """The values in order, if they are steps of a scale; empty if they are not."""
    if len(values) < 2:
        return ()
    plain = {value.strip().lower(): value for value in values}
    for scale in _SCALES:
        if len(plain) == len(values) and set(plain) <= set(scale):
            return tuple(plain[step] for step in scale if step in plain)
    numbers = {found[1]: value for value in values if (found := re.match(_LEADING_NUMBER, value))}
    if len(numbers) < len(values):
        return ()
    return tuple(numbers[number] for number in sorted(numbers, key=int))


def _named(name: str, kind: Kind) -> Feature:
    return Feature(name, kind, group=guessed_group(name), label=guessed_label(name))


def _with_missing(feature: Feature, column: Column) -> Feature:
    never = not column.missing(feature.missing_texts) and column.rows >= NEVER_MISSING_ROWS
    return replace(feature, missing="never") if never else feature
