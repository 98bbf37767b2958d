"""What becomes of users in the order of their scores: reliability, deciles, audiences of each size."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from engine.bundle.reference import digitize
from training.metrics.disclosure import few, told_figures, users_in, withheld
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
    hidden = withheld(cell, users[ranked.order], (len(starts),))
    rate = np.add.reduceat(bought_evenly(ranked, np.ones(len(ranked.p))), starts) / rows
    mean = np.add.reduceat(ranked.p, starts) / rows
    low, high = wilson(rate, people)
    return [
        {
            "rows": int(rows[n]),
            **told_figures(
                told=not hidden[n],
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

    Deciles are withheld like the cells of any table, with their rows; a cumulative figure where it,
    less others that are told, would give a few users away.

    Args:
        outcomes: Probabilities and labels.
        cuts: Nine rising probabilities.
    """
    decile = digitize(tuple(cuts), outcomes.probability).astype(np.int64)
    count = len(cuts) + 1
    rows = np.bincount(decile, minlength=count)
    bought = np.bincount(decile, outcomes.label, minlength=count)
    said = np.bincount(decile, outcomes.probability.astype(np.float64), minlength=count)
    hidden = withheld(decile, outcomes.users, (count,))
    summed = _told_sums(decile, outcomes.users, hidden)
    base, buyers, total = outcomes.label.mean(), bought.sum(), rows.sum()
    found: list[dict[str, Any]] = []
    for n in reversed(range(count)):
        rate = bought[n] / max(rows[n], 1)
        reached, contacted = bought[n:].sum() / buyers, rows[n:].sum() / total
        found.append(
            {
                "decile": n + 1,
                "rows": None if hidden[n] else int(rows[n]),
                "probability_from": float(cuts[n - 1]) if n else 0.0,
                **told_figures(
                    told=rows[n] > 0 and not hidden[n],
                    mean_probability=float(said[n] / max(rows[n], 1)),
                    purchase_rate=float(rate),
                    lift=float(rate / base),
                    share_of_buyers=float(bought[n] / buyers),
                ),
                **told_figures(
                    told=summed[n],
                    cumulative_share_of_users=float(contacted),
                    cumulative_share_of_buyers=float(reached),
                    cumulative_lift=float(reached / max(contacted, 1 / total)),
                ),
            }
        )
    return found


def operating_points(ranked: Ranked, threshold: float, users: np.ndarray) -> list[dict[str, Any]]:
    """What an audience of each size reaches and wastes; the threshold's own, named, among them.

    The size of the threshold's own is withheld with its figures; those of the others follow from the
    number of rows.

    Args:
        ranked: Outcomes in order.
        threshold: Users at or above it are predicted to buy.
        users: A number for each user, int64 [rows], rows as they were before ranking.
    """
    rows = len(ranked.p)
    own = admitted_rows(ranked, threshold)
    points = [(round(share * rows), share, "") for share in AUDIENCE_SHARES]
    points = sorted([*points, (own, own / rows, "threshold")])
    told = told_tops(ranked, users, own)
    hidden = dict.fromkeys(("audience_share", "users")) if own and own not in told else {}
    return [
        {
            **_point(ranked, count, share, told=count in told),
            **({**hidden, "name": name} if name else {}),
        }
        for count, share, name in points
    ]


def told_tops(ranked: Ranked, users: np.ndarray, own: int | None = None) -> set[int]:
    """The audiences of which figures may be told, each by the number of its rows.

    One is left out where it, less another that is told or what is known of all, would tell of fewer
    than `MIN_CELL` users. The threshold's own is judged first, gains after it: they stand in other places too.

    Args:
        ranked: Outcomes in order.
        users: A number for each user, int64 [rows], rows as they were before ranking.
        own: The rows that the threshold admits, if there is one.
    """
    rows = len(ranked.p)
    ordered = users[ranked.order]
    told = {0, rows}
    tops = [round(share * rows) for share in (*GAIN_SHARES, *AUDIENCE_SHARES)]
    for count in [*([] if own is None else [own]), *tops]:
        smaller = max(top for top in told if top <= count)
        larger = min(top for top in told if top >= count)
        between = (ordered[rows - count : rows - smaller], ordered[rows - larger : rows - count])
        if not any(few(part) for part in between):
            told.add(count)
    return told - {0}


def _point(ranked: Ranked, count: int, share: float, *, told: bool) -> dict[str, Any]:
    reached = buyers_in_top(ranked, count)
    buyers = round(reached)
    start = len(ranked.p) - count
    return {
        "audience_share": share,
        "users": count,
        **told_figures(
            told=told,
            probability_from=float(ranked.p[min(start, len(ranked.p) - 1)]),
            buyers_reached=buyers,
            share_of_buyers=reached / float(ranked.positive.sum()),
            contacts_wasted=count - buyers,
            precision=reached / max(count, 1),
        ),
    }


def gains(ranked: Ranked, threshold: float, users: np.ndarray) -> list[dict[str, Any]]:
    """What the top of each of `GAIN_SHARES` holds, where `operating_points` may tell it.

    Args:
        ranked: Outcomes in order.
        threshold: Users at or above it are predicted to buy.
        users: A number for each user, int64 [rows], rows as they were before ranking.
    """
    told = told_tops(ranked, users, admitted_rows(ranked, threshold))
    return [_gain(ranked, share, told) for share in GAIN_SHARES]


def _gain(ranked: Ranked, share: float, told: Collection[int]) -> dict[str, Any]:
    count = round(share * len(ranked.p))
    point = _point(ranked, count, share, told=count in told)
    rate = point["precision"]
    return {
        "share": share,
        "share_of_buyers": point["share_of_buyers"],
        "lift": None if rate is None else rate / float(ranked.positive.mean()),
        "purchase_rate": rate,
    }


def _told_sums(decile: np.ndarray, users: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Whether what is summed from each decile up may be told, bool [deciles].

    From one cumulative figure to the next, and from the last to the total, as many withheld users
    must be added as may be told, or none.
    """
    found = np.zeros(len(hidden), bool)
    inside, last = hidden[decile], len(hidden)
    for n in reversed(range(len(hidden))):
        since = inside & (decile >= n) & (decile < last)
        found[n] = not (few(users[since]) or few(users[inside & (decile < n)]))
        last = n if found[n] else last
    return found
