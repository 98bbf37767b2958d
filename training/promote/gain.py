"""The gate on gains: figures too good to be true need a reason.

Features that know the outcome raise the figures of the fit and of every holdout that is made the same
way. Spread over many features, no single one shows it. So a large gain is not passed in silence:
somebody says where it comes from, and the folder keeps the words.
"""

from engine.bundle.evaluation import Json
from training.evaluate.gain import MAX_GAIN
from training.evaluate.leakage import SUSPICIOUS_AUC
from training.promote.gate import Gate

ASK = "give the reason with --accept-gain if it is real"


def gain_gate(gain: float, low: float, reason: str) -> Gate:
    """The candidate's gain of ROC-AUC over the champion.

    Args:
        gain: The difference on the holdout.
        low: The lower end of its 95 % interval.
        reason: Where the gain comes from; "" if nobody has said.
    """
    small = low <= MAX_GAIN
    return Gate(
        name="gain",
        passed=small or bool(reason),
        measured={"roc_auc": gain, "at_least": low, "reason": reason},
        bound={"at_most_beyond_chance": MAX_GAIN},
        words=f"ROC-AUC higher by {gain:.4f}, at least by {low:.4f}; more than {MAX_GAIN} is rarely true"
        + ("" if small else f": {_accepted(reason)}"),
    )


def level_gate(metrics: Json, reason: str) -> Gate:
    """The ROC-AUC of a first bundle, which has no champion beside it.

    Args:
        metrics: As `classification_metrics` returns them.
        reason: Why it is so high; "" if nobody has said.
    """
    auc = metrics["roc_auc"]
    small = auc is None or auc < SUSPICIOUS_AUC
    return Gate(
        name="gain",
        passed=small or bool(reason),
        measured={"roc_auc": auc, "reason": reason},
        bound={"below": SUSPICIOUS_AUC},
        words=("no ROC-AUC" if auc is None else f"ROC-AUC {auc:.4f}")
        + f"; {SUSPICIOUS_AUC} or more is rarely true"
        + ("" if small else f": {_accepted(reason)}"),
    )


def _accepted(reason: str) -> str:
    return f"accepted, because {reason!r}" if reason else ASK
