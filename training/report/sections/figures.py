"""The figures that decide, each with what it means in words."""

from collections.abc import Sequence

from engine.pages.blocks import Block, Fact, Facts, Text, table
from engine.pages.format import decimal, interval, percent, sentence, times, whole_percent
from training.report.subject import Figures, Subject

HEADLINE = (
    ("roc_auc", "ROC-AUC"),
    ("pr_auc", "PR-AUC"),
    ("log_loss", "Log-loss"),
    ("brier", "Brier score"),
    ("calibration_error", "Calibration error"),
    ("f1", "F1"),
    ("precision", "Precision"),
    ("recall", "Recall"),
    ("base_rate", "Purchase rate"),
    ("threshold", "Threshold"),
)
AGAINST_TRUTH = (
    ("best_possible_auc", "Best possible ROC-AUC"),
    ("share_of_best_auc", "Share of it reached"),
    ("best_possible_log_loss", "Best possible log-loss"),
    ("share_of_best_log_loss", "Share of its gain reached"),
    ("best_possible_f1", "Best possible F1"),
)


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
            f"Of {subject.measured} measured. Read every figure below against this rate.",
        ),
        *_top_tenth(m),
        Fact(
            decimal(m["roc_auc"]),
            "ROC-AUC",
            f"Pick a buyer and a non-buyer at random: the buyer has the higher score "
            f"{100 * m['roc_auc']:.0f} times in 100.{_known(known, 'roc_auc')}",
        ),
        Fact(
            f"{100 * m['calibration_error']:.1f}",
            "points off on average",
            "The mean gap between predicted and actual purchase rate, in percentage points."
            f"{_known_gap(known.get('calibration_error'))}",
        ),
        *_at_threshold(m, known),
        *_of_the_best(m),
    )
    suppressed = [Text(sentence(reason)) for reason in m.get("suppressed") or []]
    return [*cautions, Facts(facts), *suppressed]


def all_figures(subject: Subject) -> list[Block]:
    """Every figure of the purchase model that is one number, with its 95 % interval."""
    m = subject.metrics
    known = m.get("intervals") or {}
    rows = [
        (title, decimal(m[name], 4), interval(known.get(name), 4))
        for name, title in (*HEADLINE, *AGAINST_TRUTH)
        if m.get(name) is not None
    ]
    silhouette = subject.evaluation.segments.get("silhouette")
    if silhouette is not None:
        rows.append(("Silhouette of the segments", decimal(silhouette, 4), ""))
    if not rows:
        return []
    return [table("Figures of the purchase model", ("Figure", "Value", "95\u202f% interval"), rows)]


def _top_tenth(m: Figures) -> list[Fact]:
    gains = m.get("gains") or []
    top = next((g for g in gains if abs(g["share"] - 0.1) < 1e-9), None)
    if top is None:
        return []
    share = whole_percent(top["share_of_buyers"])
    words = (
        f"The top 10\u202f% of users hold {share} of the buyers: {times(top['lift'])} as many as a "
        "random tenth."
    )
    return [Fact(share, "of buyers in the top 10\u202f%", words)]


def _of_the_best(m: Figures) -> list[Fact]:
    """The share of the best possible ROC-AUC, if that is known."""
    if "share_of_best_auc" not in m:
        return []
    words = (
        "These users are simulated, so the best that any model can reach is known: "
        f"{decimal(m.get('best_possible_auc'))}."
    )
    return [Fact(percent(m["share_of_best_auc"], 1), "of the best possible AUC", words)]


def _at_threshold(m: Figures, known: Figures) -> list[Fact]:
    """F1, precision and recall, if enough users are at or above the threshold."""
    if m["f1"] is None:
        return []
    words = (
        f"Users with a probability of {percent(m['threshold'])} or more are flagged: "
        f"{100 * m['precision']:.0f} of 100 flagged users buy, and {100 * m['recall']:.0f} of 100 "
        f"buyers are flagged.{_known(known, 'f1')}"
    )
    return [Fact(decimal(m["f1"]), "F1 at the threshold", words)]


def _known(intervals: Figures, name: str) -> str:
    words = interval(intervals.get(name))
    return f" 95\u202f% interval: {words}." if words else ""


def _known_gap(bounds: Sequence[float] | None) -> str:
    """Chance only widens the gap, so the interval lies below the figure rather than around it."""
    words = interval(bounds, 1, 100)
    return f" Part of it is chance: 95\u202f% interval {words} points." if words else ""
