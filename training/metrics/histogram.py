"""The scores of each segment as a histogram: users, and the buyers to expect among them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.pages.bins import BELOW_TOP, BINS, bin_numbers, bin_width
from training.metrics.disclosure import merged, run_of
from training.metrics.metrics import Outcomes, rounded


def score_histogram(outcomes: Outcomes, segment: np.ndarray, ids: Sequence[int]) -> dict[str, Any]:
    """Users and expected buyers by bin of the probability, of all and by segment; plain JSON values.

    All bins have the same width; the last is open. Bins of few users merge with their neighbours, and
    are counted in the bin that their mean probability is in.

    Args:
        outcomes: Probabilities of users.
        segment: Their segment ids, int64 [rows].
        ids: Those of all segments.
    """
    probability = outcomes.probability.astype(np.float64)
    width = bin_width(float(np.quantile(probability, BELOW_TOP)))
    return {
        "width": width,
        **_counted(probability, outcomes.users, width),
        "segments": [
            {
                "segment_id": number,
                **_counted(
                    probability[segment == number], outcomes.users[segment == number], width
                ),
            }
            for number in ids
        ],
    }


def _counted(probability: np.ndarray, users: np.ndarray, width: float) -> dict[str, Any]:
    """Rows and the sum of their probabilities by bin, each [BINS].

    Args:
        probability: float64 [rows].
        users: A number for each user, int64 [rows].
        width: Of a bin.
    """
    rows, buyers = np.zeros(BINS, np.int64), np.zeros(BINS)
    bins = bin_numbers(probability, width)
    runs = merged(bins, users, BINS)
    if runs:
        run = run_of(runs, bins)
        counts = np.bincount(run, minlength=len(runs))
        sums = np.bincount(run, probability, minlength=len(runs))
        means = sums / np.maximum(counts, 1)
        ends = np.array([[r.start, r.stop - 1] for r in runs])
        shown = np.clip((means / width).astype(np.int64), ends[:, 0], ends[:, 1])
        rows[shown], buyers[shown] = counts, sums
    return {"rows": rows.tolist(), "expected_buyers": rounded(buyers.tolist())}
