"""KMeans, and how well its clusters are separated: silhouettes against data without clusters.

The silhouette is compared with that of column-permuted data, which has no structure, and of a
Gaussian copula, whose columns are correlated without forming groups.
"""

import warnings
from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np
from scipy.special import ndtr, ndtri  # type: ignore[import-untyped]
from scipy.stats import rankdata  # type: ignore[import-untyped]
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import silhouette_score
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from engine.model.threads import available_cores, in_order
from training.metrics.metrics import rounded

Result = TypeVar("Result")


def apart(measure: Callable[[int], Result], counts: Iterable[int]) -> list[Result]:
    """What is fitted or measured for each number of segments, each on one thread of its own.

    With several threads for one KMeans, the last bits of a centroid would depend on their number.
    """

    def alone(count: int) -> Result:
        with threadpool_limits(1):
            return measure(count)

    # The largest number takes longest.
    falling = sorted(counts, reverse=True)
    return list(in_order(alone, falling, available_cores()))[::-1]


def fit_kmeans(points: np.ndarray, count: int, seed: int, starts: int) -> KMeans:
    """KMeans with the best of several starts; `points` float64 [rows, coordinates]."""
    return _fitted(KMeans(count, n_init=starts, random_state=seed), points)


def fit_kmeans_from(points: np.ndarray, centroids: np.ndarray, seed: int) -> KMeans:
    """KMeans that starts from given centroids, float64 [clusters, coordinates]."""
    return _fitted(KMeans(len(centroids), init=centroids, n_init=1, random_state=seed), points)


def _fitted(model: KMeans, points: np.ndarray) -> KMeans:
    with warnings.catch_warnings():
        # A resample may have fewer distinct points than clusters; the figures that follow show it.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(points)


def silhouettes(
    model: KMeans, points: np.ndarray, unseen: np.ndarray, seed: int, starts: int
) -> tuple[float | None, float | None]:
    """The silhouette of unseen users, and that of data whose columns were shuffled apart.

    The second is of KMeans refitted to permuted training users and measured on permuted unseen ones:
    the same columns, but unrelated. A higher silhouette shows that columns are related, not that users
    form groups: see `silhouette_copula`.

    Args:
        model: Fitted to training users.
        points: Some of them, float64 [rows, coordinates].
        unseen: Other users, float64 [rows, coordinates].
        seed: Of the permutations.
        starts: Of KMeans.
    """
    found = silhouette(unseen, model.predict(unseen))
    generator = np.random.default_rng(seed)
    null_model = fit_kmeans(generator.permuted(points, axis=0), model.n_clusters, seed, starts)
    shuffled = generator.permuted(unseen, axis=0)
    return found, silhouette(shuffled, null_model.predict(shuffled))


def silhouette_copula(
    points: np.ndarray, unseen_rows: int, count: int, seed: int, starts: int
) -> float | None:
    """The silhouette of users drawn from a Gaussian copula: related columns, but no groups.

    KMeans is refitted to as many draws as there are `points`, and measured on others. A higher
    silhouette shows groups of users; a similar one means that segments divide a continuous cloud.
    Gaps within a single column are kept. It is reported, and decides nothing.

    Args:
        points: Training users, float64 [rows, coordinates].
        unseen_rows: How many draws are measured.
        count: The number of segments.
        seed: Of the draws and of KMeans.
        starts: Of KMeans.
    """
    generator = np.random.default_rng(seed)
    drawn = copula_draws(points, len(points) + unseen_rows, generator)
    model = fit_kmeans(drawn[: len(points)], count, seed, starts)
    unseen = drawn[len(points) :]
    return silhouette(unseen, model.predict(unseen))


def copula_draws(points: np.ndarray, rows: int, generator: np.random.Generator) -> np.ndarray:
    """Draws with the same column distributions and rank correlations, and no other structure.

    Ranks become normal scores, whose correlation a multivariate normal takes over; its draws are
    mapped back through the empirical quantiles of each column.

    Args:
        points: float64 [users, coordinates].
        rows: How many draws.
        generator: The source of randomness.

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
    """The mean silhouette (Rousseeuw 1987), rounded to 6 decimals; None if there is none.

    For each point a is the mean distance to the others of its cluster, b the smallest mean
    distance to another cluster, and the silhouette (b - a) / max(a, b).

    Args:
        points: float64 [rows, coordinates]; there may be no coordinate.
        labels: int [rows].
    """
    if not points.shape[1] or not 1 < len(np.unique(labels)) < len(points):
        return None
    return rounded(float(silhouette_score(points, labels)))


def sampled(points: np.ndarray, rows: int, seed: int) -> np.ndarray:
    """At most so many rows, in their order, drawn without replacement."""
    if len(points) <= rows:
        return points
    drawn = np.random.default_rng(seed).choice(len(points), rows, replace=False)
    return points[np.sort(drawn)]
