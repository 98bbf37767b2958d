"""The quality band of a purchase model, for people who do not read metrics, and its reasons.

ROC-AUC and calibration error count by the lower end of their 95 % interval. So a small test part
cannot earn a good band, and noise in the calibration error does not cost one.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from training.metrics.metrics import entropy

QUALITY_BANDS = ("unusable", "poor", "fair", "good", "excellent")

AUC_BOUNDS = (0.60, 0.70, 0.80)
"""The lower end of the ROC-AUC that fair, good and excellent need: discrimination is acceptable from
0.7 on, excellent from 0.8 on (Hosmer, Lemeshow & Sturdivant 2013, section 5.2.4)."""

CALIBRATION_BOUNDS = (0.35, 0.20, 0.10)
"""The lower end of the calibration error, in shares of the rarer outcome's rate, that fair, good and
excellent may have."""

USELESS_AUC = 0.55
"""Below it, the top tenth of the users holds hardly more buyers than any other tenth."""

GROSS_CALIBRATION = 0.50

ADVICE = {
    "poor": "use it only to rank users roughly, and check the results",
    "fair": "use it to rank users; allow for errors where the probabilities themselves matter",
    "good": "use it to rank users and to plan with its probabilities",
    "excellent": "use it to rank users and to plan with its probabilities",
}


def quality_band(
    metrics: Mapping[str, Any],
    leakage: Mapping[str, Any],
    unusable: Sequence[str],
    segment_reasons: Sequence[str],
) -> dict[str, Any]:
    """The band of a bundle, whether it may be used, a sentence for marketing, and the reasons.

    Args:
        metrics: As `classification_metrics` returns them.
        leakage: As `leakage_checks` returns them.
        unusable: Why the purchase model must not be used, if already known.
        segment_reasons: Why the segments are weak; the scores may still be used, but the bundle is at
            most good.

    Returns:
        `band`, `may_be_used`, `sentence` and `reasons`; for an unusable bundle only the fatal ones.
    """
    fatal = list(dict.fromkeys([*unusable, *leakage["broken"], *_useless(metrics)]))
    if fatal:
        return {
            "band": "unusable",
            "may_be_used": False,
            "sentence": f"Unusable: do not use these scores: {fatal[0]}.",
            "reasons": fatal,
        }
    limits = [*_limits(metrics), *((1, reason) for reason in leakage["reasons"])]
    limits += [(3, f"segments: {reason}") for reason in segment_reasons]
    rank = min((rank for rank, _ in limits), default=len(QUALITY_BANDS) - 1)
    band = QUALITY_BANDS[rank]
    return {
        "band": band,
        "may_be_used": True,
        "sentence": f"{band.capitalize()}: {_merit(metrics)}; {ADVICE[band]}.",
        "reasons": [reason for _, reason in sorted(limits, key=lambda limit: limit[0])],
    }


def lower_quality(fitted: Mapping[str, Any], found: Mapping[str, Any]) -> Mapping[str, Any]:
    """The quality of users whom the models have partly seen: never better than on the test part.

    Args:
        fitted: Of the test part of the fit.
        found: Of these users.
    """
    allowed = QUALITY_BANDS[: QUALITY_BANDS.index(found["band"])]
    if fitted["band"] not in allowed:
        return found
    reason = "the rating is that of the test part of the fit: the users measured here are not new"
    return {**fitted, "reasons": [*fitted["reasons"], reason]}


def _useless(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Why the scores are useless."""
    auc, low = metrics["roc_auc"], _low_end(metrics, "roc_auc")
    if low <= 0.5:
        yield (
            f"ROC-AUC {auc:.3f}, which may be chance alone (95 % interval from {low:.3f}; 0.5 is chance)"
        )
    elif auc < USELESS_AUC:
        yield f"ROC-AUC {auc:.3f}, below {USELESS_AUC}: hardly better than chance (0.5)"
    base = entropy(metrics["base_rate"])
    if metrics["log_loss"] >= base:
        yield (
            f"log-loss {metrics['log_loss']:.4f}, no better than the {base:.4f} of predicting the "
            "purchase rate for everyone"
        )
    error = _relative_calibration(metrics)
    if error > GROSS_CALIBRATION:
        yield (
            f"the probabilities are wrong by {_percent(error)} of the rate of the rarer outcome or "
            f"more, over {_percent(GROSS_CALIBRATION)}"
        )


def _limits(metrics: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    """The best band that each shortfall allows, and the shortfall in words."""
    low = _low_end(metrics, "roc_auc")
    rank = 1 + sum(low >= bound for bound in AUC_BOUNDS)
    if rank <= len(AUC_BOUNDS):
        better, bound = QUALITY_BANDS[rank + 1], AUC_BOUNDS[rank - 1]
        yield (
            rank,
            f"ROC-AUC {metrics['roc_auc']:.3f}, at least {low:.3f}; {better} needs {bound:.2f}",
        )
    error = _relative_calibration(metrics)
    rank = 1 + sum(error <= bound for bound in CALIBRATION_BOUNDS)
    if rank <= len(CALIBRATION_BOUNDS):
        better, bound = QUALITY_BANDS[rank + 1], CALIBRATION_BOUNDS[rank - 1]
        yield (
            rank,
            f"the probabilities are wrong by {_percent(error)} of the rate of the rarer outcome; "
            f"{better} allows {_percent(bound)}",
        )


def _relative_calibration(metrics: Mapping[str, Any]) -> float:
    rarer = min(metrics["base_rate"], 1 - metrics["base_rate"])
    return _low_end(metrics, "calibration_error") / rarer


def _low_end(metrics: Mapping[str, Any], name: str) -> float:
    interval = metrics["intervals"][name]
    # Without an interval, nothing is known to be beyond chance.
    return float(interval[0]) if interval else 0.0


def _merit(metrics: Mapping[str, Any]) -> str:
    """What the model does for marketing, in numbers."""
    gain = next((g for g in metrics["gains"] if g["share"] == 0.10), None)
    if gain is None:
        return "too few users were measured to say how many buyers a campaign reaches"
    return (
        f"the 10 % of users with the highest scores buy {gain['lift']:.1f} times as often as the "
        f"average user and hold {100 * gain['share_of_buyers']:.0f} % of all buyers"
    )


def _percent(share: float) -> str:
    """With enough digits to differ from the bound that it exceeds."""
    return f"{100 * share:.3g} %"
