"""The gate on gains: figures too good to be true need a reason.

Features that know the outcome raise the figures of the fit and of every holdout that is made the same
way. Spread over many features, no single one shows it. So a large gain is not passed in silence:
somebody says where it comes from, and the folder keeps the words.
"""

from engine.bundle.evaluation import Json
from engine.pages.format import signed
from training.evaluate.gain import MAX_GAIN
from training.evaluate.leakage import SUSPICIOUS_AUC
from training.promote.gate import Gate, verdict_of

ASK = "Check that no feature knows the outcome; if the figure is real, give the reason with --accept-gain."


def gain_gate(gain: float, interval: tuple[float, float], reason: str) -> Gate:
    """The candidate's gain of ROC-AUC over the champion.

    Args:
        gain: The difference on the holdout.
        interval: Its 95 % interval.
        reason: Where the gain comes from; "" if nobody has said.
    """
    low, high = interval
    small = low <= MAX_GAIN
    return Gate(
        name="gain",
        verdict=verdict_of(passed=small or bool(reason)),
        measured={"roc_auc": gain, "at_least": low, "reason": reason},
        bound={"at_most_beyond_chance": MAX_GAIN},
        words=f"ROC-AUC difference {signed(gain, 4)} (95 % from {signed(low, 4)} to {signed(high, 4)}); more "
        f"than {MAX_GAIN} beyond chance is rarely true" + ("" if small else _accepted(reason)),
        next_step=ASK,
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
        verdict=verdict_of(passed=small or bool(reason)),
        measured={"roc_auc": auc, "reason": reason},
        bound={"below": SUSPICIOUS_AUC},
        words=("no ROC-AUC" if auc is None else f"ROC-AUC {auc:.4f}")
        + f"; {SUSPICIOUS_AUC} or more is rarely true"
        + ("" if small else _accepted(reason)),
        next_step=ASK,
    )


def _accepted(reason: str) -> str:
    return f": accepted, because {reason!r}" if reason else ""
