"""Effects of many cells, drawn towards the effect on their kind: a normal hierarchical model."""

from dataclasses import dataclass

import numpy as np

SPREADS = 200
"""The values of the spread between which the posterior is averaged."""


@dataclass(frozen=True, slots=True)
class Shrunken:
    """What the cells of one arm say together; arrays are float64 [cells].

    Attributes:
        towards: The mean effect on the cells of its kind, or on all if it is the only one.
        spread: The standard deviation of the true effects around these means, as far as it is known.
        estimate: The effect of each cell, drawn towards that mean. It is likelier to be right than the
            measured one, but has no interval: one from this model holds the truth in 76 to 93 % of cells
            instead of 95 %.
    """

    towards: np.ndarray
    spread: float
    estimate: np.ndarray


def shrink(
    difference: np.ndarray, variance: np.ndarray, weight: np.ndarray, kind: np.ndarray
) -> Shrunken:
    """Draw effects towards the mean of their kind, the noisier the more.

    A cell that is the only one of its kind is drawn towards the mean of all cells.

    True effects are taken to be normal around the means (Efron & Morris 1975). Their spread is averaged
    over its posterior under a flat prior (Gelman 2006), since the most likely spread is often 0, which
    would deny every difference between cells.

    Args:
        difference: The effect of each cell, at least one, float64 [cells].
        variance: Its sampling variance, float64 [cells]; 0 in all cells if each side of each has one
            outcome throughout, and then nothing is drawn.
        weight: How much each cell counts in the mean, float64 [cells].
        kind: A number from 0; cells with the same one have a common mean, int64 [cells].
    """
    of_kind = np.bincount(kind, weight * difference) / np.maximum(np.bincount(kind, weight), 1e-300)
    is_alone = np.bincount(kind)[kind] == 1
    towards = np.where(is_alone, weight @ difference / weight.sum(), of_kind[kind])
    spread = np.linspace(0, np.ptp(difference), SPREADS)
    if not variance.any():
        return Shrunken(towards, 0.0, difference)
    total = variance + spread[:, None] ** 2
    fit = -0.5 * (np.log(total) + (difference - towards) ** 2 / total).sum(axis=1)
    chance = np.exp(fit - fit.max())
    chance = chance / chance.sum()
    kept = chance @ (spread[:, None] ** 2 / total)
    return Shrunken(towards, float(chance @ spread), towards + kept * (difference - towards))
