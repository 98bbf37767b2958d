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

TRUE_TEXTS = ("TRUE", "True", "true")
FALSE_TEXTS = ("FALSE", "False", "false")
MISSING_TEXTS = ("", "NaN", "nan", "NAN")


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
    found = frame.schema
    columns = [pl.col(schema.id)] if schema.id is not None else []
    rules = {}
    if schema.snapshot is not None and schema.snapshot in found:
        columns.append(date_column(schema.snapshot, found[schema.snapshot]))
        rules[schema.snapshot] = "not_a_date"
    for feature in schema.model_features:
        if feature.kind == "numeric":
            columns.append(float32_column(feature.name, found[feature.name]))
            rules[feature.name] = "not_a_number"
        else:
            columns.append(text_column(feature.name, found[feature.name], feature.values))
    typed = frame.select(columns)
    faults = {
        f"{name}|{rule}": _is_unreadable(frame[name], typed[name])
        for name, rule in rules.items()
        # Most columns have no more nulls than before, so their text need not be checked.
        if found[name] == pl.String and typed[name].null_count() > frame[name].null_count()
    }
    return Typed(typed, {rule: rows for rule, rows in faults.items() if rows.any()})


def _is_unreadable(texts: pl.Series, typed: pl.Series) -> pl.Series:
    """Whether a text is given but has no value: Boolean [rows]."""
    return typed.is_null() & ~texts.fill_null("").is_in(MISSING_TEXTS)


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
        feature.name: int(np.isnan(tensor[:, column]).sum()) - typed[feature.name].null_count()
        for column, feature in enumerate(features)
        if feature.kind == "categorical"
    }
    return {name: count for name, count in counts.items() if count}


def category_code(name: str, values: tuple[str, ...]) -> pl.Expr:
    """The code of each value as Float32, null where the value is missing or unseen."""
    # NOTE: a cast through Enum costs a tenth of passing strings to ONNX Runtime.
    codes = pl.col(name).cast(pl.Enum(values), strict=False)
    return codes.to_physical().cast(pl.Float32)


def float32_column(name: str, dtype: pl.DataType) -> pl.Expr:
    """A numeric column as Float32, null where it is missing, NaN, empty or not a number."""
    column = pl.col(name)
    if dtype == pl.String:
        # NOTE: text goes through Float64, as the same number in a Parquet file does.
        column = (
            pl.when(column.is_in(TRUE_TEXTS))
            .then(1.0)
            .when(column.is_in(FALSE_TEXTS))
            .then(0.0)
            .otherwise(column.cast(pl.Float64, strict=False))
        )
    return column.cast(pl.Float32, strict=False).fill_nan(None).alias(name)


def text_column(name: str, dtype: pl.DataType, values: tuple[str, ...] = ()) -> pl.Expr:
    """A categorical column as String, null where it is missing or empty.

    The same users score the same in every file format. So a Boolean becomes "1" or "0", and so do
    the texts TRUE, True, true, FALSE, False and false, which stand for Booleans in text formats. If
    the declared values include one of these texts, that text is used instead of "1" or "0".

    Args:
        name: The column.
        dtype: Its type.
        values: The values that the schema declares; none if they were learned.
    """
    yes = next((text for text in TRUE_TEXTS if text in values), "1")
    no = next((text for text in FALSE_TEXTS if text in values), "0")
    if dtype == pl.Boolean:
        return pl.col(name).replace_strict({True: yes, False: no}, return_dtype=pl.String)
    text = pl.col(name).cast(pl.String)
    given: pl.Expr = pl.when(text != "").then(text)
    # NOTE: ordinary categories skip this, because none of their declared values is a Boolean.
    if not values or yes in values or no in values:
        spelled = dict.fromkeys(TRUE_TEXTS, yes) | dict.fromkeys(FALSE_TEXTS, no)
        given = given.replace({t: word for t, word in spelled.items() if t not in values})
    return given.alias(name)


def date_column(name: str, dtype: pl.DataType) -> pl.Expr:
    """The snapshot column as Date, null where the text is not an ISO date."""
    column = pl.col(name)
    if dtype == pl.String:
        return column.str.to_date("%Y-%m-%d", strict=False)
    return column.cast(pl.Date)
