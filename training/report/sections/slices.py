"""Performance by group of users."""

import math
from collections.abc import Sequence

from engine.pages.blocks import Block, Cell, Text, table
from engine.pages.format import count, decimal, interval, percent, points, shown
from training.metrics.disclosure import MIN_USERS
from training.report.subject import Figures, Subject

CHANCE = 3.5
"""By chance, hardly one of a hundred groups exceeds so many standard errors."""


def slices(subject: Subject) -> list[Block]:
    """The figures of groups of users, with intervals."""
    found = subject.metrics.get("slices") or []
    if not found:
        return []
    overall = subject.metrics.get("roc_auc")
    return [
        Text(
            " ".join(filter(None, (_worst_ranked(found, overall), _largest_gap(found)))),
            strong=True,
        ),
        table(
            f"By group of users; over all users the ROC-AUC is {decimal(overall)}",
            ("Group", subject.counts.capitalize(), "Bought", "Predicted", "Gap, points", "ROC-AUC"),
            [
                (
                    Cell(f"{s['label']}: {s['value']}"),
                    count(s["rows"]),
                    percent(s["base_rate"]),
                    percent(s.get("mean_probability")),
                    points(s.get("calibration_gap")),
                    Cell(decimal(s.get("roc_auc")), interval(s.get("roc_auc_interval"))),
                )
                for s in found
            ],
        ),
        Text(
            f"Values with fewer than {MIN_USERS} users are measured together as “(other)”. Small "
            "print: 95\u202f% intervals."
        ),
    ]


def _worst_ranked(found: Sequence[Figures], overall: float | None) -> str:
    """The group in which the model ranks worst."""
    known = [part for part in found if part.get("roc_auc") is not None]
    if len(known) < 2 or overall is None:
        return ""
    worst = min(known, key=lambda part: part["roc_auc"])
    ends = interval(worst.get("roc_auc_interval"))
    return (
        f"The model ranks worst for {_named(worst)}: ROC-AUC {decimal(worst['roc_auc'])}"
        f"{f' ({ends})' if ends else ''}, against {decimal(overall)} over all users."
    )


def _named(part: Figures) -> str:
    return f"{shown(part['label'])}: {shown(str(part['value']))}"


def _largest_gap(found: Sequence[Figures]) -> str:
    """The gap furthest beyond chance, or a sentence that there is none."""
    known = [part for part in found if part.get("calibration_gap") is not None]
    worst = max(known, key=_beyond_chance, default=None)
    if worst is None or _beyond_chance(worst) < CHANCE:
        return "In no group is the gap between predicted and actual purchase rate clearly beyond chance."
    return (
        "The gap between predicted and actual purchase rate furthest beyond chance is "
        f"{points(worst['calibration_gap'])} points, for {_named(worst)}."
    )


def _beyond_chance(part: Figures) -> float:
    """The gap in standard errors of the purchase rate."""
    rows = part["rows"]
    # Never 0 or 1, which a rounded probability may be.
    rate = (part["mean_probability"] * rows + 0.5) / (rows + 1)
    return float(abs(part["calibration_gap"]) / math.sqrt(rate * (1 - rate) / rows))
