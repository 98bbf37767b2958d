"""Gains and purchase rates by decile."""

from collections.abc import Mapping, Sequence
from typing import Any

from training.report.charts.drawing import (
    COOL,
    INK,
    MUTED,
    WARM,
    WIDTH,
    Rows,
    bare_axis,
    chart_data,
    drawn,
    share_channel,
    text_marks,
)
from training.words import percent, whole_percent


def gains_chart(deciles: Sequence[Mapping[str, Any]], name: str) -> str:
    """Share of the buyers found against share of the users contacted."""
    import altair as alt

    total = sum(part["rows"] for part in deciles)
    rows: Rows = [{"x": 0.0, "y": 0.0}]
    users = 0
    for part in deciles:
        users += part["rows"]
        if part["cumulative_share_of_buyers"] is not None:
            rows.append({"x": users / total, "y": part["cumulative_share_of_buyers"]})
    line = alt.Chart(chart_data(rows)).encode(
        x=share_channel("x", "of all users contacted"), y=share_channel("y")
    )
    marks = [rows[n] for n in (1, 3) if n < len(rows)]
    labels: Rows = [
        {
            **mark,
            "text": f"{whole_percent(mark['x'])} of users, {whole_percent(mark['y'])} of buyers",
        }
        for mark in marks
    ]
    chance: Rows = [{"x": 0.0, "y": 0.0}, {"x": 1.0, "y": 1.0}]
    parts = (
        alt.Chart(chart_data(chance))
        .mark_line(color=MUTED, strokeDash=[4, 4], strokeWidth=1)
        .encode(x="x:Q", y="y:Q"),
        line.mark_line(color=COOL, strokeWidth=2.5),
        alt.Chart(chart_data(labels))
        .mark_point(color=COOL, filled=True, size=60, opacity=1)
        .encode(x="x:Q", y="y:Q"),
        text_marks(labels, COOL, align="left", dx=10, dy=9, fontWeight=600),
        text_marks([{"x": 0.7, "y": 0.63, "text": "at random"}], MUTED, align="left"),
    )
    title = "Gains: share of all buyers reached"
    return drawn(alt.layer(*parts), name, title, _gains_words(marks))


def deciles_chart(deciles: Sequence[Mapping[str, Any]], base_rate: float, name: str) -> str:
    """The purchase rate of each tenth of the users, the likeliest first."""
    import altair as alt

    rows: Rows = [
        {
            "x": str(part["decile"]),
            "y": part["purchase_rate"],
            "text": whole_percent(part["purchase_rate"]),
        }
        for part in deciles
        if part["purchase_rate"] is not None
    ]
    order = [row["x"] for row in rows]
    top = max([base_rate, *(row["y"] for row in rows)]) * 1.12 or 1.0
    x = alt.X(
        "x:N", sort=order, title="Decile, 10 = most likely to buy", axis=bare_axis(grid=False)
    )
    bars = alt.Chart(chart_data(rows)).encode(x=x)
    y = alt.Y("y:Q", axis=None, scale=alt.Scale(domain=[0, top]))
    average: Rows = [{"y": base_rate, "text": f"average {percent(base_rate)}"}]
    parts = (
        alt.Chart(chart_data(average)).mark_rule(color=WARM, strokeWidth=1.5).encode(y=y),
        bars.mark_bar(color=COOL).encode(y=y),
        bars.mark_text(color=INK, dy=-8, fontSize=11).encode(y=y, text="text:N"),
        alt.Chart(chart_data(average))
        .mark_text(color=WARM, align="right", dy=-9, fontWeight=600)
        .encode(x=alt.value(WIDTH - 62), y=y, text="text:N"),
    )
    words = (
        f"In decile {rows[0]['x']} {rows[0]['text']} buy, in decile {rows[-1]['x']} "
        f"{rows[-1]['text']}; the average is {percent(base_rate)}."
        if rows
        else "No decile has enough users."
    )
    return drawn(alt.layer(*parts), name, "Purchase rate by decile of the score", words)


def _gains_words(marks: Sequence[Mapping[str, Any]]) -> str:
    return " ".join(
        f"The most likely {whole_percent(mark['x'])} of users hold "
        f"{whole_percent(mark['y'])} of the buyers."
        for mark in marks
    )
