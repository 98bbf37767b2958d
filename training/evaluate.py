"""How good probabilities are: pure functions of probabilities, labels and who is who.

Every statistic takes a weight for each row, so that the figure itself (all weights 1) and its
bootstrap come from the same lines. Users are resampled, not rows (the cluster bootstrap: Davison &
Hinkley 1997, section 3.8): a user with many snapshots comes and goes with all of them. A resample is
a weight for each row, the number of times its user was drawn, so rows are sorted only once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from engine.scores import above

MIN_CELL = 20
"""Figures of fewer users are not given: they say little, and much about few."""

CALIBRATION_BINS = 20
GAIN_SHARES = (0.05, 0.10, 0.20, 0.30)
AUDIENCE_SHARES = (0.01, 0.02, 0.05, 0.10, 0.15, 0.20, 0.30, 0.40, 0.50)
RESAMPLES = 400
BOOTSTRAP_SEED = 0
NORMAL_QUANTILE = 1.959964
DECIMALS = 6

INTERVALS = (
    *("roc_auc", "pr_auc", "log_loss", "brier"),
    *("calibration_error", "f1", "precision", "recall"),
)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What was said of users, and what became of them.

    Attributes:
        probability: As the engine gives it, float [rows].
        label: int8 [rows], 1 for a purchase; both 0 and 1 present.
        users: A number from 0 for each user, int64 [rows]; several rows may be one user's.
        truth: The probability from which each label was drawn, float64 [rows], where it is known.
    """

    probability: np.ndarray
    label: np.ndarray
    users: np.ndarray
    truth: np.ndarray | None = None

    def __getitem__(self, rows: np.ndarray) -> "Outcomes":
        """Those of some of the rows, given by number or by a mask."""
        truth = None if self.truth is None else self.truth[rows]
        return Outcomes(self.probability[rows], self.label[rows], self.users[rows], truth)


@dataclass(frozen=True, slots=True)
class Ranked:
    """Outcomes in rising order of probability, ready to be weighted.

    Attributes:
        order: The row that stands at each place, int64 [rows].
        p: Probabilities, float64 [rows], rising.
        positive: 1.0 for a purchase, float64 [rows].
        ties: Where each run of equal probabilities begins, int64 [distinct].
    """

    order: np.ndarray
    p: np.ndarray
    positive: np.ndarray
    ties: np.ndarray


def classification_metrics(
    outcomes: Outcomes, threshold: float, decile_cuts: Sequence[float]
) -> dict[str, Any]:
    """Every figure by which a purchase model is judged; plain JSON values.

    Args:
        outcomes: Probabilities and labels of users.
        threshold: Users at or above it are predicted to buy.
        decile_cuts: The frozen cut-points: a decile is what it is in the score file.
    """
    ranked = rank(outcomes.probability, outcomes.label)
    one = np.ones(len(ranked.p))
    figures: dict[str, Any] = {
        "rows": len(ranked.p),
        "users": len(np.unique(outcomes.users)),
        "base_rate": float(ranked.positive.mean()),
        "threshold": threshold,
        **headline(ranked, one, threshold),
    }
    return rounded(
        {
            **figures,
            **_against_truth(outcomes, figures),
            "intervals": intervals(ranked, outcomes.users, threshold, figures),
            "reliability": reliability(ranked, outcomes.users),
            "deciles": deciles(outcomes, decile_cuts),
            "gains": [_gain(ranked, share, outcomes.users) for share in GAIN_SHARES],
            "operating_points": operating_points(ranked, threshold, outcomes.users),
        }
    )


def rank(probability: np.ndarray, label: np.ndarray) -> Ranked:
    """Sort outcomes once, ties in the order of the rows."""
    order = np.argsort(probability, kind="stable")
    p = probability[order].astype(np.float64)
    ties = np.flatnonzero(np.concatenate([[True], p[1:] > p[:-1]]))
    return Ranked(order, p, label[order].astype(np.float64), ties)


def headline(ranked: Ranked, weight: np.ndarray, threshold: float) -> dict[str, float]:
    """The figures that get an interval.

    Args:
        ranked: Outcomes in order.
        weight: How often each row counts, float64 [rows] in that order; both labels have some.
        threshold: Users at or above it are predicted to buy.
    """
    bought = weight * ranked.positive
    total = float(weight.sum())
    admitted = int(np.searchsorted(ranked.p, threshold))
    error = ranked.p - ranked.positive
    bins = bin_starts(len(ranked.p))
    gaps = np.add.reduceat(weight * error, bins)
    return {
        "roc_auc": roc_auc(ranked, weight),
        "pr_auc": pr_auc(ranked, weight),
        "log_loss": float(weight @ losses(ranked.p, ranked.positive)) / total,
        "brier": float(weight @ error**2) / total,
        "calibration_error": float(np.abs(gaps).sum()) / total,
        **f1_figures(
            float(bought[admitted:].sum()), float(weight[admitted:].sum()), float(bought.sum())
        ),
    }


def roc_auc(ranked: Ranked, weight: np.ndarray) -> float:
    """The chance that a buyer is ranked above another user, ties counting half (Mann-Whitney)."""
    buyers = np.add.reduceat(weight * ranked.positive, ranked.ties)
    others = np.add.reduceat(weight, ranked.ties) - buyers
    below = np.cumsum(others) - others / 2
    return float(buyers @ below) / float(buyers.sum() * others.sum())


def pr_auc(ranked: Ranked, weight: np.ndarray) -> float:
    """Average precision: precision at each probability, weighted by the recall it adds."""
    buyers = np.add.reduceat(weight * ranked.positive, ranked.ties)[::-1]
    contacts = np.cumsum(np.add.reduceat(weight, ranked.ties)[::-1])
    precision = np.cumsum(buyers) / np.maximum(contacts, np.finfo(float).tiny)
    return float(buyers @ precision) / float(buyers.sum())


def losses(p: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """The negative log-likelihood of each row, float64 [rows]; no probability counts as 0 or 1."""
    edge = np.finfo(np.float32).eps
    safe = np.clip(p, edge, 1 - edge)
    return -np.log(np.where(positive > 0, safe, 1 - safe))


def f1_figures(hits: float, contacts: float, buyers: float) -> dict[str, float]:
    """F1, precision and recall; 0 where nobody is contacted."""
    return {
        "f1": 2 * hits / (contacts + buyers),
        "precision": hits / contacts if contacts else 0.0,
        "recall": hits / buyers,
    }


def bin_starts(rows: int, bins: int = CALIBRATION_BINS) -> np.ndarray:
    """Where bins of equally many rows begin: fewer bins where they would hold under `MIN_CELL`."""
    count = max(1, min(bins, rows // MIN_CELL))
    return np.arange(count) * rows // count


def resampled_users(users: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each user is drawn, float64 [users], once for each resample."""
    generator = np.random.default_rng(seed)
    for _ in range(resamples):
        drawn = generator.integers(0, users, users)
        yield np.bincount(drawn, minlength=users).astype(np.float64)


def intervals(
    ranked: Ranked,
    users: np.ndarray,
    threshold: float,
    figures: Mapping[str, float],
    resamples: int = RESAMPLES,
) -> dict[str, list[float] | None]:
    """95 % intervals by the basic bootstrap (Davison & Hinkley 1997, section 5.2), by user.

    Twice the figure less the quantiles of its resamples. A calibration error, which chance can only
    raise, is raised once more by each resample: this takes the bias out again, where percentiles
    would double it. Where the figure itself lies outside, the interval reaches to it.

    Args:
        ranked: Outcomes in order.
        users: A number from 0 for each user, int64 [rows], rows as they were before ranking.
        threshold: Users at or above it are predicted to buy.
        figures: The figures of all rows, by the names in `INTERVALS`.
        resamples: How many.
    """
    _, compact = np.unique(users, return_inverse=True)
    place = compact[ranked.order]
    found = []
    # One thread: the sums of a resample are short, and threads that wait for another cost more.
    with threadpool_limits(1):
        for drawn in resampled_users(int(place.max()) + 1, resamples, BOOTSTRAP_SEED):
            weight = drawn[place]
            bought = float(weight @ ranked.positive)
            if 0 < bought < weight.sum():
                drawn_figures = headline(ranked, weight, threshold)
                found.append([drawn_figures[name] for name in INTERVALS])
    if not found:
        return dict.fromkeys(INTERVALS)
    low, high = np.quantile(np.array(found), [0.025, 0.975], axis=0)
    return {
        name: basic_interval(figures[name], float(low[n]), float(high[n]), name != "log_loss")
        for n, name in enumerate(INTERVALS)
    }


def basic_interval(figure: float, low: float, high: float, bounded: bool) -> list[float]:  # noqa: FBT001
    """Twice the figure less the high and the low quantile of its resamples, reaching to the figure.

    Args:
        figure: Of all rows.
        low: The 2.5 % quantile of its resamples.
        high: The 97.5 % quantile.
        bounded: Whether it is at most 1.
    """
    start, end = max(0.0, 2 * figure - high), 2 * figure - low
    return [min(start, figure), max(min(end, 1.0) if bounded else end, figure)]


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


def wilson(rate: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % score interval of a share (Wilson 1927): low and high, float64 [cells].

    Args:
        rate: Shares, float64 [cells].
        count: How many each is a share of, above 0, [cells].
    """
    z = NORMAL_QUANTILE
    middle = rate + z**2 / (2 * count)
    half = z * np.sqrt(rate * (1 - rate) / count + z**2 / (4 * count**2))
    scale = 1 + z**2 / count
    return (middle - half) / scale, (middle + half) / scale


def users_in(cell: np.ndarray, users: np.ndarray, cells: int) -> np.ndarray:
    """How many different users each cell has, int64 [cells].

    Args:
        cell: The cell of each row, from 0, int64 [rows].
        users: A number from 0 for each user, int64 [rows].
        cells: How many there are.
    """
    width = int(users.max(initial=0)) + 1
    pairs = np.unique(cell.astype(np.int64) * width + users)
    return np.bincount(pairs // width, minlength=cells)


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


def buyers_in_top(ranked: Ranked, rows: int) -> float:
    """The buyers among so many users with the highest probabilities.

    Where equal probabilities are cut through it is the mean over all ways of cutting.
    """
    at = len(ranked.p) - rows
    if rows <= 0:
        return 0.0
    run = int(np.searchsorted(ranked.ties, at, side="right")) - 1
    start = int(ranked.ties[run])
    end = int(ranked.ties[run + 1]) if run + 1 < len(ranked.ties) else len(ranked.p)
    tied = float(ranked.positive[start:end].mean())
    return float(ranked.positive[end:].sum()) + (end - at) * tied


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
            len(np.unique(users[ranked.order[start:]])),
            buyers_reached=buyers,
            share_of_buyers=reached / float(ranked.positive.sum()),
            contacts_wasted=count - buyers,
            precision=reached / max(count, 1),
        ),
    }


def _gain(ranked: Ranked, share: float, users: np.ndarray) -> dict[str, Any]:
    point = _point(ranked, round(share * len(ranked.p)), share, users)
    rate = point["precision"]
    return {
        "share": share,
        "share_of_buyers": point["share_of_buyers"],
        "lift": None if rate is None else rate / float(ranked.positive.mean()),
        "purchase_rate": rate,
    }


def _against_truth(outcomes: Outcomes, figures: Mapping[str, float]) -> dict[str, float | None]:
    """How near the model comes to the probabilities from which the labels were drawn."""
    if outcomes.truth is None:
        return {}
    ranked = rank(outcomes.truth, outcomes.label)
    one = np.ones(len(ranked.p))
    best_auc = roc_auc(ranked, one)
    best_loss = float(losses(ranked.p, ranked.positive).mean())
    base_loss = entropy(figures["base_rate"])
    possible = base_loss - best_loss
    return {
        "best_possible_auc": best_auc,
        "share_of_best_auc": figures["roc_auc"] / best_auc,
        "best_possible_log_loss": best_loss,
        "share_of_best_log_loss": (base_loss - figures["log_loss"]) / possible
        if possible > 0
        else None,
        "best_possible_f1": best_f1(ranked),
    }


def best_f1(ranked: Ranked) -> float:
    """The highest F1 that any threshold gives on these very users."""
    buyers = float(ranked.positive.sum())
    hits = buyers - np.concatenate([[0.0], np.cumsum(ranked.positive)])[ranked.ties]
    contacts = len(ranked.p) - ranked.ties
    return float((2 * hits / (contacts + buyers)).max())


def entropy(rate: float) -> float:
    """The log-loss of giving everybody the purchase rate, above 0 and below 1."""
    return float(-rate * np.log(rate) - (1 - rate) * np.log(1 - rate))


def _shown(people: int, **figures: float) -> dict[str, float | None]:
    """The figures of a cell, null where it has too few users."""
    if people < MIN_CELL:
        return dict.fromkeys(figures)
    return dict(figures)


def rounded(value: Any) -> Any:  # noqa: ANN401 - any plain JSON value
    """The same JSON value with every float rounded to 6 decimals."""
    if isinstance(value, float):
        return round(float(value), DECIMALS)
    if isinstance(value, Mapping):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return value
