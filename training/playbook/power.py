"""What a test against the control group can show, and how many users it needs."""

import math
from statistics import NormalDist

POWER = 0.80
SIGNIFICANCE = 0.05


def sample_size(rate: float, relative_lift: float, control_share: float) -> int | None:
    """Users needed, control group among them, to see a lift of a purchase rate.

    The test of two proportions with unequal groups (Fleiss, Levin & Paik, Statistical Methods for
    Rates and Proportions, 2003, chapter 4, without continuity correction).

    Args:
        rate: Of the control group.
        relative_lift: Of the contacted, as a share of `rate`.
        control_share: The control group's share of the users.

    Returns:
        None if no number of users is enough: without a control group, at a rate of 0, or if
        the lifted rate would exceed 1.
    """
    lifted = rate * (1 + relative_lift)
    if not 0 < control_share < 1 or not rate < lifted <= 1:
        return None
    ratio = (1 - control_share) / control_share
    mean = (rate + ratio * lifted) / (1 + ratio)
    normal = NormalDist()
    noise = normal.inv_cdf(1 - SIGNIFICANCE / 2) * math.sqrt((ratio + 1) * mean * (1 - mean))
    signal = normal.inv_cdf(POWER) * math.sqrt(ratio * rate * (1 - rate) + lifted * (1 - lifted))
    control = (noise + signal) ** 2 / (ratio * (lifted - rate) ** 2)
    return math.ceil(control * (1 + ratio))


def detectable_lift(rate: float, users: int, control_share: float) -> float | None:
    """The smallest relative lift that so many users can show, to three decimals.

    None if they cannot even show a lift to a rate of 1.
    """

    def enough(lift: float) -> bool:
        needed = sample_size(rate, lift, control_share)
        return needed is not None and needed <= users

    if rate <= 0:
        return None
    low, high = 0.0, 1 / rate - 1
    if not enough(high):
        return None
    while high - low > 5e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return round(high, 3)
