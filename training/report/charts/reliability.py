"""Predicted probability against purchase rate."""

from collections.abc import Mapping, Sequence
from typing import Any

from training.report.charts.drawing import (
    COOL,
    MUTED,
    Rows,
    chart_data,
    drawn,
    share_channel,
    text_marks,
)


def reliability_chart(bins: Sequence[Mapping[str, Any]], error: float, name: str) -> str:
    """The actual purchase rate against the predicted probability."""
    import altair as alt

    rows: Rows = [
        {"x": b["mean_probability"], "y": b["purchase_rate"], "low": b["low"], "high": b["high"]}
        for b in bins
    ]
    top = min(1.0, 1.05 * max((max(row["x"], row["high"]) for row in rows), default=1.0)) or 1.0
    ideal: Rows = [{"x": 0.0, "y": 0.0}, {"x": top, "y": top}]
    base = alt.Chart(chart_data(rows)).encode(x=share_channel("x", "predicted probability", top))
    parts = (
        alt.Chart(chart_data(ideal))
        .mark_line(color=MUTED, strokeDash=[4, 4], strokeWidth=1)
        .encode(x=alt.X("x:Q"), y=share_channel("y", top=top)),
        base.mark_rule(color=COOL, strokeWidth=1.5).encode(y=alt.Y("low:Q"), y2=alt.Y2("high:Q")),
        base.mark_point(color=COOL, filled=True, size=42, opacity=1).encode(y=alt.Y("y:Q")),
        text_marks(
            [{"x": 0.62 * top, "y": 0.52 * top, "text": "exactly right"}], MUTED, align="left"
        ),
    )
    words = f"On average the predicted probability is {100 * error:.1f} percentage points off."
    return drawn(alt.layer(*parts), name, "Reliability: share that bought", words)
