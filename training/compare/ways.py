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

from engine.model.session import Predictions
from training.data.dataset import Dataset
from training.data.split import Split
from training.metrics.metrics import segment_places
from training.model.classifier import calibrated, fit_platt, sigmoid
from training.model.pooling import segment_calibrations
from training.model.trees import Grower, Recipe, Sample, raw_scores

MODEL = "model"
SEGMENT_RATE = "segment_rate"
SEGMENT_FEATURE = "segment_feature"
TOGETHER = "together"
WAYS = (MODEL, SEGMENT_RATE, SEGMENT_FEATURE, TOGETHER)
"""In the order in which they are told."""


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


@dataclass(frozen=True, slots=True)
class Compared:
    """Labelled users and what is said of them, in one order of rows.

    Attributes:
        label: int8 [rows], both 0 and 1 present.
        users: A number from 0 for each user, int64 [rows].
        scored: What the engine says.
        ways: Probabilities by the names in `WAYS`, float32 [rows]; `MODEL` is among them.
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
    ways = {name: found[name] for name in WAYS if name in found}
    return Compared(dataset.label[rows], dataset.users[rows], scored, ways, dates)
