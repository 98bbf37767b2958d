"""All figures of a purchase model, in one document."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from training.metrics.audiences import deciles, gains, operating_points, reliability, top_users
from training.metrics.disclosure import MIN_USERS, enough
from training.metrics.intervals import intervals
from training.metrics.metrics import (
    Outcomes,
    admitted_rows,
    best_f1,
    entropy,
    headline,
    rank,
    roc_auc,
    rounded,
)

AT_THRESHOLD = ("f1", "precision", "recall")
TOO_FEW_ADMITTED = (
    f"F1, precision and recall are left out: fewer than {MIN_USERS} users are at or above the "
    "threshold"
)


def classification_metrics(
    outcomes: Outcomes, threshold: float, decile_cuts: Sequence[float]
) -> dict[str, Any]:
    """All figures of a purchase model; plain JSON values.

    F1, precision and recall are null where the threshold admits a few users only; `suppressed` says
    so in a sentence.

    Args:
        outcomes: Probabilities and labels of users.
        threshold: Users at or above it are predicted to buy.
        decile_cuts: The cut-points of the score file's deciles.
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
    admitted = top_users(ranked, outcomes.users, admitted_rows(ranked, threshold))
    few = len(admitted) > 0 and not enough(admitted)
    suppressed = dict.fromkeys(AT_THRESHOLD) if few else {}
    return rounded(
        {
            **(figures | suppressed),
            **_against_truth(outcomes, figures),
            "suppressed": [TOO_FEW_ADMITTED] if few else [],
            "intervals": found | suppressed,
            "reliability": reliability(ranked, outcomes.users),
            "deciles": deciles(outcomes, decile_cuts),
            "gains": gains(ranked, outcomes.users),
            "operating_points": operating_points(ranked, threshold, outcomes.users),
        }
    )


def _against_truth(outcomes: Outcomes, figures: Mapping[str, float]) -> dict[str, float | None]:
    """How close the model comes to the probabilities from which labels were drawn."""
    if outcomes.truth is None:
        return {}
    ranked = rank(outcomes.truth, outcomes.label)
    one = np.ones(len(ranked.p))
    best_auc = roc_auc(ranked, one)
    best_loss = float(ranked.losses.mean())
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
