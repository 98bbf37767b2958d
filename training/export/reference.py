"""Histograms of the test users, the reference for drift; no bin counts fewer than 20 users."""

from collections.abc import Sequence

import numpy as np

from engine.bundle.manifest import Manifest
from engine.bundle.reference import SUPPRESSED, Reference, Users, bins_of, counts_of, typical_size
from engine.model.session import Predictions
from training.metrics.disclosure import MIN_USERS, enough, users_in
from training.metrics.edges import short_edges

MOST_BINS = 10
BIN_USERS = 2 * MIN_USERS
"""The users aimed at in each bin; equal values make some bins smaller."""


def fit_reference(
    features: np.ndarray, predictions: Predictions, manifest: Manifest, users: np.ndarray
) -> Reference:
    """Bins of equally many users for every feature, and how many rows are in each.

    Bins of numbers have at least `MIN_USERS` users; the counts of rarer categories are suppressed.

    Args:
        features: float32 [rows, features], users that no model was fitted to.
        predictions: Of the same rows.
        manifest: Schema, category tables, cut-points and segments.
        users: A number from 0 for each user, int64 [rows].
    """
    edges = tuple(
        tuple(code - 0.5 for code in range(1, len(manifest.categories[feature.name])))
        if feature.kind == "categorical"
        else quantile_edges(features[:, column], users)
        for column, feature in enumerate(manifest.schema.model_features)
    )
    seen = Users(features, predictions.probability, predictions.segment)
    bins = bins_of(edges, seen, manifest)
    counts = counts_of([_published(place, size, users) for place, size in bins])
    typical = (
        None if feature.kind == "categorical" else _typical(features[:, column], users)
        for column, feature in enumerate(manifest.schema.model_features)
    )
    return Reference(edges, counts, tuple(typical), len(features))


def quantile_edges(column: np.ndarray, users: np.ndarray) -> tuple[float, ...]:
    """The lower ends of at most eleven bins, except the first, with about equally many users in each.

    If many users share the lowest value, such as no order, it is a bin of its own. Every bin has at
    least `MIN_USERS` users, so few users have few bins, or one. An edge is a short number between two
    values; it may be a value that occurs if users share it.

    Args:
        column: float32 [rows], NaN where missing.
        users: A number from 0 for each user, int64 [rows].
    """
    known = ~np.isnan(column)
    values, who = column[known], users[known]
    bins = _bins(who)
    if bins < 2:
        return ()
    lowest = values.min()
    others = values > lowest
    if len(np.unique(who[~others])) < max(len(np.unique(who)) / bins, MIN_USERS):
        return _large_enough(_inner_quantiles(values, bins), values, who)
    if lowest == np.finfo(np.float32).max:
        return (float(lowest),)
    after_lowest = float(np.nextafter(lowest, np.float32(np.inf)))
    if not others.any():
        return (float(lowest), after_lowest)
    inner = _inner_quantiles(values[others], _bins(who[others]))
    return _large_enough((after_lowest, *inner), values, who)


def _bins(users: np.ndarray) -> int:
    return min(MOST_BINS, len(np.unique(users)) // BIN_USERS)


def _inner_quantiles(values: np.ndarray, bins: int) -> list[float]:
    if bins < 2:
        return []
    found = np.unique(np.quantile(values, np.arange(1, bins) / bins, method="higher"))
    return short_edges(np.sort(values), found[found > values.min()])


def _large_enough(
    edges: Sequence[float], values: np.ndarray, users: np.ndarray
) -> tuple[float, ...]:
    """The rising edges without those that would leave a bin with too few users."""
    kept: list[float] = []
    for edge in edges:
        above = values >= np.float32(edge)
        since = ~above & (values >= np.float32(kept[-1] if kept else -np.inf))
        if all(enough(users[part]) for part in (since, above)):
            kept.append(edge)
    return tuple(kept)


def _typical(column: np.ndarray, users: np.ndarray) -> float | None:
    nonzero = ~np.isnan(column) & (column != 0)
    return typical_size(column) if enough(users[nonzero]) else None


def _published(place: np.ndarray, size: int, users: np.ndarray) -> np.ndarray:
    """Rows by bin, `SUPPRESSED` for bins of 1 to 19 users."""
    people = users_in(place, users, size)
    few = (people > 0) & (people < MIN_USERS)
    return np.where(few, SUPPRESSED, np.bincount(place, minlength=size))
