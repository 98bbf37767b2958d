"""How the model does for parts of the users."""

from training.report.blocks import Block, Cell, Text, table
from training.report.subject import Subject
from training.report.words import count, decimal, interval, percent, points, shown

SHOWN_SLICES = 60


def slices(subject: Subject) -> list[Block]:
    """The figures of parts of the users, with intervals."""
    found = [s for s in subject.metrics.get("slices") or [] if s.get("base_rate") is not None]
    if not found:
        return []
    worst = max(found, key=lambda s: abs(s.get("calibration_gap") or 0))
    overall = subject.metrics.get("roc_auc")
    return [
        Text(
            f"The largest gap between predicted and actual purchase rate is "
            f"{points(worst.get('calibration_gap'))} points, for {shown(worst['label'])}: "
            f"{shown(str(worst['value']))}.",
            strong=True,
        ),
        table(
            f"By part of the users; over all of them the ROC-AUC is {decimal(overall)}",
            ("Part", "Users", "Bought", "Predicted", "Gap, points", "ROC-AUC"),
            [
                (
                    Cell(f"{s['label']}: {s['value']}"),
                    count(s["rows"]),
                    percent(s["base_rate"]),
                    percent(s.get("mean_probability")),
                    points(s.get("calibration_gap")),
                    Cell(decimal(s.get("roc_auc")), interval(s.get("roc_auc_interval"))),
                )
                for s in found[:SHOWN_SLICES]
            ],
        ),
        Text("Parts of fewer than 20 users are left out. Small print: 95\u202f% intervals."),
    ]
