"""The scores of each segment as a histogram: users, and the buyers to expect among them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from training.metrics.disclosure import merged, run_of
from training.metrics.metrics import Outcomes, rounded

BINS = 40
WIDTHS = (0.0005, 0.001, 0.002, 0.0025, 0.005, 0.01, 0.02, 0.025)
"""Widths of a bin that read well on an axis; the last lets all bins reach a probability of 1."""

BELOW_TOP = 0.995
"""The share of users that the bins should spread out; the others are in the last bin."""


def score_histogram(outcomes: Outcomes, segment: np.ndarray, ids: Sequence[int]) -> dict[str, Any]:
    """Users and expected buyers by segment and bin of the probability; plain JSON values.

    All bins have the same width; the last is open. Bins of few users merge with their neighbours, and
    are counted in the bin that their mean probability is in.

    Args:
        outcomes: Probabilities of users.
        segment: Their segment ids, int64 [rows].
        ids: Those of all segments.
    """
    probability = outcomes.probability.astype(np.float64)
    top = float(np.quantile(probability, BELOW_TOP))
    width = next((w for w in WIDTHS if w * BINS >= top), WIDTHS[-1])
    found = []
    for number in ids:
        inside = segment == number
        rows, buyers = _counted(probability[inside], outcomes.users[inside], width)
        found.append({"segment_id": number, "rows": rows, "expected_buyers": buyers})
    return {"width": width, "segments": found}


def _counted(
    probability: np.ndarray, users: np.ndarray, width: float
) -> tuple[list[int], list[float]]:
    """Rows and the sum of their probabilities by bin, each [BINS].

    Args:
        probability: float64 [rows].
        users: A number for each user, int64 [rows].
        width: Of a bin.
    """
    rows, buyers = np.zeros(BINS, np.int64), np.zeros(BINS)
    bins = np.minimum((probability / width).astype(np.int64), BINS - 1)
    runs = merged(bins, users, BINS)
    if runs:
        run = run_of(runs, bins)
        counts = np.bincount(run, minlength=len(runs))
        sums = np.bincount(run, probability, minlength=len(runs))
        means = sums / np.maximum(counts, 1)
        ends = np.array([[r.start, r.stop - 1] for r in runs])
        shown = np.clip((means / width).astype(np.int64), ends[:, 0], ends[:, 1])
        rows[shown], buyers[shown] = counts, sums
    return rows.tolist(), rounded(buyers.tolist())
