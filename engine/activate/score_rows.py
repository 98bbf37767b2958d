"""Score files on their way into a list: whose they are, and their columns in one form.

In text formats every value is text; `typed_columns` gives the types of the score file.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from polars.selectors import by_name

from engine.bundle.schema import Feature, FeatureSchema
from engine.bundle.score_file import PROBABILITY, ScoreKeys
from engine.errors import NAMES_SHOWN, InputError, NoInputError, pluralize, quoted
from engine.inputs.chunks import read_frames
from engine.inputs.tables import Table
from engine.interruption import check_interrupted, in_background
from engine.rows.duplicates import find_repeated_keys, row_keys
from engine.rows.rules import check_columns
from engine.rows.typed import date_column

READ_ROWS = 262_144
BAND = "propensity_band"
IN_CONTROL = "in_control_group"
NEEDED = {
    PROBABILITY: "every list",
    IN_CONTROL: "every list, to leave the control group out",
    "bundle_id": "every list, to name the bundle that made the scores",
}
"""Columns that every score file has, with what needs them."""
TEXTS = (BAND, "segment_name", "bundle_id")
COLUMNS = (
    Feature(PROBABILITY, "numeric"),
    *(Feature(name, "categorical") for name in (IN_CONTROL, "segment_id", *TEXTS)),
)
"""Columns whose values decide something; others are only copied."""


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of one bundle and one date, a user at most once.

    Attributes:
        tables: The opened files.
        id: The id column.
        snapshot: The snapshot column, if there is one.
        bundle_id: The bundle that made them.
        snapshot_date: Their date as ISO text, if they have one.
    """

    tables: tuple[Table, ...]
    id: str
    snapshot: str | None
    bundle_id: str
    snapshot_date: str | None

    @property
    def names(self) -> str:
        """The files in messages."""
        return names_of(self.tables)

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return sum(table.rows for table in self.tables)

    def read(self, columns: Collection[str]) -> Iterator[pl.DataFrame]:
        """Read some columns of all rows, in order and typed."""
        for table in self.tables:
            types = typed_columns(table.columns, columns, self.snapshot)
            for frame in _frames(table, list(columns)):
                yield frame.with_columns(types)


def names_of(tables: Sequence[Table]) -> str:
    """Several files in messages."""
    return ", ".join(table.name for table in tables[:NAMES_SHOWN]) + (
        f" and {len(tables) - NAMES_SHOWN} more" if len(tables) > NAMES_SHOWN else ""
    )


def open_scores(tables: Sequence[Table], keys: ScoreKeys, needed: Mapping[str, str]) -> Scores:
    """Check that tables are score files of one bundle and one date, and that no user repeats.

    Args:
        tables: The opened inputs.
        keys: Those of the first.
        needed: Further columns, each with the option that needs it.

    Raises:
        InputError: A column is missing, of a wrong type or differs between files, ids are missing or
            repeat, or there is not one bundle and one date.
        NoInputError: There are no rows.
    """
    id_column, snapshot = keys.first, keys.snapshot
    wanted = {**dict.fromkeys(keys.names, "every list"), **NEEDED, **needed}
    _check_present(tables, wanted)
    for table in tables:
        _check_types(table, list(wanted), id_column, snapshot)
    _check_alike(tables, list(wanted), snapshot)
    if not any(table.rows for table in tables):
        raise NoInputError(f"{names_of(tables)}: no rows. Score users first.")
    bundle_id = _only_value(tables, "bundle_id", "bundle", snapshot)
    # Before the ids, which repeat where there are several dates.
    date = None if snapshot is None else _only_value(tables, snapshot, "snapshot date", snapshot)
    _check_ids(tables, id_column)
    return Scores(tuple(tables), id_column, snapshot, bundle_id, date)


def typed_columns(
    found: pl.Schema, columns: Collection[str], snapshot: str | None
) -> list[pl.Expr]:
    """The columns of a score file in its types, null where a text has no such value."""
    known = {
        PROBABILITY: pl.col(PROBABILITY).cast(pl.Float32, strict=False),
        IN_CONTROL: _boolean(IN_CONTROL),
        **{name: by_name(name).cast(pl.String) for name in TEXTS},
    }
    if snapshot is not None:
        known[snapshot] = date_column(snapshot, found[snapshot])
    texts = (pl.Categorical, pl.Enum)
    return [
        known.get(name, by_name(name).cast(pl.String))
        for name in columns
        if name in known or found[name].base_type() in texts
    ]


def _boolean(name: str) -> pl.Expr:
    text = pl.col(name).cast(pl.String).str.to_lowercase()
    values = {"true": True, "1": True, "false": False, "0": False}
    return text.replace_strict(values, default=None, return_dtype=pl.Boolean).alias(name)


def _frames(table: Table, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    for frame in read_frames(table, columns, READ_ROWS):
        check_interrupted()
        yield frame


def _check_present(tables: Sequence[Table], needed: Mapping[str, str]) -> None:
    for table in tables:
        absent = [name for name in needed if name not in table.columns]
        if absent:
            reasons = "; ".join(f"{name!r}, for {needed[name]}" for name in absent[:NAMES_SHOWN])
            raise InputError(
                f"{table.name}: {pluralize(len(absent), 'missing column')}: {reasons}. Give a file that "
                "'engine score' wrote, with any other column joined to it by the id."
            )


def _check_types(
    table: Table, columns: Collection[str], id_column: str, snapshot: str | None
) -> None:
    """Check that columns can be read, and that those which are only copied fit into any format."""
    features = tuple(column for column in COLUMNS if column.name in columns)
    schema = FeatureSchema("scores", features, id=id_column, snapshot=snapshot)
    check_columns(schema, table.columns, table.name, "a list")
    nested = [(n, "one value a row", str(t)) for n, t in table.columns.items() if t.is_nested()]
    wrong = [each for each in nested if each[0] in columns]
    if wrong:
        raise InputError.wrong_types(table.name, wrong)


def _check_alike(tables: Sequence[Table], columns: Collection[str], snapshot: str | None) -> None:
    """Check that columns have one type in all files."""

    def types(table: Table) -> pl.Schema:
        frame = pl.DataFrame(schema=table.columns).select(by_name(*columns))
        return frame.with_columns(typed_columns(table.columns, columns, snapshot)).schema

    first = types(tables[0])
    for table in tables[1:]:
        found = types(table)
        wrong = [(name, str(first[name]), str(found[name])) for name in columns]
        wrong = [each for each in wrong if each[1] != each[2]]
        if wrong:
            raise InputError.wrong_types(table.name, wrong)


def _only_value(tables: Sequence[Table], column: str, what: str, snapshot: str | None) -> str:
    """The one value of a column, as text."""
    found: set[str | None] = set()
    for table in tables:
        (value,) = typed_columns(table.columns, [column], snapshot)
        found |= set(_aggregate(table, value.cast(pl.String).unique()))
    names = sorted(text for text in found if text)
    if len(names) < len(found):
        raise InputError(
            f"{names_of(tables)}: rows without a {what} in column {column!r}. Give a file that 'engine "
            "score' wrote."
        )
    if len(names) > 1:
        raise InputError(
            f"{names_of(tables)}: scores of {pluralize(len(names), what)}: "
            f"{quoted(names)}; a list is made from one. Filter them, or make a list of each."
        )
    return names[0]


def _aggregate(table: Table, value: pl.Expr) -> list[Any]:
    """The values of an expression over all rows of a table."""
    frame = table.frame.select(value)
    with table.reading():
        return in_background(lambda: frame.collect(engine="streaming")).to_series().to_list()


def _check_ids(tables: Sequence[Table], id_column: str) -> None:
    """Check that every row has an id that no other row has."""
    # The only key: with the snapshot in it, a user of two nights would pass.
    schema = FeatureSchema("scores", (), id=id_column)

    text = by_name(id_column).cast(pl.String)
    is_missing = text.is_null() | (text == "").fill_null(value=False)
    missing = sum(_aggregate(table, is_missing.sum())[0] for table in tables)
    if missing:
        raise InputError(
            f"{names_of(tables)}: {pluralize(missing, 'row')} without a value in the "
            f"id column {id_column!r}. Remove them, or give a file that 'engine score' wrote."
        )

    def keys() -> Iterator[pl.DataFrame]:
        for table in tables:
            yield from _frames(table, [id_column])

    repeated = find_repeated_keys(keys, schema, sum(table.rows for table in tables))
    if len(repeated.hashes):
        is_repeated = [repeated.find(row_keys(frame, schema)) == 0 for frame in keys()]
        rows = np.flatnonzero(np.concatenate(is_repeated))
        raise InputError(
            f"{names_of(tables)}: {pluralize(len(repeated.hashes), 'id')} more than "
            f"once in column {id_column!r}, one of them in {_places(tables, rows)}. A list holds a user "
            "once: leave one row of each."
        )


def _places(tables: Sequence[Table], rows: np.ndarray) -> str:
    starts = np.cumsum([0, *(table.rows for table in tables)])
    found = np.searchsorted(starts, rows[:NAMES_SHOWN], side="right") - 1
    places = zip(found, rows, strict=False)
    return ", ".join(f"row {row - starts[n] + 1:,} of {tables[n].name}" for n, row in places)
