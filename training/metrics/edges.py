"""Cut-points between values, rounded so that they reveal little about the values."""

from collections.abc import Sequence
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Context

import numpy as np

MOST_DIGITS = 9
"""Enough digits to distinguish any two float32 numbers."""


def short_edges(sorted_values: np.ndarray, edges: Sequence[float] | np.ndarray) -> list[float]:
    """For each edge the number with the fewest digits that divides the same values.

    So an edge is seldom the exact value of a user. It still may be if many users share a value, or
    values lie close together.

    Args:
        sorted_values: float32 [rows], rising.
        edges: For each edge the lowest value above it; never the lowest of all values.
    """
    below = sorted_values[np.searchsorted(sorted_values, edges) - 1]
    return [_short(float(low), float(edge)) for low, edge in zip(below, edges, strict=True)]


def _short(low: float, edge: float) -> float:
    """The shortest number above `low` and at most `edge`, in float32 too."""
    rounded = (
        float(Context(digits, rounding).create_decimal_from_float(edge))
        for digits in range(1, MOST_DIGITS + 1)
        for rounding in (ROUND_HALF_EVEN, ROUND_FLOOR)
    )
    # A number rounded up from the largest float32 becomes infinite.
    with np.errstate(over="ignore"):
        return next((number for number in rounded if low < np.float32(number) <= edge), edge)
