"""Cut-points between values, as numbers that tell as little as possible of the values beside them."""

from collections.abc import Sequence
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Context

import numpy as np

MOST_DIGITS = 9
"""So many tell every float32 from the next."""


def short_edges(sorted_values: np.ndarray, edges: Sequence[float] | np.ndarray) -> list[float]:
    """For each edge the number with the fewest digits that divides the same values.

    An edge that is somebody's value becomes a rounder number, above the next lower value. Where many
    share the value, or where values lie close together, it may still be a value that occurs.

    Args:
        sorted_values: float32 [rows], rising.
        edges: Some of the values, but not the lowest: the lowest of those that lie above each edge.
    """
    below = sorted_values[np.searchsorted(sorted_values, edges) - 1]
    return [_short(float(low), float(edge)) for low, edge in zip(below, edges, strict=True)]


def _short(low: float, edge: float) -> float:
    """The shortest number above `low` and at most `edge`, in float32 too."""
    rounded = (
        float(Context(digits, way).create_decimal_from_float(edge))
        for digits in range(1, MOST_DIGITS + 1)
        for way in (ROUND_HALF_EVEN, ROUND_FLOOR)
    )
    return next((number for number in rounded if low < np.float32(number) <= edge), edge)
