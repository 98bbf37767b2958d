"""What moves the scores of many users: aggregates of their impacts, for the manifest."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from engine.bundle import BANDS, Manifest
from engine.schema import Feature
from engine.scores import above
from engine.session import Predictions

DECIMALS = 6
NO_GROUP = "other"

VALUE_ROWS = 20
"""A category with fewer users is not named: its mean says little, and much about few."""

SHAPES = 12
"""So many of the largest drivers show how their impact runs along their values."""

SHAPE_BINS = 10


def drivers_report(
    manifest: Manifest, features: np.ndarray, predictions: Predictions
) -> dict[str, Any]:
    """Mean absolute impacts, overall, by group, segment and band; plain JSON values.

    Args:
        manifest: Names, category tables, segments and cut-points.
        features: float32 [rows, features], at least one row.
        predictions: What the models say of the same rows.
    """
    used = manifest.schema.model_features
    size = np.abs(predictions.impacts.astype(np.float64))
    overall = size.mean(axis=0)
    described = [
        {
            "name": feature.name,
            "group": feature.group or NO_GROUP,
            "mean_absolute_impact": round(float(overall[n]), DECIMALS),
            **_effect(feature, features[:, n], predictions.impacts[:, n], manifest),
        }
        for n, feature in enumerate(used)
    ]
    order = np.argsort(-overall, kind="stable")
    for n in order[:SHAPES]:
        described[n]["shape"] = shape(
            features[:, n],
            predictions.impacts[:, n],
            () if used[n].kind == "numeric" else manifest.categories[used[n].name],
        )
    band = above(manifest.band_cuts, predictions.probability)
    return {
        "rows": len(features),
        "features": [described[n] for n in order],
        "groups": _by_group(used, overall),
        "segments": {
            str(segment.id): _means(used, size[predictions.segment == segment.id])
            for segment in manifest.segments
        },
        "bands": {name: _means(used, size[band == n]) for n, name in enumerate(BANDS)},
    }


def direction(values: np.ndarray, impacts: np.ndarray) -> str:
    """Whether higher values raise or lower the score: the sign of Spearman's rank correlation.

    Args:
        values: float32 [rows], NaN where missing; such rows do not count.
        impacts: float32 [rows].

    Returns:
        `raises`, `lowers`, or `none` where values or impacts are all the same.
    """
    known = ~np.isnan(values)
    ranks = pl.DataFrame({"value": values[known], "impact": impacts[known]}).select(pl.all().rank())
    # Not a number where a column is constant or empty.
    correlation = ranks.select(pl.corr("value", "impact")).item() or 0.0
    return "raises" if correlation > 0 else "lowers" if correlation < 0 else "none"


def shape(
    values: np.ndarray, impacts: np.ndarray, categories: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """The mean impact along the values of one feature, no bin of fewer than 20 users.

    Args:
        values: float32 [rows], NaN where missing; codes where there are categories.
        impacts: float32 [rows].
        categories: The texts of the codes; empty for a number, which is cut at its deciles.

    Returns:
        Per category `value`; per bin of numbers `low` and `high`, the cut-points below and above
        it (`low` <= number < `high`), null at the open ends; for missing values `value` null.
        Always `rows` and `mean_impact`.
    """
    known = ~np.isnan(values)
    if categories:
        places: list[dict[str, Any]] = [{"value": text} for text in categories]
        found = np.where(known, values, len(places)).astype(np.int64)
    else:
        deciles = np.arange(1, SHAPE_BINS) / SHAPE_BINS
        sorted_values = np.sort(values[known])
        # The lowest value bounds nothing: all values lie at or above it.
        cuts = np.unique(_quantiles(sorted_values, deciles))
        cuts = cuts[cuts > sorted_values[:1]]
        shown = [round(float(cut), DECIMALS) for cut in cuts]
        places = [
            {"low": low, "high": high}
            for low, high in zip((None, *shown), (*shown, None), strict=True)
        ]
        found = np.where(known, np.searchsorted(cuts, values, side="right"), len(places))
    places.append({"value": None})
    rows = np.bincount(found, minlength=len(places))
    sums = np.bincount(found, weights=impacts, minlength=len(places))
    return [
        {**place, "rows": int(n), "mean_impact": round(float(total / n), DECIMALS)}
        for place, n, total in zip(places, rows, sums, strict=True)
        if n >= VALUE_ROWS
    ]


def _quantiles(sorted_values: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The values at the shares, always values that occur; none of none."""
    if not len(sorted_values):
        return sorted_values
    return sorted_values[(shares * len(sorted_values)).astype(np.int64)]


def _effect(
    feature: Feature, values: np.ndarray, impacts: np.ndarray, manifest: Manifest
) -> dict[str, Any]:
    if feature.kind == "numeric" or feature.ordered:
        return {"direction": direction(values, impacts)}
    means = {
        text: float(impacts[values == code].mean())
        for code, text in enumerate(manifest.categories[feature.name])
        if (values == code).sum() >= VALUE_ROWS
    }
    if len(set(means.values())) < 2:
        return {"direction": "none"}
    highest, lowest = max(means, key=means.__getitem__), min(means, key=means.__getitem__)
    return {"direction": "by value", "raises_most": highest, "lowers_most": lowest}


def _by_group(used: tuple[Feature, ...], overall: np.ndarray) -> dict[str, float]:
    sums: dict[str, float] = defaultdict(float)
    for feature, mean in zip(used, overall, strict=True):
        sums[feature.group or NO_GROUP] += float(mean)
    return {name: round(total, DECIMALS) for name, total in sums.items()}


def _means(used: tuple[Feature, ...], size: np.ndarray) -> dict[str, float]:
    """The mean of each feature; of no users, nothing."""
    if not len(size):
        return {}
    means = size.mean(axis=0)
    return {f.name: round(float(mean), DECIMALS) for f, mean in zip(used, means, strict=True)}
