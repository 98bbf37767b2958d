"""Bins of a probability for people: equally wide, on an axis that fits the scores."""

import numpy as np

BINS = 40
WIDTHS = (0.0005, 0.001, 0.002, 0.0025, 0.005, 0.01, 0.02, 0.025)
"""Widths that read well on an axis; with the last, the bins reach a probability of 1."""

BELOW_TOP = 0.995
"""The share of users that the bins spread out; the others are in the last bin."""

FINEST_BINS = round(1 / WIDTHS[0])


def bin_width(top: float) -> float:
    """The smallest width with which the bins reach a probability."""
    return next((width for width in WIDTHS if width * BINS >= top), WIDTHS[-1])


def bin_numbers(probability: np.ndarray, width: float, bins: int = BINS) -> np.ndarray:
    """The bin of each probability, int64 [rows]; the last one is open.

    Args:
        probability: float64 [rows].
        width: Of a bin.
        bins: How many there are.
    """
    return np.minimum((probability / width).astype(np.int64), bins - 1)
