"""How well scores do in the folds: log-loss and ROC-AUC of the validation rows.

Scores come fold by fold. A ROC-AUC compares rows of one fold only, because each fold has a model
of its own.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import expit  # type: ignore[import-untyped]

from training.metrics.intervals import auc_and_error, placements
from training.metrics.metrics import log_losses
from training.model.trees import Sample

Scores = Sequence[np.ndarray]
"""Raw scores (log-odds) of each fold's validation rows, float64 [rows]."""


def fold_losses(scores: Scores, validation: Sequence[Sample]) -> np.ndarray:
    """The log-loss of each row, fold after fold, float64 [rows of all folds]."""
    folds = zip(scores, validation, strict=False)
    return np.concatenate([log_losses(expit(raw), sample.label) for raw, sample in folds])


def mean_loss(scores: Scores, validation: Sequence[Sample]) -> float:
    """The mean log-loss over the rows of all folds."""
    return float(fold_losses(scores, validation).mean())


def fold_placements(scores: Scores, validation: Sequence[Sample]) -> np.ndarray:
    """The placement of each row within its fold, fold after fold, float64 [rows of all folds]."""
    folds = zip(scores, validation, strict=False)
    return np.concatenate([placements(raw, sample.label) for raw, sample in folds])


def roc_auc(scores: Scores, validation: Sequence[Sample]) -> float:
    """The ROC-AUC of the folds, each weighted by its buyers."""
    return float(fold_placements(scores, validation)[_labels(validation) == 1].mean())


def roc_auc_gain(
    better: Scores, worse: Scores, validation: Sequence[Sample], users: np.ndarray
) -> tuple[float, float]:
    """How much higher the ROC-AUC of one score is, and the standard error of the difference.

    Args:
        better: Raw scores of each fold.
        worse: As `better`.
        validation: The rows that they score.
        users: A number for each user, int64 [rows of all folds].
    """
    gain = fold_placements(better, validation) - fold_placements(worse, validation)
    return auc_and_error(gain, _labels(validation), users)


def _labels(validation: Sequence[Sample]) -> np.ndarray:
    return np.concatenate([sample.label for sample in validation])
