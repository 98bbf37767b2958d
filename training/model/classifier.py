"""The purchase model: LightGBM trees, Platt calibration, threshold and cut-points.

Trees are chosen in folds of the pool (the train and validation parts) and then trained on all of it.
Calibration, threshold and cut-points are fitted to out-of-fold scores of the pool, or to the calibration
part where there is one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import lightgbm as lgb
import numpy as np
from scipy.special import logit  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression

from engine.bundle.manifest import Calibration
from engine.pages.format import decimal
from training.effort import Effort, TrialWatch, unwatched
from training.model.baselines import Baseline
from training.model.choice import choose_trees
from training.model.search import Pool
from training.model.shapley.effects import Effects
from training.model.trees import Sample, TrainConfig, raw_scores

PRIOR_USERS = 500
"""The prior weight of the uncalibrated score: so many pseudo-users, at most."""

DECILES = tuple(n / 10 for n in range(1, 10))


@dataclass(frozen=True, slots=True)
class Classifier:
    """A calibrated purchase model.

    Attributes:
        booster: The trees.
        calibration: margin = slope x raw score + intercept.
        effects: Every impact on the margin, and its base value.
        calibration_margin: Of the users that calibrate, float64 [users].
        threshold: Their best expected F1; exact in float32, as are the cut-points.
        decile_cuts: Nine rising probabilities.
        band_cuts: Three rising probabilities.
        unusable: Why its scores must not be used; empty if they may.
        config: How to train the trees again.
        report: Figures of the fit, for the manifest.
    """

    booster: lgb.Booster
    calibration: Calibration
    effects: Effects
    calibration_margin: np.ndarray
    threshold: float
    decile_cuts: tuple[float, ...]
    band_cuts: tuple[float, ...]
    unusable: tuple[str, ...]
    config: TrainConfig
    report: dict[str, Any]


def fit_classifier(
    pool: Pool,
    calibration: Sample | None,
    names: tuple[str, ...],
    seed: int,
    effort: Effort,
    band_shares: tuple[float, ...],
    baselines: Sequence[Baseline] = (),
    watch: TrialWatch = unwatched,
    max_cost: float | None = None,
) -> Classifier:
    """Find and fit trees, then calibration, threshold and cut-points.

    Args:
        pool: The users that trees are chosen by and trained on.
        calibration: Users for Platt scaling, threshold and cut-points. If None, out-of-fold scores of
            the pool are used.
        names: The feature names, for the text of the model.
        seed: Makes the fit repeatable.
        effort: When the search for trees ends.
        band_shares: The shares of users below the cut-points of the bands.
        baselines: Validated in the folds of the pool, for the report.
        watch: Follows the trials.
        max_cost: See `choose_trees`.
    """
    choice = choose_trees(pool, names, seed, effort, baselines, watch, max_cost)
    booster = choice.booster
    if calibration is None:
        raw, label = choice.out_of_fold, np.concatenate([s.label for s in pool.validation])
        # The folds may hold fewer users than the pool, and another rate: to that and back.
        shift = float(logit(label.mean()) - logit(pool.sample.label.mean()))
        platt, problem = fit_platt(raw + shift, label)
        platt = replace(platt, intercept=platt.intercept + (platt.slope - 1) * shift)
    else:
        raw = raw_scores(booster, calibration.features)
        platt, problem = fit_platt(raw, calibration.label)
    margin = platt.slope * raw + platt.intercept
    probability = sigmoid(margin)
    problems = [problem] if problem else []
    if len(np.unique(raw_scores(booster, pool.sample.features))) < 2:
        problems.insert(0, "the trees found nothing: every user gets the same probability")
    return Classifier(
        booster=booster,
        calibration=platt,
        effects=choice.effects.calibrated(platt),
        calibration_margin=margin,
        threshold=best_f1_threshold(probability),
        decile_cuts=quantile_cuts(probability, DECILES),
        band_cuts=quantile_cuts(probability, band_shares),
        unusable=tuple(problems),
        config=choice.config,
        report=choice.report,
    )


def fit_platt(raw: np.ndarray, label: np.ndarray) -> tuple[Calibration, str]:
    """Platt's sigmoid (1999): logistic regression of the label on the raw score.

    Few users estimate a slope badly, and separable ones make it infinite. So as many pseudo-users, up
    to `PRIOR_USERS`, are added who buy with the uncalibrated probability.

    Args:
        raw: LightGBM's raw scores, float64 [rows].
        label: int8 [rows].

    Returns:
        The calibration, and why it makes the scores unusable, or "".
    """
    base = float(logit(label.mean()))
    if raw.min() == raw.max():
        return Calibration(0.0, base), ""
    spread = float(raw.std())
    # Standardised, so that the solver meets the same problem whatever the scale of the scores.
    scaled = (raw - raw.mean()) / spread
    share = min(1.0, PRIOR_USERS / len(raw))
    buyers = share * sigmoid(raw)
    ones = np.ones(len(raw))
    fitted = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1_000)
    fitted.fit(
        np.tile(scaled, 3).reshape(-1, 1),
        np.concatenate([label, ones, 0 * ones]),
        np.concatenate([ones, buyers, share - buyers]),
    )
    slope = float(fitted.coef_[0, 0]) / spread
    if slope <= 0:
        return Calibration(0.0, base), (
            f"calibration: slope {decimal(slope)} of the score on users not seen in training; it must "
            "be above 0: the score does not rank them"
        )
    return Calibration(slope, float(fitted.intercept_[0]) - slope * float(raw.mean())), ""


def calibrated(booster: lgb.Booster, platt: Calibration, features: np.ndarray) -> np.ndarray:
    """The native probability in double precision, float64 [rows]."""
    return sigmoid(platt.slope * raw_scores(booster, features) + platt.intercept)


def sigmoid(margin: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-margin)), without overflow, float64 [rows]."""
    small = np.exp(-np.abs(margin))
    return np.where(margin >= 0, 1.0, small) / (1.0 + small)


def best_f1_threshold(probability: np.ndarray) -> float:
    """The threshold with the best expected F1, in the middle of the gap below what it admits.

    For calibrated probabilities, the expected F1 needs no label: 2 x the sum of those admitted /
    (their number + the sum of all) (Lipton, Elkan & Narayanaswamy 2014). Labels would add noise.

    Args:
        probability: Calibrated, float64 [rows].
    """
    distinct, rows = np.unique(probability, return_counts=True)
    hits = np.cumsum((distinct * rows)[::-1])[::-1]
    admitted = np.cumsum(rows[::-1])[::-1]
    f1 = 2 * hits / (admitted + hits[0])
    return gap_below(distinct, float(distinct[int(np.argmax(f1))]))


def quantile_cuts(probability: np.ndarray, shares: tuple[float, ...]) -> tuple[float, ...]:
    """A cut-point for each share of users that lies below it, each in the middle of a gap."""
    distinct = np.unique(probability)
    at = np.quantile(probability, shares, method="higher")
    return tuple(gap_below(distinct, float(value)) for value in at)


def gap_below(distinct: np.ndarray, value: float) -> float:
    """The middle between a probability and the next lower one, as an exact float32.

    Args:
        distinct: All probabilities, rising, float64 [values].
        value: One of them; the lowest one has no gap below and gives itself.
    """
    position = int(np.searchsorted(distinct, value))
    lower = distinct[max(position - 1, 0)]
    return float(np.float32((lower + value) / 2))
