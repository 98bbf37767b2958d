"""The arms of a campaign: a hash of campaign and id draws each user into one, the same in every system."""

import re
from collections.abc import Mapping

import numpy as np
import polars as pl

from engine.bundle.playbook import salted_draws
from engine.errors import UsageError, quoted

ARM_HASH = "arm-v1"
CONTACT = "contact"
"""The one arm of a campaign that names none."""
CONTROL = "control"
"""Who is not contacted: the control group of the scores, and the campaign's own if `--arms` names one."""

SHARE_TOLERANCE = 1e-9
_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")


def check_name(name: str, option: str) -> None:
    """Check the name of a campaign or an arm: nothing in it may separate the parts of a hashed text.

    Raises:
        UsageError: It holds other characters than the grammar allows, or is too long.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{option}: {name[:100]!r} is not a name of 1 to 100 letters (A-Z, a-z), digits and '._-'."
        )


def check_arms(arms: Mapping[str, float], where: str = "--arms") -> None:
    """Check the arms of a campaign; `where` begins the message of an error.

    Raises:
        UsageError: A name is invalid, a share is not positive, they do not sum to 1, or nobody would be
            contacted.
    """
    for name in arms:
        check_name(name, where)
    if list(arms) == [CONTROL]:
        raise UsageError(f"{where}: only {CONTROL!r}, who are not contacted. Name another arm too.")
    wrong = [name for name, share in arms.items() if not 0 < share <= 1]
    if wrong:
        raise UsageError(f"{where}: the shares of {quoted(wrong)} must be above 0 and at most 1.")
    total = sum(arms.values())
    if abs(total - 1) > SHARE_TOLERANCE:
        raise UsageError(f"{where}: the shares sum to {total:.12g}, expected 1.")


def arm_column(ids: pl.Series, campaign: str | None, arms: Mapping[str, float]) -> pl.Series:
    """The arm of each user: the first whose cumulated share exceeds the user's draw from [0, 1).

    The draw is the first 8 hex digits of SHA-256(UTF-8 of "arm-v1:" + campaign + ":" + id), as an
    integer, divided by 2³². Shares are added in the order of the arms.

    Args:
        ids: Texts or whole numbers; none is null.
        campaign: Its name; only a single arm needs none.
        arms: The share of each arm, by name.
    """
    names = pl.Series(list(arms), dtype=pl.String)
    if len(names) == 1:
        return names.new_from_index(0, len(ids))
    draws = salted_draws(ids, f"{ARM_HASH}:{campaign}:") / 2.0**32
    limits = np.cumsum(list(arms.values()))[:-1]
    return names.gather(np.searchsorted(limits, draws, side="right"))
