"""Arms against the control group: differences of means, their intervals and tests.

Everything is computed from sums of powers of an outcome, by group, so that users are read once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm, pearson3, t  # type: ignore[import-untyped]

from training.metrics.disclosure import MIN_USERS
from training.metrics.intervals import wilson
from training.playbook.power import SIGNIFICANCE


@dataclass(frozen=True, slots=True)
class Moments:
    """Users of some groups, and sums of the powers of their outcomes.

    Attributes:
        sums: The users and the sums of the first, second and third power, float64 [4, ...].
        binary: Whether every outcome is 0 or 1.
    """

    sums: np.ndarray
    binary: bool

    def __getitem__(self, groups: Any) -> "Moments":  # noqa: ANN401 - any index of an array
        """Some of the groups."""
        index = groups if isinstance(groups, tuple) else (groups,)
        return Moments(self.sums[:, *index], self.binary)

    def summed(self, axes: tuple[int, ...]) -> "Moments":
        """The sums over some axes of [first, ...], as [first, groups]."""
        sums = self.sums.sum(axis=tuple(axis + 1 for axis in axes))
        return Moments(sums.reshape(*sums.shape[:2], -1), self.binary)

    def of_blocks(self, blocks: Sequence[tuple[range, range]]) -> "Moments":
        """The sums over blocks of [first, rows, columns], as [first, blocks]."""
        parts = [
            self.sums[..., rows.start : rows.stop, columns.start : columns.stop].sum(axis=(2, 3))
            for rows, columns in blocks
        ]
        return Moments(np.stack(parts, axis=-1), self.binary)

    @property
    def users(self) -> np.ndarray:
        """How many users each group has, float64 [...]."""
        found: np.ndarray = self.sums[0]
        return found

    @property
    def mean(self) -> np.ndarray:
        """The mean outcome, float64 [...]; 0 in a group without users."""
        found: np.ndarray = self.sums[1] / np.maximum(self.users, 1)
        return found

    @property
    def variance(self) -> np.ndarray:
        """The sample variance of the outcome, float64 [...]; 0 in a group of fewer than two users."""
        squares = self.sums[2] - self.sums[1] ** 2 / np.maximum(self.users, 1)
        found: np.ndarray = np.maximum(squares, 0) / np.maximum(self.users - 1, 1)
        return found


@dataclass(frozen=True, slots=True)
class Differences:
    """Mean outcomes of contacted users minus those of control users; arrays are float64 [groups].

    Attributes:
        contacted: The users of an arm.
        control: Those of its control group.
        difference: Of the means.
        error: Its standard error.
        low: The lower end of its 95 % interval; NaN if a side has the same value throughout.
        high: The upper end.
        p_value: Of the test that contacts have no effect, two-sided.
    """

    contacted: Moments
    control: Moments
    difference: np.ndarray
    error: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p_value: np.ndarray


def moments(values: np.ndarray, group: np.ndarray, shape: tuple[int, ...]) -> Moments:
    """Sums of an outcome by group.

    Args:
        values: The outcome of each user, float64 [users].
        group: The group of each user, from 0, int64 [users].
        shape: That of the groups, in the order of their numbers.
    """
    count = int(np.prod(shape))
    sums = [np.bincount(group, values**power, count) for power in range(4)]
    return Moments(np.array(sums).reshape(4, *shape), bool(np.isin(values, (0, 1)).all()))


def enough_users(contacted: Moments, control: Moments) -> np.ndarray:
    """Whether a difference may be published: `MIN_USERS` on both sides, bool [groups]."""
    found: np.ndarray = (contacted.users >= MIN_USERS) & (control.users >= MIN_USERS)
    return found


def differences(contacted: Moments, control: Moments) -> Differences:
    """Differences of means with 95 % intervals.

    Rates have Newcombe's interval, other outcomes Welch's (1947), which allows unequal variances.

    Args:
        contacted: Groups of at least two users.
        control: The same groups of the control group.
    """
    users = np.array([contacted.users, control.users])
    parts = np.array([contacted.variance, control.variance]) / users
    error = np.sqrt(parts.sum(axis=0))
    difference = contacted.mean - control.mean
    if contacted.binary:
        low, high = rate_differences(np.array([contacted.mean, control.mean]), users)
    else:
        varies = (parts > 0).all(axis=0)
        squares = np.where(varies, (parts**2 / (users - 1)).sum(axis=0), np.nan)
        reach = t.ppf(1 - SIGNIFICANCE / 2, parts.sum(axis=0) ** 2 / squares) * error
        low, high = difference - reach, difference + reach
    p_value = permutation_p(contacted, control)
    return Differences(contacted, control, difference, error, low, high, p_value)


def rate_differences(rate: np.ndarray, people: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % intervals of the first rate minus the second: Newcombe's hybrid score (1998), method 10.

    Args:
        rate: float64 [2, cells].
        people: How many users each rate is of, above 0, int64 [2, cells].
    """
    low, high = wilson(rate, people)
    difference = rate[0] - rate[1]
    down = np.sqrt((rate[0] - low[0]) ** 2 + (high[1] - rate[1]) ** 2)
    up = np.sqrt((high[0] - rate[0]) ** 2 + (rate[1] - low[1]) ** 2)
    return difference - down, difference + up


def permutation_p(contacted: Moments, control: Moments) -> np.ndarray:
    """The two-sided p-value of the permutation test that contacts change nothing, float64 [groups].

    The distribution of the control group's mean over all ways to draw it is approximated by its first
    three moments with a Pearson type III curve (Mielke & Berry, Permutation Methods, 2007, chapter 2),
    as a small control group of rare purchases is far from normal. Of this tail and the normal one
    the larger counts, because the curve ends where a sum may still lie.
    """
    users, first, second, third = contacted.sums + control.sums
    mean = first / users
    variance = np.maximum(second / users - mean**2, 0)
    drawn, spread = control.users, np.sqrt(np.where(variance > 0, variance, 1))
    skewness = (third / users - 3 * mean * second / users + 2 * mean**3) / spread**3
    skewness = skewness * (users - 2 * drawn) * np.sqrt(users - 1)
    skewness = skewness / (np.maximum(users - 2, 1) * np.sqrt(drawn * contacted.users))
    error = spread * np.sqrt(users / (users - 1) * (1 / drawn - 1 / users))
    z = (control.mean - mean) / error
    below = np.maximum(norm.cdf(z), pearson3.cdf(z, skewness))
    above = np.maximum(norm.sf(z), pearson3.sf(z, skewness))
    p_value = np.minimum(1, 2 * np.minimum(below, above))
    return np.where(variance > 0, p_value, 1.0)


def pooled_variance(contacted: Moments, control: Moments) -> np.ndarray:
    """The variance of a difference if both sides vary alike, float64 [groups].

    The variance of a group counts together with `MIN_USERS` users of all groups, so that a group in
    which nobody bought is not taken to be known exactly.
    """
    users = contacted.users + control.users
    own = (contacted.variance * contacted.users + control.variance * control.users) / users
    whole = (own @ users) / max(users.sum(), 1)
    smoothed = (own * users + whole * MIN_USERS) / (users + MIN_USERS)
    found: np.ndarray = smoothed * (1 / contacted.users + 1 / control.users)
    return found


def balance_weight(contacted: Moments, control: Moments) -> np.ndarray:
    """How much each group counts in a mean over groups (Mantel & Haenszel 1959), float64 [groups].

    Only users decide, as weights that depend on outcomes would favour groups with few buyers.
    """
    users = contacted.users + control.users
    found: np.ndarray = contacted.users * control.users / np.maximum(users, 1)
    return found


def holm(p_value: np.ndarray) -> np.ndarray:
    """P-values adjusted for their number (Holm 1979), in the same shape.

    With a limit of 5 % on these, all cells together are wrong in at most 5 % of campaigns without effect.
    """
    flat = p_value.ravel()
    order = np.argsort(flat, kind="stable")
    steps = flat[order] * np.arange(len(flat), 0, -1)
    adjusted = np.empty(len(flat))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(steps))
    return adjusted.reshape(p_value.shape)
