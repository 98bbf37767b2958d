"""Uncertainty of figures: 95 % intervals and standard errors that count users, not rows.

Rows of one user are not independent evidence, so every method here treats a user's rows as one
cluster: the bootstrap draws users, standard errors sum by user, Wilson intervals count users.
"""

from collections.abc import Callable, Mapping

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from training.metrics.metrics import Outcomes, Ranked, headline

RESAMPLES = 400
BOOTSTRAP_SEED = 0
NORMAL_QUANTILE = 1.959964

INTERVALS = (
    *("roc_auc", "pr_auc", "log_loss", "brier"),
    *("calibration_error", "f1", "precision", "recall"),
)


def bootstrap(
    figures: Callable[[np.ndarray], np.ndarray],
    label: np.ndarray,
    users: np.ndarray,
    resamples: int = RESAMPLES,
) -> np.ndarray:
    """Figures of resampled users (the cluster bootstrap: Davison & Hinkley 1997, section 3.8).

    A resample is a weight for each row, the number of times its user was drawn, so that rows are
    sorted only once. To compare several scores, compute all of them in one `figures`: they are
    then measured on the same draws, and what they have in common cancels.

    Args:
        figures: Takes the weight of each row, float64 [rows], and returns an array.
        label: 0 or 1 for each row; a resample without both is skipped.
        users: A number for each user, int64 [rows].
        resamples: How many draws.

    Returns:
        float64 [resamples with both labels, ...]; the seed is fixed.
    """
    _, user = np.unique(users, return_inverse=True)
    count = int(user.max()) + 1
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    found = []
    # One thread: the sums of a resample are too short to gain from more.
    with threadpool_limits(1):
        for _ in range(resamples):
            drawn = generator.integers(0, count, count)
            weight = np.bincount(drawn, minlength=count).astype(np.float64)[user]
            if 0 < weight @ label < weight.sum():
                found.append(figures(weight))
    return np.array(found)


def intervals(
    ranked: Ranked,
    users: np.ndarray,
    threshold: float,
    figures: Mapping[str, float],
    resamples: int = RESAMPLES,
) -> dict[str, list[float] | None]:
    """95 % bootstrap intervals of the figures in `INTERVALS`.

    Args:
        ranked: Outcomes in order.
        users: A number for each user, int64 [rows], rows as they were before ranking.
        threshold: Users at or above it are predicted to buy.
        figures: The figures of all rows, by the names in `INTERVALS`.
        resamples: How many.

    Returns:
        Low and high by name; None if no resample has both labels.
    """
    label = np.empty(len(ranked.p))
    label[ranked.order] = ranked.positive

    def drawn_figures(weight: np.ndarray) -> np.ndarray:
        found = headline(ranked, weight[ranked.order], threshold)
        return np.array([found[name] for name in INTERVALS])

    drawn = bootstrap(drawn_figures, label, users, resamples)
    if not len(drawn):
        return dict.fromkeys(INTERVALS)
    return {
        name: bounded_interval(figures[name], drawn[:, n], 1 if name != "log_loss" else np.inf)
        for n, name in enumerate(INTERVALS)
    }


def basic_interval(figure: np.ndarray, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % interval of the basic bootstrap (Davison & Hinkley 1997, section 5.2).

    Twice the figure minus the quantiles of its resamples. Unlike percentiles, this removes the
    bias of a figure that chance can only raise, such as the calibration error.

    Args:
        figure: Of all rows, float64 [...].
        drawn: Of each resample, float64 [resamples, ...].

    Returns:
        Low and high, float64 [...].
    """
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return 2 * figure - high, 2 * figure - low


def bounded_interval(figure: float, drawn: np.ndarray, most: float = 1) -> list[float]:
    """The basic interval of a figure between 0 and `most`, widened to hold the figure itself.

    Args:
        figure: Of all rows.
        drawn: Of each resample, float64 [resamples].
        most: The largest value that the figure can have.
    """
    low, high = (float(end) for end in basic_interval(np.array(figure), drawn))
    return [min(max(0.0, low), figure), max(min(high, most), figure)]


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


def mean_and_error(values: np.ndarray, users: np.ndarray) -> tuple[float, float]:
    """The mean over rows, and its cluster-robust standard error.

    Args:
        values: float64 [rows].
        users: A number for each user, int64 [rows].
    """
    mean = float(values.mean())
    _, user = np.unique(users, return_inverse=True)
    return mean, float(np.sqrt((np.bincount(user, values - mean) ** 2).sum()) / len(values))


def placements(score: np.ndarray, label: np.ndarray) -> np.ndarray:
    """How well each row is ranked against the rows of the other label, float64 [rows].

    For a buyer the share of non-buyers with a lower score, for a non-buyer the share of buyers with
    a higher one; ties count half. The mean over either is the ROC-AUC; DeLong, DeLong &
    Clarke-Pearson (1988) call them structural components.

    Args:
        score: float [rows].
        label: 0 or 1, [rows], both present.
    """
    found = np.empty(len(score))
    for side in (0, 1):
        own, others = label == side, np.sort(score[label != side])
        left, right = (np.searchsorted(others, score[own], side=s) for s in ("left", "right"))
        below = (left + right) / (2 * len(others))
        found[own] = below if side else 1 - below
    return found


def auc_and_error(
    placement: np.ndarray, label: np.ndarray, users: np.ndarray
) -> tuple[float, float]:
    """A ROC-AUC, or the difference of two, and its standard error by DeLong's method.

    Influences are summed by user, as Obuchowski (1997) does for clustered data. It needs one sort, a
    bootstrap hundreds.

    Args:
        placement: What `placements` returns, or the difference of two such arrays.
        label: 0 or 1, [rows], both present.
        users: A number for each user, int64 [rows], at least two.
    """
    influence = np.empty(len(placement))
    for side in (0, 1):
        own = label == side
        influence[own] = (placement[own] - placement[own].mean()) / own.sum()
    _, user = np.unique(users, return_inverse=True)
    by_user = np.bincount(user, influence)
    variance = float((by_user**2).sum()) * len(by_user) / (len(by_user) - 1)
    return float(placement[label == 1].mean()), float(np.sqrt(variance))


def auc_interval(outcomes: Outcomes) -> tuple[float, list[float]]:
    """The ROC-AUC and its 95 % interval by DeLong's method, without resampling.

    Args:
        outcomes: Probabilities and labels of at least two users, both labels present.
    """
    placement = placements(outcomes.probability, outcomes.label)
    auc, error = auc_and_error(placement, outcomes.label, outcomes.users)
    half = NORMAL_QUANTILE * error
    return auc, [max(auc - half, 0.0), min(auc + half, 1.0)]
