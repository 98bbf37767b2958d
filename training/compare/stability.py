"""Stability over dates: ranking, segments and bands of the same users; plain JSON values."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.metrics import adjusted_rand_score

from engine.bundle.reference import digitize
from training.compare.strategies import Compared
from training.metrics.disclosure import MIN_USERS, enough
from training.metrics.metrics import rank, roc_auc


def stability_figures(compared: Compared, band_cuts: Sequence[float]) -> dict[str, Any]:
    """How each strategy performs on each date, and how many users change segment or band between dates.

    Returns:
        `words` on what could not be measured; with several dates also `weeks` and `changes`.
    """
    snapshots = np.empty(0) if compared.snapshots is None else compared.snapshots
    dates, week = np.unique(snapshots, return_inverse=True)
    if len(dates) < 2:
        what = "no dates" if not len(dates) else f"one date, {dates[0]}"
        return {
            "words": f"These users have {what}: stability over time was not measured. Several weeks of "
            "the same users would show it."
        }
    on = [np.flatnonzero(week == n) for n in range(len(dates))]
    changes = [_change(compared, band_cuts, *rows) for rows in pairwise(on)]
    few = "No two dates have enough users in common: changes of segment and band were not measured."
    return {
        "words": "" if any(changes) else few,
        "weeks": [
            {"snapshot": str(date), **_week(compared, rows)}
            for date, rows in zip(dates, on, strict=True)
            if enough(compared.users[rows])
        ],
        "changes": [
            {"from": str(before), "to": str(after), **change}
            for (before, after), change in zip(pairwise(dates), changes, strict=True)
            if change
        ],
    }


def _week(compared: Compared, rows: np.ndarray) -> dict[str, Any]:
    label, probability = compared.label[rows], compared.scored.probability[rows]
    bought = int(label.sum())
    ranks = min(bought, len(rows) - bought) >= MIN_USERS
    return {
        "rows": len(rows),
        "purchase_rate": float(label.mean()),
        "mean_probability": float(probability.mean(dtype=np.float64)),
        "roc_auc": {
            name: roc_auc(rank(p[rows], label), np.ones(len(rows))) if ranks else None
            for name, p in compared.strategies.items()
        },
    }


def _change(
    compared: Compared, band_cuts: Sequence[float], before: np.ndarray, after: np.ndarray
) -> dict[str, Any]:
    """What changed for the users of both dates; empty if they are too few.

    The agreement is the adjusted Rand index.
    """
    same, first, second = np.intersect1d(
        compared.users[before], compared.users[after], return_indices=True
    )
    if len(same) < MIN_USERS:
        return {}
    rows = before[first], after[second]
    segments = [compared.scored.segment[r] for r in rows]
    bands = [digitize(tuple(band_cuts), compared.scored.probability[r]) for r in rows]
    return {
        "users": len(same),
        "segment_changed": float((segments[0] != segments[1]).mean()),
        "band_changed": float((bands[0] != bands[1]).mean()),
        "agreement": float(adjusted_rand_score(*segments)),
    }
