"""The figures that decide, each with what it means in words."""

from collections.abc import Sequence

from training.format import decimal, interval, percent, times, whole_percent
from training.report.blocks import Block, Fact, Facts, Text
from training.report.subject import Figures, Subject


def key_figures(subject: Subject) -> list[Block]:
    """The figures that decide, each with what it means in words."""
    m = subject.metrics
    if not m:
        return [Text("The purchase model has not been measured.")]
    cautions = [Text(words, strong=True) for words in subject.evaluation.cautions]
    known = m.get("intervals") or {}
    facts = (
        Fact(
            percent(m["base_rate"]),
            "of users buy",
            f"Of {subject.measured} measured. Every figure below is to be read against this.",
        ),
        *_top_tenth(m),
        Fact(
            decimal(m["roc_auc"]),
            "ROC-AUC",
            f"Of a buyer and another user picked at random, the buyer has the higher score "
            f"{100 * m['roc_auc']:.0f} times in 100.{_known(known, 'roc_auc')}",
        ),
        Fact(
            f"{100 * m['calibration_error']:.1f}",
            "points off, on average",
            "The mean gap in percentage points between predicted and actual purchase rate."
            f"{_known_gap(known.get('calibration_error'))}",
        ),
        _at_threshold(m, known),
        *_of_the_best(m),
    )
    return [*cautions, Facts(facts)]


def _top_tenth(m: Figures) -> list[Fact]:
    top = _gain_at(m, 0.1)
    if top is None:
        return []
    share = whole_percent(top["share_of_buyers"])
    words = (
        f"The top 10\u202f% of users hold {share} of the buyers: {times(top['lift'])} as many as a "
        "random tenth."
    )
    return [Fact(share, "of buyers in the top 10\u202f%", words)]


def _of_the_best(m: Figures) -> list[Fact]:
    """How much was reached of what is possible, where that is known."""
    if "share_of_best_auc" not in m:
        return []
    words = (
        "These users are simulated, so the best that any model can reach is known: "
        f"{decimal(m.get('best_possible_auc'))}."
    )
    return [Fact(percent(m["share_of_best_auc"], 1), "of the best possible AUC", words)]


def _at_threshold(m: Figures, known: Figures) -> Fact:
    """F1, precision and recall, or why they are withheld."""
    if m["f1"] is None:
        return Fact(decimal(None), "F1 at the threshold", f"{' '.join(m['withheld'])}.")
    return Fact(
        decimal(m["f1"]),
        "F1 at the threshold",
        f"At a probability of {percent(m['threshold'])} or more, {100 * m['precision']:.0f} of "
        f"100 users named do buy, and {100 * m['recall']:.0f} of 100 buyers are named."
        f"{_known(known, 'f1')}",
    )


def _gain_at(metrics: Figures, share: float) -> Figures | None:
    """The gain at a share of the users; none where it is withheld."""
    found = (g for g in metrics.get("gains") or [] if g["share_of_buyers"] is not None)
    return next((g for g in found if abs(g["share"] - share) < 1e-9), None)


def _known(intervals: Figures, name: str) -> str:
    words = interval(intervals.get(name))
    return f" 95\u202f% interval: {words}." if words else ""


def _known_gap(bounds: Sequence[float] | None) -> str:
    """Chance makes a gap where there is none, so the interval lies below the figure rather than round it."""
    words = interval(bounds, 1, 100)
    return f" A part of it is chance: 95\u202f% interval {words} points." if words else ""
