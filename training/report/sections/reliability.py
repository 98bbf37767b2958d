"""Whether probabilities come true."""

from functools import partial

from engine.errors import pluralize
from training.format import count, percent, percent_interval
from training.report.blocks import Block, Figure, Text, table
from training.report.charts.reliability import reliability_chart
from training.report.subject import Subject


def reliability(subject: Subject) -> list[Block]:
    """Predicted probability against purchase rate."""
    m = subject.metrics
    bins = [b for b in m.get("reliability") or [] if b["purchase_rate"] is not None]
    if not bins:
        return []
    error = m.get("calibration_error")
    return [
        Text(
            f"Of users given a probability of 30\u202f%, about 30 in 100 should buy. On average "
            f"the model is {100 * (error or 0):.1f} percentage points off.",
            strong=True,
        ),
        Figure(
            partial(reliability_chart, bins, error, "reliability-chart"),
            f"Each point is one of {pluralize(len(bins), 'group')} of equally many users; the upright line is "
            "its 95\u202f% interval. Points on the dashed line are exactly right.",
        ),
    ]


def reliability_table(subject: Subject) -> list[Block]:
    """Predicted probability against purchase rate, as a table."""
    bins = subject.metrics.get("reliability") or []
    if not bins:
        return []
    return [
        table(
            f"Purchase rate by predicted probability, {len(bins)} groups of equally many users",
            ("Predicted", subject.counts.capitalize(), "Bought", "95\u202f% interval"),
            [
                (
                    percent(b["mean_probability"]),
                    count(b["rows"]),
                    percent(b["purchase_rate"]),
                    percent_interval((b.get("low"), b.get("high"))),
                )
                for b in bins
            ],
        )
    ]
