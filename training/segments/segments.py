"""Customer segments: KMeans in a space of few features, measured on users it did not see.

The number of segments is chosen on the train and validation parts (`counts`); the test part is
measured once. A refit continues the features, centroids and ids of the previous bundle (`lineage`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from engine.bundle.manifest import Segment
from engine.bundle.schema import Feature
from engine.rows.typed import CategoryTables
from training.effort import Effort
from training.metrics.metrics import rounded
from training.segments.counts import (
    MIN_EXCESS,
    SEGMENT_COUNTS,
    ClusteringData,
    Figures,
    beyond_chance,
    choose_count,
    count_figures,
    shares,
)
from training.segments.kmeans import (
    apart,
    fit_kmeans,
    fit_kmeans_from,
    sampled,
    silhouette,
    silhouette_copula,
    silhouettes,
)
from training.segments.lineage import (
    Lineage,
    PreviousSegments,
    space_changes,
    starting_centroids,
    trace_lineage,
)
from training.segments.space import (
    MAX_CORRELATION,
    MAX_FEATURES,
    MIN_GROUPS,
    Space,
    actionable,
    fit_space,
    standardized,
    transforms,
)

TEST_ROWS = 10_000
NULL_ROWS = 40_000
DISTINCT_ROWS = 50_000
SILHOUETTE_TARGET = 0.20


@dataclass(frozen=True, slots=True)
class Segmentation:
    """Segments in rising order of their ids; a first fit numbers them by falling size.

    Attributes:
        space: Where the segments lie.
        model: KMeans whose centroids are in the order of `segments`.
        segments: Ids and shares of the train part; `describe_segments` adds names.
        lineage: Which ids continue, which are retired.
        report: Every figure behind the choice, for the manifest.
    """

    space: Space
    model: KMeans
    segments: tuple[Segment, ...]
    lineage: Lineage
    report: dict[str, Any]

    @property
    def centroids(self) -> np.ndarray:
        """float64 [segments, coordinates]."""
        return self.model.cluster_centers_


def fit_segments(
    train: np.ndarray,
    validation: np.ndarray,
    test: np.ndarray,
    features: tuple[Feature, ...],
    categories: CategoryTables,
    seed: int,
    effort: Effort,
    before: PreviousSegments | None = None,
) -> Segmentation:
    """Choose features, fit KMeans for every number of segments, choose one and measure it.

    Args:
        train: float32 [rows, features]; features, transforms and centroids come from it.
        validation: As `train`; chooses the number of segments.
        test: As `train`; measured once.
        features: The model's features, in order.
        categories: The values of categories in the order of their codes.
        seed: Makes starts, samples, resamples and permutations repeatable.
        effort: How many starts and refits.
        before: The previous segments, which are continued; None numbers them from 1.
    """
    space = fit_space(train, features, categories, None if before is None else before.features)
    points = space.coordinates(train)
    columns = actionable(features)
    acted_on = standardized(train, validation, columns, logs=True)
    users = ClusteringData(points, space.coordinates(validation), acted_on)
    # One thread: with several, the last bits of a centroid depend on their number.
    with threadpool_limits(1):
        models = _models(points, seed, effort.kmeans_starts, before)
        figures = apart(lambda k: count_figures(models[k], users, seed, effort), models)
        tried = dict(zip(models, figures, strict=True))
        current = None if before is None else len(before.segments)
        best, problems = choose_count(tried, current)
        model, lineage = _numbered(models[best], before)
        unseen = sampled(test, TEST_ROWS, seed)
        measured = _measured(model, points, space, unseen, seed, effort.kmeans_starts)
        plain = standardized(train, unseen, columns, logs=False)
        labels = model.predict(space.coordinates(unseen))
        measured["silhouette_plain"] = silhouette(plain, labels)
    problems += _space_shortfalls(space, features, points) + _shortfalls(measured)
    report = {
        "method": "KMeans",
        "reasons": problems,
        **measured,
        "refits": effort.refits,
        "actionable_features": [features[i].name for i in columns],
        "counts_tried": [{**figures, "chosen": k == best} for k, figures in tried.items()],
        "previous": None if before is None else before.bundle_id,
        "changes": [] if before is None else _changes(before, space, features, tried, best),
        **_described(space, features, model),
    }
    segments = tuple(
        Segment(number, f"Segment {number}", rounded(float(share)))
        for number, share in zip(lineage.ids, shares(model), strict=True)
    )
    return Segmentation(space, model, segments, lineage, report)


def _models(
    points: np.ndarray, seed: int, starts: int, before: PreviousSegments | None
) -> dict[int, KMeans]:
    """KMeans for every number of segments; the current number starts from the current segments."""
    distinct = len(np.unique(points[:DISTINCT_ROWS], axis=0))
    possible = [k for k in SEGMENT_COUNTS if k <= distinct] or [1]
    found = apart(lambda k: fit_kmeans(points, k, seed, starts), possible)
    models = dict(zip(possible, found, strict=True))
    start = None if before is None else starting_centroids(points, before)
    if start is not None and len(start) in models:
        models[len(start)] = fit_kmeans_from(points, start, seed)
    return models


def _numbered(model: KMeans, before: PreviousSegments | None) -> tuple[KMeans, Lineage]:
    """The clusters in rising order of their ids; new ids are given by falling size."""
    model = _reordered(model, np.argsort(-shares(model), kind="stable"))
    found = trace_lineage(model.labels_, model.n_clusters, before)
    order = np.argsort(found.ids)
    ids, overlap = ([values[n] for n in order] for values in (found.ids, found.overlap))
    return _reordered(model, order), Lineage(tuple(ids), found.retired, tuple(overlap))


def _reordered(model: KMeans, order: np.ndarray) -> KMeans:
    model.cluster_centers_ = np.ascontiguousarray(model.cluster_centers_[order])
    model.labels_ = np.argsort(order)[model.labels_].astype(np.int32)
    return model


def _measured(
    model: KMeans, points: np.ndarray, space: Space, unseen: np.ndarray, seed: int, starts: int
) -> dict[str, Any]:
    """Silhouettes of users that took no part in the choice; `unseen` float32 [rows, features]."""
    sample = sampled(points, NULL_ROWS, seed)
    found, null = silhouettes(model, sample, space.coordinates(unseen), seed, starts)
    return {
        "silhouette": found,
        "silhouette_permuted": null,
        "silhouette_copula": silhouette_copula(sample, len(unseen), model.n_clusters, seed, starts),
        "silhouette_rows": len(unseen),
    }


def _changes(
    before: PreviousSegments,
    space: Space,
    features: tuple[Feature, ...],
    tried: Mapping[int, Figures],
    best: int,
) -> list[str]:
    """What changed since the previous bundle, apart from the segments themselves."""
    changes = space_changes(before, [features[column].name for column in space.columns])
    count = len(before.segments)
    if best != count and count in tried:
        changes.append(
            f"{best} segments instead of {count}: the silhouette is {tried[best]['silhouette']}, "
            f"with {count} it would be {tried[count]['silhouette']}"
        )
    elif best != count:
        changes.append(f"{best} segments instead of {count}, which is impossible with these users")
    return changes


def _space_shortfalls(space: Space, features: tuple[Feature, ...], points: np.ndarray) -> list[str]:
    """Shortcomings of the chosen features; `points` are training users."""
    problems = []
    wanted = min(MAX_FEATURES, len(features))
    if len(space.columns) < wanted:
        problems.append(
            f"only {len(space.columns)} of {wanted} features separate users without being redundant"
        )
    groups = {feature.group for feature in features}
    present = {features[column].group for column in space.columns}
    if len(present) < min(MIN_GROUPS, len(groups)):
        problems.append(
            f"the features come from {len(present)} of {len(groups)} groups, fewer than "
            f"{min(MIN_GROUPS, len(groups))}"
        )
    if len(space.columns) > 1:
        correlation = np.abs(np.corrcoef(points, rowvar=False))
        pairs = np.argwhere(np.triu(correlation, k=1) > MAX_CORRELATION)
        problems += [
            f"{features[space.columns[i]].name!r} and {features[space.columns[j]].name!r} have a "
            f"correlation of {correlation[i, j]:.2f}, above {MAX_CORRELATION}"
            for i, j in pairs
        ]
    return problems


def _shortfalls(figures: Figures) -> list[str]:
    measured, null = figures["silhouette"], figures["silhouette_permuted"]
    problems = []
    if measured is None:
        return ["no silhouette: all users are in one segment, or too few were measured"]
    if measured < SILHOUETTE_TARGET:
        problems.append(f"silhouette {measured} on unseen users, below {SILHOUETTE_TARGET}")
    if not beyond_chance(measured, null):
        problems.append(
            f"silhouette {measured} on unseen users, {null} on column-permuted data: less than "
            f"{MIN_EXCESS} above it"
        )
    return problems


def _described(space: Space, features: tuple[Feature, ...], model: KMeans) -> dict[str, Any]:
    return {
        "features": [features[column].name for column in space.columns],
        "groups": sorted({features[column].group for column in space.columns}),
        "transforms": transforms(space),
        "imputation": space.imputation.tolist(),
        "mean": space.mean.tolist(),
        "scale": space.scale.tolist(),
        "centroids": model.cluster_centers_.tolist(),
    }
