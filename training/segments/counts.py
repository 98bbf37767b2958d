"""How many segments: what is measured for each number, and which is chosen.

The silhouette alone favours few segments, which say little. So it only narrows the numbers down.
Among those near the best, the choice follows what marketing needs: segments that are stable when
other users are drawn, large enough to act on, and different in actionable features.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from engine.pages.format import decimal
from training.effort import Effort
from training.metrics.metrics import rounded
from training.segments.kmeans import fit_kmeans, sampled, silhouettes

SEGMENT_COUNTS = range(3, 9)
NEAR_BEST = 0.02
"""Silhouettes that differ by less count as equal; the current number is kept unless one gains more."""

MIN_SHARE = 0.03
MIN_AGREEMENT = 0.85
MIN_WORST_AGREEMENT = 0.60
MIN_EXCESS = 0.06
"""A silhouette must exceed that of column-permuted data by so much."""
WORTH = 0.025
"""A further segment must explain this much more variance to be worth its own actions."""

REFIT_ROWS = 20_000
TUNING_ROWS = 5_000
LOWEST = -1.0
"""The lowest possible silhouette, used if there is none."""

Figures = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ClusteringData:
    """The users on whom numbers of segments are compared, float64.

    Attributes:
        train: [rows, coordinates], for KMeans.
        tuning: [rows, coordinates], others.
        acted_on: [rows of tuning, features], the actionable features.
    """

    train: np.ndarray
    tuning: np.ndarray
    acted_on: np.ndarray


def count_figures(
    model: KMeans, users: ClusteringData, seed: int, effort: Effort
) -> dict[str, Any]:
    """The figures of one number of segments; plain JSON values.

    Args:
        model: KMeans with that many clusters, fitted to `users.train`.
        users: The users to measure on.
        seed: Of the resamples, of KMeans and of the permutation.
        effort: How many starts and refits.
    """
    train = sampled(users.train, REFIT_ROWS, seed)
    tuning = sampled(users.tuning, TUNING_ROWS, seed)
    found, null = silhouettes(model, train, tuning, seed, effort.kmeans_starts)
    agreements = refit_agreements(model, train, tuning, seed, effort)
    return {
        "segments": model.n_clusters,
        "inertia": round(float(model.inertia_), 3),
        "silhouette": found,
        "silhouette_permuted": null,
        "agreement": rounded(float(np.mean(agreements))),
        "agreement_worst": rounded(float(np.min(agreements))),
        "smallest_share": rounded(float(shares(model).min())),
        "actionability": rounded(actionability(users.acted_on, model.predict(users.tuning))),
    }


def refit_agreements(
    model: KMeans, train: np.ndarray, tuning: np.ndarray, seed: int, effort: Effort
) -> np.ndarray:
    """How stable segments are: adjusted Rand indices (Hubert & Arabie 1985).

    KMeans is refitted from fresh starts to bootstrap resamples of the training users (Hennig 2007),
    and compared with the model on the tuning users. So a model that starts from the current segments
    must be found again by refits that know nothing of them.

    Args:
        model: The segments.
        train: The users to resample, float64 [rows, coordinates].
        tuning: The users to compare on, float64 [rows, coordinates].
        seed: Of the resamples and of KMeans.
        effort: How many starts and refits.

    Returns:
        float64 [refits]; 1 is full agreement, 0 is chance.
    """
    labels = model.predict(tuning)
    draws = np.random.default_rng(seed).integers(0, len(train), (effort.refits, len(train)))
    refits = (
        fit_kmeans(train[d], model.n_clusters, seed + n, effort.kmeans_starts)
        for n, d in enumerate(draws)
    )
    return np.array([adjusted_rand_score(labels, refit.predict(tuning)) for refit in refits])


def actionability(values: np.ndarray, labels: np.ndarray) -> float:
    """How much segments differ in actionable features: the mean share of variance explained.

    Shares of variance have no unit, so any features can be averaged. The label is not read.

    Args:
        values: float64 [rows, features].
        labels: The segment of each user, int [rows].

    Returns:
        0 to 1; 0 if no feature varies.
    """
    explained = explained_shares(values, labels)
    known = ~np.isnan(explained)
    return float(explained[known].mean()) if known.any() else 0.0


def explained_shares(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The correlation ratio of each feature, float64 [features]; NaN for a constant feature.

    eta² (Fisher 1925) = sum over segments of n_s (mean_s - mean)² / sum over users of (x - mean)².
    It is 0 where all segments have the same mean and 1 where all users of a segment are alike.

    Args:
        values: float [rows, features].
        labels: The segment of each user, int [rows].
    """
    _, places, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    return np.array([_explained_share(column, places, sizes) for column in values.T])


def _explained_share(column: np.ndarray, places: np.ndarray, sizes: np.ndarray) -> float:
    # The mean of equal numbers may be off by its last bit.
    if column.min() == column.max():
        return np.nan
    centred = column - column.mean(dtype=np.float64)
    sums = np.bincount(places, centred)
    return float((sums**2 / sizes).sum() / (centred**2).sum())


def choose_count(tried: Mapping[int, Figures], current: int | None) -> tuple[int, list[str]]:
    """The number of segments, and its shortcomings.

    A number qualifies without a tiny segment, with a silhouette within `NEAR_BEST` of the best and
    `MIN_EXCESS` above that of permuted columns, and with stable segments. Of these, the one whose
    segments differ most in actionable features, minus `WORTH` per segment, is chosen. The current
    number stays unless one that qualifies gains at least `NEAR_BEST` over it.

    Args:
        tried: The results of `count_figures`, by number of segments.
        current: The number of segments of the previous bundle, if there is one.
    """
    count = _count(tried, current)
    return count, [f"{count} segments: {lack}" for lack in _lacks(tried[count])]


def _count(tried: Mapping[int, Figures], current: int | None) -> int:
    if current is not None and current in tried:
        bar = _silhouette(tried[current]) + NEAR_BEST
        better = {k: f for k, f in tried.items() if _silhouette(f) >= bar and not _lacks(f)}
        return _most_useful(better) if better else current
    large = {k: f for k, f in tried.items() if f["smallest_share"] >= MIN_SHARE}
    if not large:
        return max(tried, key=lambda k: (tried[k]["smallest_share"], -k))
    bar = max(_silhouette(figures) for figures in large.values()) - NEAR_BEST
    near = {k: f for k, f in large.items() if _silhouette(f) >= bar}
    sound = {k: f for k, f in near.items() if not _lacks(f)}
    return _most_useful(sound) if sound else max(near, key=lambda k: (near[k]["agreement"], -k))


def beyond_chance(silhouette: float, permuted: float | None) -> bool:
    """Whether a silhouette shows groups: KMeans divides any cloud of points.

    Args:
        silhouette: Of the segments.
        permuted: Of the same columns, shuffled apart, which have no groups; None if there is none.
    """
    return permuted is not None and silhouette - permuted >= MIN_EXCESS


def shares(model: KMeans) -> np.ndarray:
    """The share of the training users in each cluster, float64 [clusters]."""
    return np.bincount(model.labels_, minlength=model.n_clusters) / len(model.labels_)


def _most_useful(tried: Mapping[int, Figures]) -> int:
    return max(tried, key=lambda k: (rounded(tried[k]["actionability"] - WORTH * k), -k))


def _silhouette(figures: Figures) -> float:
    found = figures["silhouette"]
    return LOWEST if found is None else float(found)


def _lacks(figures: Figures) -> list[str]:
    """The shortcomings of a number of segments, in words."""
    found, null = figures["silhouette"], figures["silhouette_permuted"]
    smallest, mean, worst = (
        figures[name] for name in ("smallest_share", "agreement", "agreement_worst")
    )
    weak = found is not None and not beyond_chance(found, null)
    checks = (
        (weak, f"silhouette {found}, {null} on column-permuted data: less than {MIN_EXCESS} above"),
        (smallest < MIN_SHARE, f"the smallest has {smallest:.1%} of users, under {MIN_SHARE:.0%}"),
        (
            mean < MIN_AGREEMENT,
            f"refits agree to {decimal(mean, 2)} on average, under {MIN_AGREEMENT}",
        ),
        (
            worst < MIN_WORST_AGREEMENT,
            f"the worst refit agrees to {decimal(worst, 2)}, under {MIN_WORST_AGREEMENT}",
        ),
    )
    return [words for lacks, words in checks if lacks]
