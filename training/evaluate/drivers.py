"""What moves the scores of many users: aggregates of their impacts, for the evaluation."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from engine.bundle.manifest import BANDS, Manifest
from engine.bundle.reference import digitize
from engine.bundle.schema import Feature
from engine.model.session import Predictions
from training.metrics.disclosure import MIN_USERS, users_in
from training.metrics.edges import short_edges
from training.metrics.metrics import rounded, segment_places

NO_GROUP = "other"

SHOWN_DEPENDENCES = 12
"""For this many of the largest drivers, the impact is shown along their values."""

DEPENDENCE_BINS = 10
CLEAR_CORRELATION = 0.5


def drivers_report(
    manifest: Manifest, features: np.ndarray, predictions: Predictions, users: np.ndarray
) -> dict[str, Any]:
    """Mean absolute impacts, overall, by group, segment and band; plain JSON values.

    Segments and bands of fewer than `MIN_USERS` users have no means.

    Args:
        manifest: Names, category tables, segments and cut-points.
        features: float32 [rows, features], at least one row.
        predictions: Of the same rows.
        users: A number from 0 for each user, int64 [rows].
    """
    used = manifest.schema.model_features
    size = np.abs(predictions.impacts.astype(np.float64))
    overall = size.mean(axis=0)
    described = [
        {
            "name": feature.name,
            "group": feature.group or NO_GROUP,
            "mean_absolute_impact": rounded(float(overall[n])),
            **_effect(feature, features[:, n], predictions.impacts[:, n], users, manifest),
        }
        for n, feature in enumerate(used)
    ]
    order = np.argsort(-overall, kind="stable")
    for n in order[:SHOWN_DEPENDENCES]:
        described[n]["dependence"] = dependence(
            features[:, n],
            predictions.impacts[:, n],
            users,
            () if used[n].kind == "numeric" else manifest.categories[used[n].name],
        )
    band = digitize(manifest.band_cuts, predictions.probability).astype(np.int64)
    ids = [segment.id for segment in manifest.segments]
    place = segment_places(ids, predictions.segment)
    return {
        "rows": len(features),
        "features": [described[n] for n in order],
        "groups": _by_group(used, overall),
        "segments": _means(used, size, place, users, [str(number) for number in ids]),
        "bands": _means(used, size, band, users, BANDS),
    }


def direction(values: np.ndarray, impacts: np.ndarray) -> str:
    """Whether higher values raise or lower the score: the sign of Spearman's rank correlation.

    A correlation below `CLEAR_CORRELATION` counts as no direction.

    Args:
        values: float32 [rows], NaN where missing; such rows do not count.
        impacts: float32 [rows].

    Returns:
        `raises`, `lowers` or `none`.
    """
    known = ~np.isnan(values)
    ranks = pl.DataFrame({"value": values[known], "impact": impacts[known]}).select(pl.all().rank())
    # NaN if a column is constant or empty.
    correlation = ranks.select(pl.corr("value", "impact")).item() or 0.0
    if not abs(correlation) >= CLEAR_CORRELATION:
        return "none"
    return "raises" if correlation > 0 else "lowers"


def dependence(
    values: np.ndarray, impacts: np.ndarray, users: np.ndarray, categories: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """The mean impact along the values of one feature, no bin of fewer than 20 users.

    Args:
        values: float32 [rows], NaN where missing; codes where there are categories.
        impacts: float32 [rows].
        users: A number from 0 for each user, int64 [rows].
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
        deciles = np.arange(1, DEPENDENCE_BINS) / DEPENDENCE_BINS
        sorted_values = np.sort(values[known])
        # The lowest value is no cut-point: all values lie at or above it.
        cuts = np.unique(_quantiles(sorted_values, deciles))
        shown = short_edges(sorted_values, cuts[cuts > sorted_values[:1]])
        cuts = np.array(shown, np.float32)
        places = [
            {"low": low, "high": high}
            for low, high in zip((None, *shown), (*shown, None), strict=True)
        ]
        found = np.where(known, np.searchsorted(cuts, values, side="right"), len(places))
    places.append({"value": None})
    rows = np.bincount(found, minlength=len(places))
    sums = np.bincount(found, weights=impacts, minlength=len(places))
    people = users_in(found, users, len(places))
    return [
        {**place, "rows": int(n), "mean_impact": rounded(float(total / n))}
        for place, n, total, many in zip(places, rows, sums, people, strict=True)
        if many >= MIN_USERS
    ]


def _quantiles(sorted_values: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Values that occur, at these shares of the sorted values; empty for no values."""
    if not len(sorted_values):
        return sorted_values
    return sorted_values[(shares * len(sorted_values)).astype(np.int64)]


def _effect(
    feature: Feature, values: np.ndarray, impacts: np.ndarray, users: np.ndarray, manifest: Manifest
) -> dict[str, Any]:
    if feature.kind == "numeric" or feature.ordered:
        return {"direction": direction(values, impacts)}
    means = {
        text: float(impacts[values == code].mean())
        for code, text in enumerate(manifest.categories[feature.name])
        if len(np.unique(users[values == code])) >= MIN_USERS
    }
    if len(set(means.values())) < 2:
        return {"direction": "none"}
    highest, lowest = max(means, key=means.__getitem__), min(means, key=means.__getitem__)
    return {"direction": "by value", "raises_most": highest, "lowers_most": lowest}


def _by_group(used: tuple[Feature, ...], overall: np.ndarray) -> dict[str, float]:
    sums: dict[str, float] = defaultdict(float)
    for feature, mean in zip(used, overall, strict=True):
        sums[feature.group or NO_GROUP] += float(mean)
    return {name: rounded(total) for name, total in sums.items()}


def _means(
    used: tuple[Feature, ...],
    size: np.ndarray,
    part: np.ndarray,
    users: np.ndarray,
    names: Sequence[str],
) -> dict[str, dict[str, float]]:
    """The mean of each feature by part; nothing of a part with fewer than `MIN_USERS` users."""
    people = users_in(part, users, len(names))
    return {
        name: {
            feature.name: rounded(float(mean))
            for feature, mean in zip(used, size[part == n].mean(axis=0), strict=True)
        }
        if people[n] >= MIN_USERS
        else {}
        for n, name in enumerate(names)
    }
