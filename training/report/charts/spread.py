"""The spread of probabilities inside each segment."""

from collections.abc import Mapping, Sequence
from typing import Any

from engine.format import short
from training.format import percent, shown
from training.report.charts.drawing import (
    COOL,
    INK,
    MUTED,
    WIDTH,
    Rows,
    chart_data,
    drawn,
    share_channel,
)


def spread_chart(segments: Sequence[Mapping[str, Any]], names: Mapping[int, str], name: str) -> str:
    """The 10th, 50th and 90th percentile of the probabilities inside each segment."""
    import altair as alt

    step = 46
    known = [part for part in segments if part.get("probability_p50") is not None]
    rows: Rows = [
        {
            "n": step * (n + 0.75),
            "low": part["probability_p10"],
            "middle": part["probability_p50"],
            "high": part["probability_p90"],
            "text": short(shown(names.get(part["segment_id"], str(part["segment_id"]))), 34),
            "ends": f"{percent(part['probability_p10'])} to {percent(part['probability_p90'])}",
        }
        for n, part in enumerate(known)
    ]
    top = 1.05 * max((row["high"] for row in rows), default=1.0) or 1.0
    y = alt.Y("n:Q", axis=None, scale=None)
    base = alt.Chart(chart_data(rows)).encode(y=y)
    parts = (
        base.mark_rule(color=COOL, strokeWidth=6, opacity=0.35).encode(
            x=share_channel("low", "purchase probability", top), x2=alt.X2("high:Q")
        ),
        base.mark_point(color=COOL, filled=True, size=70, opacity=1).encode(x=alt.X("middle:Q")),
        base.mark_text(color=INK, align="left", dy=-17).encode(
            x=alt.value(0), text=alt.Text("text:N")
        ),
        base.mark_text(color=MUTED, align="right", dy=-17, fontSize=11).encode(
            x=alt.value(WIDTH - 62), text=alt.Text("ends:N")
        ),
    )
    words = "; ".join(f"{row['text']}: {row['ends']}" for row in rows) + "."
    title = "Spread of the purchase probability inside each segment"
    return drawn(alt.layer(*parts), name, title, words, step * len(rows) + 12 + 56)
