"""A calibration for each segment, shrunk towards that of all users (partial pooling)."""

from collections.abc import Sequence

import numpy as np

from training.model.classifier import sigmoid

NEWTON_STEPS = 25
LONGEST_STEP = 1.0
"""In log-odds: far from the optimum, Newton's method overshoots."""

LEAST_VARIANCE = 1e-12
"""Replaces a variance of 0, to avoid a division by zero; deviations then stay at 0."""


def segment_calibrations(
    place: np.ndarray, margin: np.ndarray, label: np.ndarray, segments: int
) -> tuple[np.ndarray, np.ndarray]:
    """A slope and an intercept for each segment, shrunk towards those of all users.

    Platt's sigmoid with a normal prior on how far a segment is from 1 and 0, so that a small
    segment keeps the calibration of all users. The variance of the prior is the excess of the
    segments' deviations over chance (DerSimonian & Laird 1986), 0 if there is none. The margin is
    centred on its mean in the segment, weighted by p (1 - p), so that slope and level are estimated
    independently.

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
    weighted = _by_segment(place, weight * margin, segments)
    middle = weighted / np.maximum(information, np.finfo(float).tiny)
    centred = margin - middle[place]
    level, tilt = np.zeros(segments), np.zeros(segments)
    variances: tuple[float, float] | None = None
    for _ in range(NEWTON_STEPS):
        p = sigmoid(margin + level[place] + tilt[place] * centred)
        error, weight = label - p, p * (1 - p)
        pull = [_by_segment(place, error * x, segments) for x in (1.0, centred)]
        curve = [_by_segment(place, weight * x, segments) for x in (1.0, centred, centred**2)]
        if variances is None:
            variances = _excess(pull[0], curve[0]), _excess(pull[1], curve[2])
        level_step, tilt_step = _newton_step(pull, curve, (level, tilt), variances)
        level, tilt = level + level_step, tilt + tilt_step
    return 1 + tilt, level - tilt * middle


def _by_segment(place: np.ndarray, values: np.ndarray, segments: int) -> np.ndarray:
    return np.bincount(place, values, minlength=segments)


def _excess(pull: np.ndarray, information: np.ndarray) -> float:
    """The variance between segments beyond chance, at least 0.

    Args:
        pull: The log-likelihood's derivative at no deviation, float64 [segments].
        information: Minus its second derivative there, float64 [segments].
    """
    known = information > 0
    if known.sum() < 2:
        return 0.0
    spread = float((pull[known] ** 2 / information[known]).sum())
    return max(0.0, (spread - (known.sum() - 1)) / float(information[known].sum()))


def _newton_step(
    pull: Sequence[np.ndarray],
    curve: Sequence[np.ndarray],
    at: tuple[np.ndarray, np.ndarray],
    variances: tuple[float, float],
) -> tuple[np.ndarray, np.ndarray]:
    """One step towards the most likely level and tilt of each segment, float64 [segments] each.

    Args:
        pull: The log-likelihood's first derivatives by level and tilt, float64 [segments] each.
        curve: Minus its second ones: by level twice, by both, by tilt twice.
        at: Level and tilt so far.
        variances: Of the priors of level and tilt.
    """
    level, tilt = at
    for_level, for_tilt = (1 / max(variance, LEAST_VARIANCE) for variance in variances)
    towards_level = pull[0] - for_level * level
    towards_tilt = pull[1] - for_tilt * tilt
    a, b, c = curve[0] + for_level, curve[1], curve[2] + for_tilt
    determinant = a * c - b * b
    steps = (
        (c * towards_level - b * towards_tilt) / determinant,
        (a * towards_tilt - b * towards_level) / determinant,
    )
    level_step, tilt_step = (np.clip(step, -LONGEST_STEP, LONGEST_STEP) for step in steps)
    return level_step, tilt_step
