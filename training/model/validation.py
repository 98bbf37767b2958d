"""How two scores of the same users compare: log-loss and ROC-AUC, user by user.

Scores and judges come fold by fold; a ROC-AUC compares users of one fold only, because each fold
has a model of its own.
"""

from collections.abc import Sequence

import numpy as np

from training.model.trees import Sample

Scores = Sequence[np.ndarray]
"""Raw scores (log-odds) of each fold's judges, float64 [rows]."""


def log_losses(raw: np.ndarray, label: np.ndarray) -> np.ndarray:
    """The log-loss of each row, float64 [rows]."""
    return np.logaddexp(0.0, raw) - label * raw


def mean_loss(scores: Scores, judges: Sequence[Sample]) -> float:
    """The mean log-loss over the rows of all folds."""
    return float(fold_losses(scores, judges).mean())


def fold_losses(scores: Scores, judges: Sequence[Sample]) -> np.ndarray:
    """The log-loss of each row, fold after fold, float64 [rows of all folds]."""
    pairs = zip(scores, judges, strict=False)
    return np.concatenate([log_losses(raw, judge.label) for raw, judge in pairs])


def mean_and_error(values: np.ndarray, users: np.ndarray) -> tuple[float, float]:
    """The mean over rows, and its standard error where the rows of one user go together.

    Args:
        values: float64 [rows].
        users: A number for each user, int64 [rows].
    """
    mean = float(values.mean())
    _, position = np.unique(users, return_inverse=True)
    return mean, float(np.sqrt((np.bincount(position, values - mean) ** 2).sum()) / len(values))


def placements(scores: Scores, judges: Sequence[Sample]) -> tuple[np.ndarray, np.ndarray]:
    """For each buyer the share of the fold's others with a lower score, and the reverse.

    The mean of either is the ROC-AUC (of folds of equal size; otherwise their weighted mean).
    Ties count half. DeLong et al. (1988) call them structural components.

    Returns:
        Of buyers and of others, fold after fold, float64.
    """
    buyers, others = [], []
    for raw, judge in zip(scores, judges, strict=False):
        bought, not_bought = np.sort(raw[judge.label == 1]), np.sort(raw[judge.label == 0])
        if len(bought) and len(not_bought):
            buyers.append(_below(raw[judge.label == 1], not_bought))
            others.append(1 - _below(raw[judge.label == 0], bought))
    return np.concatenate([*buyers, np.empty(0)]), np.concatenate([*others, np.empty(0)])


def _below(values: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    left, right = (np.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    return (left + right) / (2 * len(ordered))


def roc_auc(scores: Scores, judges: Sequence[Sample]) -> float | None:
    """The mean over buyers of their placements; None where no fold has users of both kinds."""
    buyers, _ = placements(scores, judges)
    return float(buyers.mean()) if len(buyers) else None


def roc_auc_gain(
    better: Scores, worse: Scores, judges: Sequence[Sample]
) -> tuple[float, float] | None:
    """How much higher one ROC-AUC is, and the standard error of that (DeLong et al. 1988)."""
    gaps = [
        first - second
        for first, second in zip(placements(better, judges), placements(worse, judges), strict=True)
    ]
    if not all(len(gap) for gap in gaps):
        return None
    error = np.sqrt(sum(gap.var() / len(gap) for gap in gaps))
    return float(gaps[0].mean()), float(error)
