"""Raw columns to typed columns, and typed columns to the `features` tensor.

This is the only place where dtypes and category codes are assigned. Which rows can be scored is
decided in `rules`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from engine.bundle.schema import Feature, FeatureSchema

CategoryTables = Mapping[str, tuple[str, ...]]
"""The values of each categorical feature in the order of their codes: value i has code i."""

TEXT_TYPES = (pl.String, pl.Categorical, pl.Enum)
TRUE_TEXTS = ("TRUE", "True", "true")
FALSE_TEXTS = ("FALSE", "False", "false")
NAN_TEXTS = ("NaN", "nan", "NAN")
SPACES = " \t\n\r\v\f"
AFTER_SPACES = "!"
"""Texts that are empty or begin with white space sort before this one."""


@dataclass(frozen=True, slots=True)
class Typed:
    """Rows with typed columns.

    Attributes:
        frame: The key columns and every model feature as Float32 or String, null where missing.
        faults: The rows whose text cannot be read, Boolean [rows], by the rule they break:
            `<column>|not_a_number` or `<column>|not_a_date`. Rules that no row breaks are absent.
    """

    frame: pl.DataFrame
    faults: Mapping[str, pl.Series]


def to_typed(frame: pl.DataFrame, schema: FeatureSchema) -> Typed:
    """Cast the columns of the schema; missing values of every kind become null.

    Args:
        frame: Raw users with at least the model features.
        schema: The table that the bundle scores.
    """
    frame = with_plain_texts(frame, schema)
    found = frame.schema
    columns, rules = [], {}
    marks_of = {feature.name: schema.missing_marks(feature) for feature in schema.model_features}
    if schema.id is not None:
        columns.append(_id_column(schema))
    if schema.snapshot is not None and schema.snapshot in found:
        columns.append(date_column(schema.snapshot, found[schema.snapshot]))
        rules[schema.snapshot] = "not_a_date"
    for feature in schema.model_features:
        marks = marks_of[feature.name]
        if feature.kind == "numeric":
            columns.append(float32_column(feature.name, found[feature.name], marks))
            rules[feature.name] = "not_a_number"
        else:
            columns.append(text_column(feature.name, found[feature.name], feature.values, marks))
    typed = _without_spaces(frame, frame.select(columns), schema)
    faults = {
        f"{name}|{rule}": typed[name].is_null()
        & ~_is_missing(frame[name], marks_of.get(name, schema.missing_texts))
        for name, rule in rules.items()
        if _has_unread_text(frame[name], typed[name])
    }
    return Typed(typed, {rule: rows for rule, rows in faults.items() if rows.any()})


def with_plain_texts(frame: pl.DataFrame, schema: FeatureSchema) -> pl.DataFrame:
    """Decode the dictionaries of numbers and dates, which are then read like any text."""
    names = {schema.snapshot, *(f.name for f in schema.model_features if f.kind == "numeric")}
    coded = [n for n, t in frame.schema.items() if n in names and t in (pl.Categorical, pl.Enum)]
    return frame.with_columns(pl.col(coded).cast(pl.String)) if coded else frame


def _is_missing(texts: pl.Series, marks: tuple[str, ...]) -> pl.Series:
    """Whether there is no text, or one that means so: Boolean [rows]."""
    numbers = texts.str.strip_chars(SPACES).cast(pl.Float64, strict=False)
    is_mark = numbers.is_in(_marked_numbers(marks).implode()).fill_null(value=False)
    return is_missing_text(texts.fill_null(""), marks) | is_mark


def is_missing_text(texts: pl.Series, marks: tuple[str, ...]) -> pl.Series:
    """Whether a text means that there is no value: Boolean [rows], null where the text is."""
    return (texts.str.strip_chars(SPACES) == "") | texts.is_in((*NAN_TEXTS, *marks))


def _id_column(schema: FeatureSchema) -> pl.Expr:
    column = pl.col(schema.id or "")
    if not schema.missing_texts:
        return column
    # NOTE: as text in every type, so that the same users are missing in every file format.
    return pl.when(~column.cast(pl.String).is_in(schema.missing_texts)).then(column)


def _without_spaces(
    frame: pl.DataFrame, typed: pl.DataFrame, schema: FeatureSchema
) -> pl.DataFrame:
    """Read again what white space has spoiled: numbers with some around them, categories of it alone."""
    again = []
    for feature in schema.model_features:
        name = feature.name
        column = pl.col(name).str.strip_chars(SPACES)
        if feature.kind == "numeric" and _has_unread_text(frame[name], typed[name]):
            again.append(_to_float32(column, schema.missing_marks(feature)).alias(name))
        # Most columns have no such text, and comparing is cheaper than stripping.
        elif feature.kind == "categorical" and (typed[name] < AFTER_SPACES).any():
            again.append(pl.when(typed[name].str.strip_chars(SPACES) != "").then(typed[name]))
    return typed.with_columns(frame.select(again)) if again else typed


def _has_unread_text(raw: pl.Series, typed: pl.Series) -> bool:
    # Most columns have no more nulls than before, so their text need not be checked.
    return raw.dtype == pl.String and typed.null_count() > raw.null_count()


def to_features(
    typed: pl.DataFrame, features: tuple[Feature, ...], categories: CategoryTables
) -> np.ndarray:
    """Make the `features` tensor.

    Args:
        typed: Typed rows; see `Typed`.
        features: The model features, in order.
        categories: The codes; a value without a code counts as missing.

    Returns:
        float32 [rows, features], C-contiguous, NaN where a value is missing.
    """
    columns = [
        pl.col(f.name) if f.kind == "numeric" else category_code(f.name, categories[f.name])
        for f in features
    ]
    return typed.select(c.fill_null(float("nan")) for c in columns).to_numpy(order="c")


def named_inputs(typed: pl.DataFrame, features: tuple[Feature, ...]) -> dict[str, np.ndarray]:
    """The inputs of `scorer.onnx`: float32 or text [rows, 1], NaN or "" where missing.

    Args:
        typed: Typed rows; see `Typed`.
        features: The model features, in order.
    """
    return {
        f.name: (
            typed[f.name].fill_null(float("nan")).to_numpy()
            if f.kind == "numeric"
            else typed[f.name].fill_null("").to_numpy().astype(object)
        ).reshape(-1, 1)
        for f in features
    }


def unseen_counts(
    typed: pl.DataFrame, tensor: np.ndarray, features: tuple[Feature, ...]
) -> dict[str, int]:
    """The number of values without a code for each categorical feature that has any.

    Args:
        typed: Typed rows; see `Typed`.
        tensor: The same rows from `to_features`, float32 [rows, features].
        features: The model features, in order.
    """
    counts = {
        feature.name: int(np.count_nonzero(np.isnan(tensor[:, column])))
        - typed[feature.name].null_count()
        for column, feature in enumerate(features)
        if feature.kind == "categorical"
    }
    return {name: count for name, count in counts.items() if count}


def category_code(name: str, values: tuple[str, ...]) -> pl.Expr:
    """The code of each value as Float32, null where the value is missing or unseen."""
    # NOTE: a cast through Enum costs a tenth of passing strings to ONNX Runtime.
    codes = pl.col(name).cast(pl.Enum(values), strict=False)
    return codes.to_physical().cast(pl.Float32)


def float32_column(name: str, dtype: pl.DataType, marks: tuple[str, ...] = ()) -> pl.Expr:
    """A numeric column as Float32, null where it is missing, NaN, empty or not a number.

    Args:
        name: The column.
        dtype: Its type.
        marks: Texts that mean "missing". One that is a number, such as -999, stands for it in every type.
    """
    column = pl.col(name)
    if dtype == pl.String:
        return _to_float32(column, marks).alias(name)
    number = column.cast(pl.Float32, strict=False)
    return _without_marks(number.fill_nan(None) if dtype.is_float() else number, marks).alias(name)


def _to_float32(text: pl.Expr, marks: tuple[str, ...]) -> pl.Expr:
    # NOTE: text goes through Float64, as the same number in a Parquet file does.
    number = (
        pl.when(text.is_in(TRUE_TEXTS))
        .then(1.0)
        .when(text.is_in(FALSE_TEXTS))
        .then(0.0)
        .otherwise(text.cast(pl.Float64, strict=False))
    )
    return _without_marks(number.cast(pl.Float32, strict=False).fill_nan(None), marks)


def _without_marks(number: pl.Expr, marks: tuple[str, ...]) -> pl.Expr:
    # NOTE: parsing marks takes longer than reading a column, and most columns have none.
    if not marks:
        return number
    marked = _marked_numbers(marks).cast(pl.Float32)
    return pl.when(~number.is_in(marked.implode())).then(number) if len(marked) else number


def _marked_numbers(marks: tuple[str, ...]) -> pl.Series:
    return pl.Series(marks, dtype=pl.String).cast(pl.Float64, strict=False).drop_nulls()


def text_column(
    name: str, dtype: pl.DataType, values: tuple[str, ...] = (), marks: tuple[str, ...] = ()
) -> pl.Expr:
    """A categorical column as String, null where it is missing or empty.

    The same users score the same in every file format. So a Boolean becomes "1" or "0", and so do
    the texts TRUE, True, true, FALSE, False and false, which stand for Booleans in text formats. If
    the declared values include one of these texts, that text is used instead of "1" or "0".

    Args:
        name: The column.
        dtype: Its type.
        values: The values that the schema declares; none if they were learned.
        marks: Texts that mean "missing".
    """
    yes = next((text for text in TRUE_TEXTS if text in values), "1")
    no = next((text for text in FALSE_TEXTS if text in values), "0")
    if dtype == pl.Boolean:
        return pl.col(name).replace_strict({True: yes, False: no}, return_dtype=pl.String)
    text = pl.col(name).cast(pl.String)
    given: pl.Expr = pl.when(~text.is_in(("", *marks)) if marks else text != "").then(text)
    # NOTE: ordinary categories skip this, because none of their declared values is a Boolean.
    if not values or yes in values or no in values:
        spelled = dict.fromkeys(TRUE_TEXTS, yes) | dict.fromkeys(FALSE_TEXTS, no)
        given = given.replace({t: word for t, word in spelled.items() if t not in values})
    return given.alias(name)


def date_column(name: str, dtype: pl.DataType) -> pl.Expr:
    """The snapshot column as Date, null where the text is not an ISO date."""
    column = pl.col(name)
    if dtype.base_type() in TEXT_TYPES:
        return column.cast(pl.String).str.to_date("%Y-%m-%d", strict=False)
    return column.cast(pl.Date)
