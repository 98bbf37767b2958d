"""Four ways to turn a purchase model and segments into one score for each user.

The model alone; the purchase rate of the user's segment; the model grown anew with the segment as a
further feature; and the model calibrated once more inside each segment. What the second and the
fourth need is a few numbers for each segment, which stand in the manifest, so that they can be
measured on any users later. The third has trees of its own and is measured on the test part alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from engine.session import Predictions
from training.fit.classifier import calibrated, fit_platt, sigmoid
from training.fit.trees import Grower, Recipe, Sample, raw_scores
from training.split import Split

MODEL, SEGMENT_RATE, SEGMENT_FEATURE, TOGETHER = (
    *("model", "segment_rate"),
    *("segment_feature", "together"),
)

NEWTON_STEPS = 25
LONGEST_STEP = 1.0
"""No step of the calibration is longer, in log-odds: far from its end Newton's method overshoots."""


@dataclass(frozen=True, slots=True)
class SegmentFigures:
    """What the users of training say of one segment.

    Attributes:
        segment_id: The stable id.
        purchase_rate: Of the train part.
        slope: Of the model's margin inside the segment; 1 changes nothing.
        intercept: What is added to it; 0 changes nothing.
    """

    segment_id: int
    purchase_rate: float
    slope: float
    intercept: float


def fit_segment_figures(
    ids: Sequence[int], parts: Split, label: np.ndarray, scored: Predictions
) -> tuple[SegmentFigures, ...]:
    """Purchase rates from the train part, calibrations inside segments from the calibration part.

    Args:
        ids: Of all segments.
        parts: Who trains and who calibrates.
        label: int8 [rows].
        scored: What the engine says of the same rows.
    """
    place = segment_places(ids, scored.segment)
    rates = purchase_rates(place[parts.train], label[parts.train], len(ids))
    rows = parts.calibration
    slopes, intercepts = segment_calibrations(
        place[rows], scored.margin[rows].astype(np.float64), label[rows], len(ids)
    )
    return tuple(
        SegmentFigures(number, float(rates[n]), float(slopes[n]), float(intercepts[n]))
        for n, number in enumerate(ids)
    )


def figures_to_json(figures: Sequence[SegmentFigures]) -> list[dict[str, Any]]:
    """For the manifest; not rounded, so that other users meet the very same scores."""
    return [asdict(segment) for segment in figures]


def figures_from_json(document: Sequence[Mapping[str, Any]]) -> tuple[SegmentFigures, ...]:
    """What `figures_to_json` gave."""
    return tuple(SegmentFigures(**segment) for segment in document)


def lasting_ways(figures: Sequence[SegmentFigures], scored: Predictions) -> dict[str, np.ndarray]:
    """The probabilities of the ways that a bundle can go again, by name, float32 [rows].

    Args:
        figures: Of every segment that occurs.
        scored: What the engine says of the users.
    """
    place = segment_places([segment.segment_id for segment in figures], scored.segment)
    rates, slopes, intercepts = (
        np.array([getattr(segment, name) for segment in figures])[place]
        for name in ("purchase_rate", "slope", "intercept")
    )
    together = sigmoid(slopes * scored.margin.astype(np.float64) + intercepts)
    return {
        MODEL: scored.probability,
        SEGMENT_RATE: rates.astype(np.float32),
        TOGETHER: together.astype(np.float32),
    }


def segment_feature_way(
    figures: Sequence[SegmentFigures],
    parts: Split,
    users: Sample,
    segment: np.ndarray,
    recipe: Recipe,
    seed: int,
) -> np.ndarray:
    """What the model says of the test part once it knows the segment, float32 [rows].

    The trees of the recipe are grown again from the same users, with as many rounds, and calibrated
    on the same part. The segment is coded as every category is: in the order of its purchase rate.
    Where the recipe limits which features may work together, the segment may work with each.

    Args:
        figures: Of every segment.
        parts: Who trains, calibrates and tests.
        users: All users, in the order that `parts` counts.
        segment: Their segment ids, int64 [rows].
        recipe: Of the model's own trees.
        seed: Of the model's own trees.
    """
    place = segment_places([s.segment_id for s in figures], segment)
    code = np.argsort(np.argsort([s.purchase_rate for s in figures], kind="stable"))
    features = np.column_stack([users.features, code[place].astype(np.float32)])
    wider = Sample(features, users.label)
    width = users.features.shape[1]
    pool = np.sort(np.concatenate([parts.train, parts.validation]))
    # Numbers for names: the users' own may be "segment" already.
    grower = Grower(wider.subset(pool), tuple(str(n) for n in range(width + 1)), seed)
    booster = grower.grow(_with_partner(recipe, width))
    calibration = wider.subset(parts.calibration)
    platt, _ = fit_platt(raw_scores(booster, calibration.features), calibration)
    return calibrated(booster, platt, features[parts.test]).astype(np.float32)


def _with_partner(recipe: Recipe, column: int) -> Recipe:
    """The same recipe where one more column may work together with each of those before it."""
    if recipe.settings.pairs is None:
        return recipe
    own = recipe.pairs[: recipe.settings.pairs]
    pairs = [*own, *((feature, column) for feature in range(column))]
    return replace(recipe, settings=replace(recipe.settings, pairs=len(pairs)), pairs=pairs)


def segment_places(ids: Sequence[int], segment: np.ndarray) -> np.ndarray:
    """Where the id of each row's segment stands among all ids, int64 [rows].

    Args:
        ids: All segments, in any order.
        segment: An id for each row, int64 [rows].
    """
    order = np.argsort(ids)
    return order[np.searchsorted(np.array(ids)[order], segment)]


def purchase_rates(place: np.ndarray, label: np.ndarray, segments: int) -> np.ndarray:
    """The share of buyers in each segment, float64 [segments].

    One more user, who buys as all do, counts in each, so that no rate is 0 or 1.

    Args:
        place: The segment of each row, from 0, int64 [rows].
        label: int8 [rows].
        segments: How many there are.
    """
    rows = np.bincount(place, minlength=segments)
    bought = np.bincount(place, label, minlength=segments)
    return (bought + label.mean()) / (rows + 1)


def segment_calibrations(
    place: np.ndarray, margin: np.ndarray, label: np.ndarray, segments: int
) -> tuple[np.ndarray, np.ndarray]:
    """A slope and an intercept for each segment, drawn towards those of the whole.

    Platt's sigmoid with a normal prior on how far a segment is from 1 and 0, so that a small
    segment keeps the calibration of all users. The variance of the prior is estimated: what the
    segments' deviations have beyond chance (DerSimonian & Laird 1986), which is 0 where there is
    nothing. The margin is measured from its mean in the segment, weighted by p (1 - p): slope and
    level are then estimated independently of one another.

    Args:
        place: The segment of each row, from 0, int64 [rows].
        margin: The model's log-odds, float64 [rows].
        label: int8 [rows].
        segments: How many there are.

    Returns:
        Slopes and intercepts, float64 [segments].
    """
    weight = sigmoid(margin) * sigmoid(-margin)
    information = _by_segment(place, weight, segments)
    middle = _by_segment(place, weight * margin, segments) / np.maximum(
        information, np.finfo(float).tiny
    )
    centred = margin - middle[place]
    level, tilt = np.zeros(segments), np.zeros(segments)
    variances: tuple[float, float] | None = None
    for _ in range(NEWTON_STEPS):
        p = sigmoid(margin + level[place] + tilt[place] * centred)
        error, weight = label - p, p * (1 - p)
        slopes = [_by_segment(place, error * x, segments) for x in (1.0, centred)]
        bends = [_by_segment(place, weight * x, segments) for x in (1.0, centred, centred**2)]
        if variances is None:
            variances = _excess(slopes[0], bends[0]), _excess(slopes[1], bends[2])
        level_step, tilt_step = _newton_step(slopes, bends, (level, tilt), variances)
        level, tilt = level + level_step, tilt + tilt_step
    return 1 + tilt, level - tilt * middle


def _by_segment(place: np.ndarray, values: np.ndarray, segments: int) -> np.ndarray:
    return np.bincount(place, values, minlength=segments)


def _excess(slope: np.ndarray, information: np.ndarray) -> float:
    """The variance between segments that chance does not explain; 0 where it explains all.

    Args:
        slope: Of the log-likelihood at no deviation, float64 [segments].
        information: Minus its second derivative there, float64 [segments].
    """
    known = information > 0
    if known.sum() < 2:
        return 0.0
    spread = float((slope[known] ** 2 / information[known]).sum())
    return max(0.0, (spread - (known.sum() - 1)) / float(information[known].sum()))


def _newton_step(
    slopes: Sequence[np.ndarray],
    bends: Sequence[np.ndarray],
    at: tuple[np.ndarray, np.ndarray],
    variances: tuple[float, float],
) -> tuple[np.ndarray, np.ndarray]:
    """One step towards the most likely level and tilt of each segment, none where the prior is 0."""
    level, tilt = at
    for_level, for_tilt = (1 / max(variance, 1e-12) for variance in variances)
    towards_level = slopes[0] - for_level * level
    towards_tilt = slopes[1] - for_tilt * tilt
    a, b, c = bends[0] + for_level, bends[1], bends[2] + for_tilt
    determinant = a * c - b * b
    steps = (
        (c * towards_level - b * towards_tilt) / determinant,
        (a * towards_tilt - b * towards_level) / determinant,
    )
    return (
        np.clip(steps[0], -LONGEST_STEP, LONGEST_STEP),
        np.clip(steps[1], -LONGEST_STEP, LONGEST_STEP),
    )
