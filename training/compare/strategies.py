"""Four strategies to turn a purchase model and segments into one score per user.

The model alone; the purchase rate of the user's segment; the model retrained with the segment as a
further feature; and the model recalibrated inside each segment. The second and the fourth need a few
numbers per segment, which the manifest holds, so they can be measured on any users later. The third
has trees of its own and is measured on the test part only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from engine.bundle.manifest import Calibration
from engine.model.session import Predictions
from training.data.dataset import Dataset
from training.data.split import Split
from training.metrics.metrics import segment_places
from training.model.classifier import calibrated, sigmoid
from training.model.pooling import segment_calibrations
from training.model.trees import Sample, TrainConfig, Trainer

MODEL = "model"
SEGMENT_RATE = "segment_rate"
SEGMENT_FEATURE = "segment_feature"
TOGETHER = "together"
STRATEGIES = (MODEL, SEGMENT_RATE, SEGMENT_FEATURE, TOGETHER)
"""In the order of the report."""


@dataclass(frozen=True, slots=True)
class SegmentFigures:
    """Figures of one segment among the training users.

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
    ids: Sequence[int],
    train: np.ndarray,
    label: np.ndarray,
    segment: np.ndarray,
    calibration_rows: np.ndarray,
    margin: np.ndarray,
) -> tuple[SegmentFigures, ...]:
    """Purchase rates of the train part, and calibrations inside segments.

    Args:
        ids: Of all segments.
        train: Rows of the train part.
        label: Of all users, int8 [users].
        segment: Their segment ids, int64 [users].
        calibration_rows: Of the users that calibrate.
        margin: Theirs, by trees that have not seen them, float64 [calibration_rows].
    """
    place = segment_places(ids, segment)
    rates = purchase_rates(place[train], label[train], len(ids))
    slopes, intercepts = segment_calibrations(
        place[calibration_rows], margin, label[calibration_rows], len(ids)
    )
    return tuple(
        SegmentFigures(number, float(rates[n]), float(slopes[n]), float(intercepts[n]))
        for n, number in enumerate(ids)
    )


def figures_to_json(figures: Sequence[SegmentFigures]) -> list[dict[str, Any]]:
    """For the manifest; not rounded, so that the scores can be reproduced exactly."""
    return [asdict(segment) for segment in figures]


def figures_from_json(document: Sequence[Mapping[str, Any]]) -> tuple[SegmentFigures, ...]:
    """The inverse of `figures_to_json`."""
    return tuple(SegmentFigures(**segment) for segment in document)


def lasting_strategies(
    figures: Sequence[SegmentFigures], scored: Predictions
) -> dict[str, np.ndarray]:
    """The probabilities of the strategies that a bundle can reproduce, by name, float32 [rows].

    Args:
        figures: Of every segment that occurs.
        scored: Engine predictions for the users.
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


def segment_feature_strategy(
    figures: Sequence[SegmentFigures],
    parts: Split,
    users: Sample,
    segment: np.ndarray,
    config: TrainConfig,
    calibration: Calibration,
    seed: int,
) -> np.ndarray:
    """Probabilities of the test part by a model that knows the segment, float32 [rows].

    The trees are trained again on the same users, with as many rounds, and calibrated as the model
    is. The segment is coded by its purchase rate, as every category is. Where the config limits which
    features may interact, the segment may interact with each.

    Args:
        figures: Of every segment.
        parts: Which users train and test.
        users: All users, in the order that `parts` counts.
        segment: Their segment ids, int64 [rows].
        config: Of the model's own trees.
        calibration: Of the model.
        seed: Of the model's own trees.
    """
    place = segment_places([s.segment_id for s in figures], segment)
    code = np.argsort(np.argsort([s.purchase_rate for s in figures], kind="stable"))
    features = np.column_stack([users.features, code[place].astype(np.float32)])
    wider = Sample(features, users.label)
    width = users.features.shape[1]
    pool = np.sort(np.concatenate([parts.train, parts.validation]))
    # Numbers as names, because a feature may already be called "segment".
    trainer = Trainer(wider.subset(pool), tuple(str(n) for n in range(width + 1)), seed)
    booster = trainer.train(_with_partner(config, width))
    return calibrated(booster, calibration, features[parts.test]).astype(np.float32)


def _with_partner(config: TrainConfig, column: int) -> TrainConfig:
    """The same config with one more column, which may interact with each of those before it."""
    if config.sets is None:
        return config
    pairs = ((feature, column) for feature in range(column))
    return replace(config, sets=(*((*own, column) for own in config.sets), *pairs))


def purchase_rates(place: np.ndarray, label: np.ndarray, segments: int) -> np.ndarray:
    """The share of buyers in each segment, float64 [segments].

    One average user is added to each, so that no rate is 0 or 1.

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
    """Labelled users and their scores by each strategy, in one order of rows.

    Attributes:
        label: int8 [rows], both 0 and 1 present.
        users: A number from 0 for each user, int64 [rows].
        scored: Engine predictions.
        strategies: Probabilities by the names in `STRATEGIES`, float32 [rows]; `MODEL` is among them.
        snapshots: The date of each row, datetime64[D] [rows], if rows have one.
    """

    label: np.ndarray
    users: np.ndarray
    scored: Predictions
    strategies: Mapping[str, np.ndarray]
    snapshots: np.ndarray | None


def compared_users(
    dataset: Dataset,
    rows: np.ndarray,
    scored: Predictions,
    figures: Sequence[SegmentFigures],
    more_strategies: Mapping[str, np.ndarray] | None = None,
) -> Compared:
    """Some users of a dataset, ready to be compared.

    Args:
        dataset: Labelled users.
        rows: Those that are measured, int64.
        scored: Engine predictions for them, in the same order.
        figures: Of every segment, from training.
        more_strategies: Probabilities of strategies that a bundle cannot reproduce, in the same order.
    """
    dates = None if dataset.snapshots is None else dataset.snapshots.to_numpy()[rows]
    found = lasting_strategies(figures, scored) | dict(more_strategies or {})
    strategies = {name: found[name] for name in STRATEGIES if name in found}
    return Compared(dataset.label[rows], dataset.users[rows], scored, strategies, dates)
