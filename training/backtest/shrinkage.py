"""Effects of many cells, drawn towards the effect on all users: a normal hierarchical model."""

from dataclasses import dataclass

import numpy as np

from training.metrics.intervals import NORMAL_QUANTILE

SPREADS = 200
"""The values of the spread between which the posterior is averaged."""


@dataclass(frozen=True, slots=True)
class Shrunken:
    """What the cells of one arm say together; arrays are float64 [cells].

    Attributes:
        mean: The effect on all users, also the best guess for a cell that was not measured.
        spread: The standard deviation of the true effects around it, as far as it is known.
        estimate: The effect of each cell, drawn towards the mean.
        low: The lower end of its 95 % interval.
        high: The upper end.
    """

    mean: float
    spread: float
    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray


def shrink(difference: np.ndarray, variance: np.ndarray, weight: np.ndarray) -> Shrunken:
    """Draw effects towards their mean, the noisier the more.

    True effects are taken to be normal around the mean (Efron & Morris 1975). Their spread is averaged over
    its posterior under a flat prior (Gelman 2006), since the most likely spread is often 0, which would
    deny every difference between cells and make intervals too short. Intervals are still approximate:
    true effects need not be normal.

    Args:
        difference: The effect of each cell, at least one, float64 [cells].
        variance: Its sampling variance, above 0, float64 [cells].
        weight: How much each cell counts in the mean, float64 [cells].
    """
    share = weight / weight.sum()
    mean = float(share @ difference)
    spread = np.linspace(0, np.ptp(difference), SPREADS)
    total = variance + spread[:, None] ** 2
    fit = -0.5 * (np.log(total) + (difference - mean) ** 2 / total).sum(axis=1)
    chance = np.exp(fit - fit.max())
    chance = chance / chance.sum()
    kept = spread[:, None] ** 2 / total
    estimates = mean + kept * (difference - mean)
    errors = kept * variance + (1 - kept) ** 2 * (total @ share**2)[:, None]
    estimate = chance @ estimates
    reach = NORMAL_QUANTILE * np.sqrt(chance @ (errors + (estimates - estimate) ** 2))
    return Shrunken(mean, float(chance @ spread), estimate, estimate - reach, estimate + reach)
