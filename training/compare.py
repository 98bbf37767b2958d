"""Supervised against unsupervised on the same users, in figures; plain JSON values throughout.

Takes what each way of `training.ways` says of labelled users that no model saw, gives the document
`Manifest.comparison`: how well each way ranks and predicts and how far it is from the model alone,
what the score still tells inside each segment, what segments explain, and what lasts over weeks. No
figure is of fewer than `MIN_CELL` users. What follows from it in words is left to `answers`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from engine.bundle import Manifest
from engine.scores import above
from engine.session import Predictions
from training.answers import plain_answers
from training.dataset import Dataset
from training.evaluate import (
    BOOTSTRAP_SEED,
    GAIN_SHARES,
    MIN_CELL,
    RESAMPLES,
    Outcomes,
    Ranked,
    basic_interval,
    buyers_in_top,
    losses,
    rank,
    resampled_users,
    roc_auc,
    rounded,
)
from training.slices import auc_interval
from training.ways import (
    MODEL,
    SEGMENT_FEATURE,
    SEGMENT_RATE,
    TOGETHER,
    SegmentFigures,
    figures_to_json,
    lasting_ways,
    segment_places,
)

TITLES = {
    MODEL: ("Purchase model", "The probability of the score file."),
    SEGMENT_RATE: ("Segment purchase rate", "Of the segment's users in the train part."),
    SEGMENT_FEATURE: (
        "Model with the segment as a feature",
        "The same trees grown again with one more column.",
    ),
    TOGETHER: (
        "Model and segments together",
        "The model calibrated once more inside each segment, small segments drawn to the whole.",
    ),
}
"""A name and a few words for each way, in the order in which they are told."""

TOP_DECILE = 0.10


@dataclass(frozen=True, slots=True)
class Compared:
    """Labelled users and what is said of them, in one order of rows.

    Attributes:
        label: int8 [rows], both 0 and 1 present.
        users: A number from 0 for each user, int64 [rows].
        scored: What the engine says.
        ways: Probabilities by the names in `TITLES`, float32 [rows]; `MODEL` is among them.
        snapshots: The date of each row, datetime64[D] [rows], where rows have one.
    """

    label: np.ndarray
    users: np.ndarray
    scored: Predictions
    ways: Mapping[str, np.ndarray]
    snapshots: np.ndarray | None


def compared_users(
    dataset: Dataset,
    rows: np.ndarray,
    scored: Predictions,
    figures: Sequence[SegmentFigures],
    more_ways: Mapping[str, np.ndarray] | None = None,
) -> Compared:
    """Some users of a dataset, ready to be compared.

    Args:
        dataset: Labelled users.
        rows: Those that are measured, int64.
        scored: What the engine says of them, in the same order.
        figures: What training says of each segment.
        more_ways: Probabilities of ways that a bundle cannot go again, in the same order.
    """
    dates = None if dataset.snapshots is None else dataset.snapshots.to_numpy()[rows]
    found = lasting_ways(figures, scored) | dict(more_ways or {})
    ways = {name: found[name] for name in TITLES if name in found}
    return Compared(dataset.label[rows], dataset.users[rows], scored, ways, dates)


def comparison(
    manifest: Manifest,
    compared: Compared,
    figures: Sequence[SegmentFigures],
    quality: Mapping[str, Any],
) -> dict[str, Any]:
    """The whole document; without figures where fewer than `MIN_CELL` users are compared.

    Args:
        manifest: Segments, cut-points and features.
        compared: The users.
        figures: What training says of each segment; kept, so that others can be compared later.
        quality: What `quality.quality_band` says of the model on these users.
    """
    kept = {"fitted": figures_to_json(figures)}
    if len(np.unique(compared.users)) < MIN_CELL:
        return kept
    outcomes = Outcomes(compared.scored.probability, compared.label, compared.users)
    ids = [segment.id for segment in manifest.segments]
    place = segment_places(ids, compared.scored.segment)
    document = rounded(
        {
            "rows": len(compared.label),
            "base_rate": float(compared.label.mean()),
            "scores": score_figures(compared),
            "segments": [
                {"segment_id": number, **inside_figures(outcomes[place == n])}
                for n, number in enumerate(ids)
            ],
            "variance": variance_figures(manifest, compared.scored, place),
            "stability": stability_figures(compared, manifest.band_cuts),
        }
    )
    names = {segment.id: segment.name for segment in manifest.segments}
    titles = {feature.name: feature.title for feature in manifest.schema.model_features}
    return kept | document | plain_answers(document, quality, names, titles)


def score_figures(compared: Compared) -> list[dict[str, Any]]:
    """How well each way ranks and predicts, and its paired difference from the model alone.

    Intervals and standard errors are by one bootstrap for all ways: users are drawn once, and every
    way is measured on the same draw, so that what the ways have in common cancels.
    """
    ranked = {name: rank(p, compared.label) for name, p in compared.ways.items()}
    one = np.ones(len(compared.label))
    found = {name: way_figures(order, one) for name, order in ranked.items()}
    drawn = _resampled(ranked, compared.users)
    shown = {name: _shown_gains(order, compared.users) for name, order in ranked.items()}
    return [
        {
            "key": name,
            "name": TITLES[name][0],
            "words": TITLES[name][1],
            **_way(figures, shown[name]),
            "roc_auc_interval": _interval(float(figures[0]), drawn[name][:, 0]),
            "difference": None
            if name == MODEL
            else _way(figures - found[MODEL], shown[name] & shown[MODEL]),
            "standard_error": None
            if name == MODEL
            else _way(_spread(drawn[name] - drawn[MODEL]), shown[name] & shown[MODEL]),
        }
        for name, figures in found.items()
    ]


def way_figures(ranked: Ranked, weight: np.ndarray) -> np.ndarray:
    """ROC-AUC, log-loss, and the share of buyers in the top of each of `GAIN_SHARES`, float64 [6].

    Where equal probabilities are cut through, a gain is the mean over all ways of cutting, as in
    `evaluate.buyers_in_top`.

    Args:
        ranked: Outcomes in order.
        weight: How often each row counts, float64 [rows] as they were before ranking; both labels
            have some.
    """
    own = weight[ranked.order]
    bought = own * ranked.positive
    contacts = np.cumsum(np.add.reduceat(own, ranked.ties)[::-1])
    buyers = np.cumsum(np.add.reduceat(bought, ranked.ties)[::-1])
    wanted = np.round(np.array(GAIN_SHARES) * contacts[-1])
    gains = np.interp(wanted, np.append(0.0, contacts), np.append(0.0, buyers)) / buyers[-1]
    loss = float(own @ losses(ranked.p, ranked.positive)) / float(contacts[-1])
    return np.array([roc_auc(ranked, own), loss, *gains])


def inside_figures(outcomes: Outcomes) -> dict[str, Any]:
    """What the score tells among the users of one segment.

    The ROC-AUC is null where fewer than `MIN_CELL` rows bought, or fewer did not; the lift where
    the top tenth has fewer than `MIN_CELL` users.
    """
    p, label = outcomes.probability.astype(np.float64), outcomes.label
    names = ("probability_p10", "probability_p50", "probability_p90")
    found: dict[str, Any] = {
        "rows": len(label),
        **dict.fromkeys(("purchase_rate", "roc_auc", "roc_auc_interval", "top_decile_lift")),
        **dict.fromkeys(names),
    }
    if len(np.unique(outcomes.users)) < MIN_CELL:
        return found
    bought, rate = int(label.sum()), float(label.mean())
    ranked = rank(p, label)
    found |= {"purchase_rate": rate}
    found |= dict(zip(names, np.quantile(p, [0.1, 0.5, 0.9]).tolist(), strict=True))
    if min(bought, len(label) - bought) >= MIN_CELL:
        auc = roc_auc(ranked, np.ones(len(p)))
        found |= {"roc_auc": auc, "roc_auc_interval": auc_interval(outcomes, auc)}
    top = round(TOP_DECILE * len(p))
    if bought and _users_in_top(ranked, outcomes.users, top) >= MIN_CELL:
        found["top_decile_lift"] = buyers_in_top(ranked, top) / top / rate
    return found


def variance_figures(manifest: Manifest, scored: Predictions, place: np.ndarray) -> dict[str, Any]:
    """The share of the variance of the probability and of each impact that segments explain.

    Args:
        manifest: The features, and how much each moves the score.
        scored: What the engine says of the users.
        place: The segment of each row, from 0, int64 [rows].
    """
    sizes = np.abs(scored.impacts).mean(axis=0, dtype=np.float64)
    features = manifest.schema.model_features
    return {
        "probability": explained_share(scored.probability, place),
        "drivers": [
            {
                "name": features[n].name,
                "mean_absolute_impact": float(sizes[n]),
                "explained": explained_share(scored.impacts[:, n], place),
            }
            for n in np.argsort(-sizes, kind="stable")
            if sizes[n] > 0
        ],
    }


def explained_share(values: np.ndarray, place: np.ndarray) -> float | None:
    """Eta squared (Fisher 1925): variance between groups over all variance; None where none is.

    Args:
        values: float [rows].
        place: The group of each row, from 0, int64 [rows].
    """
    if values.min() == values.max():
        return None
    centred = values.astype(np.float64) - values.mean(dtype=np.float64)
    rows = np.bincount(place)
    sums = np.bincount(place, centred)
    between = float((sums**2 / np.maximum(rows, 1)).sum())
    return between / float((centred**2).sum())


def stability_figures(compared: Compared, band_cuts: Sequence[float]) -> dict[str, Any]:
    """How each way does on each date, and which users change segment or band in between.

    Returns:
        `words`, which say what could not be measured; where there are several dates, `weeks` and
        `changes` too.
    """
    dates = np.unique([]) if compared.snapshots is None else np.unique(compared.snapshots)
    if len(dates) < 2:
        what = "no dates" if not len(dates) else f"one date, {dates[0]}"
        return {
            "words": f"These users have {what}: how long a score or a segment lasts was not "
            "measured. Several weeks of the same users would show it."
        }
    on = [np.flatnonzero(compared.snapshots == date) for date in dates]
    changes = [_change(compared, band_cuts, *rows) for rows in pairwise(on)]
    measured = any(change["users"] >= MIN_CELL for change in changes)
    return {
        "words": ""
        if measured
        else "No two dates have enough users in common: changes of segment and band were not "
        "measured.",
        "weeks": [
            {"snapshot": str(date), **_week(compared, rows)}
            for date, rows in zip(dates, on, strict=True)
        ],
        "changes": [
            {"from": str(before), "to": str(after), **change}
            for (before, after), change in zip(pairwise(dates), changes, strict=True)
        ],
    }


def _week(compared: Compared, rows: np.ndarray) -> dict[str, Any]:
    label, probability = compared.label[rows], compared.scored.probability[rows]
    people = len(np.unique(compared.users[rows]))
    bought = int(label.sum())
    ranks = min(bought, len(rows) - bought) >= MIN_CELL
    told = people >= MIN_CELL
    return {
        "rows": len(rows),
        "purchase_rate": float(label.mean()) if told else None,
        "mean_probability": float(probability.mean(dtype=np.float64)) if told else None,
        "roc_auc": {
            name: roc_auc(rank(p[rows], label), np.ones(len(rows))) if ranks else None
            for name, p in compared.ways.items()
        },
    }


def _change(
    compared: Compared, band_cuts: Sequence[float], before: np.ndarray, after: np.ndarray
) -> dict[str, Any]:
    """What changed for the users of both dates; the agreement is the adjusted Rand index."""
    same, first, second = np.intersect1d(
        compared.users[before], compared.users[after], return_indices=True
    )
    if len(same) < MIN_CELL:
        return {
            "users": len(same),
            **dict.fromkeys(("segment_changed", "band_changed", "agreement")),
        }
    rows = before[first], after[second]
    segments = [compared.scored.segment[r] for r in rows]
    bands = [above(tuple(band_cuts), compared.scored.probability[r]) for r in rows]
    return {
        "users": len(same),
        "segment_changed": float((segments[0] != segments[1]).mean()),
        "band_changed": float((bands[0] != bands[1]).mean()),
        "agreement": float(adjusted_rand_score(*segments)),
    }


def _resampled(ranked: Mapping[str, Ranked], users: np.ndarray) -> dict[str, np.ndarray]:
    """The figures of each way on the same resamples, float64 [resamples with both labels, 6]."""
    _, compact = np.unique(users, return_inverse=True)
    found: dict[str, list[np.ndarray]] = {name: [] for name in ranked}
    # One thread: the sums of a resample are short, and threads that wait for another cost more.
    with threadpool_limits(1):
        for drawn in resampled_users(int(compact.max()) + 1, RESAMPLES, BOOTSTRAP_SEED):
            weight = drawn[compact]
            for name, order in ranked.items():
                bought = float(weight[order.order] @ order.positive)
                if 0 < bought < weight.sum():
                    found[name].append(way_figures(order, weight))
    width = 2 + len(GAIN_SHARES)
    return {name: np.array(rows).reshape(-1, width) for name, rows in found.items()}


def _spread(drawn: np.ndarray) -> np.ndarray:
    """The bootstrap's standard errors, float64 [6]; not a number with fewer than two resamples."""
    if len(drawn) < 2:
        return np.full(drawn.shape[1], np.nan)
    return drawn.std(axis=0, ddof=1)


def _interval(figure: float, drawn: np.ndarray) -> list[float] | None:
    """The 95 % interval of a ROC-AUC, that of `evaluate.intervals`."""
    if not len(drawn):
        return None
    low, high = np.quantile(drawn, [0.025, 0.975])
    return basic_interval(figure, float(low), float(high), bounded=True)


def _way(figures: np.ndarray, shown: np.ndarray) -> dict[str, Any]:
    """Six figures by name, gains null where they are not shown."""
    auc, loss, *gains = (float(x) if np.isfinite(x) else None for x in figures)
    return {
        "roc_auc": auc,
        "log_loss": loss,
        "gains": {
            str(share): gain if told else None
            for share, gain, told in zip(GAIN_SHARES, gains, shown, strict=True)
        },
    }


def _shown_gains(ranked: Ranked, users: np.ndarray) -> np.ndarray:
    """Whether the top of each of `GAIN_SHARES` has at least `MIN_CELL` users, bool [4]."""
    tops = [round(share * len(users)) for share in GAIN_SHARES]
    return np.array([_users_in_top(ranked, users, top) >= MIN_CELL for top in tops])


def _users_in_top(ranked: Ranked, users: np.ndarray, rows: int) -> int:
    return len(np.unique(users[ranked.order[len(ranked.order) - rows :]]))
