"""Every figure by which a purchase model is judged, in one document."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from training.metrics.audiences import deciles, gains, operating_points, reliability
from training.metrics.disclosure import MIN_CELL
from training.metrics.intervals import intervals
from training.metrics.metrics import (
    Outcomes,
    admitted_rows,
    best_f1,
    cut_off_few,
    entropy,
    headline,
    log_losses,
    rank,
    roc_auc,
    rounded,
)

AT_THRESHOLD = ("f1", "precision", "recall")
TOO_FEW_APART = (
    "F1, precision and recall are withheld: the threshold sets fewer than "
    f"{MIN_CELL} users apart from the others"
)


def classification_metrics(
    outcomes: Outcomes, threshold: float, decile_cuts: Sequence[float]
) -> dict[str, Any]:
    """Every figure by which a purchase model is judged; plain JSON values.

    What would tell of fewer than `MIN_CELL` users is null; `withheld` says why, where it is one of
    the figures of all users.

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
    found = intervals(ranked, outcomes.users, threshold, figures)
    apart = cut_off_few(ranked, outcomes.users, admitted_rows(ranked, threshold))
    untold = dict.fromkeys(AT_THRESHOLD) if apart else {}
    return rounded(
        {
            **(figures | untold),
            **_against_truth(outcomes, figures),
            "withheld": [TOO_FEW_APART] if apart else [],
            "intervals": found | untold,
            "reliability": reliability(ranked, outcomes.users),
            "deciles": deciles(outcomes, decile_cuts),
            "gains": gains(ranked, threshold, outcomes.users),
            "operating_points": operating_points(ranked, threshold, outcomes.users),
        }
    )


def _against_truth(outcomes: Outcomes, figures: Mapping[str, float]) -> dict[str, float | None]:
    """How near the model comes to the probabilities from which the labels were drawn."""
    if outcomes.truth is None:
        return {}
    ranked = rank(outcomes.truth, outcomes.label)
    one = np.ones(len(ranked.p))
    best_auc = roc_auc(ranked, one)
    best_loss = float(log_losses(ranked.p, ranked.positive).mean())
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
