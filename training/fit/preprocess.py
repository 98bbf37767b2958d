"""Category tables: the code of every value, in an order that makes `code <= c` a useful question."""

import numpy as np
import polars as pl

from engine.schema import Feature, FeatureSchema
from training.disclosure import MIN_CELL

PRIOR_ROWS = 20
"""A value's purchase rate is drawn to that of all users as if so many average users had it too."""


def fit_categories(
    typed: pl.DataFrame, label: np.ndarray, schema: FeatureSchema
) -> dict[str, tuple[str, ...]]:
    """The values of every categorical feature in the order of their codes.

    Ordered features keep the order of the schema. The others are sorted by their smoothed purchase
    rate, ties by name: for one split of a tree this is as good as any grouping of the values
    (Fisher 1958), and it keeps every split numeric. A value of fewer than `MIN_CELL` users teaches
    nothing, as its rate would be their own labels: it stands among the average users where the schema
    lists it, and stays without a code where it does not.

    Args:
        typed: Rows of the train part only, what `tensors.to_typed` gives.
        label: Their labels, int8 [rows].
        schema: The table.
    """
    return {
        feature.name: _exportable(
            feature.values if feature.ordered else _by_rate(typed, label, feature, schema.id)
        )
        for feature in schema.model_features
        if feature.kind == "categorical"
    }


def _exportable(values: tuple[str, ...]) -> tuple[str, ...]:
    # NOTE: skl2onnx goes through numpy's fixed-width texts, which lose a NUL at the end; a value
    # without a code counts as missing everywhere.
    return tuple(value for value in values if not value.endswith("\0"))


def _by_rate(
    typed: pl.DataFrame, label: np.ndarray, feature: Feature, user: str | None
) -> tuple[str, ...]:
    overall = float(label.mean())
    rate = (pl.col("label").sum() + PRIOR_ROWS * overall) / (pl.len() + PRIOR_ROWS)
    seen = (
        typed.select(
            value=pl.col(feature.name),
            label=pl.Series(label),
            user=pl.int_range(pl.len()) if user is None else pl.col(user),
        )
        .drop_nulls("value")
        .group_by("value")
        .agg(rate=rate, users=pl.col("user").n_unique())
    )
    learned = seen.filter(pl.col("users") >= MIN_CELL)
    rates = dict(learned.select("value", "rate").iter_rows())
    values = feature.values or tuple(rates)
    return tuple(sorted(values, key=lambda value: (rates.get(value, overall), value)))
