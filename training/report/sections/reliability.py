"""Calibration: do predicted and actual purchase rates agree?"""

from functools import partial

from engine.errors import pluralize
from engine.pages.blocks import Block, Figure, Text, table
from engine.pages.format import count, percent, percent_interval
from training.report.charts.reliability import reliability_chart
from training.report.subject import Subject


def reliability(subject: Subject) -> list[Block]:
    """Predicted probability against purchase rate."""
    m = subject.metrics
    bins = m.get("reliability") or []
    if not bins:
        return []
    error = m["calibration_error"]
    rows = [
        (
            percent(b["mean_probability"]),
            count(b["rows"]),
            percent(b["purchase_rate"]),
            percent_interval((b["low"], b["high"])),
        )
        for b in bins
    ]
    return [
        Text(
            f"Of users with a predicted probability of 30\u202f%, about 30 in 100 should buy. On "
            f"average the model is {100 * error:.1f} percentage points off.",
            strong=True,
        ),
        Figure(
            partial(reliability_chart, bins, error, "reliability-chart"),
            f"Each point is one of {pluralize(len(bins), 'group')} of equally many users; the "
            "vertical line is its 95\u202f% interval. Points on the dashed line are exactly right.",
            table(
                "Purchase rate by predicted probability",
                ("Predicted", subject.counts.capitalize(), "Bought", "95\u202f% interval"),
                rows,
            ),
        ),
    ]
