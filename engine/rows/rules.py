"""Wrong columns stop a run; wrong rows are set aside with their reasons."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from engine.bundle.schema import Feature, FeatureSchema
from engine.errors import InputError

_NUMERIC_TYPES = (
    *(pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64),
    *(pl.Float32, pl.Float64, pl.Decimal, pl.Boolean, pl.String, pl.Null),
)
_CATEGORICAL_TYPES = (
    *(pl.String, pl.Categorical, pl.Enum, pl.Null, pl.Boolean),
    *(pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64),
)
READABLE_TYPES = {"numeric": _NUMERIC_TYPES, "categorical": _CATEGORICAL_TYPES}
"""The types in which a feature of each kind may come."""

_ID_TYPES = tuple(t for t in _CATEGORICAL_TYPES if t not in (pl.Null, pl.Boolean))
_TEXT_TYPES = (pl.String, pl.Categorical, pl.Enum)
_DATE_TYPES = (pl.Date, pl.String, pl.Null)
EARLIEST_DAY = date(2000, 1, 1)
"""A day before it is a default that stands for no day, as 1970-01-01, or a wrong century."""
_MARKS = ("|not_a_number", "|not_a_date", "|too_short")


@dataclass(frozen=True, slots=True)
class Rule:
    """What makes a row unfit to be scored.

    Attributes:
        mark: True for each row that the rule catches, else false.
        alarm: True for a chunk in which it may catch a row; much cheaper than to ask every row.
    """

    mark: pl.Expr
    alarm: pl.Expr


@dataclass(frozen=True, slots=True)
class FindRepeats:
    """What makes a row unfit because of other rows.

    Attributes:
        name: The name of the rule.
        find: Marks those of some typed rows whose key came before.
    """

    name: str
    find: Callable[[pl.DataFrame], pl.Series]


@dataclass(frozen=True, slots=True)
class RowSplit:
    """A chunk in two parts.

    Attributes:
        valid: Typed rows that can be scored, with `chunk_row` (from 0).
        rejected: Raw rows that cannot, with `chunk_row` and `reasons`.
        reasons: How many rows each rule caught; a row may be caught by several.
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
        needed = {schema.id: (_ID_TYPES, "a text or a whole number"), **needed}
    missing = [name for name in needed if name not in found]
    if missing:
        raise InputError.missing_columns(where, missing, found.names(), bundle_id, len(needed))
    if schema.snapshot is not None and schema.snapshot in found:
        needed[schema.snapshot] = (_DATE_TYPES, "a date without a time, as 2026-11-22")
    wrong = [
        (name, expected, str(found[name]))
        for name, (types, expected) in needed.items()
        if found[name].base_type() not in types
    ]
    if wrong:
        raise InputError.wrong_types(where, wrong)


def check_same_keys(schema: FeatureSchema, tables: Iterable[tuple[str, pl.Schema]]) -> None:
    """Check that all inputs have the key columns in one form, as the score file can hold only one.

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
            # NOTE: text and Date may stand side by side: both become Date.
            form = "present" if schema.snapshot in found else "absent"
            forms.setdefault(schema.snapshot, {}).setdefault(form, where)
    for name, places in forms.items():
        if len(places) > 1:
            raise InputError.different_inputs(name, places)


def row_rules(schema: FeatureSchema, typed: pl.Schema) -> dict[str, Rule]:
    """What makes a row unfit to be scored, named `column|rule`.

    Args:
        schema: The table that the bundle scores.
        typed: The columns that `tensors.to_typed` gives.
    """
    rules = {}
    if schema.id is not None:
        id_column = pl.col(schema.id)
        is_text = typed[schema.id].base_type() in _TEXT_TYPES
        empty = id_column.cast(pl.String) == "" if is_text else pl.lit(value=False)
        missing = id_column.is_null() | empty.fill_null(value=False)
        rules[f"{schema.id}|missing"] = Rule(missing, missing.any())
    rules |= {
        name: Rule(pl.col(name).fill_null(value=False), pl.col(name).any())
        for name in typed
        if name.endswith(_MARKS)
    }
    if schema.snapshot is not None and schema.snapshot in typed:
        day = pl.col(schema.snapshot)
        early = (day < EARLIEST_DAY).fill_null(value=False)
        rules[f"{schema.snapshot}|before_2000"] = Rule(early, day.min() < EARLIEST_DAY)
    for feature in schema.model_features:
        rules |= _feature_rules(feature, f"{feature.name}|not_a_number" in typed)
    return rules


def split_rows(
    raw: pl.DataFrame,
    typed: pl.DataFrame,
    rules: dict[str, Rule],
    find_repeats: FindRepeats | None = None,
) -> RowSplit:
    """Set aside the rows that a rule catches or that repeat a key, order kept on both sides.

    Args:
        raw: A chunk as read.
        typed: The same rows through `tensors.to_typed`.
        rules: What `row_rules` gives.
        find_repeats: Asked last, and only of rows that no rule catches.
    """
    numbers = pl.int_range(raw.height, dtype=pl.Int64, eager=True).alias("chunk_row")
    raw, typed = raw.with_columns(numbers), typed.with_columns(numbers)
    alarms = typed.select(rule.alarm.alias(name) for name, rule in rules.items())
    suspected = (name for name in alarms.columns if alarms[name].item())
    marks = typed.select(rules[name].mark.alias(name) for name in suspected)
    marks = marks.select(name for name in marks.columns if marks[name].any())
    if find_repeats is not None:
        marks = _with_repeats(marks, typed, find_repeats)
    if not marks.width:
        return RowSplit(typed, raw.clear().with_columns(reasons=pl.lit("")), {})
    is_bad = marks.select(pl.any_horizontal(pl.all())).to_series()
    reasons = marks.select(
        pl.concat_str(
            [pl.when(pl.col(name)).then(pl.lit(name)) for name in marks.columns],
            separator=";",
            ignore_nulls=True,
        )
    ).to_series()
    return RowSplit(
        valid=typed.filter(~is_bad),
        rejected=raw.with_columns(reasons=reasons).filter(is_bad),
        reasons={name: int(marks[name].sum()) for name in marks.columns},
    )


def _with_repeats(marks: pl.DataFrame, typed: pl.DataFrame, repeats: FindRepeats) -> pl.DataFrame:
    """Add a mark for the rows that repeat a key, if there are any."""
    is_fit = np.ones(typed.height, np.bool_)
    if marks.width:
        is_fit = ~marks.select(pl.any_horizontal(pl.all())).to_series().to_numpy()
    found = repeats.find(typed.filter(pl.Series(is_fit))).to_numpy()
    if not found.any():
        return marks
    is_repeat = np.zeros(typed.height, np.bool_)
    is_repeat[is_fit] = found
    return pl.DataFrame([*marks.get_columns(), pl.Series(repeats.name, is_repeat)])


def _types(feature: Feature) -> tuple[tuple[type[pl.DataType], ...], str]:
    words = "a number" if feature.kind == "numeric" else "a text or a whole number"
    return READABLE_TYPES[feature.kind], words


def _feature_rules(feature: Feature, came_as_text: bool) -> dict[str, Rule]:  # noqa: FBT001
    value = pl.col(feature.name)
    rules = {}
    if feature.kind == "numeric":
        infinite = (value.max() == math.inf) | (value.min() == -math.inf)
        rules[f"{feature.name}|not_finite"] = Rule(value.is_infinite(), infinite)
        if feature.min is not None:
            below = (value < feature.min) & value.is_finite()
            rules[f"{feature.name}|below_min"] = Rule(below, value.min() < feature.min)
        if feature.max is not None:
            above = (value > feature.max) & value.is_finite()
            rules[f"{feature.name}|above_max"] = Rule(above, value.max() > feature.max)
    if feature.missing == "never":
        missing = value.is_null()
        if came_as_text:
            missing &= ~pl.col(f"{feature.name}|not_a_number")
        rules[f"{feature.name}|missing"] = Rule(missing, value.null_count() > 0)
    return {
        name: Rule(rule.mark.fill_null(value=False), rule.alarm) for name, rule in rules.items()
    }
