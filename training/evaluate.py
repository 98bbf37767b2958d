"""How good probabilities are: pure functions of probabilities and labels."""

from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

CALIBRATION_BINS = 20
DECIMALS = 6


def classification_metrics(
    probability: np.ndarray, label: np.ndarray, threshold: float, truth: np.ndarray | None = None
) -> dict[str, Any]:
    """Every figure by which a purchase model is judged, rounded to 6 decimals.

    Args:
        probability: float [rows].
        label: int8 [rows], both 0 and 1 present.
        threshold: Users at or above it are predicted to buy.
        truth: The probability from which the label was drawn, float64 [rows], where it is known:
            its AUC is the best that any model can reach.
    """
    p = probability.astype(np.float64)
    figures: dict[str, Any] = {
        "rows": len(label),
        "base_rate": float(label.mean()),
        "roc_auc": float(roc_auc_score(label, p)),
        "pr_auc": float(average_precision_score(label, p)),
        "log_loss": float(log_loss(label, p)),
        "brier": float(brier_score_loss(label, p)),
        "calibration_error": calibration_error(p, label),
        **threshold_metrics(p, label, threshold),
    }
    if truth is not None:
        best = float(roc_auc_score(label, truth))
        figures |= {"best_possible_auc": best, "share_of_best_auc": figures["roc_auc"] / best}
    return {k: round(v, DECIMALS) if isinstance(v, float) else v for k, v in figures.items()}


def threshold_metrics(p: np.ndarray, label: np.ndarray, threshold: float) -> dict[str, float]:
    """F1, precision and recall where `p >= threshold` predicts a purchase; 0 where undefined."""
    predicted = p >= threshold
    hits = float((predicted & (label == 1)).sum())
    precision = hits / max(float(predicted.sum()), 1.0)
    recall = hits / max(float(label.sum()), 1.0)
    f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
    return {"threshold": threshold, "f1": f1, "precision": precision, "recall": recall}


def calibration_error(p: np.ndarray, label: np.ndarray, bins: int = CALIBRATION_BINS) -> float:
    """The mean gap between predicted and actual purchase rate over bins of equally many users.

    The expected calibration error of Naeini, Cooper & Hauskrecht (2015), with equal-mass bins.

    Args:
        p: float64 [rows].
        label: int8 [rows].
        bins: How many; fewer where there are fewer rows.
    """
    order = np.argsort(p, kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    return sum(abs(float(p[i].mean() - label[i].mean())) * len(i) for i in parts) / len(p)
