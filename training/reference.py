"""Users of training in bins: what later users are compared with."""

from dataclasses import replace

import numpy as np

from engine.bundle import Manifest
from engine.reference import Reference, Users, count_users, typical_size
from engine.session import Predictions

BINS = 10
MIN_CELL = 20
"""Fewer users in a bin are told as none."""


def fit_reference(features: np.ndarray, predictions: Predictions, manifest: Manifest) -> Reference:
    """Bins of equally many users for every feature, and how many users are in each.

    Args:
        features: float32 [rows, features], users that no model was fitted to.
        predictions: What the models say of the same rows.
        manifest: Schema, category tables, cut-points and segments.
    """
    edges = tuple(
        _code_edges(len(manifest.categories[feature.name]))
        if feature.kind == "categorical"
        else quantile_edges(features[:, column])
        for column, feature in enumerate(manifest.schema.model_features)
    )
    users = Users(features, predictions.probability, predictions.segment)
    counts = count_users(edges, users, manifest)
    columns = tuple(_without_small_cells(column) for column in counts.features)
    typical = (
        None if feature.kind == "categorical" else typical_size(features[:, column])
        for column, feature in enumerate(manifest.schema.model_features)
    )
    return Reference(edges, replace(counts, features=columns), tuple(typical))


def quantile_edges(column: np.ndarray) -> tuple[float, ...]:
    """The lower ends of at most eleven bins, but the first: about equally many users in each.

    Where many users share the lowest value - no order, no click - it is a bin of its own. No edge
    is one user's value alone: the ends of the range are not among them.

    Args:
        column: float32 [rows], NaN where missing.
    """
    known = column[~np.isnan(column)]
    if not len(known):
        return ()
    lowest = known.min()
    others = known[known > lowest]
    if len(known) - len(others) < len(known) / BINS:
        return _inner_quantiles(known)
    after_lowest = float(np.nextafter(lowest, np.float32(np.inf)))
    if not len(others):
        return (float(lowest), after_lowest)
    return tuple(sorted({after_lowest, *_inner_quantiles(others)}))


def _inner_quantiles(values: np.ndarray) -> tuple[float, ...]:
    found = np.unique(np.quantile(values, np.arange(1, BINS) / BINS, method="higher"))
    return tuple(float(edge) for edge in found if edge > values.min())


def _code_edges(values: int) -> tuple[float, ...]:
    return tuple(code - 0.5 for code in range(1, values))


def _without_small_cells(counts: np.ndarray) -> np.ndarray:
    return np.where(counts < MIN_CELL, 0, counts)
