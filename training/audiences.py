"""What becomes of users in the order of their scores: reliability, deciles, audiences of each size."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.scores import above
from training.disclosure import MIN_CELL, users_in
from training.intervals import wilson
from training.metrics import Outcomes, Ranked, bin_starts, buyers_in_top, users_in_top

GAIN_SHARES = (0.05, 0.10, 0.20, 0.30)
AUDIENCE_SHARES = (0.01, 0.02, 0.05, 0.10, 0.15, 0.20, 0.30, 0.40, 0.50)


def reliability(ranked: Ranked, users: np.ndarray) -> list[dict[str, Any]]:
    """What was said and what came, in bins of equally many rows, with Wilson intervals (1927).

    The interval counts users, not rows, so that several rows of a user do not count as evidence
    several times.

    Args:
        ranked: Outcomes in order.
        users: A number for each user, int64 [rows], rows as they were before ranking.
    """
    starts = bin_starts(len(ranked.p))
    rows = np.diff([*starts, len(ranked.p)])
    cell = np.repeat(np.arange(len(starts)), rows)
    people = users_in(cell, users[ranked.order], len(starts))
    rate = np.add.reduceat(ranked.positive, starts) / rows
    mean = np.add.reduceat(ranked.p, starts) / rows
    low, high = wilson(rate, people)
    return [
        {
            "rows": int(rows[n]),
            **_shown(
                people[n],
                mean_probability=float(mean[n]),
                purchase_rate=float(rate[n]),
                low=float(low[n]),
                high=float(high[n]),
            ),
        }
        for n in range(len(starts))
    ]


def deciles(outcomes: Outcomes, cuts: Sequence[float]) -> list[dict[str, Any]]:
    """Purchases by decile of the score file, the most likely first.

    Args:
        outcomes: Probabilities and labels.
        cuts: Nine rising probabilities.
    """
    decile = above(tuple(cuts), outcomes.probability).astype(np.int64)
    count = len(cuts) + 1
    rows = np.bincount(decile, minlength=count)
    bought = np.bincount(decile, outcomes.label, minlength=count)
    said = np.bincount(decile, outcomes.probability.astype(np.float64), minlength=count)
    people = users_in(decile, outcomes.users, count)
    base, buyers, total = outcomes.label.mean(), bought.sum(), rows.sum()
    found: list[dict[str, Any]] = []
    for n in reversed(range(count)):
        rate = bought[n] / max(rows[n], 1)
        reached, contacted = bought[n:].sum() / buyers, rows[n:].sum() / total
        found.append(
            {
                "decile": n + 1,
                "rows": int(rows[n]),
                "probability_from": float(cuts[n - 1]) if n else 0.0,
                **_shown(
                    people[n],
                    mean_probability=float(said[n] / max(rows[n], 1)),
                    purchase_rate=float(rate),
                    lift=float(rate / base),
                    share_of_buyers=float(bought[n] / buyers),
                    cumulative_share_of_buyers=float(reached),
                    cumulative_lift=float(reached / max(contacted, 1 / total)),
                ),
            }
        )
    return found


def operating_points(ranked: Ranked, threshold: float, users: np.ndarray) -> list[dict[str, Any]]:
    """What an audience of each size reaches and wastes; the threshold's own, named, among them.

    Args:
        ranked: Outcomes in order.
        threshold: Users at or above it are predicted to buy.
        users: A number for each user, int64 [rows], rows as they were before ranking.
    """
    rows = len(ranked.p)
    own = rows - int(np.searchsorted(ranked.p, threshold))
    points = [(round(share * rows), share, "") for share in AUDIENCE_SHARES]
    points = sorted([*points, (own, own / rows, "threshold")])
    return [
        {**_point(ranked, count, share, users), **({"name": name} if name else {})}
        for count, share, name in points
    ]


def _point(ranked: Ranked, count: int, share: float, users: np.ndarray) -> dict[str, Any]:
    reached = buyers_in_top(ranked, count)
    buyers = round(reached)
    start = len(ranked.p) - count
    return {
        "audience_share": share,
        "users": count,
        "probability_from": float(ranked.p[start]) if count else None,
        **_shown(
            users_in_top(ranked, users, count),
            buyers_reached=buyers,
            share_of_buyers=reached / float(ranked.positive.sum()),
            contacts_wasted=count - buyers,
            precision=reached / max(count, 1),
        ),
    }


def gains(ranked: Ranked, users: np.ndarray) -> list[dict[str, Any]]:
    """What the top of each of `GAIN_SHARES` holds.

    Args:
        ranked: Outcomes in order.
        users: A number for each user, int64 [rows], rows as they were before ranking.
    """
    return [_gain(ranked, share, users) for share in GAIN_SHARES]


def _gain(ranked: Ranked, share: float, users: np.ndarray) -> dict[str, Any]:
    point = _point(ranked, round(share * len(ranked.p)), share, users)
    rate = point["precision"]
    return {
        "share": share,
        "share_of_buyers": point["share_of_buyers"],
        "lift": None if rate is None else rate / float(ranked.positive.mean()),
        "purchase_rate": rate,
    }


def _shown(people: int, **figures: float) -> dict[str, float | None]:
    """The figures of a cell, null where it has too few users."""
    if people < MIN_CELL:
        return dict.fromkeys(figures)
    return dict(figures)
