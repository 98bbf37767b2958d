"""What audiences of each size bring at most: expected orders, revenue, contact costs and profit.

Orders are expected whether users are contacted or not. Profit is therefore an upper bound of what
contacting can win.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.bundle.manifest import BANDS
from engine.bundle.playbook import cell_economics
from engine.bundle.reference import digitize

FIGURES = ("users", "orders", "revenue", "cost", "profit")


@dataclass(frozen=True, slots=True)
class Bins:
    """The users whom a playbook contacts, in bins of segment and probability.

    Attributes:
        segment: The segment's id, int64 [bins].
        probability: The mean of the bin, float64 [bins].
        figures: `FIGURES` of the whole bin, float64 [bins, figures].
    """

    segment: np.ndarray
    probability: np.ndarray
    figures: np.ndarray

    def of_segment(self, number: int) -> "Bins":
        """The bins of one segment."""
        inside = self.segment == number
        return Bins(self.segment[inside], self.probability[inside], self.figures[inside])

    @property
    def likeliest_first(self) -> np.ndarray:
        """The bins by probability, int64 [bins]."""
        return np.argsort(-self.probability, kind="stable")

    @property
    def best_first(self) -> np.ndarray:
        """The bins by expected profit of a user, int64 [bins]."""
        return np.argsort(-self.figures[:, 4] / self.figures[:, 0], kind="stable")


def priced_bins(
    histogram: Mapping[str, Any],
    playbook: Mapping[str, Any],
    band_cuts: Sequence[float],
    scale: float,
) -> Bins:
    """Bins of users with what their orders bring and their contacts cost.

    Users whom the playbook does not contact are left out, as are cells without a value of an order.

    Args:
        histogram: As `score_histogram` returns it.
        playbook: As in `playbook.json`, with `economics`.
        band_cuts: Rising probabilities.
        scale: Users of the population for each measured one.
    """
    cells = cell_economics(playbook)
    margin = playbook["economics"]["margin"]
    segments, probabilities, figures = [], [], []
    for part in histogram["segments"]:
        bands = bin_bands(part, band_cuts)
        for count, buyers, band in zip(part["rows"], part["expected_buyers"], bands, strict=True):
            cell = cells[part["segment_id"], BANDS[band]]
            if count and cell.contacted and cell.order_value is not None and cell.cost is not None:
                users, orders = count * scale, buyers * scale
                revenue, cost = orders * cell.order_value, users * cell.cost
                segments.append(part["segment_id"])
                probabilities.append(buyers / count)
                figures.append((users, orders, revenue, cost, margin * revenue - cost))
    return Bins(
        np.array(segments, np.int64),
        np.array(probabilities, np.float64),
        np.array(figures, np.float64).reshape(-1, len(FIGURES)),
    )


def bin_bands(part: Mapping[str, Any], band_cuts: Sequence[float]) -> np.ndarray:
    """The band of the average user of each bin, int64 [bins]; the lowest for a bin without users.

    Args:
        part: `rows` and `expected_buyers` by bin.
        band_cuts: Rising probabilities.
    """
    rows, buyers = np.array(part["rows"], float), np.array(part["expected_buyers"], float)
    means = np.divide(buyers, rows, out=np.zeros_like(rows), where=rows > 0)
    return digitize(tuple(band_cuts), means.astype(np.float32))


def audience(bins: Bins, order: np.ndarray, users: float) -> dict[str, float]:
    """`FIGURES` of the first users in an order; a bin that they divide counts in proportion.

    Args:
        bins: At least one.
        order: The bins as they are contacted, int64 [bins].
        users: How many are contacted, at most all.
    """
    total = _cumulated(bins, order)
    return {
        name: float(np.interp(users, total[:, 0], total[:, n])) for n, name in enumerate(FIGURES)
    }


def best_size(bins: Bins, order: np.ndarray) -> float:
    """The number of users with the largest profit; 0 if no contact pays."""
    total = _cumulated(bins, order)
    return float(total[total[:, -1].argmax(), 0])


def _cumulated(bins: Bins, order: np.ndarray) -> np.ndarray:
    """`FIGURES` of the first bins together, from none to all, float64 [bins + 1, figures]."""
    return np.concatenate([np.zeros((1, len(FIGURES))), np.cumsum(bins.figures[order], axis=0)])
