"""Wrong columns stop a run; wrong rows go to quarantine with their reasons."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

import polars as pl

from engine.bundle.schema import Feature, FeatureSchema
from engine.errors import InputError
from engine.rows.typed import TEXT_TYPES, Typed, to_typed

_WHOLE_TYPES = (
    *(pl.Int8, pl.Int16, pl.Int32, pl.Int64),
    *(pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64),
)
_NUMERIC_TYPES = (
    *(*_WHOLE_TYPES, pl.Float16, pl.Float32, pl.Float64, pl.Decimal, pl.Boolean, pl.Null),
    *TEXT_TYPES,
)
_CATEGORICAL_TYPES = (*TEXT_TYPES, pl.Null, pl.Boolean, *_WHOLE_TYPES)
MOST_DIGITS = 38
READABLE_TYPES = {"numeric": _NUMERIC_TYPES, "categorical": _CATEGORICAL_TYPES}
"""The column types from which a feature of each kind can be read."""

ID_TYPES = (*TEXT_TYPES, *_WHOLE_TYPES)
"""The column types from which an id can be read."""
_DATE_TYPES = (*TEXT_TYPES, pl.Date, pl.Null)
EARLIEST_DAY = date(2000, 1, 1)
"""An earlier snapshot is a default such as 1970-01-01, or has the wrong century."""
LATEST_DAY = date(2100, 1, 1)
"""A snapshot from here on stands for "none", as 9999-12-31 does; Python has no dates after that one."""


@dataclass(frozen=True, slots=True)
class RowSplit:
    """A chunk in two parts.

    Attributes:
        valid: Typed rows that can be scored, with `chunk_row` (from 0).
        rejected: Raw rows that cannot, with `chunk_row` and `reasons`.
        reasons: The number of rows that break each rule; a row may break several.
    """

    valid: pl.DataFrame
    rejected: pl.DataFrame
    reasons: dict[str, int]


def check_columns(schema: FeatureSchema, found: pl.Schema, where: str, bundle_id: str) -> None:
    """Check that every column the models need is there, in a type that can be read.

    Raises:
        InputError: Columns are missing or of a wrong type; all of them are named.
    """
    needed = {f.name: _types(f) for f in schema.model_features}
    if schema.id is not None:
        needed = {schema.id: (ID_TYPES, "a text or a whole number"), **needed}
    missing = [name for name in needed if name not in found]
    if missing:
        raise InputError.missing_columns(where, missing, found.names(), bundle_id, len(needed))
    if schema.snapshot is not None and schema.snapshot in found:
        needed[schema.snapshot] = (_DATE_TYPES, "a date without a time, as 2026-11-22")
    wrong = [
        (name, expected, str(found[name]))
        for name, (types, expected) in needed.items()
        if not is_readable(found[name], types)
    ]
    if wrong:
        raise InputError.wrong_types(where, wrong)


def check_same_keys(schema: FeatureSchema, tables: Iterable[tuple[str, pl.Schema]]) -> None:
    """Check that the key columns have the same type in all inputs, as the score file holds only one.

    Args:
        schema: The table that the bundle scores.
        tables: The name of each input and its columns.

    Raises:
        InputError: The ids differ in type, or only some inputs have the snapshot.
    """
    forms: dict[str, dict[str, str]] = {}
    for where, found in tables:
        if schema.id is not None:
            forms.setdefault(schema.id, {}).setdefault(str(found[schema.id]), where)
        if schema.snapshot is not None:
            # NOTE: some inputs may have text and others Date, because both become Date.
            form = "present" if schema.snapshot in found else "absent"
            forms.setdefault(schema.snapshot, {}).setdefault(form, where)
    for name, places in forms.items():
        if len(places) > 1:
            details = ", ".join(f"{form} in {where}" for form, where in places.items())
            raise InputError(
                f"column {name!r} differs between the inputs: {details}. "
                "Convert them to one form, or score them separately."
            )


def is_readable(found: pl.DataType, types: Iterable[type[pl.DataType]]) -> bool:
    """Whether a column of one type can be read as one of others.

    Oracle, Snowflake and the HUGEINT of DuckDB give whole numbers as decimals without a fraction. More
    digits than 38 are not decoded by Polars.
    """
    if isinstance(found, pl.Decimal):
        fits = (found.precision or 0) <= MOST_DIGITS
        return fits and (pl.Decimal in types or (found.scale == 0 and pl.Int64 in types))
    return found.base_type() in types


def _types(feature: Feature) -> tuple[tuple[type[pl.DataType], ...], str]:
    words = "a number" if feature.kind == "numeric" else "a text or a whole number"
    return READABLE_TYPES[feature.kind], words


def split_rows(
    raw: pl.DataFrame, schema: FeatureSchema, faults: Mapping[str, pl.Series] | None = None
) -> RowSplit:
    """Separate the rows that can be scored from those that break a rule; both keep their order.

    Args:
        raw: Rows as read.
        schema: The table that the bundle scores.
        faults: Further rules with the rows that break them; see `Chunk`.
    """
    typed = to_typed(raw, schema)
    violations = find_violations(typed, schema, faults)
    numbers = pl.int_range(raw.height, dtype=pl.Int64, eager=True).alias("chunk_row")
    raw, frame = raw.with_columns(numbers), typed.frame.with_columns(numbers)
    if not violations.width:
        return RowSplit(frame, raw.clear().with_columns(reasons=pl.lit("")), {})
    is_bad = violations.select(pl.any_horizontal(pl.all())).to_series()
    reasons = violations.select(
        pl.concat_str(
            [pl.when(pl.col(name)).then(pl.lit(name)) for name in violations.columns],
            separator=";",
            ignore_nulls=True,
        )
    ).to_series()
    return RowSplit(
        valid=frame.filter(~is_bad),
        rejected=raw.with_columns(reasons=reasons).filter(is_bad),
        reasons={name: int(violations[name].sum()) for name in violations.columns},
    )


def find_violations(
    typed: Typed, schema: FeatureSchema, faults: Mapping[str, pl.Series] | None = None
) -> pl.DataFrame:
    """Which rows break which rules: one Boolean column for each rule that a row breaks."""
    rules = suspected_rules(schema, typed, faults)
    found = typed.frame.select(
        rows.fill_null(value=False).alias(name) for name, rows in rules.items()
    )
    return found.select(column.name for column in found if column.any())


def suspected_rules(
    schema: FeatureSchema, typed: Typed, faults: Mapping[str, pl.Series] | None = None
) -> dict[str, pl.Expr]:
    """The rows that make a chunk unfit to be scored, by `column|rule`, true or null elsewhere.

    Most rules are not broken by any row. The smallest and the largest value of each column tell, in one
    pass over the rows, which ones may be; the others are left out.

    Args:
        schema: The table that the bundle scores.
        typed: Rows from `to_typed`.
        faults: Further rules with the rows that break them; see `Chunk`.
    """
    frame = typed.frame
    rules = {}
    if schema.id is not None and (missing := _missing_ids(frame[schema.id])).any():
        rules[f"{schema.id}|missing"] = pl.lit(missing)
    for name, rows in {**typed.faults, **(faults or {})}.items():
        rules[name] = pl.lit(rows)
    if schema.snapshot is not None and schema.snapshot in frame.columns:
        day = pl.col(schema.snapshot)
        rules[f"{schema.snapshot}|before_2000"] = day < EARLIEST_DAY
        rules[f"{schema.snapshot}|after_2099"] = day >= LATEST_DAY
    for feature in schema.model_features:
        values = frame[feature.name]
        if feature.kind == "numeric":
            rules |= _range_rules(feature, values)
        if feature.missing == "never" and values.null_count():
            unread = typed.faults.get(f"{feature.name}|not_a_number")
            missing = values.is_null() if unread is None else values.is_null() & ~unread
            rules[f"{feature.name}|missing"] = pl.lit(missing)
    return rules


def _missing_ids(ids: pl.Series) -> pl.Series:
    if ids.dtype.base_type() not in TEXT_TYPES:
        return ids.is_null()
    return (ids.cast(pl.String) == "").fill_null(value=True)


def _range_rules(feature: Feature, values: pl.Series) -> dict[str, pl.Expr]:
    low, high = values.min(), values.max()
    if not isinstance(low, float) or not isinstance(high, float):
        return {}
    value = pl.col(feature.name)
    rules = {}
    if math.isinf(low) or math.isinf(high):
        rules["not_finite"] = value.is_infinite()
    if feature.min is not None and low < feature.min:
        rules["below_min"] = (value < feature.min) & value.is_finite()
    if feature.max is not None and high > feature.max:
        rules["above_max"] = (value > feature.max) & value.is_finite()
    return {f"{feature.name}|{name}": rows for name, rows in rules.items()}
