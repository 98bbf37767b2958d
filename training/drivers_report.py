"""What moves the scores of many users: aggregates of their impacts, for the manifest."""

from collections import defaultdict
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
    band = above(manifest.band_cuts, predictions.probability)
    return {
        "rows": len(features),
        "features": [described[n] for n in np.argsort(-overall, kind="stable")],
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
