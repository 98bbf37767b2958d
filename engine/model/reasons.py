"""The drivers of many users in words: each distinct value and effect is put into words once."""

import numpy as np
import polars as pl

from engine.bundle.manifest import Manifest
from engine.bundle.score_file import REASON_NAMES
from engine.model.session import Predictions
from engine.rows.typed import unseen_counts
from engine.words import (
    EFFECTS,
    category_words,
    effect_codes,
    number_formats,
    number_words,
    phrases_of,
    spoken_numbers,
    unseen_words,
)

UNSEEN_CODE = -1.0


def reason_columns(
    valid: pl.DataFrame,
    features: np.ndarray,
    predictions: Predictions,
    manifest: Manifest,
    count: int,
) -> dict[str, pl.Series | pl.Expr]:
    """The drivers in words, the largest impact first; null if the model has fewer features.

    Args:
        valid: The typed rows that were scored.
        features: The same rows as tensor, float32 [rows, features].
        predictions: The outputs of the models for these rows.
        manifest: The features and their categories.
        count: The number of columns.
    """
    drivers = predictions.driver_index[:, :count]
    values = _with_unseen_marked(valid, features, manifest)
    pairs = pl.DataFrame(
        {
            # Driver by driver, so that each column is a slice of the result.
            "driver": drivers.ravel(order="F"),
            "value": _spoken_values(values, drivers, manifest).ravel(order="F"),
            "effect": effect_codes(predictions.driver_impact[:, :count]).ravel(order="F"),
        }
    )
    words = _words(pairs, manifest)
    rows, found = drivers.shape
    return {
        name: words.slice(n * rows, rows) if n < found else pl.lit(None, pl.String)
        for n, name in enumerate(REASON_NAMES[:count])
    }


def _with_unseen_marked(
    valid: pl.DataFrame, features: np.ndarray, manifest: Manifest
) -> np.ndarray:
    """The tensor with a code for categories that the model does not know, which are NaN to it."""
    model_features = manifest.schema.model_features
    unseen = unseen_counts(valid, features, model_features)
    marked = features.copy() if unseen else features
    for column, feature in enumerate(model_features):
        if feature.name in unseen:
            given = valid[feature.name].is_not_null().to_numpy()
            marked[given & np.isnan(features[:, column]), column] = UNSEEN_CODE
    return marked


def _spoken_values(values: np.ndarray, drivers: np.ndarray, manifest: Manifest) -> np.ndarray:
    """The value of each driver as it is said, float64 [rows, drivers]; of a category its code."""
    features = manifest.schema.model_features
    percent, whole = (each[drivers] for each in number_formats(features))
    is_number = np.array([feature.kind == "numeric" for feature in features])[drivers]
    found = np.take_along_axis(values, drivers, axis=1).astype(np.float64)
    return np.where(is_number, spoken_numbers(found, percent, whole), found)


def _words(pairs: pl.DataFrame, manifest: Manifest) -> pl.Series:
    """The words of each row of driver, value and effect."""
    values = pairs.select("driver", "value").unique()
    spoken = values.with_columns(words=_value_words(values, manifest))
    effects = pl.Series([f": {words}" for _, words in EFFECTS])
    known = pairs.unique().join(spoken, on=["driver", "value"])
    known = known.with_columns(pl.col("words") + effects.gather(known["effect"]))
    return pairs.join(known, on=pairs.columns, how="left", maintain_order="left")["words"]


def _value_words(values: pl.DataFrame, manifest: Manifest) -> pl.Series:
    features = manifest.schema.model_features
    phrases = {driver: phrases_of(features[driver]) for driver in values["driver"].unique()}
    words = []
    for driver, value in values.iter_rows():
        feature = features[driver]
        if feature.kind == "numeric":
            words.append(number_words(feature, phrases[driver], value))
        elif value == UNSEEN_CODE:
            words.append(unseen_words(feature))
        else:
            known = manifest.categories[feature.name]
            category = None if np.isnan(value) else known[int(value)]
            words.append(category_words(phrases[driver], category))
    return pl.Series(words, dtype=pl.String)
