"""Sample-ratio mismatch: do the sizes of the arms agree with a random assignment?

If not, users were lost or assigned differently by arm, and a difference need not be an effect (Fabijan
et al., Diagnosing Sample Ratio Mismatch in Online Controlled Experiments, KDD 2019).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import chi2, chi2_contingency  # type: ignore[import-untyped]

ALARM = 0.001
"""The p-value below which arms are said to be mismatched."""

LEAST_EXPECTED = 5
"""Fewer expected users are too few for a chi-square test (Cochran 1954)."""


def planned_test(found: np.ndarray, planned: np.ndarray) -> dict[str, Any] | None:
    """The chi-square test of arm sizes against planned shares; None if there is nothing to compare.

    Args:
        found: Users of each arm, int64 [arms].
        planned: Their planned shares, in any unit, float64 [arms].
    """
    expected = planned / max(planned.sum(), 1e-300) * found[planned > 0].sum()
    used = expected >= LEAST_EXPECTED
    if used.sum() < 2:
        return None
    statistic = float(((found[used] - expected[used]) ** 2 / expected[used]).sum())
    return _result("planned shares", statistic, int(used.sum()) - 1)


def balance_test(arm: np.ndarray, cell: np.ndarray, arms: int) -> dict[str, Any] | None:
    """The chi-square test that each cell has the arms in the same shares; None with too few users.

    Args:
        arm: The arm of each assigned user, from 0, int64 [users].
        cell: The cell of each user before the contact, int64 [users].
        arms: How many there are.
    """
    _, place = np.unique(cell, return_inverse=True)
    counts = np.bincount(place * arms + arm, minlength=arms * (place.max(initial=0) + 1))
    counts = counts.reshape(-1, arms)
    share = counts.sum(axis=0) / max(counts.sum(), 1)
    large = counts.sum(axis=1) * share.min() >= LEAST_EXPECTED
    # Small cells count together.
    merged = np.vstack([counts[large], counts[~large].sum(axis=0)])
    return _contingency(
        "shares by cell", merged[merged.sum(axis=1) * share.min() >= LEAST_EXPECTED]
    )


def lost_test(assigned: np.ndarray, measured: np.ndarray) -> dict[str, Any] | None:
    """The chi-square test that as many users of each arm were measured; None if hardly any were lost.

    Args:
        assigned: Users of each arm, int64 [arms].
        measured: Those with an outcome, int64 [arms].
    """
    return _contingency("users with an outcome", np.array([measured, assigned - measured]))


def ratio_document(tests: Sequence[dict[str, Any] | None]) -> dict[str, Any]:
    """The tests that could be made, and whether one of them alarms; plain JSON values."""
    made = [test for test in tests if test is not None]
    return {"tests": made, "alarm": any(test["p_value"] < ALARM for test in made)}


def _contingency(name: str, counts: np.ndarray) -> dict[str, Any] | None:
    if len(counts) < 2 or counts.shape[1] < 2 or not counts.sum():
        return None
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    if expected.min() < LEAST_EXPECTED:
        return None
    statistic, _, freedom, _ = chi2_contingency(counts, correction=False)
    return _result(name, float(statistic), int(freedom))


def _result(name: str, statistic: float, freedom: int) -> dict[str, Any]:
    p_value = float(chi2.sf(statistic, freedom))
    return {"test": name, "chi_square": statistic, "degrees": freedom, "p_value": p_value}
