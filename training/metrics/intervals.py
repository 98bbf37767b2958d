"""How firm figures are: 95 % intervals that count users, not rows.

Users are resampled, not rows (the cluster bootstrap: Davison & Hinkley 1997, section 3.8): a user
with many snapshots comes and goes with all of them. A resample is a weight for each row, the number
of times its user was drawn, so rows are sorted only once.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from training.metrics.metrics import Outcomes, Ranked, headline, rank

RESAMPLES = 400
BOOTSTRAP_SEED = 0
NORMAL_QUANTILE = 1.959964

INTERVALS = (
    *("roc_auc", "pr_auc", "log_loss", "brier"),
    *("calibration_error", "f1", "precision", "recall"),
)


def resampled_users(users: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each user is drawn, float64 [users], once for each resample."""
    generator = np.random.default_rng(seed)
    for _ in range(resamples):
        drawn = generator.integers(0, users, users)
        yield np.bincount(drawn, minlength=users).astype(np.float64)


def intervals(
    ranked: Ranked,
    users: np.ndarray,
    threshold: float,
    figures: Mapping[str, float],
    resamples: int = RESAMPLES,
) -> dict[str, list[float] | None]:
    """95 % intervals by the basic bootstrap (Davison & Hinkley 1997, section 5.2), by user.

    Twice the figure less the quantiles of its resamples. A calibration error, which chance can only
    raise, is raised once more by each resample: this takes the bias out again, where percentiles
    would double it. Where the figure itself lies outside, the interval reaches to it.

    Args:
        ranked: Outcomes in order.
        users: A number from 0 for each user, int64 [rows], rows as they were before ranking.
        threshold: Users at or above it are predicted to buy.
        figures: The figures of all rows, by the names in `INTERVALS`.
        resamples: How many.
    """
    _, compact = np.unique(users, return_inverse=True)
    place = compact[ranked.order]
    found = []
    # One thread: the sums of a resample are short, and threads that wait for another cost more.
    with threadpool_limits(1):
        for drawn in resampled_users(int(place.max()) + 1, resamples, BOOTSTRAP_SEED):
            weight = drawn[place]
            bought = float(weight @ ranked.positive)
            if 0 < bought < weight.sum():
                drawn_figures = headline(ranked, weight, threshold)
                found.append([drawn_figures[name] for name in INTERVALS])
    if not found:
        return dict.fromkeys(INTERVALS)
    low, high = np.quantile(np.array(found), [0.025, 0.975], axis=0)
    return {
        name: basic_interval(figures[name], float(low[n]), float(high[n]), name != "log_loss")
        for n, name in enumerate(INTERVALS)
    }


def basic_interval(figure: float, low: float, high: float, bounded: bool) -> list[float]:  # noqa: FBT001
    """Twice the figure less the high and the low quantile of its resamples, reaching to the figure.

    Args:
        figure: Of all rows.
        low: The 2.5 % quantile of its resamples.
        high: The 97.5 % quantile.
        bounded: Whether it is at most 1.
    """
    start, end = max(0.0, 2 * figure - high), 2 * figure - low
    return [min(start, figure), max(min(end, 1.0) if bounded else end, figure)]


def wilson(rate: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % score interval of a share (Wilson 1927): low and high, float64 [cells].

    Args:
        rate: Shares, float64 [cells].
        count: How many each is a share of, above 0, [cells].
    """
    z = NORMAL_QUANTILE
    middle = rate + z**2 / (2 * count)
    half = z * np.sqrt(rate * (1 - rate) / count + z**2 / (4 * count**2))
    scale = 1 + z**2 / count
    return (middle - half) / scale, (middle + half) / scale


def auc_interval(outcomes: Outcomes, auc: float) -> list[float]:
    """A 95 % interval of the ROC-AUC, by user, without resampling.

    The structural components of DeLong, DeLong & Clarke-Pearson (1988), summed by user as Obuchowski
    (1997) does for clustered data: one sort, where a bootstrap of every slice would need thousands.

    Args:
        outcomes: Probabilities and labels of at least two users, both labels present.
        auc: The ROC-AUC of the same rows.
    """
    ranked = rank(outcomes.probability, outcomes.label)
    ends = np.append(ranked.ties[1:], len(ranked.p))
    lengths = ends - ranked.ties
    buyers = np.add.reduceat(ranked.positive, ranked.ties)
    others = lengths - buyers
    below = np.repeat(np.cumsum(others) - others / 2, lengths) / others.sum()
    over = np.repeat(buyers.sum() - np.cumsum(buyers) + buyers / 2, lengths) / buyers.sum()
    influence = np.where(
        ranked.positive > 0, (below - auc) / buyers.sum(), (over - auc) / others.sum()
    )
    _, user = np.unique(outcomes.users[ranked.order], return_inverse=True)
    by_user = np.bincount(user, influence)
    variance = float((by_user**2).sum()) * len(by_user) / (len(by_user) - 1)
    half = NORMAL_QUANTILE * float(np.sqrt(variance))
    return [max(auc - half, 0.0), min(auc + half, 1.0)]
