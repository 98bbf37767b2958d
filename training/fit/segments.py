"""Customer segments: KMeans in a space of few features, measured on users it did not see.

The number of segments is chosen on the train and validation parts; the test part is measured once.
Beside each silhouette stands that of column-permuted data, where nothing is left to be found, and
beside the last one that of a Gaussian copula, where columns move together without forming groups.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri  # type: ignore[import-untyped]
from scipy.stats import rankdata  # type: ignore[import-untyped]
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, silhouette_score
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from engine.bundle import Segment
from engine.schema import Feature
from training.fit.space import MAX_CORRELATION, MAX_FEATURES, MIN_GROUPS, Space, fit_space

SEGMENT_COUNTS = range(3, 9)
STARTS = 10
MIN_SHARE = 0.03
MIN_AGREEMENT = 0.90
NEAR_BEST = 0.90
LOWEST = -1.0
"""No silhouette is lower; it stands for one that does not exist."""

TUNING_ROWS = 5_000
TEST_ROWS = 20_000
COPULA_ROWS = 40_000
SILHOUETTE_TARGET = 0.20
EXCESS_TARGET = 0.06


@dataclass(frozen=True, slots=True)
class Segmentation:
    """Segments, largest first.

    Attributes:
        space: Where the segments lie.
        model: KMeans whose centroids are in the order of `segments`.
        segments: Ids from 1, names and shares of the train part.
        report: Every figure behind the choice, for the manifest.
    """

    space: Space
    model: KMeans
    segments: tuple[Segment, ...]
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
    seed: int,
) -> Segmentation:
    """Choose features, fit KMeans for every number of segments, choose one, measure it.

    Args:
        train: float32 [rows, features]; features, transforms and centroids come from it.
        validation: As `train`; chooses the number of segments.
        test: As `train`; measured once.
        features: The model's features, in order.
        seed: Makes starts, samples and permutations repeatable.
    """
    space = fit_space(train, features)
    points, tuning = space.coordinates(train), space.coordinates(validation)
    tuning = sampled(tuning, TUNING_ROWS, seed)
    # One thread: with several, the last bits of a centroid depend on their number.
    with threadpool_limits(1):
        models = {k: fit_kmeans(points, k, seed) for k in _possible_counts(points)}
        tried = {k: _figures(m, points, tuning, seed) for k, m in models.items()}
        best, problems = _choose_count(tried)
        model = largest_first(models[best], points)
        unseen = sampled(space.coordinates(test), TEST_ROWS, seed)
        measured, null = silhouettes(model, points, unseen, seed)
        sample = sampled(points, COPULA_ROWS, seed)
        copula = silhouette_copula(sample, len(unseen), best, seed)
    shares = _shares(model, points)
    problems += _space_shortfalls(space, features, points) + _shortfalls(measured, null)
    segments = tuple(
        Segment(number, f"Segment {number}", round(float(share), 6))
        for number, share in enumerate(shares, start=1)
    )
    report = {
        "method": "KMeans",
        "reasons": problems,
        "silhouette": measured,
        "silhouette_permuted": null,
        "silhouette_copula": copula,
        "silhouette_rows": len(unseen),
        "counts_tried": [{"segments": k, **figures} for k, figures in tried.items()],
        **_described(space, features, model),
    }
    return Segmentation(space, model, segments, report)


def fit_kmeans(points: np.ndarray, count: int, seed: int) -> KMeans:
    """KMeans with the best of several starts; `points` float64 [rows, coordinates]."""
    return KMeans(count, n_init=STARTS, random_state=seed).fit(points)


def largest_first(model: KMeans, points: np.ndarray) -> KMeans:
    """The same model with its clusters in falling order of size, ties in the order found."""
    order = np.argsort(-_shares(model, points), kind="stable")
    model.cluster_centers_ = np.ascontiguousarray(model.cluster_centers_[order])
    model.labels_ = np.argsort(order)[model.labels_].astype(np.int32)
    return model


def silhouettes(
    model: KMeans, points: np.ndarray, unseen: np.ndarray, seed: int
) -> tuple[float | None, float | None]:
    """The silhouette of unseen users, and that of data whose columns were shuffled apart.

    The second is of KMeans fitted anew to permuted training users and measured on permuted unseen
    ones: it has the same columns, and nothing in common between them. What is found beyond it says
    that columns move together, not yet that users form groups: see `silhouette_copula`.

    Args:
        model: Fitted to `points`.
        points: Training users, float64 [rows, coordinates].
        unseen: Other users, float64 [rows, coordinates].
        seed: Of the permutations.
    """
    found = silhouette(unseen, model.predict(unseen))
    generator = np.random.default_rng(seed)
    null_model = fit_kmeans(generator.permuted(points, axis=0), model.n_clusters, seed)
    shuffled = generator.permuted(unseen, axis=0)
    return found, silhouette(shuffled, null_model.predict(shuffled))


def silhouette_copula(points: np.ndarray, unseen_rows: int, count: int, seed: int) -> float | None:
    """The silhouette of users drawn from a Gaussian copula: related columns, but no groups.

    KMeans is fitted anew to as many draws as there are `points`, and measured on others. A
    silhouette above this one is owed to groups of users; one near it says that the segments cut a
    cloud without gaps into useful parts. Gaps within a single column are kept. It informs, and
    decides nothing.

    Args:
        points: Training users, float64 [rows, coordinates].
        unseen_rows: How many draws are measured.
        count: The number of segments.
        seed: Of the draws and of KMeans.
    """
    generator = np.random.default_rng(seed)
    drawn = copula_draws(points, len(points) + unseen_rows, generator)
    model = fit_kmeans(drawn[: len(points)], count, seed)
    unseen = drawn[len(points) :]
    return silhouette(unseen, model.predict(unseen))


def copula_draws(points: np.ndarray, rows: int, generator: np.random.Generator) -> np.ndarray:
    """Draws with the columns' own distributions and rank correlation, and no other structure.

    Ranks become normal scores, whose correlation a multivariate normal takes over; its draws are
    mapped back through the empirical quantiles of each column.

    Args:
        points: float64 [users, coordinates].
        rows: How many draws.
        generator: Where the randomness comes from.

    Returns:
        float64 [rows, coordinates].
    """
    scores = ndtri((rankdata(points, axis=0) - 0.5) / len(points))
    scores = scores - scores.mean(axis=0)
    length = np.sqrt((scores**2).sum(axis=0))
    scores = scores / np.where(length > 0, length, 1.0)
    correlation = scores.T @ scores
    np.fill_diagonal(correlation, 1.0)
    # The symmetric root: unlike eigenvectors, it has no sign that a library may choose.
    values, vectors = np.linalg.eigh(correlation)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    share = ndtr(generator.standard_normal((rows, points.shape[1])) @ root)
    position = np.minimum((share * len(points)).astype(np.int64), len(points) - 1)
    return np.take_along_axis(np.sort(points, axis=0), position, axis=0)


def silhouette(points: np.ndarray, labels: np.ndarray) -> float | None:
    """The mean silhouette (Rousseeuw 1987), rounded to 6 decimals; None where there is none.

    For each point a is the mean distance to the others of its cluster, b the smallest mean
    distance to another cluster, and the silhouette (b - a) / max(a, b).

    Args:
        points: float64 [rows, coordinates].
        labels: int [rows].
    """
    if not 1 < len(np.unique(labels)) < len(points):
        return None
    return round(float(silhouette_score(points, labels)), 6)


def sampled(points: np.ndarray, rows: int, seed: int) -> np.ndarray:
    """At most so many rows, in their order, drawn without replacement."""
    if len(points) <= rows:
        return points
    drawn = np.random.default_rng(seed).choice(len(points), rows, replace=False)
    return points[np.sort(drawn)]


def _possible_counts(points: np.ndarray) -> list[int]:
    distinct = len(np.unique(points[: 10 * TUNING_ROWS], axis=0))
    return [k for k in SEGMENT_COUNTS if k <= distinct] or [1]


def _figures(model: KMeans, points: np.ndarray, tuning: np.ndarray, seed: int) -> dict[str, Any]:
    """What the choice of one number of segments rests on."""
    count = model.n_clusters
    found, null = silhouettes(model, sampled(points, 4 * TUNING_ROWS, seed), tuning, seed)
    halves = [fit_kmeans(points[half::2], count, seed).predict(tuning) for half in (0, 1)]
    return {
        "inertia": round(float(model.inertia_), 3),
        "silhouette": found,
        "silhouette_permuted": null,
        "smallest_share": round(float(_shares(model, points).min()), 6),
        "agreement": round(float(adjusted_rand_score(*halves)), 6),
    }


def _choose_count(tried: dict[int, dict[str, Any]]) -> tuple[int, list[str]]:
    """The largest number of segments that loses nothing, and what is wrong with it.

    Allowed is a number with no tiny segment, with a silhouette near the best, and on which
    KMeans fitted to either half of the users agrees (adjusted Rand index, Hubert & Arabie 1985).
    """
    usable = {k: f for k, f in tried.items() if f["smallest_share"] >= MIN_SHARE}
    problems = []
    if not usable:
        problems.append(f"no number of segments has all of at least {MIN_SHARE:.0%} of users")
        best_k = max(tried, key=lambda k: tried[k]["smallest_share"])
        return best_k, problems
    found = {k: LOWEST if f["silhouette"] is None else f["silhouette"] for k, f in usable.items()}
    best = max(found.values())
    # A silhouette may be below zero, where a share of the best would lie above the best.
    near = [k for k, s in found.items() if s >= best - (1 - NEAR_BEST) * abs(best)]
    stable = [k for k in near if usable[k]["agreement"] >= MIN_AGREEMENT]
    if stable:
        return max(stable), problems
    problems.append(
        f"no number of segments is found again in both halves of the users with an agreement of "
        f"{MIN_AGREEMENT}"
    )
    return max(near, key=lambda k: usable[k]["agreement"]), problems


def _shares(model: KMeans, points: np.ndarray) -> np.ndarray:
    return np.bincount(model.labels_, minlength=model.n_clusters) / len(points)


def _space_shortfalls(space: Space, features: tuple[Feature, ...], points: np.ndarray) -> list[str]:
    """Where the chosen features are not what was wanted; `points` are training users."""
    problems = []
    wanted = min(MAX_FEATURES, len(features))
    if len(space.columns) < wanted:
        problems.append(
            f"only {len(space.columns)} of {wanted} features tell users apart without repeating "
            "one another"
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


def _shortfalls(measured: float | None, null: float | None) -> list[str]:
    problems = []
    if measured is None or measured < SILHOUETTE_TARGET:
        problems.append(f"silhouette {measured} on unseen users, below {SILHOUETTE_TARGET}")
    if measured is None or null is None or measured - null < EXCESS_TARGET:
        problems.append(
            f"silhouette {measured} on unseen users, {null} on column-permuted data: less than "
            f"{EXCESS_TARGET} above it"
        )
    return problems


def _described(space: Space, features: tuple[Feature, ...], model: KMeans) -> dict[str, Any]:
    return {
        "features": [features[column].name for column in space.columns],
        "groups": sorted({features[column].group for column in space.columns}),
        "transforms": ["log1p" if logged else "none" for logged in space.logged],
        "imputation": space.imputation.tolist(),
        "mean": space.mean.tolist(),
        "scale": space.scale.tolist(),
        "centroids": model.cluster_centers_.tolist(),
    }
