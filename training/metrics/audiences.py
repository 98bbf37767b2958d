"""Users in the order of their scores: calibration bins, deciles, audiences of each size."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.bundle.reference import digitize
from training.metrics.disclosure import enough, merged, run_of, users_in
from training.metrics.intervals import wilson
from training.metrics.metrics import (
    Outcomes,
    Ranked,
    admitted_rows,
    bin_starts,
    bought_evenly,
    buyers_in_top,
)

GAIN_SHARES = (0.05, 0.10, 0.20, 0.30)
AUDIENCE_SHARES = (0.01, 0.02, 0.05, 0.10, 0.15, 0.20, 0.30, 0.40, 0.50)


def reliability(ranked: Ranked, users: np.ndarray) -> list[dict[str, Any]]:
    """Predicted and actual purchase rates in bins of equally many rows, with Wilson intervals.

    Args:
        ranked: Outcomes in order.
        users: A number for each user, int64 [rows], rows as they were before ranking.
    """
    starts = bin_starts(len(ranked.p))
    bins = np.repeat(np.arange(len(starts)), np.diff([*starts, len(ranked.p)]))
    ordered = users[ranked.order]
    runs = merged(bins, ordered, len(starts))
    if not runs:
        return []
    starts = starts[[run.start for run in runs]]
    rows = np.diff([*starts, len(ranked.p)])
    people = users_in(run_of(runs, bins), ordered, len(runs))
    rate = np.add.reduceat(bought_evenly(ranked, np.ones(len(ranked.p))), starts) / rows
    mean = np.add.reduceat(ranked.p, starts) / rows
    low, high = wilson(rate, people)
    return [
        {
            "rows": int(rows[n]),
            "mean_probability": float(mean[n]),
            "purchase_rate": float(rate[n]),
            "low": float(low[n]),
            "high": float(high[n]),
        }
        for n in range(len(starts))
    ]


def deciles(outcomes: Outcomes, cuts: Sequence[float]) -> list[dict[str, Any]]:
    """Purchases by decile of the score file, the highest first; deciles of few users are merged.

    Args:
        outcomes: Probabilities and labels.
        cuts: Nine rising probabilities.
    """
    decile = digitize(tuple(cuts), outcomes.probability).astype(np.int64)
    runs = merged(decile, outcomes.users, len(cuts) + 1)
    if not runs:
        return []
    place = run_of(runs, decile)
    rows = np.bincount(place, minlength=len(runs))
    bought = np.bincount(place, outcomes.label, minlength=len(runs))
    predicted = np.bincount(place, outcomes.probability.astype(np.float64), minlength=len(runs))
    base, buyers, total = outcomes.label.mean(), bought.sum(), rows.sum()
    found: list[dict[str, Any]] = []
    for n in reversed(range(len(runs))):
        reached, contacted = bought[n:].sum() / buyers, rows[n:].sum() / total
        rate = float(bought[n] / rows[n]) if rows[n] else None
        found.append(
            {
                "deciles": [number + 1 for number in runs[n]],
                "rows": int(rows[n]),
                "probability_from": float(cuts[runs[n].start - 1]) if n else 0.0,
                "mean_probability": float(predicted[n] / rows[n]) if rows[n] else None,
                "purchase_rate": rate,
                "lift": None if rate is None else float(rate / base),
                "share_of_buyers": float(bought[n] / buyers),
                "cumulative_share_of_users": float(contacted),
                "cumulative_share_of_buyers": float(reached),
                "cumulative_lift": float(reached / max(contacted, 1 / total)),
            }
        )
    return found


def operating_points(ranked: Ranked, threshold: float, users: np.ndarray) -> list[dict[str, Any]]:
    """The buyers reached and contacts wasted by audience size; audiences of few users are left out.

    Args:
        ranked: Outcomes in order.
        threshold: Users at or above it are predicted to buy; their audience has the name
            "threshold".
        users: A number for each user, int64 [rows], rows as they were before ranking.
    """
    rows = len(ranked.p)
    admitted = admitted_rows(ranked, threshold)
    points: list[tuple[int, float, dict[str, str]]] = [
        (round(share * rows), share, {}) for share in AUDIENCE_SHARES
    ]
    points.append((admitted, admitted / rows, {"name": "threshold"}))
    return [
        {"audience_share": share, **_audience(ranked, count), **name}
        for count, share, name in sorted(points, key=lambda point: point[:2])
        if enough(top_users(ranked, users, count))
    ]


def gains(ranked: Ranked, users: np.ndarray) -> list[dict[str, Any]]:
    """What the top of each of `GAIN_SHARES` holds; a top of few users is left out.

    Args:
        ranked: Outcomes in order.
        users: A number for each user, int64 [rows], rows as they were before ranking.
    """
    base = float(ranked.positive.mean())
    tops = {s: _audience(ranked, round(s * len(ranked.p))) for s in gain_shares(ranked, users)}
    return [
        {
            "share": share,
            "share_of_buyers": top["share_of_buyers"],
            "lift": top["precision"] / base,
            "purchase_rate": top["precision"],
        }
        for share, top in tops.items()
    ]


def gain_shares(ranked: Ranked, users: np.ndarray) -> list[float]:
    """The `GAIN_SHARES` whose top has enough users to be published."""
    rows = len(ranked.p)
    return [s for s in GAIN_SHARES if enough(top_users(ranked, users, round(s * rows)))]


def top_users(ranked: Ranked, users: np.ndarray, rows: int) -> np.ndarray:
    """The users of the rows with the highest probabilities, int64 [rows]."""
    return users[ranked.order[len(ranked.order) - rows :]]


def _audience(ranked: Ranked, count: int) -> dict[str, Any]:
    """What the `count` highest probabilities reach."""
    reached = buyers_in_top(ranked, count)
    buyers = round(reached)
    return {
        "users": count,
        "probability_from": float(ranked.p[len(ranked.p) - count]),
        "buyers_reached": buyers,
        "share_of_buyers": reached / float(ranked.positive.sum()),
        "contacts_wasted": count - buyers,
        "precision": reached / count,
    }
