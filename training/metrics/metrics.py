"""Metrics of probabilities: pure functions of probabilities, labels and weights.

Every statistic takes a weight for each row, so that a figure (all weights 1) and its bootstrap come
from the same code. Rows are sorted once: scikit-learn would sort them again for every resample.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from training.metrics.disclosure import MIN_USERS

CALIBRATION_BINS = 20
DECIMALS = 6


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Predicted probabilities and outcomes of users.

    Attributes:
        probability: As the engine returns it, float [rows].
        label: int8 [rows], 1 for a purchase; both 0 and 1 present.
        users: A number from 0 for each user, int64 [rows]; several rows may be one user's.
        truth: The probability from which each label was drawn, float64 [rows], if known.
    """

    probability: np.ndarray
    label: np.ndarray
    users: np.ndarray
    truth: np.ndarray | None = None

    def __getitem__(self, rows: np.ndarray) -> "Outcomes":
        """Some of the rows, by number or by mask."""
        truth = None if self.truth is None else self.truth[rows]
        return Outcomes(self.probability[rows], self.label[rows], self.users[rows], truth)


@dataclass(frozen=True, slots=True)
class Ranked:
    """Outcomes in rising order of probability, ready to be weighted.

    Attributes:
        order: The row at each rank, int64 [rows].
        p: Probabilities, float64 [rows], rising.
        positive: 1.0 for a purchase, float64 [rows].
        ties: The start of each run of equal probabilities, int64 [distinct].
        losses: The log-loss of each row, float64 [rows].
    """

    order: np.ndarray
    p: np.ndarray
    positive: np.ndarray
    ties: np.ndarray
    losses: np.ndarray


def rank(probability: np.ndarray, label: np.ndarray) -> Ranked:
    """Sort outcomes once, ties in the order of the rows."""
    order = np.argsort(probability, kind="stable")
    p = probability[order].astype(np.float64)
    ties = np.flatnonzero(np.concatenate([[True], p[1:] > p[:-1]]))
    positive = label[order].astype(np.float64)
    return Ranked(order, p, positive, ties, log_losses(p, positive))


def headline(ranked: Ranked, weight: np.ndarray, threshold: float) -> dict[str, float]:
    """The figures that have an interval.

    Args:
        ranked: Outcomes in order.
        weight: How often each row counts, float64 [rows] in that order; both labels have some.
        threshold: Users at or above it are predicted to buy.
    """
    bought = weight * ranked.positive
    total = float(weight.sum())
    first = len(ranked.p) - admitted_rows(ranked, threshold)
    error = ranked.p - ranked.positive
    bins = bin_starts(len(ranked.p))
    gaps = np.add.reduceat(weight * (ranked.p - bought_evenly(ranked, weight)), bins)
    return {
        "roc_auc": roc_auc(ranked, weight),
        "pr_auc": pr_auc(ranked, weight),
        "log_loss": float(weight @ ranked.losses) / total,
        "brier": float(weight @ error**2) / total,
        "calibration_error": float(np.abs(gaps).sum()) / total,
        **f1_figures(float(bought[first:].sum()), float(weight[first:].sum()), float(bought.sum())),
    }


def bought_evenly(ranked: Ranked, weight: np.ndarray) -> np.ndarray:
    """Purchases averaged over rows of equal probability, float64 [rows].

    Otherwise a bin that divides equal probabilities would depend on the order of the file.

    Args:
        ranked: Outcomes in order.
        weight: How often each row counts, float64 [rows] in that order.
    """
    rows = np.diff(ranked.ties, append=len(ranked.p))
    bought = np.add.reduceat(weight * ranked.positive, ranked.ties)
    counted = np.add.reduceat(weight, ranked.ties)
    return np.repeat(bought / np.maximum(counted, np.finfo(float).tiny), rows)


def admitted_rows(ranked: Ranked, threshold: float) -> int:
    """How many rows have a probability of the threshold or more."""
    return len(ranked.p) - int(np.searchsorted(ranked.p, threshold))


def roc_auc(ranked: Ranked, weight: np.ndarray) -> float:
    """The chance that a buyer is ranked above a non-buyer, ties counting half (Mann-Whitney)."""
    buyers = np.add.reduceat(weight * ranked.positive, ranked.ties)
    others = np.add.reduceat(weight, ranked.ties) - buyers
    below = np.cumsum(others) - others / 2
    return float(buyers @ below) / float(buyers.sum() * others.sum())


def pr_auc(ranked: Ranked, weight: np.ndarray) -> float:
    """Average precision: precision at each probability, weighted by the recall it adds."""
    buyers = np.add.reduceat(weight * ranked.positive, ranked.ties)[::-1]
    contacts = np.cumsum(np.add.reduceat(weight, ranked.ties)[::-1])
    precision = np.cumsum(buyers) / np.maximum(contacts, np.finfo(float).tiny)
    return float(buyers @ precision) / float(buyers.sum())


def log_losses(probability: np.ndarray, label: np.ndarray) -> np.ndarray:
    """The log-loss of each row, float64 [rows]; probabilities are clipped away from 0 and 1.

    Args:
        probability: float [rows].
        label: 0 or 1, [rows].
    """
    edge = np.finfo(np.float32).eps
    safe = np.clip(probability.astype(np.float64), edge, 1 - edge)
    return -np.log(np.where(label > 0, safe, 1 - safe))


def f1_figures(hits: float, contacts: float, buyers: float) -> dict[str, float]:
    """F1, precision and recall; 0 if nobody is contacted."""
    return {
        "f1": 2 * hits / (contacts + buyers),
        "precision": hits / contacts if contacts else 0.0,
        "recall": hits / buyers,
    }


def bin_starts(rows: int, bins: int = CALIBRATION_BINS) -> np.ndarray:
    """The starts of bins of equally many rows, at least `MIN_USERS` each."""
    count = max(1, min(bins, rows // MIN_USERS))
    return np.arange(count) * rows // count


def buyers_in_top(ranked: Ranked, rows: int) -> float:
    """The buyers among the rows with the highest probabilities.

    Where the cut divides equal probabilities, the mean over all ways to divide them.
    """
    at = len(ranked.p) - rows
    if rows <= 0:
        return 0.0
    run = int(np.searchsorted(ranked.ties, at, side="right")) - 1
    start = int(ranked.ties[run])
    end = int(ranked.ties[run + 1]) if run + 1 < len(ranked.ties) else len(ranked.p)
    tied = float(ranked.positive[start:end].mean())
    return float(ranked.positive[end:].sum()) + (end - at) * tied


def best_f1(ranked: Ranked) -> float:
    """The highest F1 of any threshold on these users."""
    buyers = float(ranked.positive.sum())
    hits = buyers - np.concatenate([[0.0], np.cumsum(ranked.positive)])[ranked.ties]
    contacts = len(ranked.p) - ranked.ties
    return float((2 * hits / (contacts + buyers)).max())


def entropy(rate: float) -> float:
    """The log-loss of predicting the purchase rate, above 0 and below 1, for everyone."""
    return float(-rate * np.log(rate) - (1 - rate) * np.log(1 - rate))


@overload
def rounded(value: float) -> float: ...
@overload
def rounded(value: Any) -> Any: ...  # noqa: ANN401 - any plain JSON value
def rounded(value: Any) -> Any:
    """The same JSON value with every float rounded to 6 decimals."""
    if isinstance(value, float):
        return round(float(value), DECIMALS)
    if isinstance(value, Mapping):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return value


def segment_places(ids: Sequence[int], segment: np.ndarray) -> np.ndarray:
    """The position of each row's segment id among all ids, int64 [rows].

    Args:
        ids: All segments, in any order.
        segment: An id for each row, int64 [rows].
    """
    order = np.argsort(ids)
    return order[np.searchsorted(np.array(ids)[order], segment)]
