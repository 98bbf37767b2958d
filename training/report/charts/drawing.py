"""Altair charts as SVG: vl-convert draws, CSS variables give the colours.

Channels are objects: for each one given as a text, altair looks through all of its classes.
"""

from html import escape
from typing import Any

from training.format import THIN

WIDTH = 440
HEIGHT = 300
FONT = "system-ui, sans-serif"

# Placeholder colours, replaced by variables of the style sheet once the picture is drawn.
_VARIABLES = {
    "#000001": "var(--ink)",
    "#000002": "var(--muted)",
    "#000003": "var(--line)",
    "#000004": "var(--cool)",
    "#000005": "var(--warm)",
}
INK, MUTED, LINE, COOL, WARM = _VARIABLES

Rows = list[dict[str, Any]]


def chart_data(rows: Rows) -> Any:  # noqa: ANN401 - altair's own type
    """Rows as altair data."""
    import altair as alt

    return alt.Data(values=rows)  # type: ignore[no-untyped-call]


def bare_axis(**more: Any) -> Any:  # noqa: ANN401
    """An axis of labels alone: no ticks, no line."""
    import altair as alt

    return alt.Axis(**{"ticks": False, "domain": False, "labelAngle": 0, **more})


def share_channel(field: str, title: str = "", top: float = 1.0) -> Any:  # noqa: ANN401
    """A channel of shares from 0; a title belongs to the horizontal one."""
    import altair as alt

    channel = alt.X if title else alt.Y
    decimals = 0 if top > 0.05 else 1
    label = f"format(100 * datum.value, '.{decimals}f') + '{THIN}%'"
    axis = bare_axis(labelExpr=label, tickCount=5, title=title or None)
    return channel(f"{field}:Q", scale=alt.Scale(domain=[0, top]), axis=axis)


def text_marks(rows: Rows, color: str, **more: Any) -> Any:  # noqa: ANN401
    """The `text` of every row at its `x` and `y`."""
    import altair as alt

    return (
        alt.Chart(chart_data(rows))
        .mark_text(color=color, baseline="middle", **more)
        .encode(x=alt.X("x:Q"), y=alt.Y("y:Q"), text=alt.Text("text:N"))
    )


def drawn(
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
    import altair as alt
    import vl_convert

    left, top, right, bottom = (46, 12, 16, 44) if margins else (0, 0, 0, 0)
    drawn = chart.properties(
        width=width,
        height=height,
        autosize=alt.AutoSizeParams(type="none", contains="padding"),
        padding={"left": left, "top": top, "right": right, "bottom": bottom},
    ).configure(**_configuration())
    # A test checks the charts against the schema of Vega-Lite: here that would take as long as drawing.
    svg = vl_convert.vegalite_to_svg(drawn.to_dict(validate=False))
    return _accessible(svg, name, title, words, f"0 0 {width} {height}")


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
    body = svg[svg.index(">") + 1 : svg.rindex("</svg>")]
    for sentinel, variable in _VARIABLES.items():
        body = body.replace(sentinel, variable)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="{box}" '
        f'aria-labelledby="{name}-title" aria-describedby="{name}-words">'
        f'<title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-words">{escape(words)}</desc>'
        # Without this a screen reader reads every mark, a meaningless list of numbers.
        f'<g aria-hidden="true">{body}</g></svg>'
    )
