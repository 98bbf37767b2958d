"""Frames to tensors: the only place where dtypes and category codes are made.

Takes raw chunks of users, gives typed columns and then the `features` tensor. What is wrong with a
row is left to `validation`.
"""

from collections.abc import Mapping

import numpy as np
import polars as pl

from engine.bundle.schema import Feature, FeatureSchema
from engine.rows.chunk import TOO_SHORT

CategoryTables = Mapping[str, tuple[str, ...]]
"""For each categorical feature its values in the order of their codes: value i has code i."""

TRUE_TEXTS = ("TRUE", "True", "true")
FALSE_TEXTS = ("FALSE", "False", "false")
MISSING_TEXTS = ("", "NaN", "nan", "NAN")


def to_typed(frame: pl.DataFrame, schema: FeatureSchema) -> pl.DataFrame:
    """Give every known column its type; a missing value of any kind becomes null.

    Args:
        frame: Raw users with at least the model's features.
        schema: The table that the bundle scores.

    Returns:
        The key columns, every model feature as Float32 or String, and Booleans that mark unreadable
        text: `<column>|not_a_number` for each numeric column that came as text, and likewise
        `<snapshot>|not_a_date`; `row|too_short` as `source` gives it.
    """
    found = frame.schema
    keys = [pl.col(schema.id)] if schema.id is not None else []
    if schema.snapshot is not None and schema.snapshot in found:
        date = date_column(schema.snapshot, found[schema.snapshot])
        keys.append(date)
        if found[schema.snapshot] == pl.String:
            no_date = _is_given(schema.snapshot) & date.is_null()
            keys.append(no_date.alias(f"{schema.snapshot}|not_a_date"))
    numeric = [f.name for f in schema.model_features if f.kind == "numeric"]
    categorical = [f for f in schema.model_features if f.kind == "categorical"]
    return frame.select(
        *keys,
        *(float32_column(name, found[name]) for name in numeric),
        *(text_column(f.name, found[f.name], f.values) for f in categorical),
        *(
            (_is_given(name) & float32_column(name, pl.String()).is_null()).alias(
                f"{name}|not_a_number"
            )
            for name in numeric
            if found[name] == pl.String
        ),
        *([TOO_SHORT] if TOO_SHORT in found else ()),
    )


def to_features(
    typed: pl.DataFrame, features: tuple[Feature, ...], categories: CategoryTables
) -> np.ndarray:
    """Make the `features` tensor.

    Args:
        typed: What `to_typed` gives.
        features: The model's features, in order.
        categories: The codes; a value that has none counts as missing.

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
        typed: What `to_typed` gives.
        features: The model's features, in order.
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
    """How many values of each categorical feature have no code; features with none are left out.

    Args:
        typed: What `to_typed` gives.
        tensor: What `to_features` makes of it, float32 [rows, features].
        features: The model's features, in order.
    """
    counts = {
        feature.name: int(np.isnan(tensor[:, column]).sum()) - typed[feature.name].null_count()
        for column, feature in enumerate(features)
        if feature.kind == "categorical"
    }
    return {name: count for name, count in counts.items() if count}


def category_code(name: str, values: tuple[str, ...]) -> pl.Expr:
    """The code of each value as Float32, null where the value is missing or unseen."""
    # NOTE: a cast through Enum costs a tenth of handing strings to ONNX Runtime.
    codes = pl.col(name).cast(pl.Enum(values), strict=False)
    return codes.to_physical().cast(pl.Float32)


def float32_column(name: str, dtype: pl.DataType) -> pl.Expr:
    """A numeric column as Float32: null where it is missing, NaN, empty or not a number."""
    column = pl.col(name)
    if dtype == pl.String:
        # NOTE: text goes through Float64, as the same number in a Parquet file would.
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

    A Boolean becomes "1" or "0", and so do the texts that formats without Booleans hold in its
    place (TRUE, True, true; FALSE, False, false). Where the declared values name one of these
    texts it stands for itself, and Booleans and the other spellings become that text: the same
    users score the same whatever the format.

    Args:
        name: The column.
        dtype: Its type.
        values: The values that the schema declares, none if they were learned.
    """
    yes = next((text for text in TRUE_TEXTS if text in values), "1")
    no = next((text for text in FALSE_TEXTS if text in values), "0")
    if dtype == pl.Boolean:
        return pl.col(name).replace_strict({True: yes, False: no}, return_dtype=pl.String)
    text = pl.col(name).cast(pl.String)
    given: pl.Expr = pl.when(text != "").then(text)
    # NOTE: an ordinary category costs nothing here: no Boolean is among its declared values.
    if not values or yes in values or no in values:
        spelled = dict.fromkeys(TRUE_TEXTS, yes) | dict.fromkeys(FALSE_TEXTS, no)
        given = given.replace({t: word for t, word in spelled.items() if t not in values})
    return given.alias(name)


def date_column(name: str, dtype: pl.DataType) -> pl.Expr:
    """The snapshot column as Date, null where the text is no ISO date."""
    column = pl.col(name)
    if dtype == pl.String:
        return column.str.to_date("%Y-%m-%d", strict=False)
    return column.cast(pl.Date)


def _is_given(name: str) -> pl.Expr:
    text = pl.col(name)
    return text.is_not_null() & text.is_in(MISSING_TEXTS).not_()
