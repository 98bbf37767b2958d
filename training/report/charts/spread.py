"""The spread of probabilities inside each segment."""

from collections.abc import Mapping, Sequence
from typing import Any

from engine.format import short
from engine.pages.drawing import (
    COOL,
    INK,
    MUTED,
    WIDTH,
    Rows,
    drawn,
    end,
    layer,
    number,
    share_channel,
    text,
)
from engine.pages.format import percent, shown


def spread_chart(segments: Sequence[Mapping[str, Any]], names: Mapping[int, str], name: str) -> str:
    """The 10th, 50th and 90th percentile of the probabilities inside each segment."""
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
    x = share_channel("low", "purchase probability", top)
    y = number("n", axis=None, scale=None)
    points = {"color": COOL, "filled": True, "size": 70, "opacity": 1}
    names_look = {"color": INK, "align": "left", "dy": -17}
    ends_look = {"color": MUTED, "align": "right", "dy": -17, "fontSize": 11}
    right = {"value": WIDTH - 62}
    parts = (
        layer(
            "rule",
            rows,
            {"color": COOL, "strokeWidth": 6, "opacity": 0.35},
            y=y,
            x=x,
            x2=end("high"),
        ),
        layer("point", rows, points, y=y, x=number("middle")),
        layer("text", rows, names_look, y=y, x={"value": 0}, text=text("text")),
        layer("text", rows, ends_look, y=y, x=right, text=text("ends")),
    )
    words = "; ".join(f"{row['text']}: {row['ends']}" for row in rows) + "."
    title = "Spread of the purchase probability inside each segment"
    return drawn(parts, name, title, words, step * len(rows) + 12 + 56)
