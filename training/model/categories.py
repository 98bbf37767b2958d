"""Category tables: the code of every value, ordered so that `code <= c` is a useful split."""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import polars as pl

from engine.bundle.schema import Feature, FeatureSchema
from training.metrics.disclosure import MIN_USERS, users_in
from training.model.trees import Sample

Counts = TypeVar("Counts", np.ndarray, pl.Expr)

PRIOR_ROWS = 20
"""Rates are smoothed by adding so many average users to each value."""


def fit_categories(
    typed: pl.DataFrame, label: np.ndarray, schema: FeatureSchema
) -> dict[str, tuple[str, ...]]:
    """The values of every categorical feature in the order of their codes.

    Ordered features keep the order of the schema. The others are sorted by their smoothed purchase
    rate, ties by name. For one split of a tree this is as good as any grouping of the values (Fisher
    1958), and every split stays numeric. A value with fewer than `MIN_USERS` users would reveal their
    labels: it counts as average if the schema lists it, and gets no code otherwise.

    Args:
        typed: Rows of the train part only, as `to_typed` returns them.
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


def order_by_train_rates(
    train: Sample, users: np.ndarray, validation: Sample, values: Mapping[int, tuple[str, ...]]
) -> tuple[Sample, Sample]:
    """Both samples with categories ordered by the purchase rates of the train rows only.

    Codes learned from all rows would leak the validation labels, most of them if a feature has many
    values.

    Args:
        train: Rows whose purchase rates order the values.
        users: A number from 0 for each of their users, int64 [rows].
        validation: Other rows.
        values: By column of the features, the values of each unordered category in the order of
            the codes that the samples have now.
    """
    overall = float(train.label.mean())
    columns = {}
    for column, names in values.items():
        codes, bought = train.features[:, column], train.label
        known = ~np.isnan(codes)
        place = codes[known].astype(np.int64)
        rows = np.bincount(place, minlength=len(names))
        rate = _smoothed(np.bincount(place, bought[known], minlength=len(names)), rows, overall)
        people = users_in(place, users[known], len(names))
        rate = np.where(people >= MIN_USERS, rate, overall)
        by_name = np.argsort(np.argsort(np.array(names, dtype=object)))
        columns[column] = np.argsort(np.lexsort((by_name, rate))).astype(np.float32)
    return _recoded(train, columns), _recoded(validation, columns)


def _recoded(sample: Sample, columns: Mapping[int, np.ndarray]) -> Sample:
    """The sample with the new code of every old one, float32 [codes], in the columns given."""
    features = sample.features.copy()
    for column, codes in columns.items():
        known = ~np.isnan(features[:, column])
        features[known, column] = codes[features[known, column].astype(np.int64)]
    return Sample(features, sample.label)


def _smoothed(bought: Counts, rows: Counts, overall: float) -> Counts:
    return (bought + PRIOR_ROWS * overall) / (rows + PRIOR_ROWS)


def _exportable(values: tuple[str, ...]) -> tuple[str, ...]:
    # NOTE: skl2onnx goes through numpy's fixed-width texts, which lose a NUL at the end; a value
    # without a code counts as missing everywhere.
    return tuple(value for value in values if not value.endswith("\0"))


def _by_rate(
    typed: pl.DataFrame, label: np.ndarray, feature: Feature, user: str | None
) -> tuple[str, ...]:
    overall = float(label.mean())
    rate = _smoothed(pl.col("label").sum(), pl.len(), overall)
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
    learned = seen.filter(pl.col("users") >= MIN_USERS)
    rates = dict(learned.select("value", "rate").iter_rows())
    values = feature.values or tuple(rates)
    return tuple(sorted(values, key=lambda value: (rates.get(value, overall), value)))
