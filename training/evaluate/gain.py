"""Gains too good to be true: features that know the outcome raise every figure.

Spread over many features, no single one shows it. A fit says so; a promotion asks for a reason.
"""

from engine.bundle.evaluation import Evaluation, read_evaluation
from engine.bundle.open import Bundle

MAX_GAIN = 0.03
"""Of ROC-AUC, beyond chance: weekly refits move it by a few thousandths, and the whole search for
trees gains less (docs/modelling.md)."""


def gain_cautions(evaluation: Evaluation, previous: Bundle) -> tuple[str, ...]:
    """Whether a fit is better than that of the previous bundle by more than is usually true.

    Both are measured on their own test users, so the ends of both intervals count that are nearer.

    Args:
        evaluation: Of the fit.
        previous: The previous bundle.
    """
    before, now = read_evaluation(previous).metrics, evaluation.metrics
    then, here = ((side.get("intervals") or {}).get("roc_auc") for side in (before, now))
    if then is None or here is None or here[0] - then[1] <= MAX_GAIN:
        return ()
    return (
        f"ROC-AUC {now['roc_auc']:.3f}, in the fit of {previous.manifest.bundle_id} "
        f"{before['roc_auc']:.3f}: a gain of more than {MAX_GAIN} is rarely true. Check that no feature "
        "knows the outcome; training promote asks for a reason.",
    )
