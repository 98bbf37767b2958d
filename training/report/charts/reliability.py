"""Predicted probability against purchase rate."""

from collections.abc import Mapping, Sequence
from typing import Any

from engine.pages.drawing import (
    COOL,
    MUTED,
    Rows,
    drawn,
    end,
    layer,
    number,
    share_channel,
    text_marks,
)


def reliability_chart(bins: Sequence[Mapping[str, Any]], error: float, name: str) -> str:
    """The actual purchase rate against the predicted probability."""
    rows: Rows = [
        {"x": b["mean_probability"], "y": b["purchase_rate"], "low": b["low"], "high": b["high"]}
        for b in bins
    ]
    top = min(1.0, 1.05 * max((max(row["x"], row["high"]) for row in rows), default=1.0)) or 1.0
    ideal: Rows = [{"x": 0.0, "y": 0.0}, {"x": top, "y": top}]
    x, y = share_channel("x", "predicted probability", top), share_channel("y", top=top)
    dashed = {"color": MUTED, "strokeDash": [4, 4], "strokeWidth": 1}
    points = {"color": COOL, "filled": True, "size": 42, "opacity": 1}
    bars = {"color": COOL, "strokeWidth": 1.5}
    parts = (
        layer("line", ideal, dashed, x=number("x"), y=y),
        layer("rule", rows, bars, x=x, y=number("low"), y2=end("high")),
        layer("point", rows, points, x=x, y=number("y")),
        text_marks(
            [{"x": 0.62 * top, "y": 0.52 * top, "text": "exactly right"}], MUTED, align="left"
        ),
    )
    words = f"On average the predicted probability is {100 * error:.1f} percentage points off."
    return drawn(parts, name, "Reliability: share that bought", words)
