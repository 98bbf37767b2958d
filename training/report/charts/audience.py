"""Gains and purchase rates by decile."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from engine.pages.drawing import (
    COOL,
    INK,
    MUTED,
    WARM,
    WIDTH,
    Rows,
    bare_axis,
    drawn,
    layer,
    number,
    share_channel,
    text,
    text_marks,
)
from engine.pages.format import percent, span, whole_percent

MARKED_SHARES = (0.1, 0.3)
"""The lists whose gains are labelled."""

AT_THE_TOP = 0.9


def gains_chart(
    deciles: Sequence[Mapping[str, Any]], gains: Sequence[Mapping[str, Any]], name: str
) -> str:
    """Share of the buyers found against share of the users contacted.

    Args:
        deciles: Users and cumulative share of buyers by decile, the likeliest first.
        gains: Shares of users with their shares of buyers.
        name: Of the picture.
    """
    points = {0.0: 0.0}
    points |= {d["cumulative_share_of_users"]: d["cumulative_share_of_buyers"] for d in deciles}
    points |= {g["share"]: g["share_of_buyers"] for g in gains}
    rows: Rows = [{"x": x, "y": y} for x, y in sorted(points.items())]
    marks: Rows = [
        {"x": g["share"], "y": g["share_of_buyers"], "text": whole_percent(g["share_of_buyers"])}
        for g in _marked(gains)
    ]
    x, y = number("x"), number("y")
    shares = {"x": share_channel("x", "of all users contacted"), "y": share_channel("y")}
    bold = partial(text_marks, color=COOL, fontWeight=600)
    chance: Rows = [{"x": 0.0, "y": 0.0}, {"x": 1.0, "y": 1.0}]
    parts = (
        layer("line", chance, {"color": MUTED, "strokeDash": [4, 4], "strokeWidth": 1}, x=x, y=y),
        layer("line", rows, {"color": COOL, "strokeWidth": 2.5}, **shares),
        layer("point", marks, {"color": COOL, "filled": True, "size": 60, "opacity": 1}, x=x, y=y),
        # Labels are above the line, where nothing else is drawn, or below it near the top.
        bold([m for m in marks if m["y"] <= AT_THE_TOP], align="right", dx=-7, dy=-8),
        bold([m for m in marks if m["y"] > AT_THE_TOP], align="left", dx=8, dy=12),
        text_marks([{"x": 0.7, "y": 0.58, "text": "at random"}], MUTED, align="left"),
    )
    title = "Gains: share of all buyers reached"
    return drawn(parts, name, title, gains_words(gains))


def gains_words(gains: Sequence[Mapping[str, Any]]) -> str:
    """What the marked lists hold, in words; the longest list if neither was measured."""
    return " ".join(
        f"The likeliest {whole_percent(g['share'])} of users hold "
        f"{whole_percent(g['share_of_buyers'])} of the buyers."
        for g in _marked(gains) or gains[-1:]
    )


def _marked(gains: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [g for g in gains if g["share"] in MARKED_SHARES]


def deciles_chart(deciles: Sequence[Mapping[str, Any]], base_rate: float, name: str) -> str:
    """The purchase rate of each tenth of the users, the likeliest first."""
    rows: Rows = [
        {
            "x": span(part["deciles"]),
            "y": part["purchase_rate"],
            "text": whole_percent(part["purchase_rate"]),
        }
        for part in deciles
        if part["purchase_rate"] is not None
    ]
    order = [row["x"] for row in rows]
    top = max([base_rate, *(row["y"] for row in rows)]) * 1.2 or 1.0
    x = text("x", sort=order, title="Decile, 10 = most likely to buy", axis=bare_axis(grid=False))
    y = number("y", axis=None, scale={"domain": [0, top]})
    average: Rows = [{"y": base_rate, "text": f"line: average {percent(base_rate)}"}]
    parts = (
        layer("rule", average, {"color": WARM, "strokeWidth": 1.5}, y=y),
        layer("bar", rows, {"color": COOL}, x=x, y=y),
        layer("text", rows, {"color": INK, "dy": -8, "fontSize": 11}, x=x, y=y, text=text("text")),
        # Above all bars, because a bar may end next to the line.
        layer(
            "text",
            average,
            {"color": WARM, "align": "right", "baseline": "top", "fontWeight": 600},
            x={"value": WIDTH - 62},
            y={"value": 0},
            text=text("text"),
        ),
    )
    words = (
        f"In decile {rows[0]['x']} {rows[0]['text']} buy, in decile {rows[-1]['x']} "
        f"{rows[-1]['text']}; the average is {percent(base_rate)}."
        if rows
        else "No decile has enough users."
    )
    return drawn(parts, name, "Purchase rate by decile of the score", words)
