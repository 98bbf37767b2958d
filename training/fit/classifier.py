"""The purchase model: shallow LightGBM trees, Platt calibration, threshold and cut-points.

Early stopping sees the validation part; calibration and threshold see the calibration part, which
it has not touched.
"""

import re
from dataclasses import dataclass

import lightgbm as lgb
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import precision_recall_curve

from engine.bundle import Calibration
from training.shapley.effects import Effects, model_effects

MAX_ROUNDS = 2_000
PATIENCE_ROUNDS = 50
PARAMETERS = {
    "objective": "binary",
    "metric": "binary_logloss",
    "learning_rate": 0.1,
    "max_depth": 3,
    "num_leaves": 8,
    "lambda_l2": 20.0,
    "feature_fraction": 0.8,
    "max_bin": 255,
    "deterministic": True,
    "force_col_wise": True,
    "verbose": -1,
}
"""Chosen once by a study on the validation part; see docs/decisions.md."""

LEAF_ROWS = (20, 200)
LEAF_SHARE = 1 / 500
"""A leaf has at least this share of the train part, within these bounds."""

SMALL_VALUES = 2_000_000

DECILES = tuple(n / 10 for n in range(1, 10))
BANDS = (0.50, 0.80, 0.95)


@dataclass(frozen=True, slots=True)
class Classifier:
    """A calibrated purchase model.

    Attributes:
        booster: The trees, cut at the best round.
        calibration: margin = slope x raw score + intercept.
        effects: Every impact on the margin, and its base value.
        threshold: Best F1 on the calibration part; exact in float32, as are the cut-points.
        decile_cuts: Nine rising probabilities.
        band_cuts: Three rising probabilities.
        unusable: Why its scores must not be used; empty where they may.
        report: Figures of the fit, for the manifest.
    """

    booster: lgb.Booster
    calibration: Calibration
    effects: Effects
    threshold: float
    decile_cuts: tuple[float, ...]
    band_cuts: tuple[float, ...]
    unusable: tuple[str, ...]
    report: dict[str, object]


@dataclass(frozen=True, slots=True)
class Sample:
    """Users of one part: `features` float32 [rows, features], `label` int8 [rows]."""

    features: np.ndarray
    label: np.ndarray


def fit_classifier(
    train: Sample, validation: Sample, calibration: Sample, names: tuple[str, ...], seed: int
) -> Classifier:
    """Fit trees, then calibration, threshold and cut-points.

    Args:
        train: What the trees learn from.
        validation: What stops them; its quantiles become the cut-points.
        calibration: What Platt scaling and the threshold are fitted to.
        names: The feature names, for the text of the model.
        seed: Makes the fit repeatable.
    """
    booster = fit_trees(train, validation, names, seed)
    platt, problem = fit_platt(raw_scores(booster, calibration.features), calibration)
    validation_p = calibrated(booster, platt, validation.features)
    calibration_p = calibrated(booster, platt, calibration.features)
    problems = [problem] if problem else []
    if len(np.unique(validation_p)) < 2:
        problems.append("the trees found nothing: every user gets the same probability")
    return Classifier(
        booster=booster,
        calibration=platt,
        effects=model_effects(booster, platt, len(names)),
        threshold=best_f1_threshold(calibration_p, calibration.label),
        decile_cuts=quantile_cuts(validation_p, DECILES),
        band_cuts=quantile_cuts(validation_p, BANDS),
        unusable=tuple(problems),
        report={
            "parameters": {k: v for k, v in PARAMETERS.items() if k != "verbose"},
            "trees": booster.num_trees(),
            "patience_rounds": PATIENCE_ROUNDS,
        },
    )


def fit_trees(train: Sample, validation: Sample, names: tuple[str, ...], seed: int) -> lgb.Booster:
    """Fit trees until the log-loss of the validation part has not fallen for a while."""
    leaf_rows = int(np.clip(LEAF_SHARE * len(train.label), *LEAF_ROWS))
    parameters = {**PARAMETERS, "min_data_in_leaf": leaf_rows, "seed": seed}
    parameters["num_threads"] = _threads(train.features)
    data = lgb.Dataset(
        train.features, train.label, feature_name=model_names(names), params=parameters
    )
    stop = lgb.early_stopping(PATIENCE_ROUNDS, verbose=False)
    booster = lgb.train(
        parameters,
        data,
        MAX_ROUNDS,
        valid_sets=[data.create_valid(validation.features, validation.label)],
        callbacks=[stop],
    )
    # Read back from the text that goes into the bundle: what is exported is what is audited.
    return lgb.Booster(model_str=_plain_text(booster))


def _plain_text(booster: lgb.Booster) -> str:
    """The trees up to the best round; without the number of threads, which changes nothing."""
    text = booster.model_to_string(num_iteration=booster.best_iteration)
    return re.sub(r"\[num_threads: \d+\]\n", "", text)


def fit_platt(raw: np.ndarray, sample: Sample) -> tuple[Calibration, str]:
    """Platt's sigmoid (1999): logistic regression of the label on the raw score, no penalty.

    Args:
        raw: LightGBM's raw scores, float64 [rows].
        sample: The users they belong to.

    Returns:
        The calibration, and why it makes the scores unusable, or "".
    """
    base = float(np.log(sample.label.mean() / (1 - sample.label.mean())))
    if raw.min() == raw.max():
        return Calibration(0.0, base), ""
    spread = float(raw.std())
    # Standardised, so that the solver meets the same problem whatever the scale of the scores.
    scaled = (raw - raw.mean()) / spread
    fitted = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1_000)
    fitted.fit(scaled.reshape(-1, 1), sample.label)
    slope = float(fitted.coef_[0, 0]) / spread
    if slope <= 0:
        return Calibration(0.0, base), (
            f"calibration: slope {slope:.3f} of the score on users not seen in training; it must "
            "be above 0: the score says nothing about them"
        )
    return Calibration(slope, float(fitted.intercept_[0]) - slope * float(raw.mean())), ""


def calibrated(booster: lgb.Booster, platt: Calibration, features: np.ndarray) -> np.ndarray:
    """The native probability in double precision, float64 [rows]."""
    return sigmoid(platt.slope * raw_scores(booster, features) + platt.intercept)


def raw_scores(booster: lgb.Booster, features: np.ndarray) -> np.ndarray:
    """LightGBM's sum of leaves, float64 [rows]."""
    threads = _threads(features)
    raw = booster.predict(features, raw_score=True, num_threads=threads)
    return np.asarray(raw, dtype=np.float64)


def sigmoid(margin: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-margin)), without overflow, float64 [rows]."""
    small = np.exp(-np.abs(margin))
    return np.where(margin >= 0, 1.0, small) / (1.0 + small)


def best_f1_threshold(probability: np.ndarray, label: np.ndarray) -> float:
    """The threshold with the best F1, in the middle of the gap below the probability it admits."""
    precision, recall, thresholds = precision_recall_curve(label, probability)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    return gap_below(np.unique(probability), float(thresholds[int(np.argmax(f1[:-1]))]))


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


def _threads(features: np.ndarray) -> int:
    """One for small tables, where waiting for another costs more than it does; 0 means all."""
    return 1 if features.size < SMALL_VALUES else 0


def model_names(names: tuple[str, ...]) -> list[str]:
    """Names that LightGBM's text format can hold, numbers if any name cannot stand in it."""
    if all(re.fullmatch(r"[A-Za-z0-9_.]+", name) for name in names):
        return list(names)
    return [f"feature_{position}" for position in range(len(names))]
