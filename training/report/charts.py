"""Figures as pictures: altair describes, vl-convert draws SVG, CSS variables give the colours.

Every position is fixed by the data and the constants here, none by the width of a text, so that
the bytes do not depend on the fonts of the machine that draws.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from training.report.words import odds, percent, plain, short, shown, whole_percent

WIDTH = 440
HEIGHT = 300
FONT = "system-ui, sans-serif"

# Colours that stand for the variables of the style sheet until the picture is drawn.
_VARIABLES = {
    "#000001": "var(--ink)",
    "#000002": "var(--muted)",
    "#000003": "var(--line)",
    "#000004": "var(--cool)",
    "#000005": "var(--warm)",
}
INK, MUTED, LINE, COOL, WARM = _VARIABLES

PANELS = 6
_COLUMNS, _PANEL_WIDTH, _GAP = 2, 205, 30
_PANEL_HEIGHT, _BAR_HEIGHT = 128, 58
_SHOWN_BARS = 30
_PANEL_TEXTS = (
    (INK, "left", 12.5, 600),
    (MUTED, "left", 11, 400),
    (MUTED, "right", 11, 400),
)

Rows = list[dict[str, Any]]


def gains_chart(deciles: Sequence[Mapping[str, Any]], name: str) -> str:
    """Share of the buyers found against share of the users contacted."""
    import altair as alt

    total = sum(part["rows"] for part in deciles)
    rows: Rows = [{"x": 0.0, "y": 0.0}]
    users = 0
    for part in deciles:
        users += part["rows"]
        rows.append({"x": users / total, "y": part["cumulative_share_of_buyers"]})
    line = alt.Chart(_data(rows)).encode(x=_share("x", "of all users contacted"), y=_share("y"))
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
        alt.Chart(_data(chance))
        .mark_line(color=MUTED, strokeDash=[4, 4], strokeWidth=1)
        .encode(x="x:Q", y="y:Q"),
        line.mark_line(color=COOL, strokeWidth=2.5),
        alt.Chart(_data(labels))
        .mark_point(color=COOL, filled=True, size=60, opacity=1)
        .encode(x="x:Q", y="y:Q"),
        _text(labels, COOL, align="left", dx=10, dy=9, fontWeight=600),
        _text([{"x": 0.7, "y": 0.63, "text": "at random"}], MUTED, align="left"),
    )
    title = "Gains: share of all buyers reached"
    return _drawn(alt.layer(*parts), name, title, _gains_words(marks))


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
    x = alt.X("x:N", sort=order, title="Decile, 10 = most likely to buy", axis=_axis(grid=False))
    bars = alt.Chart(_data(rows)).encode(x=x)
    y = alt.Y("y:Q", axis=None, scale=alt.Scale(domain=[0, top]))
    average: Rows = [{"y": base_rate, "text": f"average {percent(base_rate)}"}]
    parts = (
        bars.mark_bar(color=COOL).encode(y=y),
        bars.mark_text(color=INK, dy=-8, fontSize=11).encode(y=y, text="text:N"),
        alt.Chart(_data(average)).mark_rule(color=WARM, strokeWidth=1.5).encode(y=y),
        alt.Chart(_data(average))
        .mark_text(color=WARM, align="right", dy=-9, fontWeight=600)
        .encode(x=alt.value(WIDTH - 62), y=y, text="text:N"),
    )
    words = (
        f"In decile {rows[0]['x']} {rows[0]['text']} buy, in decile {rows[-1]['x']} "
        f"{rows[-1]['text']}; the average is {percent(base_rate)}."
        if rows
        else "No decile has enough users."
    )
    return _drawn(alt.layer(*parts), name, "Purchase rate by decile of the score", words)


def reliability_chart(bins: Sequence[Mapping[str, Any]], error: float | None, name: str) -> str:
    """The purchase rate that came true against the probability that was predicted."""
    import altair as alt

    rows: Rows = [
        {
            "x": part["mean_probability"],
            "y": part["purchase_rate"],
            "low": part.get("low", part["purchase_rate"]),
            "high": part.get("high", part["purchase_rate"]),
        }
        for part in bins
        if part["purchase_rate"] is not None
    ]
    top = min(1.0, 1.05 * max((max(row["x"], row["high"]) for row in rows), default=1.0)) or 1.0
    ideal: Rows = [{"x": 0.0, "y": 0.0}, {"x": top, "y": top}]
    base = alt.Chart(_data(rows)).encode(x=_share("x", "predicted probability", top))
    parts = (
        alt.Chart(_data(ideal))
        .mark_line(color=MUTED, strokeDash=[4, 4], strokeWidth=1)
        .encode(x="x:Q", y=_share("y", top=top)),
        base.mark_rule(color=COOL, strokeWidth=1.5).encode(y="low:Q", y2="high:Q"),
        base.mark_point(color=COOL, filled=True, size=42, opacity=1).encode(y="y:Q"),
        _text([{"x": 0.62 * top, "y": 0.52 * top, "text": "exactly right"}], MUTED, align="left"),
    )
    words = (
        f"On average the predicted probability is {100 * error:.1f} percentage points off."
        if error is not None
        else "Predicted probabilities against purchase rates."
    )
    return _drawn(alt.layer(*parts), name, "Reliability: share that bought", words)


def spread_chart(segments: Sequence[Mapping[str, Any]], names: Mapping[int, str], name: str) -> str:
    """How far probabilities reach inside each segment: 10th, 50th and 90th percentile."""
    import altair as alt

    step = 46
    known = [part for part in segments if part.get("probability_p50") is not None]
    rows: Rows = [
        {
            "n": step * (n + 0.75),
            "low": part["probability_p10"],
            "middle": part["probability_p50"],
            "high": part["probability_p90"],
            "text": short(shown(names.get(part["segment_id"], str(part["segment_id"]))), 46),
            "ends": f"{percent(part['probability_p10'])} to {percent(part['probability_p90'])}",
        }
        for n, part in enumerate(known)
    ]
    top = 1.05 * max((row["high"] for row in rows), default=1.0) or 1.0
    y = alt.Y("n:Q", axis=None, scale=None)
    base = alt.Chart(_data(rows)).encode(y=y)
    parts = (
        base.mark_rule(color=COOL, strokeWidth=6, opacity=0.35).encode(
            x=_share("low", "purchase probability", top), x2="high:Q"
        ),
        base.mark_point(color=COOL, filled=True, size=70, opacity=1).encode(x="middle:Q"),
        base.mark_text(color=INK, align="left", dy=-17).encode(x=alt.value(0), text="text:N"),
        base.mark_text(color=MUTED, align="right", dy=-17, fontSize=11).encode(
            x=alt.value(WIDTH - 62), text="ends:N"
        ),
    )
    words = "; ".join(f"{row['text']}: {row['ends']}" for row in rows) + "."
    title = "Spread of the purchase probability inside each segment"
    return _drawn(alt.layer(*parts), name, title, words, step * len(rows) + 12 + 56)


def shapes_chart(
    features: Sequence[Mapping[str, Any]], titles: Mapping[str, str], name: str
) -> str:
    """Small pictures of how the impact of each feature runs along its values, two in a row."""
    import altair as alt

    bars: Rows = []
    texts: Rows = []
    zeros: Rows = []
    words = []
    for n, feature in enumerate(features):
        left = (n % _COLUMNS) * (_PANEL_WIDTH + _GAP)
        top = (n // _COLUMNS) * _PANEL_HEIGHT
        parts = _largest(feature["shape"])
        title = shown(titles.get(feature["name"], feature["name"]))
        bars += _panel_bars(parts, left, top + 40)
        zero = top + 40 + _zero(parts)
        zeros.append({"x": left, "x2": left + _PANEL_WIDTH, "y": zero})
        texts += _panel_texts(parts, title, left, top)
        words.append(f"{title}: {_shape_words(parts)}")
    place = {"x": alt.X("x:Q", scale=None, axis=None), "y": alt.Y("y:Q", scale=None, axis=None)}
    chart = alt.layer(
        *(
            alt.Chart(_data([bar for bar in bars if bar["raises"] == raises]))
            .mark_rect(color=color)
            .encode(**place, x2="x2:Q", y2="y2:Q")
            for raises, color in ((True, COOL), (False, WARM))
        ),
        alt.Chart(_data(zeros)).mark_rule(color=MUTED, strokeWidth=1).encode(**place, x2="x2:Q"),
        *(_panel_marks(texts, *look) for look in _PANEL_TEXTS),
    )
    width = _COLUMNS * _PANEL_WIDTH + (_COLUMNS - 1) * _GAP
    height = math.ceil(len(features) / _COLUMNS) * _PANEL_HEIGHT
    title = "How each feature moves the odds of a purchase along its values"
    return _drawn(chart, name, title, " ".join(words), height, width, margins=False)


def _panel_marks(texts: Rows, color: str, align: str, size: float, weight: int) -> Any:  # noqa: ANN401
    import altair as alt

    found = [text for text in texts if (text["color"], text["align"]) == (color, align)]
    look: dict[str, Any] = {"color": color, "align": align, "fontSize": size, "fontWeight": weight}
    return (
        alt.Chart(_data(found))
        .mark_text(baseline="top", **look)
        .encode(
            x=alt.X("x:Q", scale=None, axis=None),
            y=alt.Y("y:Q", scale=None, axis=None),
            text="text:N",
        )
    )


def _largest(parts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Numbers in their order; of very many categories those that most users have, by impact."""
    if any("low" in part for part in parts) or len(parts) <= 3:
        return list(parts)
    kept = sorted(parts, key=lambda part: (-part["rows"], str(part["value"])))[:_SHOWN_BARS]
    return sorted(kept, key=lambda part: (part["mean_impact"], str(part["value"])))


def _limits(parts: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    impacts = [part["mean_impact"] for part in parts]
    return min([0.0, *impacts]), max([0.0, *impacts])


def _zero(parts: Sequence[Mapping[str, Any]]) -> float:
    """Where, from the top, the line of no impact lies."""
    low, high = _limits(parts)
    return _BAR_HEIGHT * high / (high - low) if high > low else _BAR_HEIGHT / 2


def _panel_bars(parts: Sequence[Mapping[str, Any]], left: float, top: float) -> Rows:
    low, high = _limits(parts)
    step = _PANEL_WIDTH / max(len(parts), 1)
    zero = top + _zero(parts)
    return [
        {
            "x": left + step * n + 1,
            "x2": left + step * (n + 1) - 1,
            "y": zero,
            "y2": zero - _BAR_HEIGHT * part["mean_impact"] / ((high - low) or 1),
            "raises": part["mean_impact"] >= 0,
        }
        for n, part in enumerate(parts)
    ]


def _panel_texts(parts: Sequence[Mapping[str, Any]], title: str, left: float, top: float) -> Rows:
    right = left + _PANEL_WIDTH
    texts: Rows = [
        {"x": left, "y": top + 2, "text": short(title, 26), "color": INK, "align": "left"}
    ]
    if not parts:
        return texts
    low, high = (f(p["mean_impact"] for p in parts) for f in (min, max))
    texts.append(
        {
            "x": left,
            "y": top + 20,
            "text": f"odds {odds(low)} to {odds(high)}",
            "color": MUTED,
            "align": "left",
        }
    )
    numbers = [part for part in parts if part.get("value", "") is not None]
    if not numbers:
        return texts
    bottom = top + 40 + _BAR_HEIGHT + 5
    ends = [(numbers[0], left, "left")]
    if len(numbers) > 1:
        ends.append((numbers[-1], right, "right"))
    texts += [
        {"x": x, "y": bottom, "text": short(place(part), 16), "color": MUTED, "align": align}
        for part, x, align in ends
    ]
    return texts


def place(part: Mapping[str, Any]) -> str:
    """Which values a part of a shape stands for, in words."""
    if "value" in part:
        return "not known" if part["value"] is None else shown(part["value"])
    low, high = part["low"], part["high"]
    if low is None:
        return "all values" if high is None else f"under {plain(high)}"
    return f"from {plain(low)}" if high is None else f"{plain(low)} to {plain(high)}"


def _shape_words(parts: Sequence[Mapping[str, Any]]) -> str:
    if not parts:
        return "no part has enough users."
    lowest, highest = (f(parts, key=lambda part: part["mean_impact"]) for f in (min, max))
    return (
        f"lowest at {place(lowest)} (odds {odds(lowest['mean_impact'])}), "
        f"highest at {place(highest)} (odds {odds(highest['mean_impact'])})."
    )


def _gains_words(marks: Sequence[Mapping[str, Any]]) -> str:
    return " ".join(
        f"The most likely {whole_percent(mark['x'])} of users hold "
        f"{whole_percent(mark['y'])} of the buyers."
        for mark in marks
    )


def _data(rows: Rows) -> Any:  # noqa: ANN401 - altair's own type
    import altair as alt

    return alt.Data(values=rows)  # type: ignore[no-untyped-call]


def _axis(**more: Any) -> Any:  # noqa: ANN401
    import altair as alt

    return alt.Axis(**{"ticks": False, "domain": False, "labelAngle": 0, **more})


def _share(field: str, title: str = "", top: float = 1.0) -> Any:  # noqa: ANN401
    """A channel of shares from 0; a title belongs to the horizontal one."""
    import altair as alt

    channel = alt.X if title else alt.Y
    axis = _axis(format=".0%" if top > 0.05 else ".1%", tickCount=5, title=title or None)
    return channel(f"{field}:Q", scale=alt.Scale(domain=[0, top]), axis=axis)


def _text(rows: Rows, color: str, **more: Any) -> Any:  # noqa: ANN401
    import altair as alt

    return (
        alt.Chart(_data(rows))
        .mark_text(color=color, baseline="middle", **more)
        .encode(x="x:Q", y="y:Q", text="text:N")
    )


def _drawn(
    chart: Any,  # noqa: ANN401 - any altair chart
    name: str,
    title: str,
    words: str,
    height: int = HEIGHT,
    width: int = WIDTH,
    *,
    margins: bool = True,
) -> str:
    """The chart as SVG with a text alternative, its colours left to the style sheet."""
    import vl_convert

    left, top, right, bottom = (46, 12, 16, 44) if margins else (0, 0, 0, 0)
    drawn = chart.properties(
        width=width,
        height=height,
        autosize=_fixed(),
        padding={"left": left, "top": top, "right": right, "bottom": bottom},
    ).configure(**_configuration())
    svg = vl_convert.vegalite_to_svg(drawn.to_dict())
    return _accessible(svg, name, title, words, f"0 0 {width} {height}")


def _fixed() -> Any:  # noqa: ANN401
    import altair as alt

    return alt.AutoSizeParams(type="none", contains="padding")


def _configuration() -> dict[str, Any]:
    return {
        "font": FONT,
        "background": "transparent",
        "aria": False,
        "view": {"stroke": None},
        "text": {"fontSize": 12},
        "axis": {
            "gridColor": LINE,
            "labelColor": MUTED,
            "titleColor": MUTED,
            "labelFontSize": 12,
            "titleFontSize": 12,
            "titleFontWeight": 400,
            "labelPadding": 8,
            "labelBound": False,
            "labelOverlap": False,
            "minExtent": 22,
            "maxExtent": 22,
        },
    }


def _accessible(svg: str, name: str, title: str, words: str, box: str) -> str:
    """One picture to a screen reader, named and described; colours as variables."""
    body = svg[svg.index(">") + 1 :]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="{box}" '
        f'aria-labelledby="{name}-title {name}-words">'
        f'<title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-words">{escape(words)}</desc>'
    )
    for sentinel, variable in _VARIABLES.items():
        body = body.replace(sentinel, variable)
    return head + body
