"""Which columns are the label, the id and the snapshot date, and why."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import polars as pl

from engine.bundle.schema import FeatureSchema
from engine.errors import pluralize, quoted
from engine.inputs.chunks import read_frames
from engine.inputs.tables import Table
from engine.options import CHUNK_ROWS
from engine.rows.duplicates import find_repeated_keys
from engine.rows.rules import READABLE_TYPES, is_readable
from training.metrics.disclosure import MIN_USERS
from training.schema.disguise import IDS, ISO_DATE, disguise
from training.schema.survey import Column, Survey
from training.schema.words import ID_WORDS, OUTCOME_WORDS, SNAPSHOT_WORDS, name_words

ID_ENDINGS = ("id", "uuid", "guid")
DISTINCT_SHARE = 0.5
"""An id has at least so many different values a row; a store's number, named so too, has fewer."""

_HORIZON = re.compile(r"(?:next|within|in)_?(\d{1,3})_?d(?:ays?)?(?:_|$)")


@dataclass(frozen=True, slots=True)
class Role:
    """A column for one purpose, or None if none was found, and the reason in a sentence."""

    column: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Roles:
    """The columns of a table that are no features.

    Attributes:
        label: The outcome.
        id: The user.
        snapshot: The date of a row.
        horizon_days: How far the label looks ahead; 0 if its name does not say so.
        repeated_id: A column that is named like an id but does not tell rows apart.
    """

    label: Role
    id: Role
    snapshot: Role
    horizon_days: int = 0
    repeated_id: str | None = None

    @property
    def taken(self) -> tuple[str, ...]:
        """All columns that are no features."""
        found = (self.label.column, self.id.column, self.snapshot.column, self.repeated_id)
        return tuple(name for name in found if name is not None)


def guess_roles(survey: Survey, tables: Sequence[Table]) -> Roles:
    """Guess the label, the id and the snapshot.

    Args:
        survey: The table.
        tables: The same table, still open: whether ids repeat is asked of all rows.
    """
    label, snapshot = _label(survey), _snapshot(survey)
    horizon = _HORIZON.search(label.column or "")
    candidate = _id_candidate(survey, snapshot.column, label.column)
    days = int(horizon[1]) if horizon else 0
    if candidate is None:
        none = "No column tells users apart, so scores name row numbers."
        return Roles(label, Role(None, none), snapshot, days)
    repeated = _repeated_keys(survey, tables, candidate, snapshot.column)
    if not repeated:
        reason = f"A different value in every row{' of a date' if snapshot.column else ''}."
        return Roles(label, Role(candidate, reason), snapshot, days)
    reason = (
        f"{quoted([candidate])} is named like an id, but {pluralize(repeated, 'value')} of it occur in "
        "several rows. A row must be one user, or one user at one snapshot date."
    )
    return Roles(label, Role(None, reason), snapshot, days, candidate)


def _label(survey: Survey) -> Role:
    outcomes = [column.name for column in survey.columns if _is_outcome(column)]
    last = survey.sample.columns[-1]
    named = [name for name in outcomes if OUTCOME_WORDS.intersection(name_words(name))]
    chosen = [*named, *(name for name in outcomes if name == last)]
    if not chosen:
        found = f"; {quoted(outcomes)} hold 0 and 1" if outcomes else ""
        return Role(
            None, f"No column is clearly the outcome{found}. Training needs one of 0 and 1."
        )
    label = named[-1] if named else last
    how = "is named like an outcome" if named else "is the last column"
    others = [name for name in outcomes if name != label]
    also = f" Other columns of 0 and 1: {quoted(others)}." if others else ""
    return Role(label, f"It holds 0 and 1 and {how}.{also}")


def _is_outcome(column: Column) -> bool:
    return (column.low, column.high, column.whole) == (0, 1, True) and not (
        column.not_numbers or column.infinite
    )


def _snapshot(survey: Survey) -> Role:
    texts = [
        column.name
        for column in survey.columns
        if column.dtype == pl.String
        and column.not_numbers
        and _is_plain_date(survey.sample[column.name])
    ]
    for name in [*survey.dates, *texts]:
        words = name_words(name)
        dates = survey.sample[name].n_unique()
        is_named = "snapshot" in words or (len(words) == 1 and words[0] in SNAPSHOT_WORDS)
        if (is_named or dates == 1) and dates * MIN_USERS <= survey.sample.height:
            return Role(name, f"It holds {pluralize(dates, 'date')} for all rows.")
    return Role(None, "No column holds the date of a row.")


def _is_plain_date(texts: pl.Series) -> bool:
    return texts.str.contains(f"{ISO_DATE}$").all()


def _id_candidate(survey: Survey, snapshot: str | None, label: str | None) -> str | None:
    columns = [
        column.name
        for column in survey.columns
        if column.name not in (snapshot, label)
        and not column.blank
        and is_readable(column.dtype, READABLE_TYPES["categorical"])
        and column.dtype not in (pl.Boolean, pl.Null)
    ]
    for name in columns:
        words = name_words(name)
        is_named = words and (words[-1] in ID_ENDINGS or (len(words) == 1 and words[0] in ID_WORDS))
        if is_named and _distinct_share(survey, name, snapshot) >= DISTINCT_SHARE:
            return name
    first = columns[0] if columns else None
    if first == survey.sample.columns[0] and disguise(survey.sample[first]) == IDS:
        return first
    return None


def _distinct_share(survey: Survey, name: str, snapshot: str | None) -> float:
    keys = survey.sample.select(name, *([snapshot] if snapshot else []))
    return keys.n_unique() / max(keys.height, 1)


def _repeated_keys(survey: Survey, tables: Sequence[Table], name: str, snapshot: str | None) -> int:
    keys = FeatureSchema("keys", (), id=name, snapshot=snapshot)
    columns = [name, *([snapshot] if snapshot else [])]
    read = partial(_read_columns, tables, columns)
    return len(find_repeated_keys(read, keys, survey.rows).hashes)


def _read_columns(tables: Sequence[Table], columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    for table in tables:
        yield from read_frames(table, columns, CHUNK_ROWS)
